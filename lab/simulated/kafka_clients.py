"""Clients of simulated Kafka with the methods of aiokafka's that Tieline calls, made by ``SimBrokers``.

As with aiokafka: a fetch from brokers that are away returns nothing; a question to them raises after its
time-out; a send to them fails after its time-out, and the record may be appended later all the same.
"""

import asyncio
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from aiokafka import TopicPartition
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaTimeoutError,
    OffsetOutOfRangeError,
    PolicyViolationError,
    UnknownTopicOrPartitionError,
)

from lab.simulated.kafka import SERVER, Appended, SimKafka, SimRecord, Wait
from lab.simulated.network import Answer, ServerDownError, caller
from tieline.kafka import Brokers

ASK_WITHIN_S = 5.0
UNKNOWN_TOPIC = 3
FETCH_MOST = 500


@dataclass(frozen=True, slots=True)
class SimBrokers(Brokers):
    """Takes the place of ``tieline.Brokers``: its clients speak to simulated Kafka."""

    kafka: SimKafka = field(kw_only=True, repr=False)

    def consumer(self, *_topics: str, **options: Any) -> "SimConsumer":
        """See ``Brokers``."""
        return SimConsumer(self.kafka, options)

    def producer(self, **options: Any) -> "SimProducer":
        """See ``Brokers``."""
        return SimProducer(self.kafka, options)

    def admin(self, **_options: Any) -> "SimAdmin":
        """See ``Brokers``."""
        return SimAdmin(self.kafka)

    def client(self, **_options: Any) -> "SimClient":
        """See ``Brokers``."""
        return SimClient(self.kafka)


class _Client:
    """What all clients have in common: the process that made it, and questions with a time-out."""

    def __init__(self, kafka: SimKafka, ask_within_s: float = ASK_WITHIN_S) -> None:
        self._kafka = kafka
        self._process = caller()
        self._ask_within_s = ask_within_s
        # Attributes that the product reaches into.
        self._client = self.client = _Inner(self)

    async def start(self) -> None:
        """Connects. Raises KafkaConnectionError."""
        try:
            await self._ask(lambda: None)
        except KafkaTimeoutError:
            raise KafkaConnectionError("Kafka can't be reached") from None

    async def _ask(self, work: Any) -> Any:
        try:
            return await self._kafka.network.ask(SERVER, work, self._process, within_s=self._ask_within_s)
        except TimeoutError:
            raise KafkaTimeoutError("Kafka does not answer") from None
        except ServerDownError as error:
            raise KafkaConnectionError(str(error)) from None


class _Inner:
    """The inner client of a producer or consumer, of which only this much is used."""

    def __init__(self, outer: _Client) -> None:
        self._outer = outer
        self._conns: dict[Any, Any] = {}
        self.cluster = SimpleNamespace(partitions_for_topic=self._partitions_for_topic)

    async def close(self) -> None:
        """Nothing is open."""

    async def fetch_all_metadata(self) -> Any:
        """All topics that there are."""
        names = await self._outer._ask(lambda: set(self._outer._kafka.topics))
        return SimpleNamespace(topics=lambda: names)

    def _partitions_for_topic(self, topic: str) -> set[int]:
        partitions = self._outer._kafka.topics.get(topic)
        return set(range(len(partitions.partitions))) if partitions else set()


