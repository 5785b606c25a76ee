"""An event loop in virtual time, and the simulated processes that run on it.

Everything that a task starts inherits its context, and with it the process. So a process is whatever was
started by ``Process.start``. Its callbacks are held back while it is stopped, and dropped once it is dead:
as with SIGKILL no ``finally`` runs.

Tasks and futures get a serial number as their hash. Otherwise asyncio's sets of them would be ordered by
addresses in memory, and two runs of one seed would differ.

This uses parts of ``asyncio.BaseEventLoop`` that its subclasses use (``_ready``, ``_scheduled``,
``_run_once``); tests/unit/lab/simulated/test_loop.py fails if they change. Nothing comes from outside, so
there is no selector. A world has tens of thousands of callbacks that take microseconds each, so the loop does
as little as possible for each of them.
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
from types import FunctionType
from typing import Any

CURRENT: contextvars.ContextVar["Process | None"] = contextvars.ContextVar("process", default=None)
TASKS_KEPT = 500
TIMERS_KEPT = 200
_BaseLoop: Any = asyncio.BaseEventLoop  # the parts that are used here are private, and not in its types


class DeadlockError(RuntimeError):
    """Everything waits, and nothing will ever happen: no timer is set."""


async def passes(seconds: float) -> None:
    """Lets so much virtual time pass."""
    await asyncio.sleep(seconds)


@contextlib.contextmanager
def without_complaints() -> Iterator[None]:
    """Coroutines that are closed in the middle complain when they are collected: within this nobody hears."""
    hook = sys.unraisablehook
    sys.unraisablehook = lambda _error: None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        sys.unraisablehook = hook


def collect() -> None:
    """Collects what a world has left behind, once nothing refers to it any more.

    What is left then is of the interpreter, and need not be looked through again. Doing so any sooner would
    keep the world for ever.
    """
    with without_complaints():
        gc.collect()
        gc.freeze()


class Life(Enum):
    """What becomes of the callbacks of a process."""

    RUNS = "runs"
    STOPPED = "stopped"
    DEAD = "dead"


class Process:
    """One simulated process. ``clock_ahead_ms``: its wall clock, against the true time.

    ``ended``: what its main coroutine ended with, once it has: an exception, or None for a clean end.
    ``began_s``: when it started, in virtual seconds.
    """

    def __init__(self, loop: "VirtualLoop", name: str) -> None:
        self.name = name
        self.life = Life.RUNS
        self.clock_ahead_ms = 0
        self.ended: list[BaseException | None] = []
        self.began_s = loop.time()
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

    def hold(self, handle: "asyncio.Handle") -> None:
        """A callback is due that may not run now: it waits until ``resume``, or is dropped."""
        if self.life is Life.STOPPED:
            self._waiting.append(handle)

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


def _fill(
    handle: Any,
    callback: Callable[..., object],
    arguments: tuple[Any, ...],
    loop: "VirtualLoop",
    context: contextvars.Context | None,
) -> None:
    """Sets what asyncio's own ``__init__`` sets, which asks about debugging each time."""
    handle._context = context = contextvars.copy_context() if context is None else context
    handle._loop = loop
    handle._callback = callback
    handle._args = arguments
    handle._cancelled = False
    handle._repr = handle._source_traceback = None
    handle.process = context.get(CURRENT)


class _Handle(asyncio.Handle):
    """A callback of a process, or of nobody. It is run by ``VirtualLoop`` alone."""

    __slots__ = ("process",)
    __init__ = _fill


class _Timer(asyncio.TimerHandle):
    """The same at a time."""

    __slots__ = ("process",)
    __init__ = _fill
    _loop: "VirtualLoop"

    def cancel(self) -> None:
        """As asyncio's."""
        if not self._cancelled:
            self._cancelled = True
            self._callback, self._args = _nothing, ()
            self._loop.note_cancelled()


def _is_cancelled(entry: Any) -> bool:
    """Whether an entry of the heap is a timer that was cancelled."""
    return entry.__class__ is _Timer and entry._cancelled


def _nothing() -> None:
    """In the place of a callback that was cancelled, so that it can be collected."""


def _serial(future: Any) -> int:
    """The hash of a future or task: its number, which it gets when a set first asks, as most are in none."""
    try:
        number: int = future.serial
    except AttributeError:
        number = future.serial = next(future.get_loop().serials)
    return number


