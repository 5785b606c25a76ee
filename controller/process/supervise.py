"""Running the tasks of a process, which all end when one ends; the clean end that a signal asks for; and how
often garbage is collected and free memory is given back."""

import asyncio
import ctypes
import faulthandler
import gc
import os
import signal
from collections.abc import Callable, Coroutine
from typing import Any

from controller.process.clock import monotonic_ms
from controller.process.telemetry import logger
from tieline.cancelling import end_all

EXIT_AT_ONCE = 130
COLLECT_AFTER = (25_000, 20, 50)  # allocations, then rounds of the generation below
COLLECT_OFTEN_AFTER = (200, 2, 2)
OLDEST_GENERATION = 2
GIVE_BACK_EVERY_MS = 60_000


class TaskEndedError(RuntimeError):
    """A task returned that should run until it is cancelled."""


async def together(parts: dict[str, Coroutine[Any, Any, None]]) -> None:
    """Runs all until cancelled. When one ends, by return or by error, the others are cancelled.

    Raises the error of the task that ended, or ``TaskEndedError``. If several end at once, the first by name
    is raised; all are logged.
    """
    tasks = {asyncio.create_task(part, name=name): name for name, part in parts.items()}
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        ended = sorted((task for task in tasks if task.done()), key=lambda task: tasks[task])
        await end_all(tasks)
    first, *others = [_error_of(task, tasks[task]) for task in ended]
    log = logger("supervise")
    for task, error in zip(ended[1:], others, strict=True):
        log.error("a task ended", task=tasks[task], error=repr(error))
    log.error("a task ended", task=tasks[ended[0]], error=repr(first))
    raise first


def _error_of(task: "asyncio.Task[None]", name: str) -> BaseException:
    if task.cancelled():
        return TaskEndedError(f"task {name!r} cancelled itself")
    return task.exception() or TaskEndedError(f"task {name!r} ended")


async def until_asked(end: asyncio.Event, task: "asyncio.Task[None]") -> None:
    """Returns once ``end`` is set or the task returns. Raises the error of a task that ends before."""
    ending = asyncio.create_task(end.wait())
    await asyncio.wait({task, ending}, return_when=asyncio.FIRST_COMPLETED)
    ending.cancel()
    if task.done():
        task.result()


def end_on_signals() -> asyncio.Event:
    """An event that the first SIGTERM or SIGINT sets. The second signal ends the process at once.

    A crash in a library that is not Python says from now on where each thread was.
    """
    faulthandler.enable()
    end = asyncio.Event()

    def on_signal() -> None:
        if end.is_set():
            os._exit(EXIT_AT_ONCE)
        end.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    return end


def collect_seldom() -> None:
    """Makes full garbage collections rare.

    One takes 100 ms and more, in which nothing else runs, and finds little: what exists at the start stays,
    and events are freed by reference counting.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)


def collect_often() -> None:
    """Makes full garbage collections frequent, for a process that does a little every few seconds.

    Each connection that asyncio closes leaves a cycle of objects. Python looks for such cycles among old
    objects only after 70,000 allocations, and when a quarter as many objects are new as are old. A process
    that asks for one page every ten seconds would come to that after hours, with 40 MiB of garbage. What
    exists at the start is left out, so that a full collection takes less than a millisecond. After one, but
    not more than once a minute, free memory goes back to the system.
    """
    gc.collect()
    gc.freeze()
    gc.collect()  # Python remembers how many objects were old, and must forget those that are frozen now
    gc.set_threshold(*COLLECT_OFTEN_AFTER)
    # Only glibc has this function. It keeps pages between what is in use, a little more after each burst.
    if (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        gc.callbacks.append(giving_back(trim))


def giving_back(
    trim: Callable[[int], object], now_ms: Callable[[], int] = monotonic_ms
) -> Callable[[str, dict[str, int]], None]:
    """A callback for ``gc.callbacks``: calls ``trim(0)`` after full collections, once a minute at most."""
    due_ms = now_ms()

    def on_collection(phase: str, collection: dict[str, int]) -> None:
        nonlocal due_ms
        at_ms = now_ms()
        if phase == "stop" and collection["generation"] == OLDEST_GENERATION and at_ms >= due_ms:
            due_ms = at_ms + GIVE_BACK_EVERY_MS
            trim(0)

    return on_collection
