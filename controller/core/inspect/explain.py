"""Why a pool gets what it gets, and a route what it has: decided again from the snapshot, as values.

The chain is evidence -> state -> capacity -> rule -> weight. Words are made by ``words.py``.
"""

from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from controller.core.assessment import Assessment, assess
from controller.core.evidence.finding import SILENT
from controller.core.evidence.health import ramp_share
from controller.core.guards.withheld import MODES
from controller.core.inspect.why_no_share import Asking, Nothing, asking, why_nothing
from controller.core.model.reasons import Reason, State, Verdict
from controller.core.moves.draft import KEEPS, OUT, Draft
from controller.core.moves.held_table import HeldTable
from controller.core.moves.modes import bound_pools
from controller.core.orders.in_force import told
from controller.core.planner import Planner
from controller.core.snapshot import Snapshot
from tieline.events import Command
from tieline.table import MILLION


class PoolWhy(Struct, frozen=True):
    """One pool. Load and capacities in units/s; ``rules`` are what binds it beyond its state, tightest first.

    ``usable_units_per_s`` is what it may carry after headroom and ramp, None where its provider's mode sets
    no bound; ``weights`` are its shares by route, and ``nothing`` says of each other route why it has none.
    """

    pool: str
    evidence: Verdict
    state: Verdict
    capacity: Verdict
    rules: tuple[Verdict, ...]
    limit_units_per_s: float
    committed_units_per_s: float
    usable_units_per_s: float | None
    load_units_per_s: float
    ramp_share: float
    weights: dict[str, float]
    nothing: dict[str, Nothing]


class RouteWhy(Struct, frozen=True):
    """One route: demand in units/s, the share of each pool, and of each other pool why it has none.

    ``last_resort``: pools, in order, that clients may try when they have nothing left for a request."""

    route: str
    criticality: str
    demand_units_per_s: float
    shed: float
    shed_reason: str
    weights: dict[str, float]
    pools: tuple[PoolWhy, ...]
    nothing: dict[str, Nothing]
    last_resort: tuple[str, ...]


class Explained(Struct, frozen=True):
    """The whole policy, by id. ``next_step``: what deciding again now says, moves and changes of state."""

    pools: dict[str, PoolWhy]
    routes: dict[str, RouteWhy]
    next_step: tuple[Verdict, ...]


class _Asked(NamedTuple):
    """``whole`` is the table in force as a draft."""

    snapshot: Snapshot
    known: Assessment
    whole: Draft
    ask: Asking
    ids: tuple[int, ...]


def explain(snapshot: Snapshot, now_ms: int) -> Explained:
    """Every pool and route under the table in force. Raises ``ValueError`` without a table."""
    if snapshot.table is None:
        raise ValueError("there is no table in force to explain")
    planner = Planner()
    known = assess(snapshot, now_ms, planner.memo)
    compiled = known.compiled
    whole = HeldTable(compiled, snapshot.table).draft(known.demand)
    ask = asking(snapshot, known, whole, now_ms)
    asked = _Asked(snapshot, known, whole, ask, tuple(range(len(compiled.pools))))
    pools = {compiled.pools[index]: _pool(asked, index) for index in asked.ids}
    routes = {rule.name: _route(asked, index, pools) for index, rule in enumerate(compiled.routes)}
    return Explained(pools, routes, planner.step(snapshot, now_ms).decisions)


def _route(asked: _Asked, route: int, pools: dict[str, PoolWhy]) -> RouteWhy:
    known, names = asked.known, asked.known.compiled.pools
    rule, weights = known.compiled.routes[route], asked.whole.weights[route]
    order = sorted(weights, key=lambda pool: (-weights[pool], pool))
    table = asked.snapshot.table
    said = next((one for one in table.routes if one.name == rule.name), None) if table else None
    last = [table.pools[index].pool for index in said.last_resort] if table and said else []
    return RouteWhy(
        rule.name,
        rule.criticality,
        known.demand[route],
        asked.whole.shed[route] / MILLION,
        said.shed_reason if said else "",
        {names[pool]: weights[pool] / MILLION for pool in order},
        tuple(pools[names[pool]] for pool in order),
        {names[pool]: pools[names[pool]].nothing[rule.name] for pool in asked.ids if pool not in weights},
        tuple(last),
    )


def _pool(asked: _Asked, index: int) -> PoolWhy:
    snapshot, known = asked.snapshot, asked.known
    compiled = known.compiled
    name = compiled.pools[index]
    memory = known.memory.pools[name]
    finding = known.findings.get(name, SILENT)
    cap = known.caps.pools[index]
    shares = {rule.name: asked.whole.weights[i].get(index, 0) for i, rule in enumerate(compiled.routes)}
    usable = known.use.limits.usable[index]
    limits = snapshot.policy.thresholds
    until_ms = memory.hold_until_ms if memory.state is State.DOWN else None
    return PoolWhy(
        name,
        Verdict(name, finding.reason, finding.evidence_ms, finding.until_ms, value=finding.value,
                limit=finding.limit),
        Verdict(name, memory.reason, memory.since_ms, until_ms, after=memory.state.value),
        Verdict(name, cap.reason, 0, cap.until_ms, value=cap.limit),
        tuple(_rules(snapshot, known, index)),
        cap.limit,
        cap.committed,
        usable if usable != float("inf") else None,
        asked.whole.load[index],
        ramp_share(memory, limits),
        {route: parts / MILLION for route, parts in shares.items() if parts},
        {
            rule.name: why_nothing(asked.ask, route, index)
            for route, rule in enumerate(compiled.routes)
            if not shares[rule.name]
        },
    )  # fmt: skip


def _ordered(known: Assessment, index: int, mode: str) -> list[tuple[Reason, Command]]:
    """The orders that speak of the pool, but for drains."""
    given = known.orders
    approved = given.approved if mode == "recommend" else {}
    kinds = [
        (Reason.FROZEN, given.frozen),
        (Reason.OPERATOR_VERDICT, given.verdicts),
        (Reason.APPROVED, approved),
        *((Reason.GUARD_OVERRIDDEN, given.overridden[guard]) for guard in sorted(given.overridden)),
    ]
    return [(reason, pools[index]) for reason, pools in kinds if index in pools]


def _rules(snapshot: Snapshot, known: Assessment, index: int) -> list[Verdict]:
    """What binds the pool beyond its own state."""
    compiled, policy = known.compiled, snapshot.policy
    name = compiled.pools[index]
    found = []
    if index in known.claims.withdrawn:
        reason, until_ms = known.claims.withdrawn[index]
        found.append(Verdict(name, reason, 0, until_ms))
    mode = policy.providers[compiled.provider_of[index]].mode
    if index in bound_pools(compiled, known.orders):
        found.append(Verdict(name, MODES[mode], 0))
    for reason, order in _ordered(known, index, mode):
        found.append(replace(told(name, reason, order), after=order.guard))
    grade = known.use.limits.grade[index]
    if grade == KEEPS and not known.caps.pools[index].fresh:
        found.append(Verdict(name, Reason.CAPACITY_EXPIRED, 0))
    group = compiled.group_of[index]
    if group >= 0 and known.use.limits.group_usable[group] < known.use.limits.usable[index]:
        limit = known.use.limits.group_usable[group]
        found.append(Verdict(name, Reason.QUOTA_GROUP, 0, value=limit))
    if grade == OUT and index in known.use.lost and index not in known.claims.withdrawn:
        memory = known.memory.pools[name]
        found.append(Verdict(name, Reason.HOLD_DOWN, memory.down_since_ms, memory.hold_until_ms))
    return found
