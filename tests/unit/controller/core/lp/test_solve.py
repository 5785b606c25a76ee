"""The dispatch, rule by rule, on worlds small enough to be worked out by hand."""

import pytest
from msgspec.structs import replace

from controller.core.lp.problem import grown
from controller.core.lp.solve import NoAnswerError, solve
from controller.core.model.dispatch_plan import Plan, Problem
from controller.core.moves.draft import GAINS, GAINS_LAST, GAINS_LATE, KEEPS, OUT
from controller.core.orders.claims import declined_pools
from controller.core.policy.compiled import CompiledPolicy, compile_policy
from controller.core.policy.policy import Origin, Policy
from streams.rows import Position, Row
from tests.unit.controller.core.made import NOW_MS, policy, pool, workload
from tieline.events import Claim, Statement
from tieline.table import MILLION, Split


def problem(
    given: Policy,
    demand: dict[str, float],
    *,
    held: dict[str, dict[str, int]] | None = None,
    grades: dict[str, int] | None = None,
    declined: tuple[int, ...] = (),
) -> Problem:
    """Every pool at its policy's limit and gaining, unless said otherwise; what is not held is shed."""
    compiled = compile_policy(given)
    splits = []
    for route in compiled.routes:
        weights = {compiled.pool_index[f"{n}/d"]: w for n, w in (held or {}).get(route.name, {}).items()}
        splits.append(Split(tuple(weights), tuple(weights.values()), MILLION - sum(weights.values())))
    said = {f"{name}/d": grade for name, grade in (grades or {}).items()}
    return Problem(
        compiled.version,
        NOW_MS,
        tuple(demand.get(route.name, 0.0) for route in compiled.routes),
        tuple(splits),
        tuple(one.limit_units_per_s * given.headroom for one in given.pools),
        tuple(one.committed_units_per_s * given.headroom for one in given.pools),
        tuple(said.get(one.id, GAINS) for one in given.pools),
        tuple(group.limit_units_per_s * given.headroom for group in given.quota_groups),
        declined,
    )


def shares(compiled: CompiledPolicy, plan: Plan, route: str) -> dict[str, float]:
    """Pool -> share of the route; ``shed`` as well if there is any."""
    number = next(i for i, rule in enumerate(compiled.routes) if rule.name == route)
    target = next(target for target in plan.targets if target.route == number)
    pairs = zip(target.pools, target.weights, strict=True)
    found = {compiled.pools[p].removesuffix("/d"): parts / MILLION for p, parts in pairs}
    return found | ({"shed": target.shed / MILLION} if target.shed else {})


def solved(given: Policy, asked: Problem) -> tuple[CompiledPolicy, Plan]:
    """The plan, and the policy's numbers to read it by."""
    compiled = compile_policy(given)
    return compiled, solve(compiled, asked).plan


SHEDDABLE = (workload("chat", "sheddable"),)


def test_paid_capacity_comes_before_burst_and_burst_by_price() -> None:
    """200 units/s: 100 already paid for far away, then burst of the cheaper of two near pools."""
    given = policy(
        (
            pool("a/far", committed=100, limit=100, latency_ms=300),
            pool("b/dear", committed=0, limit=100, price=5),
            pool("b/cheap", committed=0, limit=100, price=2),
        ),
        SHEDDABLE,
    )
    rules, plan = solved(given, problem(given, {"chat/eu": 200}))
    assert shares(rules, plan, "chat/eu") == {"a/far": 0.5, "b/cheap": 0.5}


def test_the_holder_of_the_first_refusal_is_used_before_cheaper_burst() -> None:
    """Its burst costs twice as much, and still comes first; unless it has declined."""
    given = replace(
        policy(
            (
                pool("a/one", committed=0, limit=100, price=10),
                pool("b/one", committed=0, limit=100, price=5),
            ),
            SHEDDABLE,
        ),
        first_refusal="a",
    )
    rules, plan = solved(given, problem(given, {"chat/eu": 100}))
    assert shares(rules, plan, "chat/eu") == {"a/one": 1.0}
    rules, plan = solved(given, problem(given, {"chat/eu": 100}, declined=(0,)))
    assert shares(rules, plan, "chat/eu") == {"b/one": 1.0}


def test_a_refusal_holds_from_its_start_to_its_expiry_and_only_the_holders_counts() -> None:
    """A claim of kind ``declined``: by the holder, within its time, for the pools or the region it names."""
    given = replace(policy((pool("a/one"), pool("a/two"), pool("b/one")), SHEDDABLE), first_refusal="a")
    compiled = compile_policy(given)

    def said(provider: str, *claims: Claim) -> tuple[Row, ...]:
        event = Statement("fleet", provider, "one", "declined", "i", 1, NOW_MS, claims)
        return (Row(event, Position("t", 0, 0), NOW_MS, NOW_MS),)

    claim = Claim("declined", NOW_MS + 1_000)
    assert declined_pools(compiled, said("a", claim), NOW_MS) == frozenset({0})
    assert declined_pools(compiled, said("a", replace(claim, pools=("a/one/d",))), NOW_MS) == frozenset({0})
    assert declined_pools(compiled, said("a", claim), NOW_MS + 1_000) == frozenset()
    assert declined_pools(compiled, said("a", replace(claim, starts_ms=NOW_MS + 1)), NOW_MS) == frozenset()
    assert declined_pools(compiled, said("b", claim), NOW_MS) == frozenset()


