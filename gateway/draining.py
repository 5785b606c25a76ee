"""The end of a worker, in the order in which others can take over.

1. *Notice*: `/readyz` fails, so that load balancers stop sending. Requests are still taken, because some come
   until all of those have looked.
2. *Closing*: the socket is closed, idle connections are ended, and a request that comes over an old one is
   told to go elsewhere. What is under way goes on.
3. *Over*: what is still under way is told: a stream gets an error event, another request a 503.

``Drain`` holds the stage and knows the requests under way; whoever runs the worker moves it on.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gateway.visit import Visit

TOLD_TEXT = "the gateway has ended, and this answer was still under way"
MUTE_MAX_MS = 60_000  # a caller may leave what was written untaken for so long


class Drain:
    """The stage of one worker. ``is_unready``, ``refuses`` and ``is_over`` become true in this order."""

    def __init__(self) -> None:
        self.is_unready = False
        self.refuses = False
        self.is_over = False
        self._under_way: dict[asyncio.Task[object], tuple[Visit, Callable[[], None]]] = {}
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        """How many requests are under way."""
        return len(self._under_way)

    @contextmanager
    def under_way(self, visit: Visit, abort: Callable[[], None]) -> Iterator[None]:
        """The present task has a request under way. ``abort`` breaks its connection."""
        task = asyncio.current_task()
        assert task is not None
        self._under_way[task] = visit, abort
        self._empty.clear()
        try:
            yield
        finally:
            del self._under_way[task]
            if not self._under_way:
                self._empty.set()

    async def emptied(self, within_s: float) -> bool:
        """Wait until nothing is under way; False: something is after so many seconds."""
        try:
            async with asyncio.timeout(within_s):
                await self._empty.wait()
        except TimeoutError:
            return False
        return True

    def tell(self) -> int:
        """Interrupt what is under way, so that it tells its caller. Returns how many that were."""
        self.is_over = True
        for task in tuple(self._under_way):
            task.cancel()
        return len(self._under_way)

    def end_untaken(self, now_ms: int) -> int:
        """Break the connections of callers who have not taken what was written to them for
        ``MUTE_MAX_MS``: each holds a connection to a provider. Returns how many that were."""
        waiting = [
            abort
            for visit, abort in self._under_way.values()
            if visit.writing_since_ms and now_ms - visit.writing_since_ms > MUTE_MAX_MS
        ]
        for abort in waiting:
            abort()
        return len(waiting)
