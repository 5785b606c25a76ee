"""Why a pool carries what it carries, and why a route has its shares: decided again, as values.

The chain is evidence, then state, then capacity, then rules, then weights.
"""

from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from controller.core.assessment import Assessment, assess
from controller.core.capacity.usable import UNBOUNDED
from controller.core.evidence.finding import SILENT
from controller.core.evidence.health import ramp_share
from controller.core.guards.withheld import MODES
from controller.core.inspect.why_no_share import NoShare, ShareContext, share_context, why_no_share
from controller.core.model.reasons import Reason, State, Verdict
from controller.core.moves.draft import KEEPS, OUT, Draft
from controller.core.moves.held_table import HeldTable
from controller.core.moves.modes import bound_pools, modes_in_force
from controller.core.orders.in_force import order_verdict
from controller.core.planner import Planner
from controller.core.snapshot import Snapshot
from tieline.events import Command
from tieline.table import MILLION, RouteTable


class PoolWhy(Struct, frozen=True):
    """One pool. Load and capacities are in units/s; ``rules`` are what binds the pool beyond its state.

    ``usable_units_per_s`` is what the pool may carry after headroom and ramp, None where its provider's mode
    sets no bound. ``weights`` are its shares by route, and ``nothing`` says of each other route why it has
    none.
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
    nothing: dict[str, NoShare]


class RouteWhy(Struct, frozen=True):
    """One route: its demand in units/s, the share of each pool, and of each other pool why it has none.

    ``last_resort`` are the pools, in order, that clients may try when they have nothing left for a request.
    """

    route: str
    criticality: str
    demand_units_per_s: float
    shed: float
    shed_reason: str
    weights: dict[str, float]
    pools: tuple[PoolWhy, ...]
    nothing: dict[str, NoShare]
    last_resort: tuple[str, ...]


class Explanation(Struct, frozen=True):
    """All pools and routes of the policy, by id. ``next_step``: what a step decides now, as its verdicts."""

    pools: dict[str, PoolWhy]
    routes: dict[str, RouteWhy]
    next_step: tuple[Verdict, ...]


class _Scene(NamedTuple):
    """What is explained: the table in force, also as a draft, and what it is judged by."""

    table: RouteTable
    draft: Draft
    assessment: Assessment
    context: ShareContext


def explain(snapshot: Snapshot, now_ms: int) -> Explanation:
    """Every pool and route under the table in force. Raises ``ValueError`` without a table."""
    if snapshot.table is None:
        raise ValueError("there is no table in force to explain: decide a first table before")
    planner = Planner()
    assessment = assess(snapshot, now_ms, planner.memo)
    compiled = assessment.compiled
    draft = HeldTable(compiled, snapshot.table).draft(assessment.demand)
    context = share_context(snapshot, assessment, draft, now_ms=now_ms)
    scene = _Scene(snapshot.table, draft, assessment, context=context)
    pools = {name: _pool(scene, index) for index, name in enumerate(compiled.pools)}
    routes = {rule.name: _route(scene, index, pools) for index, rule in enumerate(compiled.routes)}
    return Explanation(pools, routes, planner.step(snapshot, now_ms).decisions)


def _route(scene: _Scene, route: int, pools: dict[str, PoolWhy]) -> RouteWhy:
    assessment, table = scene.assessment, scene.table
    names, rule = assessment.compiled.pools, assessment.compiled.routes[route]
    weights = scene.draft.weights[route]
    order = sorted(weights, key=lambda pool: (-weights[pool], pool))
    others = [name for index, name in enumerate(names) if index not in weights]
    in_table = next((entry for entry in table.routes if entry.name == rule.name), None)
    return RouteWhy(
        route=rule.name,
        criticality=rule.criticality,
        demand_units_per_s=assessment.demand[route],
        shed=scene.draft.shed[route] / MILLION,
        shed_reason=in_table.shed_reason if in_table else "",
        weights={names[pool]: weights[pool] / MILLION for pool in order},
        pools=tuple(pools[names[pool]] for pool in order),
        nothing={name: pools[name].nothing[rule.name] for name in others},
        last_resort=tuple(table.pools[index].pool for index in in_table.last_resort) if in_table else (),
    )


def _pool(scene: _Scene, index: int) -> PoolWhy:
    assessment = scene.assessment
    compiled, cap = assessment.compiled, assessment.caps.pools[index]
    name = compiled.pools[index]
    usable = assessment.use.limits.usable[index]
    parts = {rule.name: scene.draft.weights[i].get(index, 0) for i, rule in enumerate(compiled.routes)}
    return PoolWhy(
        pool=name,
        evidence=_evidence(assessment, name),
        state=_state(assessment, name),
        capacity=Verdict(name, cap.reason, 0, until_ms=cap.until_ms, value=cap.limit),
        rules=tuple(_rules(assessment, index)),
        limit_units_per_s=cap.limit,
        committed_units_per_s=cap.committed,
        usable_units_per_s=usable if usable != float("inf") else None,
        load_units_per_s=scene.draft.load[index],
        ramp_share=ramp_share(assessment.memory.pools[name], compiled.policy.thresholds),
        weights={route: share / MILLION for route, share in parts.items() if share},
        nothing={
            rule.name: why_no_share(scene.context, route, index)
            for route, rule in enumerate(compiled.routes)
            if not parts[rule.name]
        },
    )


def _evidence(assessment: Assessment, pool: str) -> Verdict:
    """What the evidence says, as of when, and when the first of it goes stale."""
    finding = assessment.findings.get(pool, SILENT)
    return Verdict(
        pool,
        finding.reason,
        finding.evidence_ms,
        until_ms=finding.until_ms,
        value=finding.value,
        limit=finding.limit,
    )


def _state(assessment: Assessment, pool: str) -> Verdict:
    """The pool's health, why and since when; for a pool that is down, how long it is held down."""
    memory = assessment.memory.pools[pool]
    until_ms = memory.hold_until_ms if memory.state is State.DOWN else None
    return Verdict(pool, memory.reason, memory.since_ms, until_ms=until_ms, after=memory.state.value)


