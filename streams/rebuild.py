"""The tables from Kafka alone, into a Redis that has none: Redis is a projection.

A consumer without a group reads the compacted topics whole, and of the perishable ones what can still count.
Rows are folded exactly as they are live, then put where nothing newer is. Only when all are there does a run
marker make the tables valid; until then nobody writes into them. Several processes may rebuild at once: they
come to the same rows, and the first marker wins.
"""

import asyncio
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition

from streams.contract_check import Judge, Record
from streams.demand import SECONDS_MAX
from streams.every_record import close_reader, log_reader, open_reader
from streams.fold import supersedes
from streams.memory import MemoryTables
from streams.rows import DemandRow, Row
from streams.settings import IngestSettings
from streams.source_tail import SourceTails
from streams.store import CAPACITY, DEMAND, HEALTH, STATEMENTS, AnyRow, Tables, Write
from streams.storing import DemandItem, DemandStorer, RowItem, RowStorer
from streams.topic_ids import TopicFacts
from tieline.cloudevents import Poison
from tieline.events import STALE_AFTER_MAX_MS, Demand
from tieline.registration import Registry

DEMAND_READ_MS = 3 * SECONDS_MAX * 1000
BATCH_RECORDS_MAX = 500
POLL_MS = 1_000
IDLE_POLLS_MAX = 30
RESTORE_TRIES_MAX = 20
TOPIC_NOTE = "topic/"  # the note's name goes on with the topic's; it holds the topic's id

log = structlog.get_logger(__name__)


class RebuildError(RuntimeError):
    """The tables could not be rebuilt; the message says how far it came."""


class Recovery:
    """Finds out whether the tables are whole, and makes them so. One at a time in a process."""

    def __init__(
        self,
        settings: IngestSettings,
        tables: Tables,
        *,
        registry: Callable[[], Registry],
        now_ms: Callable[[], int],
    ) -> None:
        self._settings = settings
        self._tables = tables
        self._registry = registry
        self._now_ms = now_ms
        self._lock = asyncio.Lock()

    async def ensure(self, facts: dict[str, TopicFacts]) -> None:
        """Joins the tables' run; rebuilds them first if they have none. Raises what Kafka and Redis raise.

        If a topic was deleted and created again, its new records are added to the tables first. The group
        reads them from the first on as well, except where a controller of an earlier version has committed
        offsets of the old topic, which name no topic.
        """
        async with self._lock:
            run = await self._tables.run()
            notes = {f"{TOPIC_NOTE}{name}": fact.id.encode() for name, fact in facts.items()}
            if run is not None and await self._tables.join(run):
                stored = await self._tables.notes()
                recreated = sorted(
                    name for name, topic_id in notes.items() if stored.get(name, topic_id) != topic_id
                )
                if not recreated:
                    await self._note(notes, stored)
                    return
                log.warning("topics_recreated", topics=[name.removeprefix(TOPIC_NOTE) for name in recreated])
            judge = Judge(self._settings.topics, self._registry())
            rows = await rebuild(self._settings, self._tables, judge, facts=facts, now_ms=self._now_ms())
            run = await self._tables.establish(uuid.uuid4().hex)
            await self._note(notes, {})
            log.info("tables_rebuilt", rows=rows, run=run)

    async def _note(self, notes: dict[str, bytes], stored: dict[str, bytes]) -> None:
        """Notes of which topics the tables are, where that is not stored yet."""
        await self._tables.change_notes(
            {name: topic_id for name, topic_id in notes.items() if stored.get(name) != topic_id}
        )


async def rebuild(
    settings: IngestSettings, tables: Tables, judge: Judge, *, facts: dict[str, TopicFacts], now_ms: int
) -> int:
    """Reads, folds and restores. Returns how many rows there are. The caller establishes the run."""
    folded = MemoryTables()
    await folded.establish("rebuild")
    rows = RowStorer(folded, Counter())
    demand = DemandStorer(folded, Counter(), registry=lambda: judge.registry)
    # Earliest: if the fetcher resets a position by itself we may read too much, and never too little.
    consumer = log_reader(settings.bootstrap, auto_offset_reset="earliest")
    await open_reader(consumer)
    try:
        topics = settings.topics
        for name in (topics.statements.name, topics.capacity.name):
            async for batch in _records(consumer, name, facts[name], since_ms=None):
                await rows.store(_items(judge, batch))
        name = topics.reports.name
        reports = _records(consumer, name, facts[name], since_ms=now_ms - STALE_AFTER_MAX_MS)
        await rows.store(_items(judge, await _tails(reports)))
        name = topics.demand.name
        async for batch in _records(consumer, name, facts[name], since_ms=now_ms - DEMAND_READ_MS):
            await demand.store(_items(judge, batch))
    finally:
        await close_reader(consumer)
    return await _restore(folded, tables)


