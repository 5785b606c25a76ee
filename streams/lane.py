"""From one agent to its handler: records in order, unacknowledged, handled in groups.

A record waits for nothing when the handler is idle; while one group is on its way to Redis the next gathers.
Only the lane acknowledges, and only after the whole group is safe, so neither an exception nor a cancelled
agent can acknowledge what is not stored.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from streams.contract_check import Record
from streams.handling import HandBack
from streams.positions import Partition

GROUP_MAX_BYTES = 4 * 1024 * 1024


class LaneError(RuntimeError):
    """The lane has ended; a record that is put into it now is released."""


class Delivery(NamedTuple):
    """A record that its consumer keeps unacknowledged until exactly one of the two functions is called.

    ``generation`` rises with every assignment of partitions.
    """

    record: Record
    generation: int
    acknowledge: Callable[[], object]
    release: Callable[[], object]  # not handled here: it stays uncommitted and is read again


class Lane:
    """One topic's way to its handler. Nothing is handled unless ``run`` is running."""

    def __init__(
        self,
        handle: Callable[[Sequence[Record]], Awaitable[None]],
        *,
        group_max: int,
        waiting_max: int,
    ) -> None:
        self._handle = handle
        self._group_max = group_max
        self._waiting: asyncio.Queue[Delivery] = asyncio.Queue(maxsize=waiting_max)
        self._end = asyncio.Event()
        self._generation_handed_back = -1  # the newest of which a record was handed back
        self._generation_taken = -1  # the newest of which a record was taken over
        self._generation_forgotten: dict[Partition, int] = {}  # up to which its records are of the past
        self.next_offsets: dict[Partition, int] = {}  # by partition, the first offset that is not yet safe

    async def put(self, delivery: Delivery) -> None:
        """Takes a record over; waits while too many wait already. Raises ``LaneError`` when the lane has
        ended."""
        if self._end.is_set():
            delivery.release()
            raise LaneError("the lane has ended")
        self._generation_taken = max(self._generation_taken, delivery.generation)
        try:
            await self._waiting.put(delivery)
        except BaseException:
            delivery.release()
            raise
        if self._end.is_set():  # while this waited for room
            self._release(self._drain())

    async def run(self) -> None:
        """Handles until cancelled. Whatever is left then is released, also if anything raises.

        After a record was handed back, no other of its generation is handled: to acknowledge a later one
        could commit past it. The next generation starts again from what is committed.
        """
        group: list[Delivery] = []
        try:
            while True:
                group = await self._next_group()
                if not group:
                    continue
                try:
                    await self._handle([delivery.record for delivery in group])
                except HandBack:
                    self._generation_handed_back = max(delivery.generation for delivery in group)
                    self._release(group)
                    self._release(self._drain())
                else:
                    self._acknowledge(group)
                group = []
        finally:
            self._end.set()
            self._release(group)
            self._release(self._drain())

    def forget(self, partition: Partition) -> None:
        """The partition belongs to another process now. If it comes back it goes on elsewhere, at what is
        committed by then: what was taken over before, and is safe only later, does not say where."""
        self.next_offsets.pop(partition, None)
        self._generation_forgotten[partition] = self._generation_taken

    async def _next_group(self) -> list[Delivery]:
        delivery = await self._waiting.get()
        group: list[Delivery] = []
        size_bytes = 0
        while True:
            if delivery.generation > self._generation_handed_back:
                group.append(delivery)
                size_bytes += delivery.record.size_bytes
            else:
                delivery.release()
            full = len(group) >= self._group_max or size_bytes >= GROUP_MAX_BYTES
            if full or self._waiting.empty():
                return group
            delivery = self._waiting.get_nowait()

    def _acknowledge(self, group: Sequence[Delivery]) -> None:
        for delivery in group:
            delivery.acknowledge()
            record = delivery.record
            partition = Partition(record.topic, record.partition)
            if delivery.generation > self._generation_forgotten.get(partition, -1):
                self.next_offsets[partition] = record.offset + 1

    def _release(self, group: Sequence[Delivery]) -> None:
        for delivery in group:
            delivery.release()

    def _drain(self) -> list[Delivery]:
        return [self._waiting.get_nowait() for _ in range(self._waiting.qsize())]