def test_a_provider_may_carry_all_as_long_as_the_others_could() -> None:
    """The near one carries 150, as the others have room for 160; of 180 it says that 20 have none."""
    given = policy(
        (
            pool("a/near", committed=200, limit=200, latency_ms=10),
            pool("b/far", committed=100, limit=100, latency_ms=400),
            pool("c/far", committed=60, limit=60, latency_ms=400),
        )
    )
    rules, plan = solved(given, problem(given, {"chat/eu": 150}))
    assert shares(rules, plan, "chat/eu") == {"a/near": 1.0}
    assert plan.unmet == ()
    _, plan = solved(given, problem(given, {"chat/eu": 180}))
    assert plan.unmet == ("a",)
    assert [(s.lost, s.routes, round(s.units_per_s, 1)) for s in plan.shortfalls] == [
        ("a", ("chat/eu",), 20.0)
    ]


def test_critical_load_keeps_clear_of_the_only_room_that_others_have_after_a_loss() -> None:
    """Bound load lies on a and could only go to b. The near b would be best for free load, which may also go
    far away to c: it does, because critical load that is there would not move on when a is lost."""
    given = policy(
        (
            pool("a/x", committed=100, latency_ms=10),
            pool("b/x", committed=100, latency_ms=10),
            pool("c/x", committed=100, latency_ms=400, geography="us"),
        ),
        (replace(workload("bound"), allowed_geographies=("eu",)), workload("free")),
    )
    held = {"bound/eu": {"a/x": MILLION}, "free/eu": {"b/x": MILLION}}
    rules, plan = solved(given, problem(given, {"bound/eu": 100, "free/eu": 100}, held=held))
    assert shares(rules, plan, "free/eu") == {"c/x": 1.0}
    assert (plan.met, plan.shortfalls) == (("a", "b", "c"), ())
    sheddable = replace(
        given, workloads=(given.workloads[0], replace(given.workloads[1], criticality="sheddable"))
    )
    rules, plan = solved(sheddable, problem(sheddable, {"bound/eu": 100, "free/eu": 100}, held=held))
    assert shares(rules, plan, "free/eu") == {"b/x": 1.0}


def test_growth_that_does_not_fit_is_told_before_it_comes() -> None:
    """150 on three times 100 survives any loss; half as much again does not."""
    given = policy(tuple(pool(f"{name}/x", committed=100, limit=100) for name in "abc"))
    asked = problem(given, {"chat/eu": 150})
    assert solved(given, asked)[1].unmet == ()
    assert solved(given, grown(asked, 0.5))[1].unmet == ("a", "b", "c")
    with pytest.raises(ValueError, match="can't grow"):
        grown(asked, -1.0)


def test_a_shortfall_says_where_the_load_could_have_gone() -> None:
    """Data of the EU may only go to the EU: its loss has no room although the US is empty."""
    given = policy(
        (
            pool("a/eu", committed=100, limit=100),
            pool("b/eu", committed=40, limit=40),
            pool("b/us", committed=500, limit=500, geography="us"),
        ),
        origins=(Origin("eu", ("eu",)),),
    )
    _, plan = solved(given, problem(given, {"chat/eu": 100}))
    short = {s.lost: (s.geographies, round(s.units_per_s, 1)) for s in plan.shortfalls}
    assert short == {"a": (("eu",), 60.0)}


def test_lower_criticality_makes_way_after_a_loss() -> None:
    """Sheddable load fills b; the loss of a is still survived, because it is shed then."""
    given = policy(
        (pool("a/x", committed=100, limit=100), pool("b/x", committed=100, limit=100)),
        (workload("chat"), workload("batch", "sheddable")),
    )
    rules, plan = solved(given, problem(given, {"chat/eu": 100, "batch/eu": 100}))
    assert plan.unmet == ()
    assert "shed" not in shares(rules, plan, "batch/eu")


