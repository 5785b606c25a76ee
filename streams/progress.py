"""Writes how far each assigned partition is consumed, about twice a second; notices one that stands still.

Evidence does not age while its partition is not consumed to its end, so the end is asked of Kafka each time:
a consumer that has lost Kafka must not look as if it had caught up.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import structlog
from aiokafka.errors import KafkaError
from redis.exceptions import RedisError

from streams.lane import Lane
from streams.positions import ClockOffsets, Offsets, Place
from streams.rows import Progress
from streams.store import Tables, TablesLostError

LOG_EVERY_S = 10.0

log = structlog.get_logger(__name__)


class ProgressReporter:
    """The progress of one process's partitions. ``lanes`` by topic; ``assigned`` says which are ours now."""

    def __init__(
        self,
        tables: Tables,
        offsets: Offsets,
        lanes: Mapping[str, Lane],
        clock: ClockOffsets,
        assigned: Callable[[], set[Place]],
        recover: Callable[[], Awaitable[None]],
    ) -> None:
        self._tables = tables
        self._offsets = offsets
        self._lanes = lanes
        self._clock = clock
        self._assigned = assigned
        self._recover = recover
        self._starts: dict[Place, int] = {}
        self._behind_since: dict[Place, tuple[int, float]] = {}
        self._logged_at = -LOG_EVERY_S

    async def run(self, every_s: float) -> None:
        """Reports until cancelled. Kafka or Redis being away is logged, not raised."""
        while True:
            try:
                await self.report()
            except TablesLostError:
                await self._try_to_recover()
            except (KafkaError, RedisError, OSError, TimeoutError) as error:
                self._note_trouble(error)
            await asyncio.sleep(every_s)

    async def report(self) -> None:
        """One row a partition. Without any partition it still finds out whether the tables are lost."""
        places = sorted(self._assigned())
        self._starts = {place: at for place, at in self._starts.items() if place in places}
        if unknown := [place for place in places if place not in self._starts]:
            self._starts |= await self._offsets.starts(unknown)
        # The end is asked first and our own place taken after it: so the two never make us look ahead.
        ends = await self._offsets.ends(places) if places else {}
        rows = [self._row(place, ends[place]) for place in places]
        self._note_standing(rows)
        await self._tables.put_progress(rows)

    def stalled(self, after_s: float) -> Place | None:
        """A partition that has records and has not advanced for that long."""
        now = asyncio.get_running_loop().time()
        for place, (_, since) in sorted(self._behind_since.items()):
            if now - since > after_s:
                return place
        return None

    def _row(self, place: Place, end_offset: int) -> Progress:
        topic, partition = place
        next_offset = self._lanes[topic].next_offsets.get(place, self._starts[place])
        offset_ms = self._clock.offset_ms(topic, partition)
        return Progress(
            topic, partition, min(next_offset, end_offset), end_offset, self._clock.now_ms(), offset_ms
        )

    def _note_standing(self, rows: list[Progress]) -> None:
        now = asyncio.get_running_loop().time()
        standing = {}
        for row in rows:
            if not row.caught_up:
                place = (row.topic, row.partition)
                offset, since = self._behind_since.get(place, (-1, now))
                standing[place] = (row.next_offset, since if offset == row.next_offset else now)
        self._behind_since = standing

    async def _try_to_recover(self) -> None:
        try:
            await self._recover()
        except (KafkaError, RedisError, OSError, TimeoutError, TablesLostError) as error:
            self._note_trouble(error)

    def _note_trouble(self, error: Exception) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._logged_at > LOG_EVERY_S:
            self._logged_at = now
            log.warning("progress_not_written", why=f"{type(error).__name__}: {error}")
