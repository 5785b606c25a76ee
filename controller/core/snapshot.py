"""What a decision takes and gives: ``Snapshot`` in, ``Ready`` out.

Everything here is a frozen struct that msgspec can write down, so that any decision can be recorded and
decided again to the same bytes.
"""

from msgspec import Struct

from controller.core.model.dispatch_plan import Plan
from controller.core.model.memory import Memory
from controller.core.model.reasons import Verdict
from controller.core.policy.policy import Policy
from streams.rows import DemandRow, Progress, Row
from tieline.events import Command
from tieline.offers import OfferAnswer
from tieline.table import RouteTable


class Office(Struct, frozen=True):
    """The leadership under which a decision is made.

    ``settled``: the tables were read to the offsets seen at the take-over; before that nothing is decided.
    Forced moves need evidence that is newer than ``took_office_ms``, moves by choice wait until
    ``voluntary_after_ms``. ``next_seq`` numbers the publication that this decision may make.
    ``clock_trusted``: the controller's clock has not jumped; while it has, the table is held.
    """

    lineage: str
    epoch: int
    next_seq: int
    took_office_ms: int
    voluntary_after_ms: int
    settled: bool = True
    clock_trusted: bool = True


class LoggedAnswer(Struct, frozen=True, array_like=True):
    """An answer to a request for capacity, as a source gave it; ``append_ms`` is by the brokers' clock."""

    append_ms: int
    answer: OfferAnswer


class Snapshot(Struct, frozen=True):
    """Everything that one decision rests on. Rows are sorted by table field; ``commands`` are those in force.

    ``memory`` and ``table`` are those of the last publication, None before the first. ``plan`` is the last
    answer of the dispatch; as it is part of this, deciding again never calls a solver. ``offer_answers``:
    those to open requests for capacity, in the log's order. ``used_up``: providers whose commitments to
    spend are used up for their periods, sorted.
    """

    policy: Policy
    office: Office
    reports: tuple[Row, ...] = ()
    statements: tuple[Row, ...] = ()
    capacities: tuple[Row, ...] = ()
    demand: tuple[DemandRow, ...] = ()
    progress: tuple[Progress, ...] = ()
    commands: tuple[Command, ...] = ()
    memory: Memory | None = None
    table: RouteTable | None = None
    plan: Plan | None = None
    offer_answers: tuple[LoggedAnswer, ...] = ()
    used_up: tuple[str, ...] = ()


class Ready(Struct, frozen=True):
    """What to do, in this order: append to the routes log, project into Redis, say why (``decisions``).

    ``table`` is None if the one in force stays; ``memory`` is then still to be recorded if
    ``memory_changed``. ``urgent``: clients must not wait for it, as load is lost or an order demands it.
    ``wake_ms``: when something falls due without an event (a hold-down ends, a step of a ramp, evidence
    goes stale); None if nothing does.
    """

    memory: Memory
    table: RouteTable | None
    decisions: tuple[Verdict, ...]
    urgent: bool = False
    memory_changed: bool = False
    wake_ms: int | None = None
