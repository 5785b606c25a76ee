"""A member of the consumer group over simulated Kafka: ``streams.readers.Reader`` without Faust.

It keeps what the real one promises: records of a partition reach their lane in order, offsets are committed
once their lane has acknowledged all before them, and while partitions change hands nothing is assigned.
Before partitions go, it waits until their lanes are done with what it has handed on, and commits that, as
Faust does with ``stream_wait_empty``. A member that was stopped for longer than a session finds out at its
next heartbeat, and may have handed records on meanwhile that another member reads as well.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from lab.simulated.kafka import SERVER, SimKafka
from lab.simulated.kafka_clients import SimConsumer
from lab.simulated.network import ServerDownError, caller
from streams.contract_check import Record
from streams.lane import Delivery, LaneError
from streams.positions import Partition, goes_on_at, to_commit
from streams.readers import Feed, OpenReader
from tieline.cancelling import end_all

RETRY_S = 0.5
LEAVE_WITHIN_S = 1.0


def open_reader(kafka: SimKafka) -> OpenReader:
    """Makes readers of this Kafka."""
    return lambda feed: SimReader(kafka, feed)


class SimReader:
    """One life of a member."""

    def __init__(self, kafka: SimKafka, feed: Feed) -> None:
        self._kafka = kafka
        self._feed = feed
        self._group = kafka.group(feed.settings.group)
        self._member = f"{caller()}-{kafka.network.requests}"
        self._generation = -1
        self._partitions: tuple[TopicPartition, ...] = ()
        self._safe: dict[TopicPartition, int] = {}  # by partition, what may be committed
        self._commits = True
        self._under_way = 0  # records that their lane has neither acknowledged nor released
        self._at_rest = asyncio.Event()
        self._at_rest.set()
        self._task: asyncio.Task[None] | None = None
        self.rebalancing = False

    def assigned(self) -> set[Partition]:
        """See ``Reader``."""
        return set() if self.rebalancing else {Partition(*tp) for tp in self._partitions}

    def complaint(self) -> str | None:
        """See ``Reader``."""
        if self._task is not None and self._task.done() and not self._task.cancelled():
            return f"the reader has ended: {self._task.exception()!r}"
        return None

    async def start(self) -> None:
        """See ``Reader``."""
        self._task = asyncio.create_task(self._live(), name="reader")

    async def stop(self) -> None:
        """See ``Reader``."""
        if self._task is not None:
            await end_all([self._task])
            await self._finish()
            await self._ask(lambda: self._group.leave(self._member))

    async def abandon(self) -> None:
        """See ``Reader``."""
        if self._task is not None:
            self._task.cancel()

    def commit_nothing_more(self) -> None:
        """See ``Reader``."""
        self._commits = False

    async def _live(self) -> None:
        while True:
            self.rebalancing = True
            try:
                await self._join()
            except (KafkaError, TimeoutError, ServerDownError):
                await asyncio.sleep(RETRY_S)
                continue
            self.rebalancing = False
            self._feed.on_assigned({Partition(*tp) for tp in self._partitions})
            reading = [asyncio.create_task(self._read(tp), name=f"read {tp}") for tp in self._partitions]
            try:
                await self._stay()
            finally:
                self.rebalancing = True
                await end_all(reading)
            await self._finish()
            self._feed.on_revoked({Partition(*tp) for tp in self._partitions})
            self._partitions = ()

    async def _join(self) -> None:
        settings = self._feed.settings
        topics, session_s = settings.consumed, settings.session_timeout_s
        self._generation, partitions = await self._kafka.network.send(
            SERVER,
            lambda answer: self._group.join(self._member, topics, session_s, answer),
            within_s=session_s * 2,
        )
        self._partitions = tuple(partitions)
        self._safe = {}

    async def _stay(self) -> None:
        """Beats and commits until the group is put together anew."""
        last_s = asyncio.get_running_loop().time()
        while True:
            await asyncio.sleep(self._feed.settings.commit_every_s)
            await self._commit()
            now_s = asyncio.get_running_loop().time()
            if now_s - last_s < self._feed.settings.heartbeat_s:
                continue
            last_s = now_s
            generation = self._generation
            try:
                if not await self._ask(partial(self._group.beat, self._member, generation)):
                    return
            except (TimeoutError, ServerDownError):
                continue

    async def _finish(self) -> None:
        """Waits until nothing that was handed on is under way any more, and commits that."""
        await self._at_rest.wait()
        await self._commit()

    async def _commit(self) -> None:
        if not self._commits or not self._safe:
            return
        facts, generation = self._feed.facts, self._generation
        offsets = {tp: to_commit(offset, facts[tp.topic].id) for tp, offset in self._safe.items()}
        try:
            await self._ask(lambda: self._group.commit(self._member, generation, offsets))
        except (TimeoutError, ServerDownError):
            pass

    async def _read(self, tp: TopicPartition) -> None:
        """Fetches one partition and hands its records on."""
        consumer = SimConsumer(self._kafka, {"auto_offset_reset": "earliest"})
        consumer.assign([tp])
        own = goes_on_at(self._group.committed.get(tp), self._feed.facts[tp.topic].id)
        first = (await self._patiently(lambda: consumer.beginning_offsets([tp])))[tp]
        consumer.seek(tp, max(first, own or 0))
        partition = Partition(*tp)
        while True:
            batches = await consumer.getmany(timeout_ms=1_000)
            for message in batches.get(tp, ()):
                self._feed.fetched.note(partition, message.offset + 1, message.offset + 1)
                log = self._kafka.partition(tp)
                if log is None or message.offset + 1 >= log.end_offset:
                    self._feed.clock.note_arrival(partition, message.timestamp)
                await self._hand_on(tp, self._record(message))
            self._feed.fetched.note(partition, None, await consumer.position(tp))

    async def _hand_on(self, tp: TopicPartition, record: Record) -> None:
        def acknowledge() -> None:
            self._safe[tp] = record.offset + 1
            release()

        def release() -> None:
            self._under_way -= 1
            if not self._under_way:
                self._at_rest.set()

        self._under_way += 1
        self._at_rest.clear()
        try:
            delivery = Delivery(record, self._generation, acknowledge, release=release)
            await self._feed.lanes[tp.topic].put(delivery)
        except LaneError as error:
            self._feed.on_error(error)

    def _record(self, message: Any) -> Record:
        return Record(
            topic=message.topic,
            topic_id=self._feed.facts[message.topic].id,
            partition=message.partition,
            offset=message.offset,
            append_ms=message.timestamp,
            key=message.key,
            value=message.value,
            headers=message.headers,
        )

    async def _patiently(self, ask: Callable[[], Any]) -> Any:
        while True:
            try:
                return await ask()
            except KafkaError:
                await asyncio.sleep(RETRY_S)

    async def _ask(self, work: Callable[[], Any]) -> Any:
        return await self._kafka.network.ask(SERVER, work, within_s=LEAVE_WITHIN_S)
