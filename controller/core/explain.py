"""Why a pool gets what it gets, and a route what it has: decided again from the snapshot, as values.

The chain is evidence -> state -> capacity -> rule -> weight. Words are made by ``words.py``.
"""

from msgspec import Struct

from controller.core.assess import Assessment, assess
from controller.core.compiled import compiled
from controller.core.draft import KEEPS, OUT
from controller.core.finding import SILENT
from controller.core.held import held
from controller.core.model import Ready, Snapshot
from controller.core.reasons import Reason, State, Verdict
from tieline.table import MILLION


class PoolWhy(Struct, frozen=True):
    """One pool. Load and capacities in units/s; ``rules`` are what binds it beyond its state, tightest first.

    ``usable_units_per_s`` is what it may carry after headroom and ramp, None where its provider's mode sets
    no bound; ``weights`` are its shares by route.
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


class RouteWhy(Struct, frozen=True):
    """One route: demand in units/s, the share of each pool and why each lawful pool has what it has."""

    route: str
    demand_units_per_s: float
    shed: float
    weights: dict[str, float]
    pools: tuple[PoolWhy, ...]
    unlawful: tuple[str, ...]


def explain_pools(snapshot: Snapshot, ready: Ready, now_ms: int) -> dict[str, PoolWhy]:
    """Every pool of the policy, by id, as of the table that is in force after ``ready``."""
    known = _known(snapshot, now_ms)
    return {name: _pool(snapshot, ready, known, index) for index, name in enumerate(known.rules.pools)}


def explain_pool(snapshot: Snapshot, ready: Ready, pool: str, now_ms: int) -> PoolWhy:
    """One pool of the policy. Raises ``KeyError`` for another."""
    known = _known(snapshot, now_ms)
    return _pool(snapshot, ready, known, known.rules.pool_index[pool])


def explain_route(snapshot: Snapshot, ready: Ready, workload: str, origin: str, now_ms: int) -> RouteWhy:
    """One route of the policy. Raises ``KeyError`` for another."""
    known = _known(snapshot, now_ms)
    index = known.rules.route_index[workload, origin]
    rule = known.rules.routes[index]
    table = ready.table or snapshot.table
    weights, shed = (
        (held(known.rules, table).weights[index], held(known.rules, table).shed[index]) if table else ({}, 0)
    )
    names = known.rules.pools
    return RouteWhy(
        rule.name,
        known.demand[index],
        shed / MILLION,
        {names[pool]: parts / MILLION for pool, parts in sorted(weights.items())},
        tuple(_pool(snapshot, ready, known, pool) for pool in rule.lawful),
        tuple(name for pool, name in enumerate(names) if pool not in rule.lawful_set),
    )


def _known(snapshot: Snapshot, now_ms: int) -> Assessment:
    return assess(snapshot, compiled(snapshot.policy), now_ms)


def _pool(snapshot: Snapshot, ready: Ready, known: Assessment, index: int) -> PoolWhy:
    rules = known.rules
    name = rules.pools[index]
    memory = known.memory.pools[name]
    finding = known.findings.get(name, SILENT)
    cap = known.caps.pools[index]
    table = ready.table or snapshot.table
    weights: dict[str, float] = {}
    load = 0.0
    if table is not None:
        before = held(rules, table)
        for route, rule in enumerate(rules.routes):
            if parts := before.weights[route].get(index):
                weights[rule.name] = parts / MILLION
                load += parts * known.demand[route] / MILLION
    usable = known.use.limits.usable[index]
    limits = snapshot.policy.thresholds
    ramp = limits.ramp_steps[memory.ramp_step] if memory.state is State.RECOVERING else 1.0
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
        load,
        ramp,
        weights,
    )  # fmt: skip


def _rules(snapshot: Snapshot, known: Assessment, index: int) -> list[Verdict]:
    """What binds the pool beyond its own state."""
    rules, policy = known.rules, snapshot.policy
    name = rules.pools[index]
    found = []
    if index in known.claims.withdrawn:
        reason, until_ms = known.claims.withdrawn[index]
        found.append(Verdict(name, reason, 0, until_ms))
    mode = policy.providers[rules.provider_of[index]].mode
    if mode != "act":
        found.append(Verdict(name, Reason.MODE_OBSERVE if mode == "observe" else Reason.MODE_RECOMMEND, 0))
    grade = known.use.limits.grade[index]
    if grade == KEEPS and not known.caps.pools[index].fresh:
        found.append(Verdict(name, Reason.CAPACITY_EXPIRED, 0))
    group = rules.group_of[index]
    if group >= 0 and known.use.limits.group_usable[group] < known.use.limits.usable[index]:
        limit = known.use.limits.group_usable[group]
        found.append(Verdict(name, Reason.QUOTA_GROUP, 0, value=limit))
    if grade == OUT and index in known.use.lost and index not in known.claims.withdrawn:
        memory = known.memory.pools[name]
        found.append(Verdict(name, Reason.HOLD_DOWN, memory.down_since_ms, memory.hold_until_ms))
    return found
