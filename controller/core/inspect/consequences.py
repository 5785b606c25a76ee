"""What an order, or another policy, would change: the next decision with it beside the one without. Pure.

Both sides are decided by the planner on the same moment, so that what must move anyway is on both and
cancels out. Load is in units/s of the demand of now. ``objections`` are what nobody wants by mistake: each
has the name of the rule that an operator must give with ``--force`` to do it all the same. In words:
``consequence_words``.
"""

from collections.abc import Iterator
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from controller.core.assessment import Assessment, assess
from controller.core.changes import fresh_plan, too_little_heard, voluntary_step
from controller.core.inspect.binding import Binding, binding_rules
from controller.core.inspect.measure import Measurement, measure
from controller.core.inspect.what_if import WhatIfQuestion, losses, success_of, what_ifs
from controller.core.model.reasons import State
from controller.core.moves.draft import Draft
from controller.core.moves.held_table import HeldTable
from controller.core.moves.modes import within_freezes
from controller.core.planner import Planner
from controller.core.policy.compiled import CRITICAL_RANK
from controller.core.snapshot import Ready, Snapshot
from tieline.table import CRITICALITIES, MILLION

UNITS_MIN = 0.5  # less is rounding
SHARE_MIN = 0.001  # of the load: less is rounding
CRITICAL = CRITICALITIES[: CRITICAL_RANK + 1]

#: What protects an installation from a mistake, by the name that ``--force`` takes.
FORCE_RULES = {
    "critical_shed": "critical load that has a place now would be shed",
    "last_pool": "a workload would have no usable pool left for some origin",
    "no_n_minus_1": "the loss of one more provider would shed critical load that has a place now",
    "contract_loosened": "a policy would allow what a contract or law forbids in the policy in force",
    "route_removed": "a policy would have no route for requests that come now",
}


class Objection(Struct, frozen=True):
    """What a person must agree to: the ``rule`` of ``FORCE_RULES``, and a sentence."""

    rule: str
    sentence: str


class WorkloadChange(Struct, frozen=True):
    """One workload in units/s. ``moved``: what would be served by another pool, or shed, than without."""

    workload: str
    criticality: str
    offered: float
    moved: float
    shed_before: float
    shed_after: float


class PoolChange(Struct, frozen=True):
    """The load of one pool in units/s."""

    pool: str
    before: float
    after: float


class BurstChange(Struct, frozen=True):
    """Load beyond what is committed, in units/s, and its price in the policy's money."""

    units_before: float
    units_after: float
    money_per_hour_before: float
    money_per_hour_after: float


class Emptying(Struct, frozen=True):
    """Pools that an order takes out of use, and how long that takes.

    ``staying``: load in units/s that finds no room elsewhere and that they keep, where an order lets them.
    ``room_in_ms``: when pools that climb their ramp will have their whole capacity at the soonest; None if
    none climbs. ``in_flight``: clients' requests there now, which end by themselves; ``oldest_ms``: for how
    long the oldest of them has waited.
    """

    pools: tuple[str, ...]
    staying: float
    room_in_ms: int | None
    in_flight: int
    oldest_ms: int


class Consequences(Struct, frozen=True):
    """What changes. ``moved_units_per_s`` moves at once; ``due_before`` and ``due_after`` are left to bounded
    steps by choice, in units/s. Workloads and pools that stay as they are, are left out. ``binding``: which
    contract, guard or limit keeps load from a place. ``emptying``: None if no pool is taken out of use."""

    load_unit: str
    offered: float
    moved_units_per_s: float
    due_before: float
    due_after: float
    workloads: tuple[WorkloadChange, ...]
    pools: tuple[PoolChange, ...]
    shed_before: dict[str, float]
    shed_after: dict[str, float]
    burst: BurstChange
    binding: tuple[Binding, ...] = ()
    objections: tuple[Objection, ...] = ()
    emptying: Emptying | None = None


class _Side(NamedTuple):
    """One decision: the moment with the table to which it leads, and what that is worth."""

    snapshot: Snapshot
    assessment: Assessment
    ready: Ready
    draft: Draft
    worth: Measurement


