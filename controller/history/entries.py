"""The entries of the history and the records that carry them: fields, bytes, and which entries are asked for.

All of it is plain values that msgspec writes as msgpack or JSON. Pure.
"""

from collections.abc import Iterable, Sequence
from typing import Literal, TypeAlias

import msgspec
from msgspec import Struct

from tieline.errors import UNDECODABLE
from tieline.events import in_scope

HISTORY_TYPE = "tieline.history.v1"
Severity: TypeAlias = Literal["info", "warning", "critical"]
SEVERITIES: tuple[Severity, ...] = ("info", "warning", "critical")
Phase: TypeAlias = Literal["", "begins", "ends"]

#: Kind -> what an entry of it tells.
KINDS: dict[str, str] = {
    "forced_move": "load moved at once, because pools were lost, full or withdrawn",
    "move": "load moved by choice",
    "upkeep": "a table was published that moves no load",
    "state": "a pool's health changed",
    "order": "an operator's order began, ended or was taken back",
    "override": "an operator lifted a guard",
    "policy": "an operator put another policy in force",
    "freeze": "an operator forbade moves by choice",
    "drill": "a drill began or ended, or the load was back after it",
    "refusal": "an order was refused",
    "pending": "an order waits for another person",
    "expiring": "an order ends soon",
    "expiry": "an order ended because its time was over",
    "alarm": "something needs a person",
    "shedding": "a workload's load is turned away",
    "guard": "a guard holds moves back",
    "held": "something else holds moves back",
    "leader": "a controller began to lead",
    "offer": "a provider was asked for capacity or answered, or what it gives began or ended",
    "gap": "entries are missing",
}
#: Names for several kinds together.
KIND_GROUPS: dict[str, tuple[str, ...]] = {
    "decision": ("forced_move", "move", "upkeep", "state"),
    "order": ("order", "override", "freeze", "policy"),
}
REASON_MAX = 300  # characters of an operator's words
EXPIRED = "expired"  # the reason of an order's end by its own time
ROUTINE = frozenset(("upkeep",))  # kinds that are of interest only when somebody asks for them


class LoadMove(Struct, frozen=True, omit_defaults=True):
    """What a workload sends to a pool, in units/s, under the table before and under the one after it.

    Both are computed with the demand at that moment. ``pool`` is empty for load that is shed.
    """

    workload: str
    pool: str
    before: float
    after: float


class DrillResult(Struct, frozen=True, omit_defaults=True):
    """What is known of a drill at the instant of its entry. ``id`` is that of its order.

    ``outcome``: succeeded, failed, interrupted, capacity_check_failed or not_started; empty while it runs.
    ``cause`` says why in words. ``recovery_ms``: from the order until clients had left the pools;
    ``return_ms``: from ``ended_ms`` until the load was back. Times that were not measured are 0, as are
    objectives that the policy does not name.
    """

    id: str
    scope: str
    began_ms: int
    outcome: str = ""
    cause: str = ""
    recovery_ms: int = 0
    objective_s: int = 0
    ended_ms: int = 0
    return_ms: int = 0
    return_objective_s: int = 0


class Entry(Struct, frozen=True, omit_defaults=True):
    """One thing that happened at ``at_ms``, in one sentence (``text``).

    ``kind``: one of ``KINDS``, the same for the beginning and the end of a condition; a newer version may
    write others. ``about``: a pool, a provider, a scope, a workload, a route, a source or ``table``.
    ``phase``: whether a condition begins or ends; empty for what has no length. ``key``: the same for the
    beginning and the end of one condition, unique for anything else. ``who``: the operator or the controller
    that did it. ``workload``: the one that an order is about. ``actors``: all operators whose orders led to
    it. ``why``: sentences; ``reasons``: their codes (``core.model.reasons``). ``until_ms``: when an order
    ends. ``moves``: the largest moves, the largest first; ``moves_left_out``: how many are not listed.
    ``moved_units_per_s``: all load that pools gained; ``shed_units_per_s``: all that is newly shed. ``unit``:
    what load is counted in, such as tokens. ``drill``: of an entry about a drill.
    """

    at_ms: int
    kind: str
    about: str
    text: str
    severity: Severity = "info"
    phase: Phase = ""
    key: str = ""
    who: str = ""
    workload: str = ""
    actors: tuple[str, ...] = ()
    why: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    generation: str = ""
    until_ms: int | None = None
    moves: tuple[LoadMove, ...] = ()
    moved_units_per_s: float = 0.0
    shed_units_per_s: float = 0.0
    moves_left_out: int = 0
    unit: str = ""
    drill: DrillResult | None = None


class HistoryRecord(Struct, frozen=True, omit_defaults=True):
    """One record of the history topic. ``writer``: the controller's identity; ``number`` counts its records,
    so that one that is sent twice is known by both.

    ``standing``: the entries with which the conditions began that stand after this record.
    ``answered_ms``: when the newest order was appended whose answer is part of the history.
    """

    epoch: int
    writer: str
    number: int
    entries: tuple[Entry, ...] = ()
    standing: tuple[Entry, ...] = ()
    answered_ms: int = 0


class Selection(Struct, frozen=True):
    """Which entries are asked for; an empty field asks for all. Several values of one field mean any of them,
    several fields mean all of them."""

    pools: tuple[str, ...] = ()
    providers: tuple[str, ...] = ()
    workloads: tuple[str, ...] = ()
    actors: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()

    def takes(self, entry: Entry) -> bool:
        """Whether the entry is among those that are asked for."""
        return (
            (not self.kinds or is_of_kind(entry, self.kinds))
            and (not self.actors or not {entry.who, *entry.actors}.isdisjoint(self.actors))
            and (not self.workloads or not workloads_of(entry).isdisjoint(self.workloads))
            and all(_touches(entry, scopes) for scopes in (self.pools, self.providers) if scopes)
        )


def is_of_kind(entry: Entry, kinds: Iterable[str]) -> bool:
    """Whether the entry is of one of the kinds or groups.

    A decision in which a guard bit is also of the kind guard, and the end of an order whose time is over also
    of the kind expiry.
    """
    own = {entry.kind}
    if any(reason.startswith("guard_") for reason in entry.reasons):
        own.add("guard")
    if EXPIRED in entry.reasons:
        own.add("expiry")
    return any(kind in own or entry.kind in KIND_GROUPS.get(kind, ()) for kind in kinds)


def workloads_of(entry: Entry) -> frozenset[str]:
    """The workloads that the entry is about, by itself or by what it moved."""
    named = entry.about.partition("/")[0]
    return frozenset((named, entry.workload, *(move.workload for move in entry.moves)))


def _touches(entry: Entry, scopes: Sequence[str]) -> bool:
    """Whether the entry is about one of the scopes, or about a part of it, or about what contains it."""
    places = (entry.about, *(move.pool for move in entry.moves if move.pool))
    return any(in_scope(place, scope) or in_scope(scope, place) for place in places for scope in scopes)


_encoder = msgspec.msgpack.Encoder(order="deterministic")
_decoder = msgspec.msgpack.Decoder(HistoryRecord)


def encode_history(record: HistoryRecord) -> bytes:
    """The record as bytes."""
    return _encoder.encode(record)


def decode_history(data: bytes | None) -> HistoryRecord | None:
    """The record in these bytes; None for bytes that are no such record."""
    try:
        return _decoder.decode(data or b"")
    except UNDECODABLE:
        return None