class _Future(asyncio.Future[Any]):
    __hash__ = _serial


class _Task(asyncio.Task[Any]):
    __hash__ = _serial


def _new_task(loop: Any, coroutine: Any, **more: Any) -> "_Task":
    task = _Task(coroutine, loop=loop, **more)
    loop.keep(task)
    return task


class VirtualLoop(_BaseLoop):  # type: ignore[misc]
    """``time()`` begins at 0 and moves only when nothing is ready. Executors run their work at once."""

    def __init__(self) -> None:
        super().__init__()
        self.serials = itertools.count(1)
        self._now_s = 0.0
        self._tidy_at = TASKS_KEPT
        self._scheduled: list[tuple[float, int, Any]] = []  # a heap
        self._timers = itertools.count()  # those of one moment run in the order in which they were set
        self._cancelled = 0
        self.errors: list[dict[str, Any]] = []  # of callbacks and tasks that nobody awaits
        self.all_tasks: list[Any] = []  # keeps what dead processes left behind from being collected
        self.set_task_factory(_new_task)
        self.set_exception_handler(lambda _loop, context: self.errors.append(context))

    def time(self) -> float:
        """Virtual seconds since the beginning."""
        return self._now_s

    def create_future(self) -> "asyncio.Future[Any]":
        """A future with a serial number."""
        return _Future(loop=self)

    def call_soon(
        self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        """As asyncio's, for the process that calls."""
        handle: asyncio.Handle = _Handle(callback, args, self, context=context)
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
        timer: asyncio.TimerHandle = _Timer(callback, args, self, context=context)
        timer._when = when  # type: ignore[attr-defined]
        heapq.heappush(self._scheduled, (when, next(self._timers), timer))
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

    def at(self, when: float, work: Callable[[], None]) -> None:
        """Calls a plain function (no method, no partial) at a time, in the name of no process.

        It can't be cancelled, and costs less than a timer: most of what happens is a message that arrives.
        """
        heapq.heappush(self._scheduled, (when, next(self._timers), work))

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
        # Otherwise what a ``finally`` begins would be kept for ever by a loop that asyncio makes for it.
        asyncio.set_event_loop(None)
        with without_complaints():
            for task in self.all_tasks:
                if not task.done():
                    task._log_destroy_pending = False
                    with contextlib.suppress(BaseException):
                        task.get_coro().close()
            self.all_tasks.clear()
            self._ready.clear()
            self._scheduled.clear()
            self.close()

    def note_cancelled(self) -> None:
        """Drops cancelled timers once there are more of them than of others."""
        self._cancelled += 1
        if self._cancelled > TIMERS_KEPT and 2 * self._cancelled > len(self._scheduled):
            self._scheduled = [entry for entry in self._scheduled if not _is_cancelled(entry[2])]
            heapq.heapify(self._scheduled)
            self._cancelled = 0

    def _run_once(self) -> None:
        """Runs what is ready; if nothing is, the clock moves to the next timer first."""
        ready = self._ready
        if not ready:
            self._jump()
        for _ in range(len(ready)):
            handle = ready.popleft()
            try:
                if handle.__class__ is FunctionType:
                    handle()
                elif handle._cancelled:
                    continue
                elif handle.process is not None and handle.process.life is not Life.RUNS:
                    handle.process.hold(handle)
                else:
                    handle._context.run(handle._callback, *handle._args)
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as error:  # noqa: BLE001 (as asyncio does: it belongs to nobody)
                self.call_exception_handler({"message": f"in {handle!r}", "exception": error})

    def _jump(self) -> None:
        """Moves the clock to the next timer, and makes ready all timers of that moment."""
        timers, pop = self._scheduled, heapq.heappop
        while timers and _is_cancelled(timers[0][2]):
            pop(timers)
        if not timers:
            raise DeadlockError(f"at {self._now_s:.3f} s everything waits and no timer is set")
        now_s = self._now_s = max(self._now_s, timers[0][0])
        while timers and timers[0][0] <= now_s:
            self._ready.append(pop(timers)[2])

    def _write_to_self(self) -> None:
        """Nobody calls from another thread."""

    def __del__(self) -> None:
        """Nothing is open, so nobody is warned that it was not closed."""
