"""From one agent to its handler: records in order, held unacknowledged, handled in groups.

A record waits for nothing when the handler is idle; while one group is on its way to Redis the next gathers.
Acknowledging is the lane's alone and comes after the whole group is safe, so neither an exception nor a
cancelled agent can acknowledge what is not stored.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from streams.handling import Yielded
from streams.record import Held, Record

GROUP_MAX_BYTES = 4 * 1024 * 1024


class LaneError(RuntimeError):
    """The lane has ended; records given to it now are released."""


class Lane:
    """One topic's way. ``run`` must be running for anything to be handled."""

    def __init__(
        self,
        handle: Callable[[Sequence[Record]], Awaitable[None]],
        *,
        group_max: int,
        waiting_max: int,
    ) -> None:
        self._handle = handle
        self._group_max = group_max
        self._waiting: asyncio.Queue[Held] = asyncio.Queue(maxsize=waiting_max)
        self._end = asyncio.Event()
        self._given_back = -1  # generation of the last record that was given back
        self.next_offsets: dict[tuple[str, int], int] = {}  # by topic and partition, of what is safe

    async def put(self, held: Held) -> None:
        """Takes a record over; waits while too many wait already. Raises ``LaneError`` when it has ended."""
        if self._end.is_set():
            held.release()
            raise LaneError("the lane has ended")
        try:
            await self._waiting.put(held)
        except BaseException:
            held.release()
            raise
        if self._end.is_set():  # while this waited for room
            self._release(self._drained())

    async def run(self) -> None:
        """Handles until cancelled. What is left then is released, and so it is if anything raises.

        After a record was given back none of its generation is handled: to acknowledge a later one could
        commit past it. The next generation starts again from what is committed.
        """
        group: list[Held] = []
        try:
            while True:
                group = await self._next_group()
                if not group:
                    continue
                try:
                    await self._handle([held.record for held in group])
                except Yielded:
                    self._given_back = max(held.generation for held in group)
                    self._release(group)
                    self._release(self._drained())
                else:
                    self._acknowledge(group)
                group = []
        finally:
            self._end.set()
            self._release(group)
            self._release(self._drained())

    def forget(self, topic: str, partition: int) -> None:
        """The partition is another's now."""
        self.next_offsets.pop((topic, partition), None)

    async def _next_group(self) -> list[Held]:
        held = await self._waiting.get()
        group: list[Held] = []
        size_bytes = 0
        while True:
            if held.generation > self._given_back:
                group.append(held)
                size_bytes += held.record.size_bytes
            else:
                held.release()
            full = len(group) >= self._group_max or size_bytes >= GROUP_MAX_BYTES
            if full or self._waiting.empty():
                return group
            held = self._waiting.get_nowait()

    def _acknowledge(self, group: Sequence[Held]) -> None:
        for held in group:
            held.acknowledge()
            self.next_offsets[held.record.topic, held.record.partition] = held.record.offset + 1

    def _release(self, group: Sequence[Held]) -> None:
        for held in group:
            held.release()

    def _drained(self) -> list[Held]:
        return [self._waiting.get_nowait() for _ in range(self._waiting.qsize())]
