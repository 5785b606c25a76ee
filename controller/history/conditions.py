"""What stands at an instant, as entries by key: orders, alarms, shed workloads, and what holds moves back.

Two instants are compared by key: what is new begins, and what is gone ends. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from controller.core.model.drill import DrillMemory
from controller.core.model.reasons import Reason, Verdict
from controller.core.model.words import WORDS, duration, sentence
from controller.core.orders.words import described
from controller.history.decided import is_change_of_state
from controller.history.drills import begun, drill_key, outcome_entry
from controller.history.entries import EXPIRED, REASON_MAX, Entry, Severity
from controller.history.offers import capacity_conditions
from tieline.events import Command, PolicyChange
from tieline.offers import OfferRequest
from tieline.table import MILLION, RouteTable

if TYPE_CHECKING:
    from controller.routes.record import PendingOrder

STANDING_MAX = 1_000
WARNED_AHEAD_MAX_MS = 600_000
WARNED_AHEAD_PART = 10  # an order's end is announced when a tenth of its length is left
LAPSED = "has lapsed: not enough people signed it in time, and nothing was changed"
SETTLED = "no longer waits for another person"
ORDER_KINDS = {"override": "override", "freeze": "freeze"}
SAID_ELSEWHERE = frozenset((Reason.FROZEN, Reason.NOT_SETTLED, Reason.CLOCK_JUMPED))
Standing = Mapping[str, Entry]
"""By key: the entries with which the conditions began."""


class Observation(NamedTuple):
    """What one step found at ``at_ms``. ``orders`` are those in force, ``pending`` those that
    wait for another person. ``holding``: what keeps the table as
    it is; None if the step published a table and does not say. ``demand``: units/s by route. ``offers``:
    requests for capacity. ``drills`` are those that the planner remembers."""

    at_ms: int
    orders: tuple[Command, ...]
    alarms: tuple[Verdict, ...]
    holding: tuple[Verdict, ...] | None
    table: RouteTable
    demand: Mapping[str, float]
    pending: tuple[PendingOrder, ...] = ()
    offers: tuple[OfferRequest, ...] = ()
    drills: tuple[DrillMemory, ...] = ()


def standing_conditions(observation: Observation, before: Standing) -> dict[str, Entry]:
    """All conditions that stand. Those that stood ``before`` keep the entry with which they began."""
    at_ms = observation.at_ms
    standing: dict[str, Entry] = {}
    orders = [order for order in observation.orders if order.verb != "drill"]
    for drill in observation.drills:
        if drill.is_emptying:
            standing[drill_key(drill)] = before.get(drill_key(drill)) or begun(drill, at_ms)
    for order in orders:  # there may be a thousand: an entry is made only for a new one
        key = f"order:{order.id}"
        standing[key] = before.get(key) or _order(order, key, at_ms)
    for verdict in observation.alarms:
        key = f"alarm:{verdict.subject}:{verdict.reason.value}"
        standing[key] = before.get(key) or _alarm(verdict, key, at_ms)
    others = [
        *(_expiring(order, at_ms) for order in orders if is_expiring(order, at_ms)),
        *(_pending(item, at_ms) for item in observation.pending if item.until_ms > at_ms),
        *_shedding(observation),
        *capacity_conditions(observation.offers, at_ms, observation.table.settings.load_unit),
        *_held(observation, before),
    ]
    standing |= {entry.key: before.get(entry.key, entry) for entry in others}
    if len(standing) <= STANDING_MAX:
        return standing
    first = sorted(standing, key=lambda key: standing[key].severity == "info")[:STANDING_MAX]
    return {key: standing[key] for key in first}


def changes(
    before: Standing, after: Standing, at_ms: int, drills: tuple[DrillMemory, ...] = ()
) -> list[Entry]:
    """The entries of what ended and of what began, in this order. ``drills`` say how those of them ended."""
    outcomes = {drill_key(drill): outcome_entry(drill) for drill in drills if drill.outcome}
    gone = [outcomes.get(key) or ended(entry, at_ms) for key, entry in before.items() if key not in after]
    new = [entry for key, entry in after.items() if key not in before]
    return [*gone, *new]


def is_expiring(order: Command, at_ms: int) -> bool:
    """Whether the order ends within ten minutes, or within a tenth of its length if that is less."""
    left_ms = (order.expires_ms or 0) - at_ms
    length_ms = (order.expires_ms or 0) - order.issued_ms
    return 0 < left_ms <= min(WARNED_AHEAD_MAX_MS, length_ms / WARNED_AHEAD_PART)


def scope_of(order: Command) -> str:
    """The scope as an entry names it: ``table`` for the whole table."""
    return "table" if order.scope == "*" else order.scope


def _order(order: Command, key: str, at_ms: int) -> Entry:
    kind = ORDER_KINDS.get(order.verb, "order")
    left = duration(max((order.expires_ms or 0) - at_ms, 0))
    return Entry(
        min(order.issued_ms, at_ms),
        kind,
        scope_of(order),
        text=f"{described(order)}, for {left}",
        severity="info" if kind == "order" else "warning",
        phase="begins",
        key=key,
        who=order.actor,
        workload=order.workload,
        actors=(order.actor,),
        why=(order.reason[:REASON_MAX],),
        until_ms=order.expires_ms,
    )


def _expiring(order: Command, at_ms: int) -> Entry:
    left = duration((order.expires_ms or 0) - at_ms)
    return Entry(
        at_ms,
        "expiring",
        scope_of(order),
        text=f"{described(order)} ends in {left}",
        severity="warning",
        phase="begins",
        key=f"expiring:{order.id}",
        who=order.actor,
        workload=order.workload,
        actors=(order.actor,),
        why=(order.reason[:REASON_MAX],),
        until_ms=order.expires_ms,
    )


def _pending(item: PendingOrder, at_ms: int) -> Entry:
    order = item.order
    return Entry(
        min(item.since_ms, at_ms),
        "pending",
        "policy" if isinstance(order, PolicyChange) else scope_of(order),
        text=f"{described(order)} waits for another person: {len(item.signers)} of {item.approvals} signed",
        severity="warning",
        phase="begins",
        key=f"pending:{order.id}",
        who=order.actor,
        workload="" if isinstance(order, PolicyChange) else order.workload,
        actors=item.signers,
        why=(order.reason[:REASON_MAX],),
        until_ms=item.until_ms,
    )


def _alarm(verdict: Verdict, key: str, at_ms: int) -> Entry:
    return Entry(
        at_ms,
        "alarm",
        verdict.subject,
        text=sentence(verdict, at_ms),
        severity="warning",
        phase="begins",
        key=key,
        reasons=(verdict.reason.value,),
    )


def _held(observation: Observation, before: Standing) -> list[Entry]:
    """What keeps the table as it is. While a step does not say, it is as it was."""
    if observation.holding is None:
        return [entry for entry in before.values() if entry.kind in ("held", "guard")]
    return [
        Entry(
            observation.at_ms,
            "guard" if verdict.reason.startswith("guard_") else "held",
            verdict.subject,
            text=sentence(verdict, observation.at_ms),
            severity="warning" if verdict.reason.startswith("guard_") else "info",
            phase="begins",
            key=f"held:{verdict.subject}:{verdict.reason.value}",
            reasons=(verdict.reason.value,),
        )
        for verdict in observation.holding
        if verdict.reason not in SAID_ELSEWHERE and not is_change_of_state(verdict)
    ]


def _shedding(observation: Observation) -> list[Entry]:
    """One condition for each workload of which any load is turned away."""
    shed: dict[str, float] = {}
    offered: dict[str, float] = {}
    severity: dict[str, Severity] = {}
    for route in observation.table.routes:
        units = observation.demand.get(route.name, 0.0)
        offered[route.workload] = offered.get(route.workload, 0.0) + units
        if route.split.shed:
            shed[route.workload] = shed.get(route.workload, 0.0) + units * route.split.shed / MILLION
            is_critical = route.criticality.startswith("critical")
            severity[route.workload] = "critical" if is_critical else "warning"
    unit = observation.table.settings.load_unit
    return [
        Entry(
            observation.at_ms,
            "shedding",
            workload,
            text=f"{workload} is shed: {units:,.0f} of {offered[workload]:,.0f} {unit}/s are turned away",
            severity=severity[workload],
            phase="begins",
            key=f"shedding:{workload}",
            why=(WORDS[Reason.SHED_NO_ROOM],),
            reasons=(Reason.SHED_NO_ROOM.value,),
        )
        for workload, units in sorted(shed.items())
    ]


def ended(entry: Entry, at_ms: int) -> Entry:
    """The entry with which a condition ends. An order whose time is over has ended by itself."""
    is_order = entry.kind in ("order", "override", "freeze")
    is_over = (is_order or entry.kind == "pending") and entry.until_ms is not None and entry.until_ms <= at_ms
    subject = entry.text.partition(", for ")[0] if is_order else ""
    text = {
        "expiring": f"no longer about to end: {entry.text}",
        "shedding": f"{entry.about} is no longer shed",
        "pending": f"{entry.text.partition(' waits for')[0]} {LAPSED if is_over else SETTLED}",
    }.get(entry.kind, f"over: {entry.text}")
    if is_order:
        text = f"{subject} {'has ended: its time was over' if is_over else 'was taken back or replaced'}"
    return replace(
        entry,
        at_ms=at_ms,
        reasons=(EXPIRED,) if is_over else entry.reasons,
        text=text,
        phase="ends",
    )
