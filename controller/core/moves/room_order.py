"""The pools of one tier in the order of their room, the largest first, while load only joins them.

A forced move gives something to the few pools of a tier with the most room. Many routes have the same tier,
and between two of them only the pools change that the first was placed on. So the room of all pools is worked
out once, and the order is kept as a heap in which each entry is at least the room that its pool has now (lazy
evaluation, Minoux 1978): the first entry is worked out anew, and is the largest room if it has not shrunk.

That holds while no load leaves a pool or a quota group; ``Draft`` forgets its orders when some does.
"""

from collections.abc import Callable, Sequence
from heapq import heapify, heappop, heappush, heapreplace

Room = tuple[int, int]
"""(room in parts per million of a route's demand, pool with its sign turned), so that of equal rooms the pool
with the lower index is the larger."""


class RoomOrder:
    """The order of pools by ``left``, the units/s that each can take now."""

    def __init__(self, pools: Sequence[int], left: Sequence[float]) -> None:
        self._heap = [(-units, pool) for pool, units in zip(pools, left, strict=True)]
        heapify(self._heap)

    def largest(
        self, count: int, left: Callable[[int], float], in_parts: Callable[[float], int], barred: int
    ) -> list[Room] | None:
        """The ``count`` largest rooms, the largest first; None if no more pools than that have any.

        ``left``: what a pool can take now, which is no more than before. ``in_parts``: room in units/s as
        parts of the route. ``barred``: a pool that gets nothing.
        """
        heap, met, rooms = self._heap, list[tuple[float, int]](), list[Room]()
        least = 0  # parts of the room in the place ``count``
        while heap:
            turned, pool = heap[0]
            # Rooms that differ in units/s may be the same in parts.
            if turned >= 0 or (len(rooms) > count and in_parts(-turned) < max(least, 1)):
                break
            if (units := left(pool)) < -turned:
                heapreplace(heap, (-units, pool))
                continue
            met.append(heappop(heap))
            if pool != barred:
                rooms.append((in_parts(units), -pool))
                least = rooms[min(count, len(rooms)) - 1][0]
        for entry in met:
            heappush(heap, entry)
        return sorted(rooms, reverse=True)[:count] if len(rooms) > count else None
