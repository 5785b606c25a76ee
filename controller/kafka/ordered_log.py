"""An ordered log, that is a topic of one partition: its reader, and the producer that appends to it.

The reader needs no consumer group, because each process reads the whole log for itself.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, NoReturn

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError
from aiokafka.structs import ConsumerRecord

from controller.process.errors import LogLostError, LogRecreatedError, TopicMissingError
from streams.connections import renewing
from streams.every_record import close_reader, log_reader, open_reader
from streams.producers import stop_producer
from streams.topic_ids import TopicChangedError, TopicFacts, topic_facts, watch_topics
from tieline.backoff import Backoff
from tieline.kafka import REQUEST_TIMEOUT_MS, Brokers, brokers_of, connect
from tieline.topics import MIB

Take = Callable[["ConsumerRecord[bytes | None, bytes | None]"], object]
Before = Callable[["ConsumerRecord[bytes | None, bytes | None]"], Awaitable[None]]

POLL_MS = 1_000
FETCH_MAX_WAIT_MS = 250
FETCH_MAX_BYTES = 10 * 1024 * 1024
RECORDS_PER_POLL_MAX = 500
TAKE_FOR_MAX_S = 0.005
RETRY_FIRST_S = 0.2
RETRY_LONGEST_S = 1.0


class Tail:
    """Hands each record of ``topic`` to ``take``, once and in the log's order. ``before`` is awaited first: a
    record that needs something of another log waits there, and so do all behind it.

    Every record before ``next_offset`` was taken. Offsets may have gaps, where compaction removed records or
    where a transaction left its marker, which no reader gets to see. When the log no longer holds the next
    record, because it was recreated or because retention removed it first, ``run`` raises ``LogLostError``.
    """

    def __init__(
        self, bootstrap: str | Brokers, topic: str, take: Take, *, before: Before | None = None
    ) -> None:
        self._topic = topic
        self._before = before
        self._take = take
        self._partition = TopicPartition(topic, 0)
        self._consumer = log_reader(
            bootstrap,
            auto_offset_reset="none",
            isolation_level="read_uncommitted",
            fetch_max_wait_ms=FETCH_MAX_WAIT_MS,
            max_partition_fetch_bytes=FETCH_MAX_BYTES,
            request_timeout_ms=REQUEST_TIMEOUT_MS,
            retry_backoff_ms=100,
        )
        self._moved = asyncio.Condition()
        self._end_at_start = 0
        self.first_offset = 0
        self.next_offset = 0

    async def start(self, *, last: int | None = None) -> None:
        """Connects and finds where to begin: at the oldest record, or ``last`` offsets before the end.

        Raises KafkaConnectionError or ``TopicMissingError``.
        """
        await open_reader(self._consumer)
        if self._topic not in await self._consumer.topics():
            await close_reader(self._consumer)
            raise TopicMissingError(self._topic)
        self._consumer.assign([self._partition])
        self.first_offset = await self._edge(self._consumer.beginning_offsets)
        self._end_at_start = await self.end_offset()
        if last is not None:
            self.first_offset = max(self.first_offset, self._end_at_start - last)
        self.next_offset = self.first_offset
        self._consumer.seek(self._partition, self.next_offset)

    async def stop(self) -> None:
        """Closes the connection; ``run`` must have ended."""
        await close_reader(self._consumer)

    async def run(self) -> None:
        """Reads until cancelled, and waits for a broker that is away. Raises ``LogLostError``."""
        backoff = Backoff(RETRY_FIRST_S, RETRY_LONGEST_S)
        while True:
            try:
                batches = await self._consumer.getmany(timeout_ms=POLL_MS, max_records=RECORDS_PER_POLL_MAX)
            except OffsetOutOfRangeError:
                raise LogLostError(self._topic, self.next_offset) from None
            except KafkaError:
                await asyncio.sleep(backoff.next_s())
                continue
            backoff.reset()
            for records in batches.values():
                await self._take_all(records)
            # The consumer's own position is also past markers of transactions, which are no records.
            position = await self._consumer.position(self._partition)
            if batches or position > self.next_offset:
                self.next_offset = max(self.next_offset, position)
                async with self._moved:
                    self._moved.notify_all()

    async def _take_all(self, records: "Sequence[ConsumerRecord[bytes | None, bytes | None]]") -> None:
        """Takes a batch, and lets others run every few milliseconds: some records are costly to check."""
        loop = asyncio.get_running_loop()
        pause_at_s = loop.time() + TAKE_FOR_MAX_S
        for record in records:
            if self._before is not None:
                await self._before(record)
            self._take(record)
            self.next_offset = record.offset + 1
            if loop.time() >= pause_at_s:
                await asyncio.sleep(0)
                pause_at_s = loop.time() + TAKE_FOR_MAX_S

    def rest(self) -> None:
        """Fetches nothing until ``resume``."""
        self._consumer.pause(self._partition)

    def resume(self, offset: int) -> None:
        """Goes on with the record at ``offset``; the caller knows the records before it from elsewhere."""
        self.next_offset = offset
        self._consumer.seek(self._partition, offset)
        self._consumer.resume(self._partition)

    async def read_to(self, offset: int, within_s: float | None = None) -> None:
        """Returns once every record up to ``offset`` was taken. Raises TimeoutError after ``within_s``."""
        async with asyncio.timeout(within_s), self._moved:
            await self._moved.wait_for(lambda: self.next_offset > offset)

    async def read_all(self, within_s: float) -> None:
        """Returns once everything was taken that the log holds now. Raises TimeoutError, also when no broker
        said within that time where the log ends."""
        async with asyncio.timeout(within_s):
            await self.read_to(await self._end_once_known() - 1)

    async def _end_once_known(self) -> int:
        """Asks again while the brokers are away or slow, which is no reason for a process to end."""
        backoff = Backoff(RETRY_FIRST_S, RETRY_LONGEST_S)
        while True:
            try:
                return await self.end_offset()
            except KafkaError:
                await asyncio.sleep(backoff.next_s())

    async def read_older(self, within_s: float | None = None) -> None:
        """Returns once everything was taken that the log held at ``start``. Raises TimeoutError.

        Sooner than ``read_all``: a broker answers the requests of one connection in turn, so a question about
        the end of the log waits for a fetch that waits for records.
        """
        await self.read_to(self._end_at_start - 1, within_s)

    async def moved(self, within_s: float) -> None:
        """Returns after the next batch of records, or after ``within_s``."""
        try:
            async with asyncio.timeout(within_s), self._moved:
                await self._moved.wait()
        except TimeoutError:
            pass

    async def end_offset(self) -> int:
        """One above the log's last record, as the broker says now. Raises KafkaError when it is away."""
        return await self._edge(self._consumer.end_offsets)

    async def _edge(self, ask: Callable[[list[TopicPartition]], Any]) -> int:
        with renewing(self._consumer._client):
            offsets: dict[TopicPartition, int] = await ask([self._partition])
        return offsets[self._partition]


