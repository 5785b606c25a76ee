"""Kafka as far as Tieline uses it: topics that are logs, brokers with clocks, consumer groups.

Everything here happens at a broker, at one moment; delays and losses are the network's. Each partition has a
leader among the brokers, whose clock gives a record its time (LogAppendTime). A partition can be emptied from
the front, as retention does, and a topic can be deleted and created again: it then has another id and begins
at offset 0.

A group gives its partitions out anew whenever a member comes, leaves or was silent for a session. All members
have to join again then; who does not within a session is left out.
"""

import asyncio
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from aiokafka import TopicPartition
from aiokafka.structs import OffsetAndMetadata

from lab.simulated.clocks import START_MS
from lab.simulated.network import Answer, Network

SERVER = "kafka"
REBALANCE_S = 0.05  # how long a group waits for more members at least


class SimRecord(NamedTuple):
    """A record, with the fields of aiokafka's ``ConsumerRecord`` that are read anywhere."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    timestamp_type: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


class Appended(NamedTuple):
    """Where a record lies: the fields of aiokafka's ``RecordMetadata``."""

    topic: str
    partition: int
    offset: int
    timestamp: int


@dataclass
class SimPartition:
    """``first_offset``: of the oldest record that is still there."""

    records: list[SimRecord] = field(default_factory=list)
    first_offset: int = 0

    @property
    def end_offset(self) -> int:
        """One above the newest record."""
        return self.first_offset + len(self.records)

    def since(self, offset: int, most: int) -> list[SimRecord]:
        """Up to ``most`` records from ``offset`` on."""
        start = max(offset - self.first_offset, 0)
        return self.records[start : start + most]


@dataclass
class SimTopic:
    """One topic under one id."""

    id: str
    partitions: list[SimPartition]


@dataclass
class Wait:
    """A fetch that waits for records behind its positions."""

    positions: dict[TopicPartition, int]
    most: int
    answer: Answer
    timer: asyncio.TimerHandle | None = None


class SimKafka:
    """All topics and groups. ``brokers``: how far each broker's clock is ahead of the true time, in ms."""

    def __init__(self, network: Network, seed: str, brokers: int = 3) -> None:
        self.network = network
        self.brokers_ahead_ms = [0] * brokers
        self.topics: dict[str, SimTopic] = {}
        self.groups: dict[str, Group] = {}
        self.read_only: set[str] = set()  # topics that take no records
        self.unread: set[TopicPartition] = set()  # partitions whose records nobody can fetch
        self.on_append: list[Callable[[SimRecord, str], None]] = []
        self._chance = random.Random(f"kafka {seed}")
        self._waits: dict[int, Wait] = {}
        self._number = 0

    def create(self, name: str, partitions: int) -> None:
        """Creates a topic, under a new id."""
        topic_id = f"{self._chance.getrandbits(128):032x}"
        self.topics[name] = SimTopic(topic_id, [SimPartition() for _ in range(partitions)])

    def recreate(self, name: str) -> None:
        """Deletes a topic and creates it again: offsets begin at 0, under another id. What groups have
        committed of it goes with it, as brokers do it."""
        self.create(name, len(self.topics[name].partitions))
        for group in self.groups.values():
            group.committed = {tp: offset for tp, offset in group.committed.items() if tp.topic != name}

    def partition(self, tp: TopicPartition) -> SimPartition | None:
        """The partition, or None if there is none."""
        topic = self.topics.get(tp.topic)
        return topic.partitions[tp.partition] if topic and tp.partition < len(topic.partitions) else None

    def append(
        self,
        tp: TopicPartition,
        key: bytes | None,
        value: bytes | None,
        headers: Iterable[tuple[str, bytes]],
        *,
        sender: str = "",
    ) -> Appended:
        """Appends a record of the process ``sender`` now. Raises ``LookupError`` for what doesn't exist."""
        partition = self.partition(tp)
        if partition is None:
            raise LookupError(f"no partition {tp}")
        record = SimRecord(
            tp.topic,
            tp.partition,
            partition.end_offset,
            timestamp=self.clock_ms(tp),
            timestamp_type=1,
            key=key,
            value=value,
            headers=tuple(headers),
        )
        partition.records.append(record)
        for listener in self.on_append:
            listener(record, sender)
        self._wake(tp)
        return Appended(tp.topic, tp.partition, record.offset, timestamp=record.timestamp)

    def clock_ms(self, tp: TopicPartition) -> int:
        """The wall clock of the broker that leads this partition."""
        leader = (sum(tp.topic.encode()) + tp.partition) % len(self.brokers_ahead_ms)
        return int(START_MS + self.network.now_ms() + self.brokers_ahead_ms[leader])

    def fetch(self, wait: Wait, max_wait_s: float) -> None:
        """Answers with records by partition as soon as there are any, or with none after that time."""
        records = self._read(wait)
        if records or max_wait_s <= 0:
            wait.answer.give(records)
            return
        number = self._number = self._number + 1
        self._waits[number] = wait

        def give_up() -> None:
            if self._waits.pop(number, None) is not None:
                wait.answer.give({})

        wait.timer = self.network.later(max_wait_s, give_up)

    def _wake(self, tp: TopicPartition) -> None:
        woken = [(number, wait) for number, wait in self._waits.items() if tp in wait.positions]
        for number, wait in woken:
            if records := self._read(wait):
                del self._waits[number]
                if wait.timer is not None:
                    wait.timer.cancel()
                wait.answer.give(records)

    def _read(self, wait: Wait) -> dict[TopicPartition, list[SimRecord]]:
        batches: dict[TopicPartition, list[SimRecord]] = {}
        for tp, position in wait.positions.items():
            partition = self.partition(tp)
            if partition is None or tp in self.unread:
                continue
            if records := partition.since(position, wait.most):
                batches[tp] = records
        return batches

    def group(self, name: str) -> "Group":
        """The consumer group of this name."""
        return self.groups.setdefault(name, Group(self))


