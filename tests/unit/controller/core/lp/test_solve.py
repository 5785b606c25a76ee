"""The dispatch, rule by rule, on policies small enough to work the plan out by hand."""

import pytest
from msgspec.structs import replace

from controller.core.lp.problem import grown
from controller.core.lp.programme import instance_of
from controller.core.lp.solve import NoAnswerError, solve
from controller.core.lp.tableau import Tableau
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
    rules: Policy,
    demand: dict[str, float],
    *,
    held: dict[str, dict[str, int]] | None = None,
    grades: dict[str, int] | None = None,
    declined: tuple[int, ...] = (),
) -> Problem:
    """Every pool is at its policy's limit and may gain, unless ``grades`` says otherwise.

    ``held`` is the table in force, by route and pool; parts that it does not place are shed.
    """
    compiled = compile_policy(rules)
    splits = []
    for route in compiled.routes:
        weights = {compiled.pool_index[f"{n}/d"]: w for n, w in (held or {}).get(route.name, {}).items()}
        splits.append(Split(tuple(weights), tuple(weights.values()), MILLION - sum(weights.values())))
    by_pool = {f"{name}/d": grade for name, grade in (grades or {}).items()}
    return Problem(
        compiled.version,
        NOW_MS,
        tuple(demand.get(route.name, 0.0) for route in compiled.routes),
        tuple(splits),
        tuple(pool.limit_units_per_s * rules.headroom for pool in rules.pools),
        tuple(pool.committed_units_per_s * rules.headroom for pool in rules.pools),
        tuple(by_pool.get(pool.id, GAINS) for pool in rules.pools),
        tuple(group.limit_units_per_s * rules.headroom for group in rules.quota_groups),
        declined,
    )


def shares(compiled: CompiledPolicy, plan: Plan, route: str) -> dict[str, float]:
    """The share of each pool of the route, and of ``shed`` if there is any."""
    number = next(i for i, rule in enumerate(compiled.routes) if rule.name == route)
    target = next(target for target in plan.targets if target.route == number)
    pairs = zip(target.pools, target.weights, strict=True)
    by_pool = {compiled.pools[p].removesuffix("/d"): parts / MILLION for p, parts in pairs}
    return by_pool | ({"shed": target.shed / MILLION} if target.shed else {})


def solved(rules: Policy, question: Problem) -> tuple[CompiledPolicy, Plan]:
    """The plan, and the policy's numbers to read it by."""
    compiled = compile_policy(rules)
    return compiled, solve(compiled, question).plan


SHEDDABLE = (workload("chat", "sheddable"),)


def test_paid_capacity_comes_before_burst_and_burst_by_price() -> None:
    """200 units/s: 100 already paid for far away, then burst of the cheaper of two near pools."""
    rules = policy(
        (
            pool("a/far", committed=100, limit=100, latency_ms=300),
            pool("b/dear", committed=0, limit=100, price=5),
            pool("b/cheap", committed=0, limit=100, price=2),
        ),
        SHEDDABLE,
    )
    compiled, plan = solved(rules, problem(rules, {"chat/eu": 200}))
    assert shares(compiled, plan, "chat/eu") == {"a/far": 0.5, "b/cheap": 0.5}


def test_the_holder_of_the_first_refusal_is_used_before_cheaper_burst() -> None:
    """Its burst costs twice as much and still comes first, unless it has declined."""
    rules = replace(
        policy(
            (
                pool("a/one", committed=0, limit=100, price=10),
                pool("b/one", committed=0, limit=100, price=5),
            ),
            SHEDDABLE,
        ),
        first_refusal="a",
    )
    compiled, plan = solved(rules, problem(rules, {"chat/eu": 100}))
    assert shares(compiled, plan, "chat/eu") == {"a/one": 1.0}
    compiled, plan = solved(rules, problem(rules, {"chat/eu": 100}, declined=(0,)))
    assert shares(compiled, plan, "chat/eu") == {"b/one": 1.0}


