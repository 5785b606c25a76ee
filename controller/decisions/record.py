"""One record of the decisions topic: what a step was given, whole or as what changed, and what it gave. Pure.

``rebuilt`` is the way back: from the records in order, every snapshot that was decided on, so that it can be
decided again.
"""

from typing import TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from controller.core.model.dispatch_plan import Plan
from controller.core.model.memory import Memory
from controller.core.snapshot import Office, Ready, Snapshot
from streams.rows import DemandRow, Progress, Row
from tieline.events import Command
from tieline.table import Generation, RouteTable

T = TypeVar("T")
_encoder = msgspec.msgpack.Encoder(order="deterministic")


class Changed(Struct, frozen=True, omit_defaults=True):
    """The rows that differ from the recorded snapshot before this one, by their place in its tuples.

    ``follows`` is the generation of that record: nothing can be rebuilt after another one.
    """

    follows: Generation
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
        before.generation,
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


class Recorded(Struct, frozen=True):
    """A decision as it lies on the topic; ``ready`` are the very bytes that were recorded."""

    generation: Generation
    now_ms: int
    ready: msgspec.Raw
    whole: Snapshot | None = None
    changed: Changed | None = None


class Rebuilt(Struct, frozen=True):
    """What one record was decided on (``snapshot``), what came of it, and the table in force from then on."""

    generation: Generation
    now_ms: int
    snapshot: Snapshot
    ready_bytes: bytes
    ready: Ready
    published: RouteTable


_decoder = msgspec.msgpack.Decoder(Recorded)
_ready_decoder = msgspec.msgpack.Decoder(Ready)


class RecordError(ValueError):
    """A record of the decisions topic that can't be read; the message says why."""


def encode_decision(record: Decision) -> bytes:
    """The record as bytes."""
    return _encoder.encode(record)


def encode_ready(ready: Ready) -> bytes:
    """What a step gave, as it is recorded."""
    return _encoder.encode(ready)


def decode_ready(data: bytes) -> Ready:
    """The way back."""
    return _ready_decoder.decode(data)


def decode_decision(data: bytes) -> Recorded:
    """Bytes as a record. Raises ``RecordError``."""
    try:
        return _decoder.decode(data)
    except msgspec.MsgspecError as error:
        raise RecordError(str(error)) from None


def rebuilt(record: Recorded, before: Rebuilt | None) -> Rebuilt | None:
    """The record with its whole snapshot, or None if the record that it changes is not ``before``."""
    snapshot = record.whole
    if snapshot is None:
        changed = record.changed
        if changed is None or before is None or changed.follows != before.generation:
            return None
        snapshot = _applied(changed, before)
    elif before is not None and snapshot.policy == before.snapshot.policy:
        snapshot = replace(snapshot, policy=before.snapshot.policy)  # what is prepared of it is kept
    ready_bytes = bytes(record.ready)
    ready = decode_ready(ready_bytes)
    table = ready.table or snapshot.table
    if table is None:
        return None
    if (table.generation, table.made_ms) != (record.generation, record.now_ms):
        table = replace(table, generation=record.generation, made_ms=record.now_ms)
    return Rebuilt(record.generation, record.now_ms, snapshot, ready_bytes, ready, table)


def _applied(changed: Changed, before: Rebuilt) -> Snapshot:
    old = before.snapshot
    return Snapshot(
        old.policy,
        changed.office,
        _with(old.reports, changed.reports),
        _with(old.statements, changed.statements),
        _with(old.capacities, changed.capacities),
        _with(old.demand, changed.demand),
        changed.progress,
        changed.commands,
        changed.memory,
        changed.table or before.published,
        changed.plan or old.plan,
    )


def _with(rows: tuple[T, ...], changes: tuple[tuple[int, T], ...]) -> tuple[T, ...]:
    found = list(rows)
    for place, row in changes:
        found[place] = row
    return tuple(found)