class SimConsumer(_Client):
    """A consumer without a group, or the questions of one."""

    def __init__(self, kafka: SimKafka, options: Mapping[str, Any]) -> None:
        super().__init__(kafka, options.get("request_timeout_ms", 5_000) / 1_000)
        self._reset = options.get("auto_offset_reset", "latest")
        self._positions: dict[TopicPartition, int] = {}
        self._paused: set[TopicPartition] = set()
        self._moves = 0  # seeks and assignments, which make a fetch under way worthless

    async def stop(self) -> None:
        """Closes it."""

    async def topics(self) -> set[str]:
        """Names of all topics."""
        names: set[str] = await self._ask(lambda: set(self._kafka.topics))
        return names

    def assign(self, partitions: Iterable[TopicPartition]) -> None:
        """From now on it reads these."""
        self._moves += 1
        self._positions = dict.fromkeys(partitions, 0)

    def seek(self, tp: TopicPartition, offset: int) -> None:
        """Goes on there."""
        self._moves += 1
        self._positions[tp] = offset

    async def position(self, tp: TopicPartition) -> int:
        """The offset of the next record."""
        return self._positions[tp]

    def pause(self, *partitions: TopicPartition) -> None:
        """Fetches nothing of these."""
        self._paused |= set(partitions)

    def resume(self, *partitions: TopicPartition) -> None:
        """Fetches of these again."""
        self._paused -= set(partitions)

    async def getmany(
        self, *partitions: TopicPartition, timeout_ms: int = 0, max_records: int | None = None
    ) -> dict[TopicPartition, list[SimRecord]]:
        """Records by partition. Raises OffsetOutOfRangeError where the log no longer holds the position."""
        loop = asyncio.get_running_loop()
        ends_s = loop.time() + timeout_ms / 1_000
        while True:
            left_s = ends_s - loop.time()
            wanted = {
                tp: position
                for tp, position in self._positions.items()
                if tp not in self._paused and (not partitions or tp in partitions)
            }
            if not wanted:
                await asyncio.sleep(max(left_s, 0.001))
                return {}
            moves = self._moves
            records = await self._fetch(wanted, max(left_s, 0.0), max_records)
            if records and moves == self._moves:
                for tp, batch in records.items():
                    self._positions[tp] = batch[-1].offset + 1
                return records
            if left_s <= 0:
                return {}

    async def _fetch(
        self, wanted: dict[TopicPartition, int], max_wait_s: float, max_records: int | None
    ) -> dict[TopicPartition, list[SimRecord]]:
        most = min(max_records or FETCH_MOST, FETCH_MOST)

        def work(answer: Answer) -> None:
            for tp, position in wanted.items():
                partition = self._kafka.partition(tp)
                if partition is not None and not partition.first_offset <= position <= partition.end_offset:
                    answer.fail(OffsetOutOfRangeError({tp: position}))
                    return
            self._kafka.fetch(Wait(wanted, most, answer), max_wait_s)

        try:
            records: dict[TopicPartition, list[SimRecord]] = await self._kafka.network.send(
                SERVER, work, self._process, within_s=max_wait_s + self._ask_within_s
            )
        except TimeoutError:
            return {}
        except ServerDownError:
            await asyncio.sleep(max(max_wait_s, 0.1))
            return {}
        except OffsetOutOfRangeError:
            if self._reset == "none":
                raise
            await self._reset_positions(wanted)
            return {}
        return records

    async def _reset_positions(self, wanted: Iterable[TopicPartition]) -> None:
        edges = self.beginning_offsets if self._reset == "earliest" else self.end_offsets
        for tp, offset in (await edges(list(wanted))).items():
            self.seek(tp, offset)

    async def getone(self, *partitions: TopicPartition) -> SimRecord:
        """The next record."""
        while True:
            records = await self.getmany(*partitions, timeout_ms=1_000, max_records=1)
            for batch in records.values():
                return batch[0]

    async def beginning_offsets(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """The first offset of each."""
        return await self._edges(partitions, "first_offset")

    async def end_offsets(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """One above the last offset of each."""
        return await self._edges(partitions, "end_offset")

    async def _edges(self, partitions: Sequence[TopicPartition], name: str) -> dict[TopicPartition, int]:
        def work() -> dict[TopicPartition, int]:
            logs = {tp: self._kafka.partition(tp) for tp in partitions}
            if None in logs.values():
                raise UnknownTopicOrPartitionError(str(partitions))
            return {tp: getattr(log, name) for tp, log in logs.items()}

        edges: dict[TopicPartition, int] = await self._ask(work)
        return edges

    async def offsets_for_times(self, times_ms: Mapping[TopicPartition, int]) -> dict[TopicPartition, Any]:
        """The first record of each that is not older, or None."""

        def work() -> dict[TopicPartition, Any]:
            answers: dict[TopicPartition, Any] = {}
            for tp, since_ms in times_ms.items():
                log = self._kafka.partition(tp)
                records = log.records if log is not None else []
                first = next((record for record in records if record.timestamp >= since_ms), None)
                answers[tp] = SimpleNamespace(offset=first.offset) if first is not None else None
            return answers

        answers: dict[TopicPartition, Any] = await self._ask(work)
        return answers


class SimProducer(_Client):
    """A producer: records of one partition are appended in the order in which they were sent."""

    def __init__(self, kafka: SimKafka, options: Mapping[str, Any]) -> None:
        super().__init__(kafka)
        self._send_within_s = options.get("request_timeout_ms", 5_000) / 1_000
        self._sender = SimpleNamespace(sender_task=None)

    async def stop(self) -> None:
        """Closes it. What was sent may still be appended."""

    async def partitions_for(self, topic: str) -> set[int]:
        """The partitions of a topic."""
        return self.client._partitions_for_topic(topic)

    async def send(
        self,
        topic: str,
        value: bytes | None = None,
        key: bytes | None = None,
        *,
        headers: Iterable[tuple[str, bytes]] | None = None,
        partition: int | None = None,
    ) -> "asyncio.Future[Appended]":
        """Hands a record over; the future holds where it lies."""
        return asyncio.ensure_future(self._deliver(topic, value, key, tuple(headers or ()), partition))

    async def send_and_wait(self, topic: str, value: bytes | None = None, **more: Any) -> Appended:
        """Appends a record. Raises KafkaTimeoutError, KafkaConnectionError or what the topic refuses with."""
        return await (await self.send(topic, value, **more))

    async def _deliver(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None,
        headers: tuple[tuple[str, bytes], ...],
        partition: int | None,
    ) -> Appended:
        def work() -> Appended:
            if topic in self._kafka.read_only:
                raise PolicyViolationError(f"{topic} takes no records")
            if topic not in self._kafka.topics:
                raise UnknownTopicOrPartitionError(topic)
            number = partition
            if number is None:
                number = zlib.crc32(key or b"") % len(self._kafka.topics[topic].partitions)
            return self._kafka.append(
                TopicPartition(topic, number), key, value, headers, sender=self._process
            )

        try:
            appended: Appended = await self._kafka.network.ask(
                SERVER, work, self._process, within_s=self._send_within_s
            )
        except TimeoutError:
            raise KafkaTimeoutError("Kafka did not acknowledge in time") from None
        except ServerDownError as error:
            await asyncio.sleep(0.1)
            raise KafkaConnectionError(str(error)) from None
        return appended


class SimAdmin(_Client):
    """Questions about groups."""

    async def close(self) -> None:
        """Closes it."""

    async def list_consumer_group_offsets(
        self, group: str, partitions: Sequence[TopicPartition]
    ) -> dict[TopicPartition, Any]:
        """What the group has committed."""

        def work() -> dict[TopicPartition, Any]:
            committed = self._kafka.group(group).committed
            return {tp: committed[tp] for tp in partitions if tp in committed}

        offsets: dict[TopicPartition, Any] = await self._ask(work)
        return offsets


class SimClient(_Client):
    """Single requests: the ids of topics."""

    async def bootstrap(self) -> None:
        """Connects. Raises KafkaConnectionError."""
        await self.start()

    async def close(self) -> None:
        """Closes it."""

    def get_random_node(self) -> int:
        """Any broker."""
        return 0

    async def send(self, _node: int, request: Any) -> Any:
        """Answers a request for topics (``streams.topic_ids``)."""

        def work() -> Any:
            answers: list[tuple[Any, ...]] = []
            for name in request._names:
                topic = self._kafka.topics.get(name)
                if topic is None:
                    answers.append((UNKNOWN_TOPIC, name, "", False, [], 0))
                else:
                    answers.append((0, name, topic.id, False, list(topic.partitions), 0))
            return SimpleNamespace(topics=answers)

        return await self._ask(work)
