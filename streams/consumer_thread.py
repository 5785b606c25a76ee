"""Faust's consumer lives in a thread with a loop of its own; this makes that thread mortal.

Stopping an app while Kafka is away waits for a commit without end, and the thread then keeps the whole
process alive, and its partitions too once Kafka is back. So it is a daemon, and can be ended by force.
"""

import asyncio
import threading
from typing import Any

from mode.threads import WorkerThread

FETCH_MAX_WAIT_MS = 250
CANCEL_WITHIN_S = 2.0


class _Mortal(WorkerThread):  # type: ignore[misc]
    """Does not keep the process alive, and ends without a traceback when its loop is stopped by force."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.daemon = True

    def run(self) -> None:
        try:
            super().run()
        except BaseException:
            if not self.service.should_stop:
                raise


def prepare(app: Any) -> None:
    """Before the app starts. Faust asks brokers to wait up to 1.5 s for data, and a partition that was just
    drained is only asked for again after that; a quarter of a second costs four requests a second."""
    thread = app.consumer._thread
    thread.Worker = _Mortal
    create = thread._create_consumer

    def create_consumer(loop: asyncio.AbstractEventLoop) -> Any:
        consumer = create(loop)
        consumer._fetch_max_wait_ms = FETCH_MAX_WAIT_MS
        return consumer

    thread._create_consumer = create_consumer


async def abandon(app: Any) -> None:
    """Ends the thread of an app that does not stop: cancels everything in its loop, then stops the loop. What
    was not committed stays so."""
    thread = app.consumer._thread
    worker: threading.Thread | None = thread._thread
    if worker is None or not worker.is_alive():
        return
    loop: asyncio.AbstractEventLoop = thread.thread_loop
    thread._stopped_set()
    _call(loop, lambda: [task.cancel() for task in asyncio.all_tasks(loop)])
    await asyncio.to_thread(worker.join, CANCEL_WITHIN_S)
    if worker.is_alive():
        _call(loop, loop.stop)
        await asyncio.to_thread(worker.join, CANCEL_WITHIN_S)


def _call(loop: asyncio.AbstractEventLoop, what: Any) -> None:
    try:
        loop.call_soon_threadsafe(what)
    except RuntimeError:
        pass  # closed in the meantime
