"""What the planner makes of a plan: a target for moves by choice, as far as it still fits."""

from controller.core.model.dispatch_plan import Plan, Target
from controller.core.model.memory import Memory
from controller.core.model.reasons import Reason
from controller.core.moves.draft import KEEPS, OUT, Draft
from controller.core.moves.eligible import Use
from controller.core.moves.reversal import ReversalLimits
from controller.core.moves.voluntary import approach, fill, target_of
from controller.core.policy.compiled import compile_policy
from tests.unit.controller.core.made import NOW_MS, draft, limits, policy, pool, workload
from tieline.table import MILLION

GIVEN = policy(
    tuple(pool(f"{name}/x") for name in "abc"),
    (workload("chat"), workload("api", exclusive="a")),
)
RULES = compile_policy(GIVEN)
FRESH_MS = GIVEN.thresholds.plan_fresh_ms
HELD = {"chat/eu": {"a/x": MILLION}, "api/eu": {"a/x": MILLION}}


def plan_of(*targets: Target, version: str = RULES.version) -> Plan:
    """Made now."""
    return Plan(version, "inputs", NOW_MS, targets)


def use(grades: dict[str, int] | None = None) -> Use:
    """Every pool gaining unless said otherwise."""
    found = limits(RULES, grades=grades)
    return Use(found, list(found.usable), {}, False)


def unbarred() -> ReversalLimits:
    """Nothing has moved of late."""
    return ReversalLimits(Memory(), GIVEN.thresholds, NOW_MS)


def held() -> Draft:
    """Both routes wholly on a/x."""
    return draft(RULES, {"chat/eu": 60.0, "api/eu": 10.0}, HELD)


def test_the_plans_shares_are_the_target_and_other_routes_follow_merit_order() -> None:
    """A route that the plan does not name is filled as without a plan."""
    target = target_of(held(), use(), plan_of(Target(0, (1, 2), (400_000, 600_000))))
    assert target.weights[0] == {1: 400_000, 2: 600_000}
    assert target.weights[1] == fill(held(), use()).weights[1]
    assert sum(target.load) == 70.0


def test_without_a_plan_merit_order_fills_the_table() -> None:
    """The target is the one it always was."""
    assert target_of(held(), use(), None).weights == fill(held(), use()).weights


def test_a_plan_for_a_pool_that_may_gain_nothing_any_more_is_passed_over() -> None:
    """Since the plan was made the pool was lost or fell silent: that route follows merit order."""
    for grade in (OUT, KEEPS):
        now = use({"c/x": grade})
        target = target_of(held(), now, plan_of(Target(0, (1, 2), (400_000, 600_000))))
        assert target.weights[0] == fill(held(), now).weights[0]
        assert 2 not in target.weights[0]


def test_an_unlawful_plan_is_never_a_target() -> None:
    """The workload goes through a only, whatever a plan says."""
    target = target_of(held(), use(), plan_of(Target(1, (1,), (MILLION,))))
    assert target.weights[1] == {0: MILLION}


def test_a_plan_is_of_one_policy_and_ages() -> None:
    """Of this very policy version, and no older than its time."""
    plan = plan_of()
    assert plan.is_fresh(RULES.version, FRESH_MS, NOW_MS + FRESH_MS)
    assert not plan.is_fresh(RULES.version, FRESH_MS, NOW_MS + FRESH_MS + 1)
    assert not plan.is_fresh("another", FRESH_MS, NOW_MS)


def test_moves_towards_a_plan_are_bounded_and_say_so() -> None:
    """A tenth of the route's demand at a time, with the plan as the reason."""
    now = held()
    target = target_of(now, use(), plan_of(Target(0, (1,), (MILLION,)), Target(1, (0,), (MILLION,))))
    moves = approach(now, target, use(), set(), unbarred(), Reason.PLAN)
    assert [(move.pool, move.parts, move.reason) for move in moves] == [(1, 100_000, Reason.PLAN)]
    assert now.weights[0] == {0: 900_000, 1: 100_000}