def test_a_refusal_holds_from_its_start_to_its_expiry_and_only_the_holders_counts() -> None:
    """A claim of kind ``declined`` counts if the holder makes it, within its time, for the pools it names."""
    rules = replace(policy((pool("a/one"), pool("a/two"), pool("b/one")), SHEDDABLE), first_refusal="a")
    compiled = compile_policy(rules)

    def statement(provider: str, *claims: Claim) -> tuple[Row, ...]:
        event = Statement("fleet", provider, "one", "declined", "i", 1, NOW_MS, claims)
        return (Row(event, Position("t", 0, 0), NOW_MS, NOW_MS),)

    claim = Claim("declined", NOW_MS + 1_000)
    assert declined_pools(compiled, statement("a", claim), NOW_MS) == frozenset({0})
    assert declined_pools(compiled, statement("a", replace(claim, pools=("a/one/d",))), NOW_MS) == frozenset(
        {0}
    )
    assert declined_pools(compiled, statement("a", claim), NOW_MS + 1_000) == frozenset()
    assert (
        declined_pools(compiled, statement("a", replace(claim, starts_ms=NOW_MS + 1)), NOW_MS) == frozenset()
    )
    assert declined_pools(compiled, statement("b", claim), NOW_MS) == frozenset()


def test_a_provider_may_carry_all_as_long_as_the_others_could() -> None:
    """The near one carries 150, as the others have room for 160; of 180 it says that 20 have none."""
    rules = policy(
        (
            pool("a/near", committed=200, limit=200, latency_ms=10),
            pool("b/far", committed=100, limit=100, latency_ms=400),
            pool("c/far", committed=60, limit=60, latency_ms=400),
        )
    )
    compiled, plan = solved(rules, problem(rules, {"chat/eu": 150}))
    assert shares(compiled, plan, "chat/eu") == {"a/near": 1.0}
    assert plan.unmet == ()
    _, plan = solved(rules, problem(rules, {"chat/eu": 180}))
    assert plan.unmet == ("a",)
    assert [(s.lost, s.routes, round(s.units_per_s, 1)) for s in plan.shortfalls] == [
        ("a", ("chat/eu",), 20.0)
    ]


def test_critical_load_keeps_clear_of_the_only_room_that_others_have_after_a_loss() -> None:
    """Bound load lies on a and could only go to b. The near b would be best for free load, which may also go
    far away to c: it does, because critical load that is there would not move on when a is lost."""
    rules = policy(
        (
            pool("a/x", committed=100, latency_ms=10),
            pool("b/x", committed=100, latency_ms=10),
            pool("c/x", committed=100, latency_ms=400, geography="us"),
        ),
        (replace(workload("bound"), allowed_geographies=("eu",)), workload("free")),
    )
    held = {"bound/eu": {"a/x": MILLION}, "free/eu": {"b/x": MILLION}}
    compiled, plan = solved(rules, problem(rules, {"bound/eu": 100, "free/eu": 100}, held=held))
    assert shares(compiled, plan, "free/eu") == {"c/x": 1.0}
    assert (plan.met, plan.shortfalls) == (("a", "b", "c"), ())
    sheddable = replace(
        rules, workloads=(rules.workloads[0], replace(rules.workloads[1], criticality="sheddable"))
    )
    compiled, plan = solved(sheddable, problem(sheddable, {"bound/eu": 100, "free/eu": 100}, held=held))
    assert shares(compiled, plan, "free/eu") == {"b/x": 1.0}


def test_growth_that_does_not_fit_is_known_before_it_comes() -> None:
    """150 on three times 100 survives any loss; half as much again does not."""
    rules = policy(tuple(pool(f"{name}/x", committed=100, limit=100) for name in "abc"))
    question = problem(rules, {"chat/eu": 150})
    assert solved(rules, question)[1].unmet == ()
    assert solved(rules, grown(question, 0.5))[1].unmet == ("a", "b", "c")
    with pytest.raises(ValueError, match="can't grow"):
        grown(question, -1.0)


