"""The dispatch against two other ways to find the answer, and against what must hold of every plan."""

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from controller.core.lp.pool_classes import PAIRS_MAX
from controller.core.lp.problem import grown
from controller.core.lp.programme import SECURITY, SECURITY_ALL, SHED
from controller.core.lp.solve import DOMAINS_MAX, solve
from controller.core.moves.draft import GAINS_LAST, GAINS_LATE, OUT
from controller.core.policy.compiled import compile_policy
from tests.property.planned import (
    ALL_GRADES,
    OVERLAPPING,
    World,
    flows_of,
    least_cost,
    left_without_room,
    most_served,
    worlds,
)
from tieline.table import CRITICALITIES, MILLION, Split

ROUNDING = 0.02  # units/s: whole parts per million of a few thousand units/s
MERGED = st.sampled_from((PAIRS_MAX, 0))  # 0: pools are merged, as in a large programme


def _penalty(providers: int) -> dict[int, float]:
    base = min(SECURITY, SECURITY_ALL / (providers + DOMAINS_MAX) * 1.5)
    return {0: base * 1.5, 1: base}


@settings(max_examples=150, deadline=None)
@given(worlds(), st.sampled_from((1, 2, 24)))
def test_costs_what_the_programme_written_down_anew_costs(world: World, candidates: int) -> None:
    """No aggregation, column left out or warm start changes the optimum: an unaggregated programme agrees."""
    costs_the_same(world, candidates)


@settings(max_examples=50, deadline=None)
@given(worlds(groups=OVERLAPPING), st.sampled_from((1, 24)))
def test_the_same_where_pools_are_in_several_quota_groups(world: World, candidates: int) -> None:
    """Each group binds, before and after a loss. Of one critical rank only, as a class has one penalty."""
    assume(len({workload.criticality for workload in world[0].workloads} & set(CRITICALITIES[:2])) < 2)
    costs_the_same(world, candidates)


def costs_the_same(world: World, candidates: int) -> None:
    """The programme and the one written down anew."""
    policy, problem = world
    compiled = compile_policy(policy)
    found = solve(compiled, problem, candidates=candidates)
    losses = (*compiled.providers, *found.plan.added)
    expected = least_cost(compiled, problem, losses, _penalty(len(compiled.providers)))
    assert found.cost == pytest.approx(expected, rel=1e-6, abs=1e-3 + 1e-9 * SHED[0])


@settings(max_examples=150, deadline=None)
@given(st.one_of(worlds(shares=False), worlds(shares=False, twin_pools=True)), MERGED)
def test_serves_as_much_of_each_rank_as_any_cut_allows(world: World, pairs_max: int) -> None:
    """Demand comes before all else, the most critical first: compared with every cut, without a solver."""
    policy, problem = world
    compiled = compile_policy(policy)
    plan = solve(compiled, problem, pairs_max=pairs_max).plan
    for rank in range(4):
        served = sum(
            problem.demand[target.route] * (1 - target.shed / MILLION)
            for target in plan.targets
            if compiled.routes[target.route].rank <= rank
        )
        assert served == pytest.approx(most_served(compiled, problem, rank), abs=ROUNDING)


