"""The end of tasks that follow something for as long as they run, and steps that may not be cut in half."""

import asyncio
from collections.abc import Collection, Coroutine
from typing import Any, TypeVar

CANCEL_EVERY_S = 0.5

T = TypeVar("T")


async def end_all(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancels the tasks until all have ended, also when the caller is cancelled meanwhile.

    Once is not enough. A library that is cancelled while it connects may report a failed connection instead,
    and one that is cancelled while it closes a connection may take the cancellation for its own. A task that
    tries again would then go on for ever.
    """
    if tasks:
        await whole(_cancel_until_ended(tasks))


async def run_all(*parts: Coroutine[Any, Any, None]) -> None:
    """Runs all until cancelled, or until one fails: the others are ended then, and its error is raised.

    In the place of a ``TaskGroup``, which cancels its tasks only once.
    """
    tasks = [asyncio.ensure_future(part) for part in parts]
    try:
        await asyncio.gather(*tasks)
    finally:
        await end_all(tasks)


async def _cancel_until_ended(tasks: Collection[asyncio.Task[Any]]) -> None:
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=CANCEL_EVERY_S)
    await asyncio.gather(*tasks, return_exceptions=True)


async def whole(step: Coroutine[Any, Any, T], *, grace_s: float | None = None) -> T:
    """Runs the step to its end, and raises CancelledError only then if the caller was cancelled meanwhile.

    For steps that leave something open when they are cut in half. The step must have a time limit of its own,
    or ``grace_s``: the step is cancelled too if it has not ended that long after the caller was.
    """
    task = asyncio.ensure_future(step)
    loop = asyncio.get_running_loop()
    cut: asyncio.TimerHandle | None = None
    cancelled = False
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            cancelled = True
            if grace_s is not None and cut is None:
                cut = loop.call_later(grace_s, task.cancel)
    if cut is not None:
        cut.cancel()
    if cancelled:
        if not task.cancelled():
            task.exception()  # asyncio would log an error that nobody asks for
        raise asyncio.CancelledError
    return task.result()