def test_a_shortfall_says_where_the_load_could_have_gone() -> None:
    """Data of the EU may only go to the EU: its loss has no room although the US is empty."""
    rules = policy(
        (
            pool("a/eu", committed=100, limit=100),
            pool("b/eu", committed=40, limit=40),
            pool("b/us", committed=500, limit=500, geography="us"),
        ),
        origins=(Origin("eu", ("eu",)),),
    )
    _, plan = solved(rules, problem(rules, {"chat/eu": 100}))
    short = {s.lost: (s.geographies, round(s.units_per_s, 1)) for s in plan.shortfalls}
    assert short == {"a": (("eu",), 60.0)}


def test_lower_criticality_makes_way_after_a_loss() -> None:
    """Sheddable load fills b; the loss of a is still survived, because that load would be shed then."""
    rules = policy(
        (pool("a/x", committed=100, limit=100), pool("b/x", committed=100, limit=100)),
        (workload("chat"), workload("batch", "sheddable")),
    )
    compiled, plan = solved(rules, problem(rules, {"chat/eu": 100, "batch/eu": 100}))
    assert plan.unmet == ()
    assert "shed" not in shares(compiled, plan, "batch/eu")


def test_a_failure_domain_across_providers_joins_only_when_it_is_not_survived() -> None:
    """Two providers behind one edge network: the loss of either is survived by the plan as it is. That both
    go is seen afterwards: it joins, load is put beside the edge, and what has no room even so is said."""
    behind = tuple(
        replace(pool(f"{name}/x", committed=100, limit=100), domains=("edge",)) for name in ("a", "b")
    )
    far = pool("c/x", committed=60, limit=60, latency_ms=500)
    rules = policy((*behind, far))
    _, plan = solved(rules, problem(rules, {"chat/eu": 60}))
    assert (plan.screened, plan.added, plan.unmet) == (1, (), ())
    _, plan = solved(rules, problem(rules, {"chat/eu": 90}))
    assert (plan.added, plan.unmet) == (("edge",), ("edge",))
    assert plan.shortfalls[0].units_per_s == pytest.approx(30, abs=0.01)


def test_equally_good_pools_keep_what_they_carry() -> None:
    """Three pools cost the same: an uneven table stays as it is, to the last part per million."""
    rules = policy(tuple(pool(f"{name}/x", committed=100, limit=100) for name in "abc"), SHEDDABLE)
    held = {"a/x": 123_456, "b/x": 700_000, "c/x": 176_544}
    compiled, plan = solved(rules, problem(rules, {"chat/eu": 100}, held={"chat/eu": held}))
    assert shares(compiled, plan, "chat/eu") == {name: parts / MILLION for name, parts in held.items()}


def test_a_move_must_gain_more_than_one_latency_band() -> None:
    """A pool that is 40 ms nearer gains nothing, as the band is 50 ms; one that is 90 ms nearer does."""
    for gain_ms, expected in ((40, "a/x"), (90, "b/x")):
        rules = policy(
            (
                pool("a/x", committed=100, latency_ms=100),
                pool("b/x", committed=100, latency_ms=100 - gain_ms),
            ),
            SHEDDABLE,
        )
        compiled, plan = solved(rules, problem(rules, {"chat/eu": 50}, held={"chat/eu": {"a/x": MILLION}}))
        assert shares(compiled, plan, "chat/eu") == {expected: 1.0}


def test_order_of_use_by_health() -> None:
    """Healthy pools, burst included, come before degraded ones, and unknown ones get only critical load. A
    pool that only keeps its load gains and loses nothing, and a pool that is out gets nothing."""
    rules = policy(
        tuple(pool(f"{name}/x", committed=50, limit=50) for name in "abcde"),
        (workload("chat"), workload("batch", "sheddable")),
    )
    grades = {"a/x": GAINS, "b/x": GAINS_LATE, "c/x": GAINS_LAST, "d/x": KEEPS, "e/x": OUT}
    question = problem(
        rules, {"chat/eu": 160, "batch/eu": 40}, held={"chat/eu": {"d/x": 62_500}}, grades=grades
    )
    compiled, plan = solved(rules, question)
    assert shares(compiled, plan, "chat/eu") == pytest.approx(
        {"a/x": 0.3125, "b/x": 0.3125, "c/x": 0.3125, "d/x": 0.0625}
    )
    assert shares(compiled, plan, "batch/eu") == {"shed": 1.0}


