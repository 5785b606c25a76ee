"""The tables from Kafka alone, into a Redis that has none: Redis is a projection.

A consumer without a group reads the compacted topics whole, and of the perishable ones what can still count.
Rows are folded exactly as they are live, then put where nothing newer is. Only when all are there does a run
marker make the tables valid; until then nobody writes into them. Several processes may rebuild at once: they
come to the same rows, and the first marker wins.
"""

import asyncio
import uuid
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition

from streams.demand import SECONDS_KEPT
from streams.fold import supersedes
from streams.judge import Judge
from streams.memory import MemoryTables
from streams.record import Record
from streams.rows import DemandRow, Row
from streams.settings import IngestSettings, Registered
from streams.store import CAPACITY, DEMAND, HEALTH, STATEMENTS, AnyRow, Tables, Write
from streams.storing import DemandItem, DemandStorer, RowItem, RowStorer
from streams.topic_ids import TopicFacts
from tieline.cloudevents import Poison
from tieline.events import STALE_AFTER_MAX_MS, Demand
from tieline.kafka import connecting

DEMAND_READ_MS = 3 * SECONDS_KEPT * 1000
BATCH = 500
POLL_MS = 1_000
IDLE_POLLS_MAX = 30
RACES_MAX = 20
TAIL_PER_SOURCE = 8

log = structlog.get_logger(__name__)


class RebuildError(RuntimeError):
    """The tables could not be rebuilt; the message says how far it came."""


class Recovery:
    """Finds out whether the tables are whole, and makes them so. One at a time in a process."""

    def __init__(
        self,
        settings: IngestSettings,
        tables: Tables,
        registered: Callable[[], Registered],
        now_ms: Callable[[], int],
    ) -> None:
        self._settings = settings
        self._tables = tables
        self._registered = registered
        self._now_ms = now_ms
        self._lock = asyncio.Lock()

    async def ensure(self, facts: dict[str, TopicFacts]) -> None:
        """Joins the tables' run; rebuilds them first if they have none. Raises what Kafka and Redis raise."""
        async with self._lock:
            run = await self._tables.run()
            if run is not None and await self._tables.join(run):
                return
            judge = Judge(self._settings.topics, self._registered())
            rows = await rebuild(self._settings, judge, facts, self._tables, self._now_ms())
            run = await self._tables.establish(uuid.uuid4().hex)
            log.info("tables_rebuilt", rows=rows, run=run)