def test_a_failure_domain_across_providers_joins_only_when_it_is_not_survived() -> None:
    """Two providers behind one edge network: the loss of either is survived by the plan as it is. That both
    go is seen afterwards: it joins, load is put beside the edge, and what has no room even so is said."""
    behind = tuple(
        replace(pool(f"{name}/x", committed=100, limit=100), domains=("edge",)) for name in ("a", "b")
    )
    far = pool("c/x", committed=60, limit=60, latency_ms=500)
    given = policy((*behind, far))
    _, plan = solved(given, problem(given, {"chat/eu": 60}))
    assert (plan.screened, plan.added, plan.unmet) == (1, (), ())
    _, plan = solved(given, problem(given, {"chat/eu": 90}))
    assert (plan.added, plan.unmet) == (("edge",), ("edge",))
    assert plan.shortfalls[0].units_per_s == pytest.approx(30, abs=0.01)


def test_equal_places_keep_what_they_carry() -> None:
    """Three pools as good as each other: an uneven table stays as it is, to the last part per million."""
    given = policy(tuple(pool(f"{name}/x", committed=100, limit=100) for name in "abc"), SHEDDABLE)
    held = {"a/x": 123_456, "b/x": 700_000, "c/x": 176_544}
    rules, plan = solved(given, problem(given, {"chat/eu": 100}, held={"chat/eu": held}))
    assert shares(rules, plan, "chat/eu") == {name: parts / MILLION for name, parts in held.items()}


def test_a_move_must_gain_more_than_one_latency_band() -> None:
    """40 ms nearer is within the band of 50 ms and moves nothing; 90 ms nearer does."""
    for gain_ms, expected in ((40, "a/x"), (90, "b/x")):
        given = policy(
            (
                pool("a/x", committed=100, latency_ms=100),
                pool("b/x", committed=100, latency_ms=100 - gain_ms),
            ),
            SHEDDABLE,
        )
        rules, plan = solved(given, problem(given, {"chat/eu": 50}, held={"chat/eu": {"a/x": MILLION}}))
        assert shares(rules, plan, "chat/eu") == {expected: 1.0}


def test_order_of_use_by_health() -> None:
    """Healthy, burst included, before degraded; unknown only for critical load; what only keeps gains nothing
    and loses nothing; nothing on what is out."""
    given = policy(
        tuple(pool(f"{name}/x", committed=50, limit=50) for name in "abcde"),
        (workload("chat"), workload("batch", "sheddable")),
    )
    grades = {"a/x": GAINS, "b/x": GAINS_LATE, "c/x": GAINS_LAST, "d/x": KEEPS, "e/x": OUT}
    asked = problem(given, {"chat/eu": 160, "batch/eu": 40}, held={"chat/eu": {"d/x": 62_500}}, grades=grades)
    rules, plan = solved(given, asked)
    assert shares(rules, plan, "chat/eu") == pytest.approx(
        {"a/x": 0.3125, "b/x": 0.3125, "c/x": 0.3125, "d/x": 0.0625}
    )
    assert shares(rules, plan, "batch/eu") == {"shed": 1.0}


def test_a_binding_limit_says_what_more_of_it_would_buy() -> None:
    """Load is shed for want of room: the full pool is worth what shedding costs."""
    given = policy((pool("a/x", committed=100),), SHEDDABLE)
    _, plan = solved(given, problem(given, {"chat/eu": 150}))
    assert [(m.limit, m.relieves) for m in plan.marginals] == [("a/x/d", "shed")]


def test_no_load_no_targets() -> None:
    """Without demand there is nothing to plan, and that is an answer."""
    given = policy((pool("a/x"),))
    _, plan = solved(given, problem(given, {}))
    assert plan.targets == ()


def test_a_late_solver_has_no_answer() -> None:
    """A limit of no time at all raises; it never gives an empty plan."""
    given = policy(tuple(pool(f"{name}/x", committed=100) for name in "abc"))
    with pytest.raises(NoAnswerError, match="ime limit"):
        solve(compile_policy(given), problem(given, {"chat/eu": 150}), limit_s=0.0)


def test_a_problem_of_another_policy_is_refused() -> None:
    """Numbers of one policy mean nothing under another."""
    one, other = policy((pool("a/x"),)), policy((pool("b/x"),))
    with pytest.raises(ValueError, match="is of policy"):
        solve(compile_policy(one), problem(other, {"chat/eu": 1}))


def test_burst_is_not_taken_for_want_of_a_price() -> None:
    """A policy that names no prices still uses what it has paid for, though it is further away."""
    given = policy(
        (pool("a/far", committed=100, price=0, latency_ms=300), pool("b/near", committed=0, price=0)),
        SHEDDABLE,
    )
    rules, plan = solved(given, problem(given, {"chat/eu": 80}))
    assert shares(rules, plan, "chat/eu") == {"a/far": 1.0}


def test_dear_burst_comes_before_what_is_paid_for_and_ill() -> None:
    """Health outweighs money."""
    given = policy((pool("a/ill", committed=100), pool("b/well", committed=0, price=9)), SHEDDABLE)
    rules, plan = solved(given, problem(given, {"chat/eu": 80}, grades={"a/ill": GAINS_LATE}))
    assert shares(rules, plan, "chat/eu") == {"b/well": 1.0}
