"""Forced moves against what any assignment could do, and against their own bounds."""

from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from controller.core.lp.solve import solve
from controller.core.model.dispatch_plan import Problem
from controller.core.moves.draft import GAINS, GAINS_LATE, OUT, ROOM_MIN_PARTS, Draft, DraftLimits
from controller.core.moves.eligible import Use
from controller.core.moves.forced import find_places, settle
from controller.core.moves.unplaced import whole_routes
from controller.core.policy.compiled import LOWEST_RANK, CompiledPolicy, compile_policy
from tests.property.planned import AT_MOST_ONE, NESTED, OVERLAPPING, Groups, policies, problems
from tests.property.worlds import examples
from tieline.table import MILLION

QUICK = examples(300)
ROUNDING = 1.0  # units/s: whole parts, and rooms too small to be any
REMAINDER = 0.003  # of all load: rooms too small for a route, at six pools


class Lost(NamedTuple):
    """A table in force, settled, of which pools are lost: before and after the forced moves."""

    compiled: CompiledPolicy
    problem: Problem
    use: Use
    before: Draft
    after: Draft


@st.composite
def losses(draw: st.DrawFn, *, ill: tuple[int, ...] = (GAINS_LATE,), groups: Groups = AT_MOST_ONE) -> Lost:
    """Everything placed by merit, then one or two pools are gone and nothing succeeds there. ``ill``: grades
    that pools may have beside healthy ones. ``groups``: the quota groups that a pool may be in."""
    policy = draw(policies(workloads=4, pins=True, groups=groups))
    # Without bending the headroom, so that one set of limits holds for the reflex and for the programme.
    policy = replace(policy, thresholds=replace(policy.thresholds, headroom_in_scarcity=0.0))
    problem = draw(problems(policy, (GAINS, GAINS, GAINS, *ill)))
    compiled = compile_policy(policy)
    count = len(compiled.routes)
    limits = DraftLimits(
        list(problem.usable), list(problem.committed), list(problem.grade), list(problem.group_usable)
    )
    before = Draft(compiled, list(problem.demand), [{} for _ in range(count)], [0] * count)
    find_places(before, Use(limits, list(limits.usable), {}, False), whole_routes(compiled), [])
    gone = draw(st.sets(st.sampled_from(range(len(compiled.pools))), min_size=1, max_size=2))
    grade = [OUT if pool in gone else old for pool, old in enumerate(problem.grade)]
    use = Use(limits._replace(grade=grade), list(limits.usable), {}, False)
    after = before.copy()
    settle(after, use, restore_rank=3)
    return Lost(compiled, replace(problem, grade=tuple(grade)), use, before, after)


@QUICK
@given(st.one_of(losses(ill=()), losses(ill=(), groups=NESTED)))
def test_as_much_of_each_rank_is_served_as_any_lawful_assignment_could(lost: Lost) -> None:
    """Compared with the linear programme, the most critical first, shares and quota groups counted, also of
    groups that lie within one another: only remainders that are too small to place are left."""
    targets = solve(lost.compiled, lost.problem).plan.targets
    planned = {target.route: target.shed for target in targets}
    for rank in range(LOWEST_RANK + 1):
        routes = [route for route, rules in enumerate(lost.compiled.routes) if rules.rank <= rank]
        shed = sum(lost.after.shed[route] * lost.problem.demand[route] for route in routes) / MILLION
        must = sum(planned.get(route, 0) * lost.problem.demand[route] for route in routes) / MILLION
        demand = sum(lost.problem.demand[route] for route in routes)
        assert shed <= must + ROUNDING + REMAINDER * demand


@QUICK
@given(st.one_of(losses(), losses(groups=OVERLAPPING)))
def test_nothing_is_shed_for_which_there_is_room(lost: Lost) -> None:
    """Of any criticality: a route that sheds has no lawful pool with room left, shares and groups counted."""
    limits = lost.use.limits
    for route, shed in enumerate(lost.after.shed):
        if shed <= ROOM_MIN_PARTS or lost.problem.demand[route] <= 0:
            continue
        for pool in lost.compiled.routes[route].lawful:
            if limits.grade[pool] in (GAINS, GAINS_LATE):
                assert lost.after.room_parts(route, pool, limits.usable[pool], limits) == 0


@QUICK
@given(st.one_of(losses(), losses(groups=OVERLAPPING)))
def test_forced_moves_are_lawful_within_room_and_touch_nothing_else(lost: Lost) -> None:
    """Whole shares on lawful pools, no pool, group or largest share exceeded, and what needs not move stays:
    a more critical route is touched only if it was on a lost pool or moves on without losing anything."""
    compiled, limits, after = lost.compiled, lost.use.limits, lost.after
    for route, rule in enumerate(compiled.routes):
        held = after.weights[route]
        assert sum(held.values()) + after.shed[route] == MILLION
        assert rule.lawful_set.issuperset(held)
        assert all(limits.grade[pool] != OUT for pool in held)
        for provider, most in rule.share_max.items():
            there = sum(parts for pool, parts in held.items() if compiled.provider_of[pool] == provider)
            assert there <= round(most * MILLION)
    for pool, units in enumerate(after.load):
        assert units <= limits.usable[pool] + ROUNDING
    for group, most in enumerate(limits.group_usable):
        assert after.group_load[group] <= most + ROUNDING
    struck = any(limits.grade[pool] == OUT for weights in lost.before.weights for pool in weights)
    if not struck and not any(lost.before.shed):
        assert after.weights == lost.before.weights