@dataclass
class Member:
    """``join``: the answer that it waits for while the group is put together."""

    heard_s: float
    join: Answer | None = None


class Group:
    """One consumer group. ``committed``: by partition, the next offset that nobody has made safe."""

    def __init__(self, kafka: SimKafka) -> None:
        self._kafka = kafka
        self.generation = 0
        self.committed: dict[TopicPartition, OffsetAndMetadata] = {}
        self.members: dict[str, Member] = {}
        self._topics: tuple[str, ...] = ()
        self._session_s = 6.0
        self._forming = False

    def join(self, member: str, topics: tuple[str, ...], session_s: float, answer: Answer) -> None:
        """A member comes, or comes again. Answered with (generation, its partitions) once all are there."""
        now_s = self._kafka.network.now_ms() / 1_000
        self._topics, self._session_s = topics, session_s
        self.members[member] = Member(now_s, answer)
        if not self._forming:
            self._forming = True
            self._form_in(session_s)
        if all(other.join is not None for other in self.members.values()):
            self._form_in(REBALANCE_S)

    def beat(self, member: str, generation: int) -> bool:
        """Whether the member is still of the group as it is; otherwise it has to join again."""
        beating = self.members.get(member)
        if beating is not None:
            beating.heard_s = self._kafka.network.now_ms() / 1_000
        self._expire()
        return beating is not None and generation == self.generation and not self._forming

    def leave(self, member: str) -> None:
        """A member goes."""
        if self.members.pop(member, None) is not None:
            self._begin_anew()

    def commit(self, member: str, generation: int, offsets: dict[TopicPartition, OffsetAndMetadata]) -> bool:
        """Stores offsets of a member that is of the group as it is. Returns whether they were stored.

        Topics have nothing but their names here, as at brokers: offsets of one that was created anew since
        the member read it are stored as well.
        """
        if member not in self.members or generation != self.generation:
            return False
        self.committed |= offsets
        return True

    def _expire(self) -> None:
        now_s = self._kafka.network.now_ms() / 1_000
        silent = [
            name
            for name, member in self.members.items()
            if member.join is None and now_s - member.heard_s > self._session_s
        ]
        for name in silent:
            del self.members[name]
        if silent:
            self._begin_anew()

    def _begin_anew(self) -> None:
        if self.members and not self._forming:
            self._forming = True
            self._form_in(self._session_s)
        if self._forming and all(member.join is not None for member in self.members.values()):
            self._form_in(REBALANCE_S)

    def _form_in(self, seconds: float) -> None:
        """Ends this forming then at the latest, and none that begins after it."""
        generation = self.generation
        self._kafka.network.later(seconds, lambda: self._form() if generation == self.generation else None)

    def _form(self) -> None:
        """Gives the partitions out to the members that have joined, and forgets the others. If nobody is left
        whoever comes next begins anew, and does not wait for members that were killed."""
        joined = {name: member for name, member in sorted(self.members.items()) if member.join is not None}
        self._forming = False
        self.generation += 1
        self.members = joined
        partitions = [
            TopicPartition(topic, number)
            for topic in self._topics
            if topic in self._kafka.topics
            for number in range(len(self._kafka.topics[topic].partitions))
        ]
        for place, member in enumerate(joined.values()):
            answer, member.join = member.join, None
            member.heard_s = self._kafka.network.now_ms() / 1_000
            if answer is not None:
                answer.give((self.generation, partitions[place :: len(joined)]))
