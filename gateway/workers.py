"""Several workers on one listening socket, and the process that keeps them running.

That process binds the socket, forks the workers and one more that answers at ``--monitor``, and then only
waits: it runs no event loop and no thread, so that it can fork again when a worker ends by itself. All take
connections from the same queue: an idle worker is quicker there than a busy one, and what waits in the queue
outlives a worker that is killed.

What must hold for all workers together lies in a directory that they share: the levels of the limits, and the
sheets for the monitor. What a request needs lies in each of them: its own clients, each with its own view of
which pools are ill. They learn from Redis which pool holds what, and divide what retries are allowed.
"""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import NoReturn

from controller.process.clock import monotonic_ms
from controller.process.telemetry import logger
from tieline.backoff import Backoff

AGAIN_FIRST_S, AGAIN_LONGEST_S = 0.5, 10.0
WELL_AFTER_MS = 30_000  # a worker that ran for so long is started again at once
FAILED = 1
ENDING = (signal.SIGTERM, signal.SIGINT)


class Crew:
    """Runs ``work(number)`` in so many processes, and ``watch`` in one more, if there is any. A process ends
    with the status that its function returns. ``close``: lets go of the socket, which then is the workers'
    alone, so that it ends with the last of them."""

    def __init__(
        self,
        workers: int,
        work: Callable[[int], int],
        watch: Callable[[], int] | None = None,
        *,
        close: Callable[[], None],
    ) -> None:
        self._workers = workers
        self._jobs: list[Callable[[], int]] = [partial(work, number) for number in range(workers)]
        if watch is not None:
            self._jobs.append(watch)
        self._running: dict[int, int] = {}  # pid -> which job
        self._started_ms = [0] * len(self._jobs)
        self._backoffs = [Backoff(AGAIN_FIRST_S, AGAIN_LONGEST_S) for _ in self._jobs]
        self._is_ending = False
        self._close = close
        self._log = logger("gateway")

    def run(self) -> int:
        """Until SIGTERM or SIGINT, which are handed on, and all workers have ended. The worst of their
        statuses."""
        for number in ENDING:
            signal.signal(number, self._end)
        for job in range(len(self._jobs)):
            self._start(job)
        worst = 0
        while self._running:
            pid, status = os.wait()
            job = self._running.pop(pid)
            code = os.waitstatus_to_exitcode(status)
            if self._is_ending:
                worst = max(worst, abs(code))
                self._end_watch()
            else:
                self._start_again(job, pid, code)
        return worst

    def _start(self, job: int) -> None:
        """Signals wait meanwhile, so that none finds a process that is not known yet."""
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
        try:
            if self._is_ending:
                return
            if pid := os.fork():
                self._running[pid], self._started_ms[job] = job, monotonic_ms()
                return
            self._become(job)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)

    def _become(self, job: int) -> NoReturn:
        """In the new process. It is in a group of its own, so that ^C at a terminal reaches only the process
        that hands it on."""
        status = FAILED
        try:
            os.setpgid(0, 0)
            for number in ENDING:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
            status = self._jobs[job]()
        except BaseException:  # noqa: BLE001  it must not run on as a second parent
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(status)

    def _start_again(self, job: int, pid: int, code: int) -> None:
        """After a wait, unless it ran for long before it ended."""
        self._log.error("a process of the gateway has ended, and is started again", pid=pid, status=code)
        if monotonic_ms() - self._started_ms[job] < WELL_AFTER_MS:
            time.sleep(self._backoffs[job].next_s())
        else:
            self._backoffs[job].reset()
        self._start(job)

    def _end(self, number: int, _frame: object) -> None:
        """Workers drain at the first signal and are killed at the second. The monitor goes on until they have
        ended, so that it can tell that they are not ready."""
        number, self._is_ending = signal.SIGKILL if self._is_ending else number, True
        for pid, job in list(self._running.items()):
            if job < self._workers:
                os.kill(pid, number)
        self._close()
        self._end_watch()

    def _end_watch(self) -> None:
        if self._is_ending and all(job >= self._workers for job in self._running.values()):
            for pid in self._running:
                os.kill(pid, signal.SIGTERM)


def drain_on_signals() -> asyncio.Event:
    """An event that SIGTERM and SIGINT set, in a worker. Further ones change nothing: a service manager may
    send them to all processes, and the parent hands on its own."""
    end, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in ENDING:
        loop.add_signal_handler(number, end.set)
    return end


def end_without(parent: int) -> None:
    """Asks this process to end if ``parent``, which should have, ended before it."""
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGTERM)
