"""The end of tasks that follow something for as long as they run."""

import asyncio
from collections.abc import Collection
from typing import Any

CANCEL_EVERY_S = 0.5


async def end_all(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancels the tasks until all have ended.

    Once is not enough. A library that is cancelled while it connects may report a failed connection instead,
    and one that is cancelled while it closes a connection may take the cancellation for its own. A task that
    tries again would then go on for ever.
    """
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=CANCEL_EVERY_S)
    await asyncio.gather(*tasks, return_exceptions=True)