@settings(max_examples=150, deadline=None)
@given(
    st.one_of(
        worlds(grades=ALL_GRADES),
        worlds(grades=ALL_GRADES, groups=OVERLAPPING),
        worlds(grades=ALL_GRADES, groups=OVERLAPPING, twin_pools=True),
    ),
    MERGED,
)
def test_a_plan_is_lawful_and_within_every_limit(world: World, pairs_max: int) -> None:
    """Only lawful pools, whole shares, no pool, quota group or provider share beyond its limit; what is
    silent keeps its own, only critical load comes to a pool of unknown health, and nothing to a lost one."""
    policy, problem = world
    compiled = compile_policy(policy)
    plan = solve(compiled, problem, pairs_max=pairs_max).plan
    flows = flows_of(problem, plan)
    load = [0.0] * len(compiled.pools)
    held_load = [0.0] * len(compiled.pools)
    for route, split in enumerate(problem.in_force):
        for pool, parts in zip(split.pools, split.weights, strict=True):
            held_load[pool] += parts / MILLION * problem.demand[route]
    for (_, pool), units in flows.items():
        load[pool] += units
    for target in plan.targets:
        rule = compiled.routes[target.route]
        held = dict(
            zip(problem.in_force[target.route].pools, problem.in_force[target.route].weights, strict=True)
        )
        assert sum(target.weights) + target.shed == MILLION
        assert rule.lawful_set.issuperset(target.pools)
        for pool, parts in zip(target.pools, target.weights, strict=True):
            assert parts > 0
            assert problem.grade[pool] != OUT
            if problem.grade[pool] > GAINS_LATE and not (
                problem.grade[pool] == GAINS_LAST and rule.rank <= 1
            ):
                assert parts <= held.get(pool, 0) + 1
        for owner, share in rule.share_max.items():
            carried, before, silent = (
                sum(parts for pool, parts in weights if compiled.provider_of[pool] == owner)
                for weights in (
                    list(zip(target.pools, target.weights, strict=True)),
                    list(held.items()),
                    [(pool, parts) for pool, parts in held.items() if problem.grade[pool] > GAINS_LATE],
                )
            )
            assert carried <= max(share * MILLION, min(before, silent)) + len(compiled.pools)
    for pool, units in enumerate(load):
        assert (
            units
            <= max(problem.usable[pool], held_load[pool] if problem.grade[pool] > GAINS_LATE else 0)
            + ROUNDING
        )
    for group, most in enumerate(problem.group_usable):
        inside = [p for p in range(len(load)) if group in compiled.groups_of[p]]
        silent_load = sum(held_load[p] for p in inside if problem.grade[p] > GAINS_LATE)
        assert sum(load[p] for p in inside) <= max(most, silent_load) + ROUNDING


@settings(max_examples=100, deadline=None)
@given(st.one_of(worlds(), worlds(twin_pools=True)), MERGED)
def test_a_loss_said_to_be_survived_is_survived(world: World, pairs_max: int) -> None:
    """With the plan's own flows held fast, an independent programme finds room for all critical load after
    every loss that the plan calls met, and says of the others how much has none."""
    policy, problem = world
    compiled = compile_policy(policy)
    plan = solve(compiled, problem, pairs_max=pairs_max).plan
    flows = flows_of(problem, plan)
    for loss in plan.met:
        short = left_without_room(compiled, problem, flows, loss)
        assert short <= 1e-4 * sum(problem.demand) + ROUNDING, loss
    for loss in plan.unmet:
        said = sum(shortfall.units_per_s for shortfall in plan.shortfalls if shortfall.lost == loss)
        if any(shortfall.lost == loss for shortfall in plan.shortfalls):
            assert said == pytest.approx(
                left_without_room(compiled, problem, flows, loss), abs=ROUNDING + 1e-4 * sum(problem.demand)
            )


@settings(max_examples=60, deadline=None)
@given(worlds())
def test_a_plan_that_is_in_force_stays(world: World) -> None:
    """Solving again from the plan's own table moves nothing: any move has its price."""
    policy, problem = world
    compiled = compile_policy(policy)
    first = solve(compiled, problem).plan
    held = list(problem.in_force)
    for target in first.targets:
        held[target.route] = Split(target.pools, target.weights, target.shed)
    again = solve(compiled, replace(problem, in_force=tuple(held))).plan
    before, after = flows_of(problem, first), flows_of(problem, again)
    moved = sum(abs(before.get(key, 0.0) - after.get(key, 0.0)) for key in {*before, *after})
    assert moved <= 2 * ROUNDING + 1e-4 * sum(problem.demand)


@settings(max_examples=40, deadline=None)
@given(st.one_of(worlds(), worlds(twin_pools=True)), MERGED)
def test_the_same_problem_gives_the_same_plan(world: World, pairs_max: int) -> None:
    """Byte for byte, whatever was solved before."""
    policy, problem = world
    compiled = compile_policy(policy)
    first = solve(compiled, problem, pairs_max=pairs_max).plan
    solve(compiled, grown(problem, 0.3), pairs_max=pairs_max)
    assert solve(compiled, problem, pairs_max=pairs_max).plan == first
