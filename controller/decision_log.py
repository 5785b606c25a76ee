"""What was decided and why, inputs included, on the decisions topic, so that it can be decided again.

A record carries a whole snapshot first in an epoch and every 60 s, else only the rows that changed since the
record before it. Publishing never waits for this: records queue here, and when too many wait the oldest are
dropped, said, and followed by a whole snapshot.
"""

import asyncio
from collections import deque

import msgspec
import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from msgspec import Struct

from controller.core.memory import Memory
from controller.core.model import Office, Ready, Snapshot
from controller.core.plan import Plan
from controller.producing import start_producer, stop_producer
from controller.routes_record import DECISION_TYPE, headers
from streams.rows import DemandRow, Progress, Row
from tieline.events import Command
from tieline.table import Generation, RouteTable
from tieline.topics import ROUTES_RECORD_MAX_BYTES

WAITING_MAX = 100
WHOLE_EVERY_MS = 60_000
RETRY_AFTER_S = 1.0
LINGER_S = 0.05
_encoder = msgspec.msgpack.Encoder(order="deterministic")


class Changed(Struct, frozen=True, omit_defaults=True):
    """The rows that differ from the recorded snapshot before this one, by their place in its tuples."""

    office: Office
    reports: tuple[tuple[int, Row], ...] = ()
    statements: tuple[tuple[int, Row], ...] = ()
    capacities: tuple[tuple[int, Row], ...] = ()
    demand: tuple[tuple[int, DemandRow], ...] = ()
    progress: tuple[Progress, ...] = ()
    commands: tuple[Command, ...] = ()
    memory: Memory | None = None
    table: RouteTable | None = None
    plan: Plan | None = None


class Decision(Struct, frozen=True, omit_defaults=True):
    """One step that was published. Either ``whole`` or ``changed`` is there.

    After ``changed`` the policy is that of the record before; so are the plan, and the table as published,
    unless ``changed`` brings another.
    """

    generation: Generation
    now_ms: int
    ready: Ready
    whole: Snapshot | None = None
    changed: Changed | None = None


class Step(Struct, frozen=True):
    """One published step, as the agent made it; ``published`` is the table that went out."""

    now_ms: int
    snapshot: Snapshot
    ready: Ready
    published: RouteTable

    @property
    def generation(self) -> Generation:
        """Of the publication."""
        return self.published.generation


def decision(step: Step, before: Step | None) -> Decision:
    """The record of ``step``, given the whole or changed record before it. None: a whole snapshot is due."""
    changed = None if before is None else _changed(before, step.snapshot)
    whole = step.snapshot if changed is None else None
    return Decision(step.generation, step.now_ms, step.ready, whole, changed)


def _changed(before: Step, new: Snapshot) -> Changed | None:
    """What differs, or None if that is better said whole. Unchanged rows are the same objects."""
    old = before.snapshot
    pairs = (
        (old.reports, new.reports),
        (old.statements, new.statements),
        (old.capacities, new.capacities),
        (old.demand, new.demand),
    )
    no_plan_now = new.plan is None and old.plan is not None
    if old.policy is not new.policy or no_plan_now or any(len(was) != len(now) for was, now in pairs):
        return None
    return Changed(
        new.office,
        tuple((i, row) for i, row in enumerate(new.reports) if row is not old.reports[i]),
        tuple((i, row) for i, row in enumerate(new.statements) if row is not old.statements[i]),
        tuple((i, row) for i, row in enumerate(new.capacities) if row is not old.capacities[i]),
        tuple((i, row) for i, row in enumerate(new.demand) if row is not old.demand[i]),
        new.progress,
        new.commands,
        new.memory,
        None if new.table is before.published else new.table,
        None if new.plan is old.plan else new.plan,
    )


class DecisionLog:
    """Sends decisions in the background."""

    def __init__(self, bootstrap: str, topic: str, identity: str) -> None:
        self._bootstrap = bootstrap
        self._topic = topic
        self._identity = identity
        self._waiting: deque[Step] = deque()
        self._due = asyncio.Event()
        self._before: Step | None = None
        self._whole_ms = 0
        self._log = structlog.get_logger("decisions")

    def record(self, step: Step) -> None:
        """Queues one published step; returns at once."""
        if len(self._waiting) >= WAITING_MAX:
            self._log.warning("decisions dropped: Kafka takes none", count=len(self._waiting))
            self._waiting.clear()
            self._before = None
        self._waiting.append(step)
        self._due.set()

    async def run(self) -> None:
        """Sends until cancelled."""
        producer = await start_producer(self._bootstrap, record_max_bytes=ROUTES_RECORD_MAX_BYTES)
        try:
            while True:
                await self._due.wait()
                self._due.clear()
                await asyncio.sleep(LINGER_S)  # the clients' way goes first
                while self._waiting:
                    await self._send(producer, self._waiting.popleft())
        finally:
            await stop_producer(producer)

    async def _send(self, producer: AIOKafkaProducer, step: Step) -> None:
        before = self._before
        if (
            before is None
            or before.generation.epoch != step.generation.epoch
            or step.now_ms - self._whole_ms >= WHOLE_EVERY_MS
        ):
            before = None
        record = decision(step, before)
        body = _encoder.encode(record)
        if len(body) > ROUTES_RECORD_MAX_BYTES:
            self._log.error("decision too large to record", bytes=len(body), generation=str(step.generation))
            self._before = None
            return
        try:
            await producer.send_and_wait(
                self._topic,
                value=body,
                headers=headers(DECISION_TYPE, str(step.generation), self._identity),
                partition=0,
            )
        except KafkaError as error:
            self._log.warning("decision not recorded", error=type(error).__name__)
            self._before = None
            await asyncio.sleep(RETRY_AFTER_S)
            return
        self._before = step
        if record.whole is not None:
            self._whole_ms = step.now_ms