def test_a_binding_limit_says_what_more_of_it_would_buy() -> None:
    """Load is shed for want of room, so more of the full pool would save the cost of shedding."""
    rules = policy((pool("a/x", committed=100),), SHEDDABLE)
    _, plan = solved(rules, problem(rules, {"chat/eu": 150}))
    assert [(m.limit, m.relieves) for m in plan.marginals] == [("a/x/d", "shed")]


def test_no_load_no_targets() -> None:
    """Without demand the plan is empty, and that is a valid answer."""
    rules = policy((pool("a/x"),))
    _, plan = solved(rules, problem(rules, {}))
    assert plan.targets == ()


def test_a_late_solver_has_no_answer() -> None:
    """A time limit of zero raises ``NoAnswerError``; it never gives an empty plan."""
    rules = policy(tuple(pool(f"{name}/x", committed=100) for name in "abc"))
    with pytest.raises(NoAnswerError, match="ime limit"):
        solve(compile_policy(rules), problem(rules, {"chat/eu": 150}), limit_s=0.0)


def test_a_problem_of_another_policy_is_refused() -> None:
    """Pool and route numbers of one policy mean nothing under another."""
    one, other = policy((pool("a/x"),)), policy((pool("b/x"),))
    with pytest.raises(ValueError, match="is of policy"):
        solve(compile_policy(one), problem(other, {"chat/eu": 1}))


def test_committed_capacity_comes_first_without_prices() -> None:
    """A policy that names no prices still uses what it has paid for first, although it is further away."""
    rules = policy(
        (pool("a/far", committed=100, price=0, latency_ms=300), pool("b/near", committed=0, price=0)),
        SHEDDABLE,
    )
    compiled, plan = solved(rules, problem(rules, {"chat/eu": 80}))
    assert shares(compiled, plan, "chat/eu") == {"a/far": 1.0}


def test_dear_burst_comes_before_committed_capacity_of_a_degraded_pool() -> None:
    """Health outweighs money."""
    rules = policy((pool("a/ill", committed=100), pool("b/well", committed=0, price=9)), SHEDDABLE)
    compiled, plan = solved(rules, problem(rules, {"chat/eu": 80}, grades={"a/ill": GAINS_LATE}))
    assert shares(compiled, plan, "chat/eu") == {"b/well": 1.0}


def test_less_load_than_the_solver_can_tell_from_none_has_no_target() -> None:
    """A route of a hundredth of a millionth of another's load doesn't keep the others from a plan."""
    works = (workload("chat"), workload("api", "sheddable"))
    rules = policy((pool("azure/a", limit=1e6, committed=1e6),), works)
    _, plan = solved(rules, problem(rules, {"chat/eu": 100_000.0, "api/eu": 1e-8}))
    assert [target.route for target in plan.targets] == [0]


def test_a_solver_that_gets_lost_tries_another_way() -> None:
    """Where the simplex ends without an answer, presolve finds it from the start: the same optimum."""
    rules = policy((pool("azure/a"), pool("gcp/b", price=2.0)), (workload("chat"), workload("api")))
    compiled, question = compile_policy(rules), problem(rules, {"chat/eu": 60.0, "api/eu": 30.0})
    tableau = Tableau(instance_of(compiled, question), 5.0, 24)
    tableau.solve()
    lost = Tableau(instance_of(compiled, question), 5.0, 24)
    lost._highs.setOptionValue("simplex_iteration_limit", 0)
    lost.solve()
    assert lost.objective == pytest.approx(tableau.objective)


def test_the_solver_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    """HiGHS would print a banner once in a process, on the standard output of whoever solves."""
    rules = policy((pool("azure/a"),))
    solved(rules, problem(rules, {"chat/eu": 60.0}))
    assert capfd.readouterr() == ("", "")