def _rules(assessment: Assessment, index: int) -> list[Verdict]:
    """What binds the pool beyond its own state."""
    compiled, limits = assessment.compiled, assessment.use.limits
    name = compiled.pools[index]
    withdrawn = assessment.claims.withdrawn
    verdicts = []
    if claim := assessment.claims.emptied(index):
        reason, until_ms = claim
        verdicts.append(Verdict(name, reason, 0, until_ms=until_ms))
    mode = modes_in_force(compiled, assessment.orders)[compiled.provider_of[index]]
    if index in bound_pools(compiled, assessment.orders):
        verdicts.append(Verdict(name, MODES[mode], 0))
    for reason, order in _orders(assessment, index, mode):
        verdicts.append(replace(order_verdict(name, reason, order), after=order.guard))
    if limits.grade[index] == KEEPS and not assessment.caps.pools[index].fresh:
        verdicts.append(Verdict(name, Reason.CAPACITY_EXPIRED, 0))
    tightest = min((limits.group_usable[group] for group in compiled.groups_of[index]), default=UNBOUNDED)
    if tightest < limits.usable[index]:
        verdicts.append(Verdict(name, Reason.QUOTA_GROUP, 0, value=tightest))
    memory = assessment.memory.pools[name]
    if limits.grade[index] == OUT and memory.state is State.DOWN and index not in withdrawn:
        verdicts.append(Verdict(name, Reason.HOLD_DOWN, memory.down_since_ms, until_ms=memory.hold_until_ms))
    return verdicts


def _orders(assessment: Assessment, index: int, mode: str) -> list[tuple[Reason, Command]]:
    """The operators' orders that speak of the pool. Drains are left out, as they show as withdrawn."""
    orders = assessment.orders
    approved = orders.approved if mode == "recommend" else {}
    kinds = [
        (Reason.FROZEN, orders.frozen),
        (Reason.OPERATOR_VERDICT, orders.verdicts),
        (Reason.APPROVED, approved),
        *((Reason.GUARD_OVERRIDDEN, orders.overridden[guard]) for guard in sorted(orders.overridden)),
    ]
    return [(reason, pools[index]) for reason, pools in kinds if index in pools]