async def _records(
    consumer: AIOKafkaConsumer, topic: str, facts: TopicFacts, *, since_ms: int | None
) -> AsyncIterator[list[Record]]:
    """Every record from ``since_ms`` (None: the first) to the ends as they are now, in order by partition."""
    partitions = [TopicPartition(topic, number) for number in range(facts.partitions)]
    consumer.assign(partitions)
    ends = await consumer.end_offsets(partitions)
    await _seek(consumer, partitions, ends, since_ms=since_ms)
    idle = 0
    while behind := [tp for tp in partitions if await consumer.position(tp) < ends[tp]]:
        fetched = await consumer.getmany(*behind, timeout_ms=POLL_MS, max_records=BATCH_RECORDS_MAX)
        idle = 0 if fetched else idle + 1
        if idle > IDLE_POLLS_MAX:
            raise RebuildError(f"{topic} could not be read to its end: {len(behind)} partitions left")
        batch = [
            Record(
                topic=topic,
                topic_id=facts.id,
                partition=tp.partition,
                offset=message.offset,
                append_ms=message.timestamp,
                key=message.key,
                value=message.value,
                headers=tuple(message.headers),
            )
            for tp, messages in sorted(fetched.items())
            for message in messages
            if message.offset < ends[tp]
        ]
        if batch:
            yield batch


async def _seek(
    consumer: AIOKafkaConsumer,
    partitions: Sequence[TopicPartition],
    ends: dict[TopicPartition, int],
    *,
    since_ms: int | None,
) -> None:
    if since_ms is None:
        for tp, offset in (await consumer.beginning_offsets(partitions)).items():
            consumer.seek(tp, offset)
        return
    starts = await consumer.offsets_for_times(dict.fromkeys(partitions, since_ms))
    for tp in partitions:
        start = starts.get(tp)
        consumer.seek(tp, start.offset if start is not None else ends[tp])


async def _tails(batches: AsyncIterator[list[Record]]) -> list[Record]:
    """The records of each key and source that can matter (``source_tail``)."""
    tails = SourceTails()
    async for batch in batches:
        for record in batch:
            tails.add(record)
    return tails.records()


def _items(judge: Judge, batch: Sequence[Record]) -> list[RowItem | DemandItem]:
    """The valid ones. The others were, or will be, dead-lettered by the handlers."""
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
        rows = sorted(folded.state.rows.get(table, {}).items())
        for start in range(0, len(rows), BATCH_RECORDS_MAX):
            await _restore_batch(table, dict(rows[start : start + BATCH_RECORDS_MAX]), tables)
        restored += len(rows)
    return restored


async def _restore_batch(table: str, rows: dict[str, AnyRow], tables: Tables) -> None:
    """Puts each row where nothing newer is. The first try assumes an empty place; a refusal shows what is."""
    stored: dict[str, AnyRow] = {}
    for _ in range(RESTORE_TRIES_MAX):
        writes = [
            Write(
                table,
                field,
                expected=stored[field].position if field in stored else None,
                row=row,
                material=False,
            )
            for field, row in rows.items()
        ]
        answers = await tables.restore(writes)
        refused = [write.field for write, accepted in zip(writes, answers, strict=True) if not accepted]
        if not refused:
            return
        stored = await tables.load(table, refused)
        rows = {field: rows[field] for field in refused if _is_newer(rows[field], stored.get(field))}
    raise RebuildError(f"table {table} keeps being written by another process")


def _is_newer(row: AnyRow, stored: AnyRow | None) -> bool:
    if isinstance(row, Row):
        return supersedes(row, stored if isinstance(stored, Row) else None)
    if not isinstance(stored, DemandRow) or not stored.position.shares_log(row.position):
        return True
    return row.position.offset > stored.position.offset