def consequences(before: Snapshot, after: Snapshot, at_ms: int) -> Consequences:
    """What is different if the next decision rests on ``after`` and not on ``before``.

    Both must have a table in force. They differ in orders or in the policy; pools and routes are compared by
    name.
    """
    now, then = _side(before, at_ms), _side(after, at_ms)
    flows = _flows(now.draft)
    routes = {route: _moved(flows.get(route, {}), flow) for route, flow in _flows(then.draft).items()}
    return Consequences(
        load_unit=after.policy.clients.load_unit,
        offered=then.worth.offered,
        moved_units_per_s=sum(routes.values()),
        due_before=_due(now, at_ms),
        due_after=_due(then, at_ms),
        workloads=tuple(_workloads(now, then, routes)),
        pools=tuple(_pools(now.draft, then.draft)),
        shed_before=now.worth.shed_by_criticality,
        shed_after=then.worth.shed_by_criticality,
        burst=BurstChange(
            sum(now.worth.burst_used.values()),
            sum(then.worth.burst_used.values()),
            now.worth.burst_money_per_hour,
            money_per_hour_after=then.worth.burst_money_per_hour,
        ),
        binding=binding_rules(
            then.snapshot,
            then.assessment,
            then.draft,
            routes=_shedding_more(now, then),
            taken=_emptied(then) - _emptied(now),
            new_verdicts=_new_verdicts(now, then),
            at_ms=at_ms,
        ),
        objections=(*_critical_shed(now, then), *_last_pool(now, then), *_no_n_minus_1(now, then, at_ms)),
        emptying=_emptying(then, _emptied(then) - _emptied(now), at_ms),
    )


def _side(snapshot: Snapshot, at_ms: int) -> _Side:
    # Moves by choice are kept out of the decision, as they come in their own time with the order or without.
    office = replace(snapshot.office, voluntary_after_ms=at_ms + 1)
    planner = Planner()
    ready = planner.step(replace(snapshot, office=office), at_ms)
    assessment = planner.memo.last(Assessment) or assess(snapshot, at_ms)
    table = ready.table or snapshot.table
    assert table is not None, "consequences are asked for once a table is in force"
    draft = HeldTable(assessment.compiled, table).draft(assessment.demand)
    success = success_of(assessment, assessment.use)
    worth = measure(draft, assessment.caps, success, now_ms=at_ms)
    return _Side(replace(snapshot, table=table), assessment, ready, draft=draft, worth=worth)


def _flows(draft: Draft) -> dict[str, dict[str, float]]:
    """Route -> units/s by pool, and under ``""`` what is shed."""
    names, flows = draft.compiled.pools, {}
    for index, rules in enumerate(draft.compiled.routes):
        units = draft.demand[index] / MILLION
        flow = {names[pool]: parts * units for pool, parts in draft.weights[index].items()}
        flows[rules.name] = {**flow, "": draft.shed[index] * units}
    return flows


def _moved(was: dict[str, float], now: dict[str, float]) -> float:
    """The load of one route that is elsewhere than before, in units/s."""
    gains = sum(max(units - was.get(place, 0.0), 0.0) for place, units in now.items())
    return gains if gains >= UNITS_MIN else 0.0


def _workloads(now: _Side, then: _Side, moved: dict[str, float]) -> Iterator[WorkloadChange]:
    shed_before = {route.route: route.shed for route in now.worth.routes}
    for workload in then.snapshot.policy.workloads:
        own = [route for route in then.worth.routes if route.route.partition("/")[0] == workload.id]
        change = WorkloadChange(
            workload.id,
            workload.criticality,
            sum(route.offered for route in own),
            moved=sum(moved[route.route] for route in own),
            shed_before=sum(shed_before.get(route.route, 0.0) for route in own),
            shed_after=sum(route.shed for route in own),
        )
        if change.moved or abs(change.shed_after - change.shed_before) >= UNITS_MIN:
            yield change


def _pools(before: Draft, after: Draft) -> Iterator[PoolChange]:
    was = dict(zip(before.compiled.pools, before.load, strict=True))
    now = dict(zip(after.compiled.pools, after.load, strict=True))
    for pool in sorted({*was, *now}):
        change = PoolChange(pool, was.get(pool, 0.0), now.get(pool, 0.0))
        if abs(change.after - change.before) >= UNITS_MIN:
            yield change


def _due(side: _Side, at_ms: int) -> float:
    """What moves by choice still have to move before the table is where they lead, in units/s."""
    assessment = side.assessment
    if too_little_heard(assessment):
        return 0.0
    assert side.snapshot.table is not None
    table = HeldTable(assessment.compiled, side.snapshot.table)
    plan = fresh_plan(side.snapshot, assessment.compiled, at_ms)
    use = within_freezes(assessment.use, assessment.orders)
    target = voluntary_step(assessment, use, table, plan).target
    was, goal = _flows(side.draft), _flows(target)
    return sum(_moved(was[route], flow) for route, flow in goal.items())


def _emptying(then: _Side, pools: frozenset[str], at_ms: int) -> Emptying | None:
    if not pools:
        return None
    assessment, thresholds = then.assessment, then.snapshot.policy.thresholds
    load = dict(zip(assessment.compiled.pools, then.draft.load, strict=True))
    outcomes = [assessment.evidence[pool].clients for pool in pools if pool in assessment.evidence]
    clients = [item for item in outcomes if item is not None]
    ends_ms = [
        pool.ramp_since_ms + (len(thresholds.ramp_steps) - 1 - pool.ramp_step) * thresholds.ramp_step_min_ms
        for pool in assessment.memory.pools.values()
        if pool.state is State.RECOVERING
    ]
    return Emptying(
        tuple(sorted(pools)),
        sum(load[pool] for pool in pools),
        room_in_ms=max(0, max(ends_ms) - at_ms) if ends_ms else None,
        in_flight=sum(item.in_flight for item in clients),
        oldest_ms=max((item.oldest_in_flight_ms for item in clients), default=0),
    )


