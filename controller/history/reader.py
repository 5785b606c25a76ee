"""Reads the history topic: what happened between two instants, and what stood at its end.

It reads without a consumer group, so reading leaves no trace, and it begins where the range begins: an hour
costs an hour's records, however long the topic is.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition

from controller.history.entries import Entry, HistoryRecord, Selection, decode_history
from controller.history.following import LastNumbers
from controller.process.errors import TopicMissingError
from streams.every_record import close_reader, log_reader, open_reader
from tieline.kafka import REQUEST_TIMEOUT_MS, Brokers

POLL_MS = 1_000
RECORDS_PER_POLL_MAX = 1_000
IDLE_S_MAX = 15.0
LATE_MS_MAX = 120_000  # a record is appended at most so long after what it tells
SKEW_MS = 10_000  # the leader's clock may be ahead of the broker's
ENTRIES_MAX = 50_000
SEARCHED_MAX = 100  # records at the end that are searched for one that can be read


class Stretch(NamedTuple):
    """What happened in a range, in order of time. ``begins_ms``: the log holds nothing before it, though it
    was asked for; None if the whole range is there. ``left_out``: how many older entries are not listed, as
    there are more than ``ENTRIES_MAX``."""

    entries: tuple[Entry, ...]
    begins_ms: int | None
    left_out: int


async def history_between(
    bootstrap: str | Brokers,
    topic: str,
    from_ms: int,
    to_ms: int,
    selection: Selection,
    *,
    entries_max: int = ENTRIES_MAX,
) -> Stretch:
    """The entries of the range that are asked for, of too many the newest.

    Raises ``KafkaError``, ``TopicMissingError`` and ``TimeoutError``.
    """
    async with _reader(bootstrap, topic) as (consumer, partition):
        oldest = (await consumer.beginning_offsets([partition]))[partition]
        end = (await consumer.end_offsets([partition]))[partition]
        begin = (await consumer.offsets_for_times({partition: max(from_ms - SKEW_MS, 0)}))[partition]
        first = end if begin is None else begin.offset
        consumer.seek(partition, first)
        entries: deque[Entry] = deque(maxlen=entries_max)
        count = 0
        begins_ms: int | None = None
        records = OnceOnly()
        async for row in _rows(consumer, partition, end):
            if row.offset == oldest > 0 and row.timestamp > from_ms:
                begins_ms = row.timestamp
            if row.timestamp > to_ms + LATE_MS_MAX:
                break
            for entry in records.entries(row.value):
                if from_ms <= entry.at_ms <= to_ms and selection.takes(entry):
                    entries.append(entry)
                    count += 1
    in_order = sorted(entries, key=lambda entry: entry.at_ms)
    return Stretch(tuple(in_order), begins_ms, left_out=count - len(entries))


async def last_record(
    bootstrap: str | Brokers, topic: str, before: int | None = None
) -> HistoryRecord | None:
    """The newest record of the newest epoch among the last of the log, or of those before an offset.

    None if there is none. Raises ``KafkaError``, ``TopicMissingError`` and ``TimeoutError``.
    """
    async with _reader(bootstrap, topic) as (consumer, partition):
        oldest = (await consumer.beginning_offsets([partition]))[partition]
        end = (await consumer.end_offsets([partition]))[partition]
        end = end if before is None else min(end, before)
        consumer.seek(partition, max(oldest, end - SEARCHED_MAX))
        newest: HistoryRecord | None = None
        async for row in _rows(consumer, partition, end):
            record = decode_history(row.value)
            if record is not None and (newest is None or record.epoch >= newest.epoch):
                newest = record
        return newest


class OnceOnly:
    """The entries of records, without records that were appended twice."""

    def __init__(self) -> None:
        self._last_numbers = LastNumbers()

    def entries(self, body: bytes | None) -> Iterator[Entry]:
        """The entries of one more record; none if it can't be read or was there before."""
        record = decode_history(body)
        if record is not None and self._last_numbers.note(record.writer, record.number):
            yield from record.entries


@asynccontextmanager
async def _reader(
    bootstrap: str | Brokers, topic: str
) -> AsyncIterator[tuple[AIOKafkaConsumer, TopicPartition]]:
    consumer = log_reader(
        bootstrap, auto_offset_reset="earliest", request_timeout_ms=REQUEST_TIMEOUT_MS, fetch_max_wait_ms=100
    )
    try:
        await open_reader(consumer)
        if topic not in await consumer.topics():
            raise TopicMissingError(topic)
        partition = TopicPartition(topic, 0)
        consumer.assign([partition])
        yield consumer, partition
    finally:
        await close_reader(consumer)


async def _rows(consumer: AIOKafkaConsumer, partition: TopicPartition, end: int) -> AsyncIterator[Any]:
    """The records from the consumer's position up to ``end``. Raises ``TimeoutError`` when none arrives."""
    loop = asyncio.get_running_loop()
    arrived_s = loop.time()
    while await consumer.position(partition) < end:
        batches = await consumer.getmany(partition, timeout_ms=POLL_MS, max_records=RECORDS_PER_POLL_MAX)
        for row in batches.get(partition, []):
            if row.offset < end:
                yield row
                arrived_s = loop.time()
        if loop.time() - arrived_s > IDLE_S_MAX:
            raise TimeoutError(f"{partition.topic}: nothing arrived for {IDLE_S_MAX:g} s")
