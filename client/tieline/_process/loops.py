"""Helpers around asyncio's event loops: who calls, waking waiters, and a loop in a thread of its own."""

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from tieline._process import fork
from tieline._process.clock import monotonic_s
from tieline.backoff import Backoff
from tieline.errors import ClosedError

_T = TypeVar("_T")
START_TIMEOUT_S = 10.0
RESTART_FIRST_S, RESTART_MAX_S = 1.0, 10.0
_log = logging.getLogger("tieline")


def current_caller() -> int:
    """Identifies the task that runs now, or the thread where no event loop runs. Another task or thread may
    have the same number later."""
    try:
        task = asyncio.current_task()
    except RuntimeError:
        task = None
    return threading.get_ident() if task is None else id(task)


async def run_for_ever(name: str, job: Callable[[], Awaitable[Any]]) -> None:
    """Run a part of a client, and again whenever it has failed, so that no part ever ends unnoticed."""
    backoff = Backoff(RESTART_FIRST_S, RESTART_MAX_S)
    while True:
        began_s = monotonic_s()
        try:
            await job()
        except Exception:  # noqa: BLE001  whatever it is, the part has to go on
            _log.exception("the client's part %r failed and is started again", name)
        if monotonic_s() - began_s > RESTART_MAX_S:
            backoff.reset()
        await asyncio.sleep(backoff.next_s())


class Notifier:
    """Wakes everybody who waits at the moment of ``notify_all``, and nobody who begins to wait later.

    Waiters check their condition in a loop: ``while not condition(): await notifier.wait()``. Used within one
    event loop; nothing here is thread-safe.
    """

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def notify_all(self) -> None:
        """Wake all who wait now."""
        self._event.set()
        self._event = asyncio.Event()

    async def wait(self) -> None:
        """Wait until the next ``notify_all``."""
        await self._event.wait()


class LoopThread:
    """An event loop in a daemon thread. Coroutines run there; the caller waits in its own thread."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    @property
    def running(self) -> bool:
        """Whether ``start`` was called and ``stop`` was not."""
        return self._loop is not None

    def start(self) -> None:
        """Start the thread. Does nothing when it runs already."""
        if self._loop is not None:
            return
        started = threading.Event()
        loop = asyncio.new_event_loop()

        def main() -> None:
            asyncio.set_event_loop(loop)
            loop.call_soon(started.set)
            loop.run_forever()
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()

        self._thread = threading.Thread(target=main, name="tieline", daemon=True)
        self._thread.start()
        started.wait(START_TIMEOUT_S)
        self._loop = loop

    def begin(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Start the thread, and return the result of the coroutine, which begins what is to run there.

        A thread that was started for it ends again if it raises.
        """
        ran_before = self.running
        self.start()
        try:
            return self.run(work)
        except BaseException:
            if not ran_before:
                self.stop()
            raise

    def stop(self) -> None:
        """End the loop and join the thread."""
        loop, self._loop = self._loop, None
        if loop is None or self._thread is None:
            return
        loop.call_soon_threadsafe(loop.stop)
        self._thread.join(START_TIMEOUT_S)

    def forget_after_fork(self) -> bool:
        """In a child process: give up the loop, whose thread exists only in the parent.

        Returns whether it was running in the parent.
        """
        loop, self._loop = self._loop, None
        if loop is None:
            return False
        fork.let_go(getattr(loop, "_selector", None))
        fork.keep(loop, self._thread)
        return True

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Run the coroutine in the loop and return its result. A caller that is interrupted cancels it.

        Raises ClosedError when the thread does not run.
        """
        loop = self._loop
        if loop is None:
            work.close()
            raise ClosedError("the client is not running: use `with`, or start()")
        future = asyncio.run_coroutine_threadsafe(work, loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise
