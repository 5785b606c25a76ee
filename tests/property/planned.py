"""Small worlds for the dispatch, and two other ways to find out what it should answer.

``least_cost`` writes the programme down again, with no class, kind or aggregate: one variable for every
(route, pool, committed or burst), one for every (loss, route, pool). ``most_served`` asks no solver at all:
it tries every set of routes and takes the tightest cut.
"""

from collections.abc import Mapping
from itertools import chain, combinations
from typing import Any

import highspy
from hypothesis import strategies as st
from msgspec.structs import replace

from controller.core.lp.programme import BURST, DEGRADED, FIRST_REFUSAL, PRICE, SHED
from controller.core.model.dispatch_plan import Plan, Problem
from controller.core.moves.draft import GAINS, GAINS_LAST, GAINS_LATE, KEEPS, OUT, whole
from controller.core.policy.compiled import CompiledPolicy, compile_policy
from controller.core.policy.policy import Origin, Policy, Pool, Provider, QuotaGroup, Workload
from tieline.table import CRITICALITIES, MILLION, ModelOffer, Split

PROVIDERS = ("a", "b", "c")
PLACES = ("eu", "us")
INFINITE = float("inf")
World = tuple[Policy, Problem]


Groups = tuple[str | tuple[str, ...], ...]
AT_MOST_ONE: Groups = ("", "", "q")
NESTED: Groups = ("", "q", ("inner", "q"), ("inner", "q"))  # each pool of one group is in the other as well
OVERLAPPING: Groups = ("", "inner", "q", ("inner", "q"), ("third", "q"), ("inner", "third", "q"))


@st.composite
def policies(
    draw: st.DrawFn,
    *,
    shares: bool = True,
    workloads: int = 2,
    pins: bool = False,
    groups: Groups = AT_MOST_ONE,
) -> Policy:
    """Two or three providers, up to six pools, up to so many workloads from two origins.

    ``groups``: the quota groups that a pool may be in.
    """
    providers = PROVIDERS[: draw(st.integers(2, 3))]
    pools = []
    for number in range(draw(st.integers(2, 6))):
        limit = draw(st.integers(0, 12)) * 100.0
        pools.append(
            Pool(
                f"{draw(st.sampled_from(providers))}/r{draw(st.integers(0, 1))}/d{number}",
                draw(st.sampled_from(PLACES)),
                "https://example.invalid/v1",
                (ModelOffer("m", "m"),),
                limit,
                min(limit, draw(st.integers(0, 12)) * 100.0),
                draw(st.integers(0, 5)) * 1.0,
                quota_group=draw(st.sampled_from(groups)),
                domains=draw(st.sampled_from(((), ("edge",), ("edge", "identity")))),
                latency_ms={"eu": draw(st.integers(0, 9)) * 20.0, "us": draw(st.integers(0, 9)) * 20.0},
            )
        )
    works = []
    for number in range(draw(st.integers(1, workloads))):
        capped = draw(st.sampled_from((None, None, 0.5))) if shares else None
        works.append(
            Workload(
                f"w{number}",
                draw(st.sampled_from(CRITICALITIES)),
                ("m",),
                exclusive_provider=draw(st.sampled_from((None, None, providers[0]))),
                provider_share_max={} if capped is None else {providers[0]: capped},
                pinned_pools=tuple(draw(st.sets(st.sampled_from([pool.id for pool in pools]))))
                if pins
                else (),
            )
        )
    bound = draw(st.sampled_from(((), ("eu",))))
    return Policy(
        "planned",
        PLACES,
        (Origin("eu", bound), Origin("us")),
        tuple(Provider(name) for name in providers),
        tuple(pools),
        tuple(works),
        tuple(
            QuotaGroup(name, draw(st.integers(1, 15)) * 100.0)
            for name in ("q", "inner", "third")
            if any(name in (group, *group) for group in groups)
        ),
        first_refusal=draw(st.sampled_from((None, None, providers[0]))),
    )


def with_twins(policy: Policy) -> Policy:
    """The policy with a second workload of the same rules for each, so that every route has an alike one."""
    twins = tuple(replace(workload, id=f"{workload.id}-twin") for workload in policy.workloads)
    return replace(policy, workloads=(*policy.workloads, *twins))


def with_twin_pools(policy: Policy) -> Policy:
    """The policy with a second pool beside each, of half its size, dearer and a little farther away."""
    pools = []
    for pool in policy.pools:
        twin = replace(
            pool,
            id=f"{pool.id}-twin",
            limit_units_per_s=pool.limit_units_per_s / 2,
            committed_units_per_s=pool.committed_units_per_s / 2,
            price_per_million_units=pool.price_per_million_units + 1.0,
            latency_ms={origin: ms + 7.0 for origin, ms in pool.latency_ms.items()},
        )
        pools += [pool, twin]
    return replace(policy, pools=tuple(pools))


@st.composite
def worlds(
    draw: st.DrawFn,
    *,
    shares: bool = True,
    grades: tuple[int, ...] = (GAINS, GAINS, GAINS, GAINS_LATE, OUT),
    groups: Groups = AT_MOST_ONE,
    twin_pools: bool = False,
) -> World:
    """A policy and a problem under it; half of the policies have alike routes, on demand all alike pools."""
    policy = draw(policies(shares=shares, groups=groups))
    if draw(st.booleans()):
        policy = with_twins(policy)
    if twin_pools:
        policy = with_twin_pools(policy)
    return policy, draw(problems(policy, grades))


@st.composite
def problems(
    draw: st.DrawFn, policy: Policy, grades: tuple[int, ...] = (GAINS, GAINS, GAINS, GAINS_LATE, OUT)
) -> Problem:
    """Demand up to what is there and beyond, held anywhere that is lawful."""
    compiled = compile_policy(policy)
    held = []
    for route in compiled.routes:
        pools = tuple(pool for pool in route.lawful if draw(st.booleans()))
        amounts = [float(draw(st.integers(1, 5))) for _ in pools]
        held.append(Split(pools, tuple(whole(amounts, MILLION)) if pools else (), 0 if pools else MILLION))
    usable = tuple(pool.limit_units_per_s * policy.headroom for pool in policy.pools)
    return Problem(
        compiled.version,
        1_800_000_000_000,
        tuple(draw(st.integers(0, 12)) * 100.0 for _ in compiled.routes),
        tuple(held),
        usable,
        tuple(
            min(pool.committed_units_per_s * policy.headroom, usable[i])
            for i, pool in enumerate(policy.pools)
        ),
        tuple(draw(st.sampled_from(grades)) for _ in policy.pools),
        tuple(group.limit_units_per_s * policy.headroom for group in policy.quota_groups),
        tuple(
            i
            for i, pool in enumerate(policy.pools)
            if pool.provider == policy.first_refusal and draw(st.booleans())
        ),
    )


def members_of(compiled: CompiledPolicy, loss: str) -> set[int]:
    """The pools that fail with a provider, a region or a named domain."""
    return {
        index
        for index, pool in enumerate(compiled.policy.pools)
        if loss in (pool.provider, f"{pool.provider}/{pool.region}", *pool.domains)
    }


def flows_of(problem: Problem, plan: Plan) -> dict[tuple[int, int], float]:
    """(route, pool) -> units/s that the plan puts there."""
    return {
        (target.route, pool): parts / MILLION * problem.demand[target.route]
        for target in plan.targets
        for pool, parts in zip(target.pools, target.weights, strict=True)
    }


class Model:
    """A programme by name, in plain rows."""

    def __init__(self) -> None:
        self.highs = highspy.Highs()
        for option, value in (("output_flag", False), ("threads", 1)):
            self.highs.setOptionValue(option, value)
        self.columns: dict[tuple[object, ...], int] = {}

    def column(self, name: tuple[object, ...], cost: float, most: float = INFINITE) -> None:
        """A variable from 0 to ``most``."""
        self.columns[name] = len(self.columns)
        self.highs.addCol(cost, 0.0, most, 0, [], [])

    def row(self, terms: Mapping[Any, float], low: float, high: float) -> None:
        """One constraint on the named variables that exist."""
        known = {self.columns[name]: value for name, value in terms.items() if name in self.columns}
        self.highs.addRow(low, high, len(known), list(known), list(known.values()))

    def optimum(self) -> float:
        """Raises AssertionError if there is none; of nothing, 0."""
        if not self.columns:
            return 0.0
        self.highs.run()
        status = self.highs.getModelStatus()
        assert status == highspy.HighsModelStatus.kOptimal, self.highs.modelStatusToString(status)
        return float(self.highs.getInfo().objective_function_value)


def least_cost(
    compiled: CompiledPolicy, problem: Problem, losses: tuple[str, ...], penalty: dict[int, float]
) -> float:
    """The optimum of the programme written down anew. ``penalty`` by rank, for each unit without room."""
    model = Model()
    active = [route for route, units in enumerate(problem.demand) if units > 0]
    ready = [p for p, grade in enumerate(problem.grade) if grade in (GAINS, GAINS_LATE)]
    _place(model, compiled, problem, active, ready)
    for p in ready:
        committed = {(part, r, p): 1.0 for r in active for part in ("committed",)}
        model.row(committed, -INFINITE, problem.committed[p])
        everything = {(part, r, p): 1.0 for r in active for part in ("committed", "burst")}
        model.row(everything, -INFINITE, problem.usable[p])
    for group, most in enumerate(problem.group_usable):
        inside = [p for p in ready if group in compiled.groups_of[p]]
        model.row(
            {(part, r, p): 1.0 for r in active for p in inside for part in ("committed", "burst")},
            -INFINITE,
            most,
        )
    shares = [
        (r, [p for p in ready if compiled.provider_of[p] == owner], share * problem.demand[r])
        for r in active
        for owner, share in compiled.routes[r].share_max.items()
    ]
    for r, inside, most in shares:
        model.row({(part, r, p): 1.0 for p in inside for part in ("committed", "burst")}, -INFINITE, most)
    for loss in losses:
        _survive(model, compiled, problem, loss, active, ready, penalty)
    return model.optimum()


def _place(
    model: Model, compiled: CompiledPolicy, problem: Problem, active: list[int], ready: list[int]
) -> None:
    policy = compiled.policy
    dearest = max(max(pool.price_per_million_units for pool in policy.pools), 1e-9)
    holder = {
        p
        for p, pool in enumerate(policy.pools)
        if pool.provider == policy.first_refusal and p not in problem.refused
    }
    moved = min(policy.thresholds.latency_band_ms / 1000, 0.5)
    for r in active:
        route, units = compiled.routes[r], problem.demand[r]
        held = dict(zip(problem.in_force[r].pools, problem.in_force[r].weights, strict=True))
        demand: dict[tuple[object, ...], float] = {("shed", r): 1.0}
        model.column(("shed", r), SHED[route.rank])
        for p in (p for p in ready if p in route.lawful_set and problem.usable[p] > 0):
            pool = policy.pools[p]
            way = min(pool.latency_ms[route.origin] / 1000, 1.0)
            way += DEGRADED if problem.grade[p] == GAINS_LATE else 0.0
            burst = BURST + PRICE * pool.price_per_million_units / dearest
            burst += FIRST_REFUSAL if holder and p not in holder else 0.0
            model.column(("committed", r, p), way)
            model.column(("burst", r, p), way + burst)
            model.column(("moved", r, p), moved)
            there = held.get(p, 0) / MILLION * units
            both: dict[tuple[object, ...], float] = {("committed", r, p): 1.0, ("burst", r, p): 1.0}
            demand |= both
            model.row({**both, ("moved", r, p): -1.0}, -INFINITE, there)
        model.row(demand, units, units)


def _survive(
    model: Model,
    compiled: CompiledPolicy,
    problem: Problem,
    loss: str,
    active: list[int],
    ready: list[int],
    penalty: dict[int, float],
) -> None:
    lost = members_of(compiled, loss)
    critical = [r for r in active if compiled.routes[r].rank <= 1]
    parts = ("committed", "burst")
    for r in critical:
        terms: dict[tuple[object, ...], float] = {("short", loss, r): 1.0}
        model.column(("short", loss, r), penalty[compiled.routes[r].rank])
        for p in ready:
            if p in lost:
                terms |= {(part, r, p): -1.0 for part in parts}
            elif p in compiled.routes[r].lawful_set:
                model.column(("instead", loss, r, p), 0.0)
                terms["instead", loss, r, p] = 1.0
        model.row(terms, 0.0, INFINITE)
    places = ("committed", "burst")

    def after(routes: list[int], pools: list[int]) -> dict[tuple[object, ...], float]:
        stays: dict[tuple[object, ...], float] = {
            (part, r, p): 1.0 for r in routes for p in pools for part in places
        }
        return stays | {("instead", loss, r, p): 1.0 for r in routes for p in pools}

    remaining = [p for p in ready if p not in lost]
    for p in remaining:
        model.row(after(critical, [p]), -INFINITE, problem.usable[p])
    for group, most in enumerate(problem.group_usable):
        model.row(after(critical, [p for p in remaining if group in compiled.groups_of[p]]), -INFINITE, most)
    for r in critical:
        for owner, share in compiled.routes[r].share_max.items():
            own = [p for p in remaining if compiled.provider_of[p] == owner]
            model.row(after([r], own), -INFINITE, share * problem.demand[r])


def most_served(compiled: CompiledPolicy, problem: Problem, rank: int) -> float:
    """The most of all load up to this rank that can be served, by trying every cut. There are no share
    limits, and no pool is in two quota groups."""
    routes = [r for r, rule in enumerate(compiled.routes) if rule.rank <= rank and problem.demand[r] > 0]
    subsets = chain.from_iterable(combinations(routes, count) for count in range(len(routes) + 1))
    return min(
        (
            sum(problem.demand[r] for r in routes if r not in chosen) + _capacity(compiled, problem, chosen)
            for chosen in subsets
        ),
        default=0.0,
    )


def _capacity(compiled: CompiledPolicy, problem: Problem, routes: tuple[int, ...]) -> float:
    """What all pools that these routes may use can carry together."""
    pools = {p for r in routes for p in compiled.routes[r].lawful if problem.grade[p] in (GAINS, GAINS_LATE)}
    alone = sum(problem.usable[p] for p in pools if not compiled.groups_of[p])
    grouped = 0.0
    for group, most in enumerate(problem.group_usable):
        grouped += min(most, sum(problem.usable[p] for p in pools if group in compiled.groups_of[p]))
    return alone + grouped


ALL_GRADES = (GAINS, GAINS, GAINS_LATE, GAINS_LAST, KEEPS, OUT)


def left_without_room(
    compiled: CompiledPolicy, problem: Problem, flows: dict[tuple[int, int], float], loss: str
) -> float:
    """Critical load without room after the loss while all other critical load stays where it is."""
    lost, model = members_of(compiled, loss), Model()
    critical = [r for r, rule in enumerate(compiled.routes) if rule.rank <= 1 and problem.demand[r] > 0]
    remaining = [p for p, grade in enumerate(problem.grade) if grade in (GAINS, GAINS_LATE) and p not in lost]

    def stays(routes: list[int], pools: list[int]) -> float:
        return sum(flows.get((r, p), 0.0) for r in routes for p in pools)

    def instead(routes: list[int], pools: list[int]) -> dict[tuple[object, ...], float]:
        return {(r, p): 1.0 for r in routes for p in pools}

    for r in critical:
        model.column(("short", r), 1.0)
        for p in remaining:
            if p in compiled.routes[r].lawful_set:
                model.column((r, p), 0.0)
        model.row({("short", r): 1.0, **instead([r], remaining)}, stays([r], sorted(lost)), INFINITE)
        for owner, share in compiled.routes[r].share_max.items():
            own = [p for p in remaining if compiled.provider_of[p] == owner]
            model.row(instead([r], own), -INFINITE, max(share * problem.demand[r] - stays([r], own), 0.0))
    for p in remaining:
        model.row(instead(critical, [p]), -INFINITE, max(problem.usable[p] - stays(critical, [p]), 0.0))
    for group, most in enumerate(problem.group_usable):
        inside = [p for p in remaining if group in compiled.groups_of[p]]
        model.row(instead(critical, inside), -INFINITE, max(most - stays(critical, inside), 0.0))
    return model.optimum() if critical else 0.0
