"""One record of the decisions topic: what a step was given, whole or as changes, and what it gave. Pure.

``rebuild`` is the way back from records to the snapshots that were decided on.
"""

from typing import TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from controller.core.model.dispatch_plan import Plan
from controller.core.model.memory import Memory
from controller.core.snapshot import LoggedAnswer, Office, Ready, Snapshot
from controller.kafka.packing import PackingError, unpacked
from streams.rows import DemandRow, Progress, Row
from tieline.errors import UNDECODABLE
from tieline.events import Command
from tieline.table import Generation, RouteTable

T = TypeVar("T")
_encoder = msgspec.msgpack.Encoder(order="deterministic")


class SnapshotChanges(Struct, frozen=True, omit_defaults=True):
    """How a snapshot differs from that of the record before it, whose generation is ``follows``.

    Rows are named by their place in the snapshot's tuples. ``table`` None stands for the table that the
    record before published, and ``plan`` None for the same plan as before. All other fields are those of the
    snapshot.
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
    offer_answers: tuple[LoggedAnswer, ...] = ()
    used_up: tuple[str, ...] = ()


class Decision(Struct, frozen=True, omit_defaults=True):
    """One published step as it is recorded; exactly one of ``whole`` and ``changed`` is there.

    The policy of a record with ``changed`` is that of the record before it.
    """

    generation: Generation
    now_ms: int
    ready: Ready
    whole: Snapshot | None = None
    changed: SnapshotChanges | None = None


class Step(Struct, frozen=True):
    """One published step, as the agent made it; ``published`` is the table that went out."""

    now_ms: int
    snapshot: Snapshot
    ready: Ready
    published: RouteTable

    @property
    def generation(self) -> Generation:
        """The generation of the publication."""
        return self.published.generation


def decision_of(step: Step, before: Step | None) -> Decision:
    """The record of ``step``. ``before`` is the step recorded last; None asks for a whole snapshot."""
    changed = None if before is None else _changes(before, step.snapshot)
    whole = step.snapshot if changed is None else None
    return Decision(step.generation, step.now_ms, step.ready, whole=whole, changed=changed)


def _changes(before: Step, new: Snapshot) -> SnapshotChanges | None:
    """What differs. None if only a whole snapshot can say it: another policy, other rows, the plan is gone.

    Unchanged rows are the same objects, as rows are decoded again only when their bytes change.
    """
    old = before.snapshot
    pairs = (
        (old.reports, new.reports),
        (old.statements, new.statements),
        (old.capacities, new.capacities),
        (old.demand, new.demand),
    )
    plan_is_gone = new.plan is None and old.plan is not None
    if old.policy is not new.policy or plan_is_gone or any(len(was) != len(now) for was, now in pairs):
        return None
    return SnapshotChanges(
        follows=before.generation,
        office=new.office,
        reports=_new_rows(old.reports, new.reports),
        statements=_new_rows(old.statements, new.statements),
        capacities=_new_rows(old.capacities, new.capacities),
        demand=_new_rows(old.demand, new.demand),
        progress=new.progress,
        commands=new.commands,
        memory=new.memory,
        table=None if new.table is before.published else new.table,
        plan=None if new.plan is old.plan else new.plan,
        offer_answers=new.offer_answers,
        used_up=new.used_up,
    )


def _new_rows(old: tuple[T, ...], new: tuple[T, ...]) -> tuple[tuple[int, T], ...]:
    return tuple((place, row) for place, row in enumerate(new) if row is not old[place])


class RecordedDecision(Struct, frozen=True):
    """A ``Decision`` as it is read back; ``ready`` holds the bytes that were recorded."""

    generation: Generation
    now_ms: int
    ready: msgspec.Raw
    whole: Snapshot | None = None
    changed: SnapshotChanges | None = None


class RebuiltDecision(Struct, frozen=True):
    """A recorded decision with its whole snapshot; ``published`` is the table in force from then on."""

    generation: Generation
    now_ms: int
    snapshot: Snapshot
    ready_bytes: bytes
    ready: Ready
    published: RouteTable


_decoder = msgspec.msgpack.Decoder(RecordedDecision)
_ready_decoder = msgspec.msgpack.Decoder(Ready)


class RecordError(ValueError):
    """A record of the decisions topic can't be read; the message says why."""


def encode_decision(record: Decision) -> bytes:
    """The record as bytes."""
    return _encoder.encode(record)


def encode_ready(ready: Ready) -> bytes:
    """The outcome of a step as bytes, the same as within its record."""
    return _encoder.encode(ready)


def decode_ready(data: bytes) -> Ready:
    """The outcome of a step from its bytes. Raises ``msgspec.MsgspecError``."""
    return _ready_decoder.decode(data)


def decode_decision(data: bytes) -> RecordedDecision:
    """The record from its bytes. Raises ``RecordError``."""
    try:
        return _decoder.decode(unpacked(data))
    except (*UNDECODABLE, PackingError) as error:
        raise RecordError(str(error)) from None


def rebuild(record: RecordedDecision, before: RebuiltDecision | None) -> RebuiltDecision | None:
    """The record with its whole snapshot. None if it changes a record that is not ``before``."""
    snapshot = record.whole
    if snapshot is None:
        changed = record.changed
        if changed is None or before is None or changed.follows != before.generation:
            return None
        snapshot = _changed_snapshot(changed, before)
    elif before is not None and snapshot.policy == before.snapshot.policy:
        # One object for one policy: the planner keeps what it derives from a policy by identity.
        snapshot = replace(snapshot, policy=before.snapshot.policy)
    ready_bytes = bytes(record.ready)
    ready = decode_ready(ready_bytes)
    table = ready.table or snapshot.table
    if table is None:
        return None
    if (table.generation, table.made_ms) != (record.generation, record.now_ms):
        table = replace(table, generation=record.generation, made_ms=record.now_ms)
    return RebuiltDecision(
        generation=record.generation,
        now_ms=record.now_ms,
        snapshot=snapshot,
        ready_bytes=ready_bytes,
        ready=ready,
        published=table,
    )


def _changed_snapshot(changed: SnapshotChanges, before: RebuiltDecision) -> Snapshot:
    old = before.snapshot
    return Snapshot(
        policy=old.policy,
        office=changed.office,
        reports=_with(old.reports, changed.reports),
        statements=_with(old.statements, changed.statements),
        capacities=_with(old.capacities, changed.capacities),
        demand=_with(old.demand, changed.demand),
        progress=changed.progress,
        commands=changed.commands,
        memory=changed.memory,
        table=changed.table or before.published,
        plan=changed.plan or old.plan,
        offer_answers=changed.offer_answers,
        used_up=changed.used_up,
    )


def _with(rows: tuple[T, ...], changes: tuple[tuple[int, T], ...]) -> tuple[T, ...]:
    changed = list(rows)
    for place, row in changes:
        changed[place] = row
    return tuple(changed)
