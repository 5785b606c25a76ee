"""Tasks that must not die unnoticed: the end of one, however it came, is the end of all. And how a process
is told to end."""

import asyncio
import os
import signal
from collections.abc import Coroutine
from typing import Any

import structlog

EXIT_AT_ONCE = 130


class TaskEndedError(RuntimeError):
    """A task that should run until it is cancelled has returned."""


async def together(parts: dict[str, Coroutine[Any, Any, None]]) -> None:
    """Runs all until cancelled. The first that ends, by return or by error, ends the others and is raised.

    Of several errors at once the first (by name) is raised and the others are logged.
    """
    tasks = {asyncio.create_task(part, name=name): name for name, part in parts.items()}
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        ended = sorted((task for task in tasks if task.done()), key=lambda task: tasks[task])
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    first, *others = [_error_of(task, tasks[task]) for task in ended]
    log = structlog.get_logger("supervise")
    for task, error in zip(ended[1:], others, strict=True):
        log.error("task died", task=tasks[task], error=repr(error))
    log.error("task died", task=tasks[ended[0]], error=repr(first))
    raise first


def _error_of(task: "asyncio.Task[None]", name: str) -> BaseException:
    if task.cancelled():
        return TaskEndedError(f"task {name!r} was cancelled by itself")
    return task.exception() or TaskEndedError(f"task {name!r} ended")


def end_on_signals() -> asyncio.Event:
    """Set by the first SIGTERM or SIGINT; the second ends the process at once."""
    asked = asyncio.Event()

    def on_signal() -> None:
        if asked.is_set():
            os._exit(EXIT_AT_ONCE)
        asked.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    return asked
