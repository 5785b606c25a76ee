"""Pools that are solved as one class: which they are, and what each of them gets back."""

import numpy as np
import pytest

from controller.core.lp.commodities import commodities_of
from controller.core.lp.hubs import through_hubs
from controller.core.lp.pool_classes import PoolClasses, pool_classes_of
from controller.core.lp.programme import instance_of
from controller.core.lp.solve import solve
from controller.core.model.dispatch_plan import Plan
from controller.core.moves.draft import GAINS_LATE
from controller.core.policy.compiled import compile_policy
from controller.core.policy.policy import Policy, QuotaGroup
from tests.unit.controller.core.lp.test_solve import problem, shares
from tests.unit.controller.core.made import policy, pool, workload

HALF = 500_000


def classes(rules: Policy, grades: dict[str, int] | None = None) -> PoolClasses:
    """The classes of the pools while the first workload has 60 units/s."""
    question = problem(rules, {"chat/eu": 60.0}, grades=grades)
    return pool_classes_of(commodities_of(instance_of(compile_policy(rules), question)).merged)


def merged_shares(
    rules: Policy, units: float, held: dict[str, dict[str, int]] | None = None
) -> dict[str, float]:
    """The shares of chat/eu in a plan for which pools are merged."""
    compiled = compile_policy(rules)
    plan = solve(compiled, problem(rules, {"chat/eu": units}, held=held), pairs_max=0).plan
    return shares(compiled, plan, "chat/eu")


@pytest.mark.parametrize(
    "other",
    [
        pool("b/x"),
        pool("a/x", group="q"),
        pool("a/x", models=("other",)),
        pool("a/x", latency_ms=200.0),
    ],
    ids=["provider", "quota", "law", "latency"],
)
def test_pools_that_mean_something_else_stay_apart(other: object) -> None:
    """What the programme has rows for, what law allows, and more than a latency band make another class."""
    rules = policy((pool("a/p"), other), groups=(QuotaGroup("q", 10.0),))  # type: ignore[arg-type]
    assert list(classes(rules).of_pool) == [0, 1]


def test_price_size_and_a_little_latency_make_no_class() -> None:
    """Such pools are one class, which has all of their room; their burst keeps its own prices."""
    rules = policy(
        (pool("a/p", committed=40.0), pool("a/q", limit=50.0, committed=10.0, price=9.0, latency_ms=30.0))
    )
    both = classes(rules)
    scale = both.merged.scale
    assert list(both.of_pool) == [0, 0]
    assert both.merged.usable / scale == pytest.approx([150.0])
    assert both.merged.committed_room / scale == pytest.approx([50.0])
    assert both.merged.burst_room / scale == pytest.approx([60.0, 40.0])
    assert both.merged.burst_cost[0] < both.merged.burst_cost[1]
    assert both.merged.cost[0] == pytest.approx([(10.0 * 100 + 30.0 * 50) / 150 / 1_000])


def test_a_degraded_pool_is_no_part_of_a_healthy_class() -> None:
    """Load that has a choice leaves it, so the programme must tell it from the others."""
    rules = policy((pool("a/p"), pool("a/q")))
    assert list(classes(rules, {"a/q": GAINS_LATE}).of_pool) == [0, 1]


def test_committed_capacity_then_the_cheapest_burst_of_a_class() -> None:
    """150 units/s: 40 and 40 are paid for, and of the rest the cheaper pool bursts as far as it can."""
    rules = policy(
        (pool("a/dear", committed=40.0, price=9.0), pool("a/cheap", committed=40.0, price=2.0)),
        (workload("chat", "sheddable"),),
    )
    assert merged_shares(rules, 150.0) == {"a/dear": pytest.approx(1 / 3), "a/cheap": pytest.approx(2 / 3)}


def test_load_in_place_stays_within_a_class() -> None:
    """Of equally good pools those that have the load keep it; load that comes is shared by room."""
    rules = policy((pool("a/p"), pool("a/q"), pool("a/r")), (workload("chat", "sheddable"),))
    held = {"chat/eu": {"a/p": HALF, "a/q": HALF}}
    assert merged_shares(rules, 60.0, held) == {"a/p": 0.5, "a/q": 0.5}
    assert merged_shares(rules, 60.0) == {
        name: pytest.approx(1 / 3, abs=1e-5) for name in ("a/p", "a/q", "a/r")
    }


def test_losses_of_parts_of_a_class_are_screened_only() -> None:
    """One region of the class has all the room that critical load needs, and the plan says that its loss is
    not survived; the loss of the provider, which strikes the whole class, is in the programme."""
    rules = policy(
        (pool("a/p"), pool("a/q", limit=10.0, committed=10.0), pool("b/r", limit=60.0, committed=60.0))
    )
    compiled = compile_policy(rules)
    plan: Plan = solve(compiled, problem(rules, {"chat/eu": 90.0}), pairs_max=0).plan
    assert (plan.added, plan.rounds) == ((), 1)
    assert "a" in plan.unmet
    assert "a/p" in plan.unmet


def test_small_programmes_are_not_merged() -> None:
    """Their plans are exact: the nearer of two pools within a band has all of the load."""
    rules = policy((pool("a/far", latency_ms=30.0), pool("a/near")), (workload("chat", "sheddable"),))
    compiled = compile_policy(rules)
    plan = solve(compiled, problem(rules, {"chat/eu": 60.0})).plan
    assert shares(compiled, plan, "chat/eu") == {"a/near": 1.0}


def test_hubs_link_each_set_to_the_next_larger_ones_only() -> None:
    """Pools of three contexts: a class enters at the smallest set that holds it, and goes on from there."""
    may_use = np.array([[1, 0, 0], [1, 1, 0], [1, 1, 1]])
    flows, links, hubs = through_hubs(may_use, np.zeros(3, dtype=np.bool_), first_hub=10)
    assert hubs == 3
    assert sorted(map(tuple, flows)) == [(10, 0), (11, 1), (12, 2)]
    assert sorted(map(tuple, links)) == [(0, 10), (1, 11), (2, 12), (10, 11), (11, 12)]
