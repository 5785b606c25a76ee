"""Writes how far each assigned partition is consumed, about twice a second; notices one that stands still.

Evidence does not age while its partition is not consumed to its end, so the end is asked of Kafka each time:
a consumer that has lost Kafka must not look as if it had caught up.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import structlog

from streams.clock_offsets import ClockOffsets
from streams.consumer_thread import FetchedOffsets
from streams.lane import Lane
from streams.letters import DeadLetters
from streams.logs import LogPace
from streams.positions import Offsets, Partition
from streams.rows import Progress
from streams.store import Tables, TablesLostError
from streams.watchdog import AWAY

log = structlog.get_logger(__name__)


class ProgressReporter:
    """The progress of one process's partitions. ``lanes`` and ``topic_ids`` by topic; ``assigned`` says which
    are ours now; ``recover`` joins or rebuilds tables that are lost."""

    def __init__(
        self,
        *,
        tables: Tables,
        offsets: Offsets,
        lanes: Mapping[str, Lane],
        fetched: FetchedOffsets,
        letters: DeadLetters,
        stale_share: Callable[[str], float],
        topic_ids: Mapping[str, str],
        clock: ClockOffsets,
        assigned: Callable[[], set[Partition]],
        recover: Callable[[], Awaitable[None]],
    ) -> None:
        self._tables = tables
        self._offsets = offsets
        self._lanes = lanes
        self._fetched = fetched
        self._letters = letters
        self._stale_share = stale_share
        self._topic_ids = topic_ids
        self._clock = clock
        self._assigned = assigned
        self._recover = recover
        self._starts: dict[Partition, int] = {}
        self._changes = 0  # how often a partition was taken away
        self._standing_since: dict[Partition, tuple[int, float]] = {}  # next offset, since when (loop time)
        self._behind_since_ms: dict[Partition, int] = {}
        self._pace = LogPace()
        self.rows: list[Progress] = []  # as last written

    async def run(self, every_s: float) -> None:
        """Reports until cancelled. Kafka or Redis being away is logged, not raised."""
        while True:
            try:
                await self.report()
            except TablesLostError:
                await self._try_to_recover()
            except AWAY as error:
                self._note_trouble(error)
            await asyncio.sleep(every_s)

    def forget(self, partition: Partition) -> None:
        """The partition was taken away. It may come back at once: then it goes on at what is committed by
        then, and not at what was committed when this process first got it."""
        self._changes += 1
        self._lanes[partition.topic].forget(partition)
        self._starts.pop(partition, None)

    async def report(self) -> None:
        """Writes one row for each partition. Without any it still finds out whether the tables are lost.

        A report during which partitions were taken away is left out, because it mixes two assignments.
        """
        partitions, changes = sorted(self._assigned()), self._changes
        self._starts = {ours: at for ours, at in self._starts.items() if ours in partitions}
        self._behind_since_ms = {ours: at for ours, at in self._behind_since_ms.items() if ours in partitions}
        unknown = [partition for partition in partitions if partition not in self._starts]
        starts = await self._offsets.starts(unknown) if unknown else {}
        # The end is asked first and our own place read after it: so the two never make us look ahead. The row
        # is of when the end was asked: an answer may be slow, and a process may be stopped while it has it.
        asked_ms = self._clock.now_ms()
        ends = await self._offsets.ends(partitions) if partitions else {}
        if self._changes != changes:
            return
        self._starts |= starts
        rows = [self._row(partition, ends[partition], asked_ms) for partition in partitions]
        self._note_standing(rows)
        self.rows = rows
        await self._tables.put_progress(rows)

    def stalled(self, after_s: float) -> Partition | None:
        """A partition that has records and has not advanced for that long, or None."""
        now_s = asyncio.get_running_loop().time()
        for partition, (_, since) in sorted(self._standing_since.items()):
            if now_s - since > after_s:
                return partition
        return None

    def _row(self, partition: Partition, end_offset: int, at_ms: int) -> Progress:
        lane = self._lanes[partition.topic]
        safe_offset = lane.next_offsets.get(partition, self._starts[partition])
        next_offset = self._fetched.past(partition, safe_offset)
        if next_offset >= end_offset:
            self._behind_since_ms.pop(partition, None)
        else:
            self._behind_since_ms.setdefault(partition, at_ms)
        waiting = len(self._letters.notes.waiting(partition))
        return Progress(
            topic=partition.topic,
            partition=partition.number,
            next_offset=min(next_offset, end_offset),
            end_offset=end_offset,
            at_ms=at_ms,
            clock_offset_ms=self._clock.offset_ms(partition),
            topic_id=self._topic_ids[partition.topic],
            behind_since_ms=self._behind_since_ms.get(partition, 0),
            letters_waiting=waiting,
            trouble=self._letters.trouble if waiting else "",
            stale_share=self._stale_share(partition.topic),
        )

    def _note_standing(self, rows: list[Progress]) -> None:
        now_s = asyncio.get_running_loop().time()
        standing = {}
        for row in rows:
            if not row.caught_up:
                partition = Partition(row.topic, row.partition)
                offset, since = self._standing_since.get(partition, (-1, now_s))
                standing[partition] = (row.next_offset, since if offset == row.next_offset else now_s)
        self._standing_since = standing

    async def _try_to_recover(self) -> None:
        try:
            await self._recover()
        except (*AWAY, TablesLostError) as error:
            self._note_trouble(error)

    def _note_trouble(self, error: Exception) -> None:
        if self._pace.allows("progress_not_written", asyncio.get_running_loop().time()):
            log.warning("progress_not_written", why=f"{type(error).__name__}: {error}")
