"""Alike routes are solved as one: which are alike, and what each of them gets back."""

import numpy as np
import pytest

from controller.core.lp.commodities import Commodities, commodities_of, given_back
from controller.core.lp.programme import instance_of
from controller.core.lp.solve import candidates_of, solve
from controller.core.moves.draft import KEEPS
from controller.core.policy.compiled import compile_policy
from controller.core.policy.policy import Origin, Policy
from tests.unit.controller.core.lp.test_solve import problem, shares, solved
from tests.unit.controller.core.made import policy, pool, workload
from tieline.table import MILLION

THREE = tuple(pool(f"{name}/x") for name in "abc")
TWO_WORKLOADS = (workload("chat"), workload("search"))
ALIKE = policy(THREE, TWO_WORKLOADS)
Held = dict[str, dict[str, int]]


def commodities(rules: Policy, demand: dict[str, float], held: Held | None = None) -> Commodities:
    """The commodities of all routes that have demand."""
    return commodities_of(instance_of(compile_policy(rules), problem(rules, demand, held=held)))


def divided(held: Held, flow: dict[str, float], shed: float = 0.0) -> dict[str, dict[str, float]]:
    """By route, the units/s by pool and what is shed of 60 units/s of chat and 40 of search, where both
    together have ``flow``."""
    both = commodities(ALIKE, {"chat/eu": 60.0, "search/eu": 40.0}, held)
    scale = both.merged.scale
    together = np.array([[flow.get(f"{name}/x", 0.0) for name in "abc"]])
    flows, dropped = given_back(both, together * scale, np.array([shed * scale]))
    return {
        name: {f"{p}/x": round(x / scale, 6) for p, x in zip("abc", row, strict=True) if x > 0}
        | ({"shed": round(float(lost) / scale, 6)} if lost > 0 else {})
        for name, row, lost in zip(("chat", "search"), flows, dropped, strict=True)
    }


def test_routes_of_the_same_rules_are_one_commodity() -> None:
    """The same pools at the same costs and criticality make one; another criticality, another law and another
    latency make another one."""
    rules = policy(
        THREE,
        (
            workload("chat"),
            workload("most", "critical_plus"),
            workload("search"),
            workload("bound", exclusive="a"),
        ),
        origins=(Origin("eu"), Origin("us")),
    )
    names = [f"{name}/{origin}" for name in ("chat", "most", "search", "bound") for origin in ("eu", "us")]
    grouped = commodities(rules, dict.fromkeys(names, 10.0))
    # By workload: eu, us. Only the pools' latency from eu is known.
    assert grouped.of_route.tolist() == [0, 1, 2, 3, 0, 1, 4, 5]
    assert grouped.merged.routes.tolist() == [0, 1, 2, 3, 6, 7]
    assert grouped.merged.to_place / grouped.merged.scale == pytest.approx([20, 20, 10, 10, 10, 10])


def test_a_route_with_a_share_limit_stays_alone() -> None:
    """Its limit binds it by itself: what search leaves of its half at b is no room for chat."""
    limited = tuple(workload(name, "sheddable", provider_share_max={"b": 0.5}) for name in ("chat", "search"))
    rules = policy((pool("a/x", latency_ms=400.0), pool("b/x", latency_ms=10.0)), limited)
    demand = {"chat/eu": 40.0, "search/eu": 40.0}
    assert commodities(rules, demand).of_route.tolist() == [0, 1]
    held = {"chat/eu": {"b/x": MILLION}, "search/eu": {"a/x": MILLION}}
    compiled, plan = solved(rules, problem(rules, demand, held=held))
    assert shares(compiled, plan, "chat/eu") == {"a/x": 0.5, "b/x": 0.5}


def test_what_a_route_has_on_a_pool_that_gains_stays_there() -> None:
    """Pool a gains 40 and c loses all: only what was on c moves, and nothing changes places on a and b."""
    held = {"chat/eu": {"a/x": 500_000, "c/x": 500_000}, "search/eu": {"b/x": 750_000, "c/x": 250_000}}
    assert divided(held, {"a/x": 70.0, "b/x": 30.0}) == {
        "chat": {"a/x": 60.0},
        "search": {"a/x": 10.0, "b/x": 30.0},
    }


def test_the_smallest_shares_leave_a_pool_first() -> None:
    """Of 30 and 10 units/s on c, 15 leave: all of search and 5 of chat. So routes lie on few pools."""
    held = {"chat/eu": {"a/x": 500_000, "c/x": 500_000}, "search/eu": {"b/x": 750_000, "c/x": 250_000}}
    assert divided(held, {"a/x": 45.0, "b/x": 30.0, "c/x": 25.0}) == {
        "chat": {"a/x": 35.0, "c/x": 25.0},
        "search": {"a/x": 10.0, "b/x": 30.0},
    }


def test_what_is_shed_is_shared_by_what_routes_lack() -> None:
    """Pool a loses 30 units/s, 15 of each route. Of these b takes 10, and each route sheds 10."""
    held = {"chat/eu": {"a/x": 250_000, "b/x": 750_000}, "search/eu": {"a/x": 375_000, "c/x": 625_000}}
    assert divided(held, {"b/x": 55.0, "c/x": 25.0}, shed=20.0) == {
        "chat": {"b/x": 50.0, "shed": 10.0},
        "search": {"b/x": 5.0, "c/x": 25.0, "shed": 10.0},
    }


def test_load_that_stays_on_a_silent_pool_stays_with_its_route() -> None:
    """Chat has a fifth on a pool that only keeps its load, and search nothing: neither changes."""
    held = {"chat/eu": {"a/x": 800_000, "c/x": 200_000}, "search/eu": {"b/x": MILLION}}
    question = problem(ALIKE, {"chat/eu": 50.0, "search/eu": 50.0}, held=held, grades={"c/x": KEEPS})
    compiled, plan = solved(ALIKE, question)
    assert shares(compiled, plan, "chat/eu") == {"a/x": 0.8, "c/x": 0.2}
    assert shares(compiled, plan, "search/eu") == {"b/x": 1.0}


def test_a_shortfall_names_all_routes_of_a_commodity() -> None:
    """Two alike routes have no room after the loss of a: both are named, with their load together."""
    rules = policy((pool("a/x", limit=100.0), pool("b/x", limit=60.0, committed=60.0)), TWO_WORKLOADS)
    held: Held = {f"{name}/eu": {"a/x": MILLION} for name in ("chat", "search")}
    _, plan = solved(rules, problem(rules, {"chat/eu": 50.0, "search/eu": 50.0}, held=held))
    (short,) = (shortfall for shortfall in plan.shortfalls if shortfall.lost == "a")
    assert short.routes == ("chat/eu", "search/eu")
    assert short.units_per_s == pytest.approx(40.0, abs=0.01)


def test_a_large_installation_begins_with_more_pools() -> None:
    """A tenth of all pools, at least 24: with too few, a large programme takes many rounds."""
    assert [candidates_of(pools) for pools in (1, 40, 240, 400, 4_000)] == [24, 24, 24, 40, 400]
    rules = policy(tuple(pool(f"a/x{number}", committed=1.0, limit=1.0) for number in range(300)))
    solution = solve(compile_policy(rules), problem(rules, {"chat/eu": 30.0}))
    assert solution.pricing_rounds == 1
