"""Looks once a second whether this controller is fit to lead, and says so on the topic of controllers."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.structs import ConsumerRecord
from msgspec.structs import replace
from redis.exceptions import RedisError

from controller.kafka.ordered_log import Tail, start_producer
from controller.leading.fitness import (
    GRACE_MS,
    FaultKind,
    Fitness,
    PolicyNames,
    clock_fault,
    file_notice,
    history_fault,
    leader_log_fault,
    lineage_fault,
    others_of,
    tables_fault,
    version_fault,
)
from controller.leading.presence import (
    PRESENT_MS,
    RECORDS_READ_MAX,
    Fault,
    Presence,
    Roster,
    encode_presence,
)
from controller.leading.redis_check import check_redis
from controller.process.clock import ClockWatch, apart_ms, monotonic_ms, now_ms
from controller.process.resources import Shortages
from controller.process.roles import Role
from controller.routes.counting_rule import NO_EPOCH
from controller.routes.projection import Projector
from controller.routes.unread import EVERYTHING_READ, Unread
from streams.producers import stop_producer
from tieline.cancelling import run_all
from tieline.kafka import Brokers
from tieline.keys import Keys
from tieline.topics import Topics

LOOK_EVERY_S = 1.0
SEND_WITHIN_S = 5.0
READ_WITHIN_S = 10.0
GOODBYE_WITHIN_S = 1.0


@dataclass(frozen=True, slots=True)
class Stand:
    """What the other parts of this process know. ``in_force``: the policy of the newest publication;
    ``epoch_in_force``: by the leader log; ``own_epoch``: the one that this controller leads, or -1;
    ``partitions``: how many it takes events in from; ``alarms`` and ``notices``: sentences for people;
    ``unread``: what this version does not know of the newest publication, while another one leads."""

    in_force: PolicyNames | None
    epoch_in_force: int
    own_epoch: int
    partitions: int
    alarms: tuple[str, ...]
    notices: tuple[str, ...] = ()
    unread: Unread = EVERYTHING_READ


class Standing(Protocol):
    """Whom the watch asks."""

    async def until_read(self) -> None:
        """Returns once the publications so far were read. Raises TimeoutError or KafkaError."""
        ...

    def stands(self) -> Stand:
        """How things stand now."""
        ...


class FitnessWatch:
    """Keeps ``fitness`` true to what it finds. ``on_change`` is called when that changes."""

    def __init__(
        self,
        bootstrap: str | Brokers,
        topics: Topics,
        *,
        first: Presence,
        redis: Any,
        keys: Keys,
        projector: Projector,
        standing: Standing,
        shortages: Callable[[], Shortages],
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self.fitness = Fitness()
        self.roster = Roster()
        self._bootstrap = bootstrap
        self._topics = topics
        self._presence = first
        self._file = PolicyNames(first.lineage, first.policy_version)
        self._redis = redis
        self._keys = keys
        self._projector = projector
        self._standing = standing
        self._shortages = shortages
        self._on_change = on_change
        self._tail = Tail(bootstrap, topics.controllers.name, self._take)
        self._producer: AIOKafkaProducer | None = None
        self._clock = ClockWatch()
        self._ahead_ms = 0
        self._agreed = False  # whether this Redis was seen to hold the tables of a leader
        self._look_now = asyncio.Event()
        self._changed = asyncio.Event()
        self._log = structlog.get_logger("fitness")

    async def start(self) -> None:
        """Connects. Raises KafkaConnectionError or ``TopicMissingError``."""
        await self._tail.start(last=RECORDS_READ_MAX)

    async def stop(self) -> None:
        """Closes the connections; ``run`` must have ended."""
        await self._tail.stop()
        await self._close_producer()

    async def run(self) -> None:
        """Looks and says until cancelled."""
        await run_all(self._tail.run(), self._keep_looking())

    async def say_goodbye(self) -> None:
        """Says that this controller is about to end, so that another need not wait for its silence."""
        self._presence = replace(self._presence, leaving=True)
        try:
            async with asyncio.timeout(GOODBYE_WITHIN_S):
                await self._say()
        except (KafkaError, TimeoutError):
            pass

    async def until(self, condition: Callable[[], bool]) -> None:
        """Returns once the condition, which follows from ``fitness``, is true."""
        while not condition():
            await self._changed.wait()

    def must_yield(self, work: Role) -> bool:
        """See ``Fitness.must_yield``."""
        return self.fitness.must_yield(work, monotonic_ms())

    def somebody_does(self, work: Role) -> bool:
        """Whether a controller that is there, this one or another, says that it does this work."""
        return any(presence.does(work) for presence in self.roster.present(now_ms() - self._ahead_ms))

    async def _keep_looking(self) -> None:
        await self._first_words()
        while True:
            try:
                await self._look()
                await self._say()
            except (KafkaError, TimeoutError) as error:
                self._log.warning(
                    "this controller can't say how it is", error=str(error) or type(error).__name__
                )
                await self._close_producer()
            try:
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._look_now.wait()
            except TimeoutError:
                pass
            self._look_now.clear()

    async def _first_words(self) -> None:
        """Reads who is there, what is in force and what the brokers' clock says, before the first look."""
        try:
            await self._say()
            await self._tail.read_all(READ_WITHIN_S)
            await self._standing.until_read()
        except (KafkaError, TimeoutError):
            await self._close_producer()

    async def _look(self) -> None:
        steady_ms = monotonic_ms()
        self._clock = self._clock.look(now_ms(), steady_ms, self._ahead_ms)
        broker_now_ms = now_ms() - self._ahead_ms
        others = others_of(self.roster, self._presence.identity, broker_now_ms)
        redis = await check_redis(self._redis, self._keys, self._presence.identity, self._presence.redis)
        history = await self._history_fault() if redis.fault is None else None
        stand = self._standing.stands()
        followed = stand.in_force or self._file
        notice = file_notice(self._file, stand.in_force)
        tables = None
        if redis.fault is None and stand.own_epoch == NO_EPOCH:
            tables = self._tables_fault(redis.tables_run, stand.epoch_in_force, broker_now_ms)
        elif redis.tables_run:
            self._agreed = True  # it is the leader's Redis, because this controller leads with it
        short = await asyncio.to_thread(self._shortages)
        shortages = ((FaultKind.DESCRIPTORS, short.descriptors), (FaultKind.DISK, short.disk))
        findings = (
            redis.fault,
            tables,
            history,
            clock_fault(self._ahead_ms, trusted=self._clock.trusted),
            lineage_fault(self._file, stand.in_force),
            version_fault(stand.unread, Role(self._presence.role)),
            *(Fault(kind, words) for kind, words in shortages if words),
        )
        faults = tuple(fault for fault in findings if fault is not None)
        self._presence = replace(
            self._presence,
            epoch=stand.own_epoch,
            clock_ahead_ms=self._ahead_ms,
            tables_run=redis.tables_run,
            partitions=stand.partitions,
            faults=faults,
            alarms=stand.alarms,
            checked=True,
            policy_version=followed.version,
            policy_number=followed.number,
            notices=(*stand.notices, *((notice,) if notice else ())),
        )
        self._note(faults, others)

    async def _history_fault(self) -> Fault | None:
        lineage = self._presence.lineage
        try:
            lost = await self._projector.lost_log(lineage)
        except (RedisError, OSError, TimeoutError):
            return None  # the next look says what is wrong with Redis
        if lost == "leader":
            return leader_log_fault(lineage, self._topics.leader.name, self._topics.routes.name)
        return history_fault(lineage) if lost else None

    def _tables_fault(self, tables_run: str, epoch: int, broker_now_ms: int) -> Fault | None:
        """Compares this Redis with the leader's, also with that of a leader which died within a minute.

        Once they were seen to be the same, a dead leader proves nothing: Redis may have died with it.
        """
        within_ms = PRESENT_MS if self._agreed else GRACE_MS
        leaders = [
            row.presence
            for row in self.roster.rows(broker_now_ms)
            if row.presence.epoch == epoch != NO_EPOCH and broker_now_ms - row.append_ms < within_ms
        ]
        self._agreed |= any(leader.tables_run == tables_run != "" for leader in leaders)
        return tables_fault(tables_run, self._presence.redis, leaders)

    def _note(self, faults: tuple[Fault, ...], others: tuple[Presence, ...]) -> None:
        kinds = [fault.kind for fault in faults]
        if not self.fitness.checked or kinds != [fault.kind for fault in self.fitness.faults]:
            if faults:
                self._log.error("this controller is not fit to lead", why=[fault.words for fault in faults])
            else:
                self._log.info("this controller is fit to lead")
        self.fitness.note(faults, others, monotonic_ms())
        self._changed.set()
        self._changed = asyncio.Event()
        self._on_change()

    async def _say(self) -> None:
        if self._producer is None:
            self._producer = await start_producer(self._bootstrap)
        value, record_headers = encode_presence(self._presence)
        sent_ms = now_ms()
        async with asyncio.timeout(SEND_WITHIN_S):
            metadata: Any = await self._producer.send_and_wait(
                self._topics.controllers.name, value=value, headers=record_headers, partition=0
            )
        self._ahead_ms = apart_ms(sent_ms, int(metadata.timestamp), now_ms())

    def _take(self, record: ConsumerRecord[bytes | None, bytes | None]) -> None:
        if self.roster.take(record):
            self._look_now.set()

    async def _close_producer(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await stop_producer(producer)