async def rebuild(
    settings: IngestSettings, judge: Judge, facts: dict[str, TopicFacts], tables: Tables, now_ms: int
) -> int:
    """Reads, folds and restores; answers how many rows there are. The caller establishes the run."""
    folded = MemoryTables()
    await folded.establish("rebuild")
    rows = RowStorer(folded, lambda _: None)
    demand = DemandStorer(folded, lambda _: None, lambda: judge.registered.pools)
    # Earliest: a fetcher that resets a position behind our back may make us read too much, never too little.
    consumer = AIOKafkaConsumer(
        **connecting(settings.bootstrap), enable_auto_commit=False, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        topics = settings.topics
        for name in (topics.statements.name, topics.capacity.name):
            async for batch in _records(consumer, name, facts[name], None):
                await rows.store(_items(judge, batch))
        since_ms = now_ms - STALE_AFTER_MAX_MS
        reports = _records(consumer, topics.reports.name, facts[topics.reports.name], since_ms)
        await rows.store(_items(judge, await _tails(reports)))
        since_ms = now_ms - DEMAND_READ_MS
        async for batch in _records(consumer, topics.demand.name, facts[topics.demand.name], since_ms):
            await demand.store(_items(judge, batch))
    finally:
        await consumer.stop()
    return await _restore(folded, tables)


async def _records(
    consumer: AIOKafkaConsumer, topic: str, facts: TopicFacts, since_ms: int | None
) -> AsyncIterator[list[Record]]:
    """Every record from ``since_ms`` (None: the first) to the ends as they are now, in order by partition."""
    partitions = [TopicPartition(topic, number) for number in range(facts.partitions)]
    consumer.assign(partitions)
    ends = await consumer.end_offsets(partitions)
    await _seek(consumer, partitions, ends, since_ms)
    idle = 0
    while behind := [tp for tp in partitions if await consumer.position(tp) < ends[tp]]:
        fetched = await consumer.getmany(*behind, timeout_ms=POLL_MS, max_records=BATCH)
        idle = 0 if fetched else idle + 1
        if idle > IDLE_POLLS_MAX:
            raise RebuildError(f"{topic} could not be read to its end: {len(behind)} partitions left")
        batch = [
            Record(topic, facts.id, tp.partition, m.offset, m.timestamp, m.key, m.value, tuple(m.headers))
            for tp, messages in sorted(fetched.items())
            for m in messages
            if m.offset < ends[tp]
        ]
        if batch:
            yield batch


async def _seek(
    consumer: AIOKafkaConsumer,
    partitions: Sequence[TopicPartition],
    ends: dict[TopicPartition, int],
    since_ms: int | None,
) -> None:
    if since_ms is None:
        for tp, offset in (await consumer.beginning_offsets(partitions)).items():
            consumer.seek(tp, offset)
        return
    found = await consumer.offsets_for_times(dict.fromkeys(partitions, since_ms))
    for tp in partitions:
        at = found.get(tp)
        consumer.seek(tp, at.offset if at is not None else ends[tp])


async def _tails(batches: AsyncIterator[list[Record]]) -> list[Record]:
    """Of reports only the last few of each key and source can matter, and decoding is the dear part."""
    tails: dict[tuple[int, bytes | None, bytes], deque[Record]] = {}
    async for batch in batches:
        for record in batch:
            source = next((value for name, value in record.headers if name.lower() == "ce_source"), b"")
            kept = tails.setdefault((record.partition, record.key, source), deque(maxlen=TAIL_PER_SOURCE))
            kept.append(record)
    kept_records = [record for tail in tails.values() for record in tail]
    return sorted(kept_records, key=lambda record: (record.partition, record.offset))


def _items(judge: Judge, batch: Sequence[Record]) -> list[RowItem | DemandItem]:
    """The valid ones. The others were, or will be, dead-lettered by the agents."""
    items: list[RowItem | DemandItem] = []
    for record in batch:
        try:
            event = judge.event(record)
        except Poison:
            continue
        if isinstance(event, Demand):
            items.append(DemandItem(event, record.position, record.append_ms))
        else:
            items.append(RowItem(event, record.position, record.append_ms))
    return items


async def _restore(folded: MemoryTables, tables: Tables) -> int:
    restored = 0
    for table in (STATEMENTS, CAPACITY, HEALTH, DEMAND):
        fields = sorted(folded.state.rows.get(table, {}).items())
        for start in range(0, len(fields), BATCH):
            await _restore_batch(table, dict(fields[start : start + BATCH]), tables)
        restored += len(fields)
    return restored


async def _restore_batch(table: str, rows: dict[str, AnyRow], tables: Tables) -> None:
    """Puts each row where nothing newer is. The first try assumes an empty place; a refusal shows what is."""
    held: dict[str, AnyRow] = {}
    for _ in range(RACES_MAX):
        writes = [
            Write(table, field, held[field].position if field in held else None, row, False)
            for field, row in rows.items()
        ]
        taken = await tables.restore(writes)
        refused = [write.field for write, ok in zip(writes, taken, strict=True) if not ok]
        if not refused:
            return
        held = await tables.load(table, refused)
        rows = {field: rows[field] for field in refused if _newer(rows[field], held.get(field))}
    raise RebuildError(f"table {table} keeps being written by another process")


def _newer(row: AnyRow, held: AnyRow | None) -> bool:
    if isinstance(row, Row):
        return supersedes(row, held if isinstance(held, Row) else None)
    if not isinstance(held, DemandRow):
        return True
    same_log = held.position.topic_id == row.position.topic_id
    return not same_log or row.position.offset > held.position.offset
