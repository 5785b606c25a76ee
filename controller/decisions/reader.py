"""Reads the decisions topic between two instants, without a consumer group: reading leaves no trace."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition

from controller.kafka.ordered_log import FETCH_MAX_BYTES
from controller.process.errors import TopicMissingError
from streams.every_record import close_reader, log_reader, open_reader
from tieline.kafka import REQUEST_TIMEOUT_MS, Brokers

POLL_MS = 1_000
RECORDS_PER_POLL_MAX = 200
IDLE_S_MAX = 15.0


class StoredDecision(NamedTuple):
    """One record as it lies in the log. ``append_ms`` is the broker's time."""

    offset: int
    append_ms: int
    body: bytes | None


class DecisionsReader:
    """Reads from ``first_offset`` to the log's end. ``is_oldest``: the log holds nothing before that."""

    def __init__(
        self, consumer: AIOKafkaConsumer, partition: TopicPartition, *, first: int, end: int, is_oldest: bool
    ) -> None:
        self._consumer = consumer
        self._partition = partition
        self._end = end
        self.first_offset = first
        self.is_oldest = is_oldest

    async def records(self, until_ms: int) -> AsyncIterator[StoredDecision]:
        """All records that the log held at the beginning, up to the first appended after ``until_ms``.

        Raises ``TimeoutError`` if nothing arrives for ``IDLE_S_MAX`` seconds, and ``KafkaError``.
        """
        loop = asyncio.get_running_loop()
        arrived_s = loop.time()
        while await self._consumer.position(self._partition) < self._end:
            batches = await self._consumer.getmany(timeout_ms=POLL_MS, max_records=RECORDS_PER_POLL_MAX)
            for record in (record for records in batches.values() for record in records):
                if record.timestamp > until_ms or record.offset >= self._end:
                    return
                yield StoredDecision(record.offset, record.timestamp, record.value)
                arrived_s = loop.time()
            if loop.time() - arrived_s > IDLE_S_MAX:
                raise TimeoutError(f"{self._partition.topic}: nothing arrived for {IDLE_S_MAX:g} s")


@asynccontextmanager
async def decisions_from(
    bootstrap: str | Brokers, topic: str, from_ms: int
) -> AsyncIterator[DecisionsReader]:
    """A reader that begins with the first record appended at ``from_ms`` or later.

    Raises ``KafkaConnectionError`` and ``TopicMissingError``.
    """
    consumer = log_reader(
        bootstrap,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=FETCH_MAX_BYTES,
        request_timeout_ms=REQUEST_TIMEOUT_MS,
    )
    await open_reader(consumer)
    try:
        if topic not in await consumer.topics():
            raise TopicMissingError(topic)
        partition = TopicPartition(topic, 0)
        consumer.assign([partition])
        oldest = (await consumer.beginning_offsets([partition]))[partition]
        end = (await consumer.end_offsets([partition]))[partition]
        begin = (await consumer.offsets_for_times({partition: max(from_ms, 0)}))[partition]
        first = end if begin is None else begin.offset
        consumer.seek(partition, first)
        yield DecisionsReader(consumer, partition, first=first, end=end, is_oldest=first <= oldest)
    finally:
        await close_reader(consumer)