async def watch_logs(bootstrap: str | Brokers, topics: Sequence[str]) -> NoReturn:
    """Looks every two seconds whether the logs are those that this process began to read.

    Raises ``LogRecreatedError``: on a log that was created anew a reader would go on in the middle. Raises
    KafkaError if Kafka is away at the beginning; a broker that is slow then is asked again.
    """
    facts: dict[str, TopicFacts] = {}
    while not facts:
        with suppress(TimeoutError):
            facts = await topic_facts(bootstrap, topics)
    try:
        await watch_topics(bootstrap, {name: fact.id for name, fact in facts.items()})
    except TopicChangedError as error:
        raise LogRecreatedError(str(error)) from None


async def start_producer(bootstrap: str | Brokers, *, record_max_bytes: int = MIB) -> AIOKafkaProducer:
    """A connected producer that appends each record once, in order, and on all replicas in sync.

    While the broker is away a send waits. Raises KafkaConnectionError.
    """
    producer: AIOKafkaProducer = brokers_of(bootstrap).producer(
        acks="all",
        enable_idempotence=True,
        linger_ms=0,
        max_request_size=record_max_bytes + 64 * 1024,
        request_timeout_ms=REQUEST_TIMEOUT_MS,
        retry_backoff_ms=50,
    )
    try:
        await connect(producer)
    except BaseException:
        await stop_producer(producer)
        raise
    return producer
