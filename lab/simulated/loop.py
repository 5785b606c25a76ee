"""An event loop in virtual time, and the simulated processes that run on it.

Everything that a task starts inherits its context, and with it the process. So a process is whatever was
started by ``Process.start``. Its callbacks are held back while it is stopped, and dropped once it is dead:
as with SIGKILL no ``finally`` runs.

Tasks and futures get a serial number as their hash. Otherwise asyncio's sets of them would be ordered by
addresses in memory, and two runs of one seed would differ.

This uses parts of ``asyncio.BaseEventLoop`` that its subclasses use (``_ready``, ``_scheduled``,
``_selector``); tests/unit/lab/simulated/test_loop.py fails if they change.
"""

import asyncio
import contextlib
import contextvars
import gc
import heapq
import itertools
import sys
import warnings
from collections.abc import Callable, Coroutine, Iterator
from enum import Enum
from typing import Any

CURRENT: contextvars.ContextVar["Process | None"] = contextvars.ContextVar("process", default=None)
RESOLUTION_S = 1e-6
TASKS_KEPT = 500
_BaseLoop: Any = asyncio.BaseEventLoop  # the parts that are used here are private, and not in its types


class DeadlockError(RuntimeError):
    """Everything waits, and nothing will ever happen: no timer is set."""


async def passes(seconds: float) -> None:
    """Lets so much virtual time pass."""
    await asyncio.sleep(seconds)


@contextlib.contextmanager
def quietly_collected() -> Iterator[None]:
    """Collects here what is left behind by what is done within, without a word.

    Coroutines that are closed in the middle complain when they are collected, and that would be at any time.
    """
    hook = sys.unraisablehook
    sys.unraisablehook = lambda _error: None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
            gc.collect()
    finally:
        sys.unraisablehook = hook


class Life(Enum):
    """What becomes of the callbacks of a process."""

    RUNS = "runs"
    STOPPED = "stopped"
    DEAD = "dead"