def _shedding_more(now: _Side, then: _Side) -> tuple[int, ...]:
    """The routes that shed more, by index of the policy that is in force then."""
    before = {route.route: route.shed for route in now.worth.routes}
    return tuple(
        index
        for index, route in enumerate(then.worth.routes)
        if route.shed - before.get(route.route, 0.0) >= UNITS_MIN
    )


def _new_verdicts(now: _Side, then: _Side) -> tuple[tuple[str, str], ...]:
    """(subject, code) of what the decision says that it would not say otherwise."""
    before = {(verdict.subject, verdict.reason.value) for verdict in now.ready.decisions}
    after = {(verdict.subject, verdict.reason.value) for verdict in then.ready.decisions}
    return tuple(sorted(after - before))


def _critical_shed(now: _Side, then: _Side) -> Iterator[Objection]:
    """Critical load that has a place now and would have none."""
    before = {route.route: route.shed for route in now.worth.routes}
    unit = then.snapshot.policy.clients.load_unit
    for route in sorted(then.worth.routes, key=lambda route: route.route):
        more = route.shed - before.get(route.route, 0.0)
        if route.criticality in CRITICAL and more > UNITS_MIN:
            yield Objection(
                "critical_shed",
                f"it would shed {more:,.0f} of {route.offered:,.0f} {unit}/s of {route.route}, "
                f"which is {route.criticality}",
            )


def _last_pool(now: _Side, then: _Side) -> Iterator[Objection]:
    """Workloads of which some route has a usable pool now and would have none."""
    usable_now, usable_then = (_usable_pools(side) for side in (now, then))
    for workload in then.snapshot.policy.workloads:
        losers = [
            rules.origin
            for rules in then.assessment.compiled.routes
            if rules.workload == workload.id and usable_now.get(rules.name) and not usable_then[rules.name]
        ]
        if losers:
            only = workload.exclusive_provider
            name = f"{workload.id}, which only {only} may serve," if only else workload.id
            text = f"{name} would have no pool left for requests from {', '.join(losers)}"
            yield Objection("last_pool", text)


def _usable_pools(side: _Side) -> dict[str, int]:
    """Route -> how many lawful pools are neither withdrawn nor down."""
    compiled, lost = side.assessment.compiled, _lost(side)
    return {
        rules.name: sum(compiled.pools[pool] not in lost for pool in rules.lawful)
        for rules in compiled.routes
    }


def _lost(side: _Side) -> frozenset[str]:
    """The pools that are withdrawn or down, by name: what finds no room elsewhere is shed."""
    assessment = side.assessment
    memories = assessment.memory.pools
    down = {name for name in assessment.compiled.pools if memories[name].state is State.DOWN}
    return frozenset(down).union(assessment.compiled.pools[index] for index in assessment.claims.withdrawn)


def _emptied(side: _Side) -> frozenset[str]:
    """The same, and pools that are evacuated: what finds no room elsewhere stays there."""
    names = side.assessment.compiled.pools
    return _lost(side).union(names[index] for index in side.assessment.claims.leaving)


def _no_n_minus_1(now: _Side, then: _Side, at_ms: int) -> Iterator[Objection]:
    """Providers whose loss would shed critical load then that it would not shed now, nor the order alone."""
    before, after, alone = _shed_if_lost(now, at_ms), _shed_if_lost(then, at_ms), _critical(then.worth)
    unit, least = then.snapshot.policy.clients.load_unit, max(UNITS_MIN, SHARE_MIN * then.worth.offered)
    for provider, shed in after.items():
        if (more := shed - max(before.get(provider, 0.0), alone)) > least:
            text = (
                f"if {provider} were lost after it, {more:,.0f} {unit}/s more of critical load would be shed"
            )
            yield Objection("no_n_minus_1", text)


def _shed_if_lost(side: _Side, at_ms: int) -> dict[str, float]:
    """Provider -> critical load that would be shed if it were lost, in units/s."""
    providers = [loss for loss in losses(side.snapshot.policy) if loss.kind == "provider"]
    answers = what_ifs(side.snapshot, at_ms, [WhatIfQuestion(loss.pools) for loss in providers])
    return {loss.name: _critical(answer.after) for loss, answer in zip(providers, answers, strict=True)}


def _critical(worth: Measurement) -> float:
    return sum(worth.shed_by_criticality[name] for name in CRITICAL)
