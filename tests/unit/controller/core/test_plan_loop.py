"""Planner and dispatch together, in virtual time: plans made of what the planner did, and followed by it."""

from dataclasses import dataclass

import pytest
from msgspec.structs import replace

from controller.core.lp.problem import problem_of
from controller.core.lp.solve import solve
from controller.core.model.dispatch_plan import Plan, Target
from controller.core.model.reasons import Reason
from controller.core.planner import step
from controller.core.policy.compiled import compile_policy
from controller.core.snapshot import Snapshot
from controller.policy_file import load_policy
from tests.places import ROOT
from tests.scenarios.world import World
from tieline.table import MILLION, RouteTable

POLICIES = ("tests/scenarios/policies/small.yaml", "examples/multicloud.yaml")
PLAN_EVERY_S = 5


@dataclass
class Planned(World):
    """The scenarios' world with a dispatch."""

    plan: Plan | None = None

    def snapshot(self) -> Snapshot:
        """With the plan in it."""
        return replace(super().snapshot(), plan=self.plan)

    def seconds_pass(self, count: int, *, planning: bool = True) -> int:
        """Time, with a new plan every few seconds; how many tables were published."""
        before = self.publications
        for number in range(count):
            for _ in self.run(1_000):
                pass
            if planning and number % PLAN_EVERY_S == 0:
                problem = problem_of(self.snapshot(), self.now_ms)
                self.plan = solve(compile_policy(self.policy), problem).plan
        return self.publications - before


def world(policy: str) -> Planned:
    """In steady state, by merit order alone."""
    made = Planned(load_policy(ROOT / policy))
    made.decide()
    for workload in made.policy.workloads:
        for origin, units in workload.expected_units_per_s.items():
            made.demand[workload.id, origin] = units
    made.seconds_pass(60, planning=False)
    return made


def far_from(made: Planned) -> int:
    """The most that any route still lacks of its target, in parts per million."""
    assert made.plan is not None
    assert made.table is not None
    most = 0
    for target in made.plan.targets:
        split = made.table.routes[target.route].split
        held = dict(zip(split.pools, split.weights, strict=True))
        wanted = dict(zip(target.pools, target.weights, strict=True))
        most = max(most, sum(max(0, parts - held.get(pool, 0)) for pool, parts in wanted.items()))
    return most


@pytest.mark.parametrize("policy", POLICIES)
def test_a_plan_is_reached_and_then_nothing_moves(policy: str) -> None:
    """Step by step; once there, plan and table agree, and a world without news comes to rest."""
    made = world(policy)
    made.seconds_pass(180)
    assert made.seconds_pass(60) == 0
    limit = round(made.policy.thresholds.shift_share_min * MILLION)
    assert far_from(made) <= limit + round(made.policy.thresholds.trickle_share_max * MILLION)


def test_plan_and_reflex_shed_the_same_and_come_to_rest() -> None:
    """Where capacity is scarce: no more of any criticality than the plan says, and neither undoes the other.

    Load that grew in place may use the headroom, so less is shed than planned.
    """
    made = world(POLICIES[0])
    for pool in made.pools.values():
        pool.stated = 300.0
    made.seconds_pass(240)
    assert made.seconds_pass(60) == 0
    assert made.plan is not None
    assert made.table is not None
    beyond: dict[str, float] = {}
    for target in made.plan.targets:
        route = made.table.routes[target.route]
        units = made.demand[route.workload, route.origin]
        more = units * (route.split.shed - target.shed) / MILLION
        beyond[route.criticality] = beyond.get(route.criticality, 0.0) + more
    assert any(target.shed for target in made.plan.targets)
    assert max(beyond.values()) <= 5


def test_moves_towards_a_plan_say_so() -> None:
    """A plan brings a route wholly onto one pool: each step is bounded, and its reason is the plan."""
    made = world(POLICIES[0])
    compiled = compile_policy(made.policy)
    route = compiled.route_index["chat", "eu"]
    wanted = compiled.pool_index["oci/london/oss"]
    made.said.clear()
    for number in range(12):
        plan = Plan(compiled.version, "inputs", made.now_ms, (Target(route, (wanted,), (MILLION,)),))
        made.plan = replace(plan, inputs=str(number))
        before = _share(made.table, route, wanted)
        made.seconds_pass(10, planning=False)
        moved = _share(made.table, route, wanted) - before
        assert moved <= made.policy.thresholds.shift_share_max * MILLION + 1
    assert _share(made.table, route, wanted) == MILLION
    said = {verdict.reason for verdict in made.said if verdict.subject == "oci/london/oss"}
    assert said == {Reason.PLAN}


def _share(table: RouteTable | None, route: int, pool: int) -> int:
    assert table is not None
    split = table.routes[route].split
    return dict(zip(split.pools, split.weights, strict=True)).get(pool, 0)


def test_a_plan_of_another_policy_or_time_changes_nothing() -> None:
    """The very same decision as without one."""
    made = world(POLICIES[1])
    made.demand["chat", "eu"] *= 1.5
    made.seconds_pass(3, planning=False)
    plan = solve(compile_policy(made.policy), problem_of(made.snapshot(), made.now_ms)).plan
    at_ms = made.now_ms + made.policy.thresholds.plan_fresh_ms + 1
    plain = step(made.snapshot(), at_ms)
    for unfit in (plan, replace(plan, policy_version="another", made_ms=at_ms)):
        made.plan = unfit
        assert step(made.snapshot(), at_ms) == plain


def test_a_lost_pool_gets_nothing_from_an_old_plan() -> None:
    """The plan of before the loss still names it; the forced move goes first and stays."""
    made = world(POLICIES[0])
    made.seconds_pass(30)
    made.pools["gcp/netherlands/gem"].errors = 1.0
    made.seconds_pass(10, planning=False)
    assert made.plan is not None
    lost = [pool.id for pool in made.policy.pools].index("gcp/netherlands/gem")
    assert any(lost in target.pools for target in made.plan.targets)
    for _ in made.run(20_000):
        assert made.table is not None
        assert all(lost not in route.split.pools for route in made.table.routes)