class Process:
    """One simulated process. ``clock_ahead_ms``: its wall clock, against the true time.

    ``ended``: what its main coroutine ended with, once it has: an exception, or None for a clean end.
    """

    def __init__(self, loop: "VirtualLoop", name: str) -> None:
        self.name = name
        self.life = Life.RUNS
        self.clock_ahead_ms = 0
        self.ended: list[BaseException | None] = []
        self.over = asyncio.Event()  # set once it has ended or was killed
        self._loop = loop
        self._waiting: list[asyncio.Handle] = []  # callbacks that were due while it was stopped

    def start(self, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Runs its main coroutine."""
        context = contextvars.copy_context()
        context.run(CURRENT.set, self)
        context.run(self._begin, main)

    def stop(self) -> None:
        """Like SIGSTOP: nothing of it runs until ``resume``."""
        if self.life is Life.RUNS:
            self.life = Life.STOPPED

    def resume(self) -> None:
        """Like SIGCONT: what became due meanwhile runs now, in its order."""
        if self.life is Life.STOPPED:
            self.life = Life.RUNS
            waiting, self._waiting = self._waiting, []
            self._loop.run_soon(waiting)

    def kill(self) -> None:
        """Like SIGKILL: nothing of it ever runs again. What it has sent still arrives."""
        self.life = Life.DEAD
        self.over.set()
        self._waiting.clear()

    def take(self, handle: "asyncio.Handle") -> bool:
        """Whether a callback of it may run now; otherwise it waits, or is dropped."""
        if self.life is Life.RUNS:
            return True
        if self.life is Life.STOPPED:
            self._waiting.append(handle)
        return False

    def _begin(self, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._loop.create_task(self._live(main), name=self.name)

    async def _live(self, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        error: BaseException | None = None
        try:
            await main()
        except asyncio.CancelledError:
            raise
        except Exception as failure:  # noqa: BLE001 (a process that fails is for its supervisor to see)
            error = failure
        self.ended.append(error)
        self.over.set()


class _Handle(asyncio.Handle):
    """A callback that asks its process before it runs."""

    process: Process | None = None

    def _run(self) -> None:
        if self.process is None or self.process.take(self):
            super()._run()


class _Timer(asyncio.TimerHandle):
    process: Process | None = None

    def _run(self) -> None:
        if self.process is None or self.process.take(self):
            super()._run()


class _Future(asyncio.Future[Any]):
    def __init__(self, *, loop: "VirtualLoop") -> None:
        super().__init__(loop=loop)
        self.serial = next(loop.serials)

    def __hash__(self) -> int:
        return self.serial


class _Task(asyncio.Task[Any]):
    def __init__(self, coroutine: Any, *, loop: "VirtualLoop", **more: Any) -> None:
        # The base class puts itself into a set before it returns, so the number must be there before.
        self.serial = next(loop.serials)
        super().__init__(coroutine, loop=loop, **more)

    def __hash__(self) -> int:
        return self.serial


def _new_task(loop: Any, coroutine: Any, **more: Any) -> "_Task":
    task = _Task(coroutine, loop=loop, **more)
    loop.keep(task)
    return task


class _Jump:
    """In the place of a selector: nothing comes from outside, so to wait is to move the clock."""

    def __init__(self, loop: "VirtualLoop") -> None:
        self._loop = loop

    def select(self, timeout_s: float | None) -> list[Any]:
        if timeout_s is None:
            raise DeadlockError(f"at {self._loop.time():.3f} s everything waits and no timer is set")
        if timeout_s > 0:
            self._loop.advance(timeout_s)
        return []


class VirtualLoop(_BaseLoop):  # type: ignore[misc]
    """``time()`` begins at 0 and moves only when nothing is ready. Executors run their work at once."""

    def __init__(self) -> None:
        super().__init__()
        self.serials = itertools.count(1)
        self._now_s = 0.0
        self._tidy_at = TASKS_KEPT
        self._clock_resolution = RESOLUTION_S
        self._selector = _Jump(self)
        self.errors: list[dict[str, Any]] = []  # of callbacks and tasks that nobody awaits
        self.all_tasks: list[Any] = []  # keeps what dead processes left behind from being collected
        self.set_task_factory(_new_task)
        self.set_exception_handler(lambda _loop, context: self.errors.append(context))

    def time(self) -> float:
        """Virtual seconds since the beginning."""
        return self._now_s

    def advance(self, seconds: float) -> None:
        """Moves the clock."""
        self._now_s += seconds

    def create_future(self) -> "asyncio.Future[Any]":
        """A future with a serial number."""
        return _Future(loop=self)

    def call_soon(
        self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        """As asyncio's, for the process that calls."""
        if context is None:
            context = contextvars.copy_context()
        handle = _Handle(callback, args, loop=self, context=context)
        handle.process = context.get(CURRENT)
        self._ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon

    def call_at(
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        """As asyncio's, for the process that calls."""
        if context is None:
            context = contextvars.copy_context()
        timer = _Timer(when, callback, args, loop=self, context=context)
        timer.process = context.get(CURRENT)
        heapq.heappush(self._scheduled, timer)
        timer._scheduled = True  # type: ignore[attr-defined]
        return timer

    def call_later(
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        """As asyncio's."""
        return self.call_at(self._now_s + delay, callback, *args, context=context)

    def keep(self, task: Any) -> None:
        """Remembers a task until it is done."""
        self.all_tasks.append(task)
        if len(self.all_tasks) >= self._tidy_at:
            self.all_tasks = [task for task in self.all_tasks if not task.done()]
            self._tidy_at = 2 * len(self.all_tasks) + TASKS_KEPT

    def run_soon(self, handles: list[asyncio.Handle]) -> None:
        """Runs callbacks that were held back."""
        self._ready.extend(handles)

    def run_in_executor(self, _executor: Any, func: Callable[..., Any], *args: Any) -> Any:
        """Does the work in place: threads would make runs differ."""
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 (it belongs to whoever awaits the future)
            future.set_exception(error)
        return future

    def bury(self) -> None:
        """Ends a world: closes what is left of its tasks without running them, and the loop.

        Their ``finally`` blocks run here, on no loop, and fail as soon as they wait for anything.
        """
        with quietly_collected():
            for task in self.all_tasks:
                if not task.done():
                    task._log_destroy_pending = False
                    with contextlib.suppress(BaseException):
                        task.get_coro().close()
            self.all_tasks.clear()
            self._ready.clear()
            self._scheduled.clear()
            self.close()

    def _process_events(self, event_list: Any) -> None:
        """Nothing comes from outside."""

    def _write_to_self(self) -> None:
        """Nobody calls from another thread."""
