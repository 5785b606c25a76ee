"""The rules of the products that Tieline is compared with, each as its documentation states it."""

from __future__ import annotations

import pytest

from bench._quality_priority import EJECTED_FOR_S, Outliers, PrioritySpill, levels_of, spill
from bench._quality_routers import COOL_DOWN_S, CoolDown, Router, StaticWeights
from bench._quality_worlds import incident_world
from lab.sim.fleet import Outcome, PoolNature, Traffic
from lab.sim.splits import shares_of
from tieline.table import MILLION, check

POLICY = incident_world("azure-openai-requests-2025-05-16").world.policy
EAST, WEST, CHICAGO = "azure/eastus2/gpt-4o", "azure/westus3/gpt-4o", "oci/us-chicago-1/gpt-oss"
ROUTE = "chat/us"


def shares(router: Router, second: int) -> dict[str, int]:
    """Where chat from the United States goes, in parts per million."""
    table = router.table(second)
    check(table)
    return next(shares_of(table, route.split) for route in table.routes if route.name == ROUTE)


def observe(router: Router, second: int, result: str = "server_error", **traffic: float) -> None:
    """The second from ``second`` on, in which 1,000 units went to the pool in the east, with this traffic."""
    outcome = Outcome({("gateway", EAST): Traffic(sent=1_000.0, **traffic)})
    router.observe(second + 1, outcome, {EAST: PoolNature(18_000.0, result=result)})


@pytest.mark.parametrize("product", [StaticWeights, CoolDown])
def test_weights_are_in_proportion_to_limits(product: type[StaticWeights | CoolDown]) -> None:
    """18, 14 and 10 thousand units/s, and no pool that the route may not use."""
    parts = shares(product(POLICY), 1)
    assert set(parts) == {EAST, WEST, CHICAGO}
    assert parts[EAST] / parts[CHICAGO] == pytest.approx(1.8, rel=1e-4)


def test_static_weights_learn_nothing() -> None:
    """Whatever failed, the same table stays."""
    router = StaticWeights(POLICY)
    before = router.table(1)
    observe(router, 1, failed=1_000.0)
    assert router.table(2) is before


def test_a_429_cools_down_at_once_for_five_seconds() -> None:
    """The pool gets nothing for the five seconds that follow, and its share after that."""
    router = CoolDown(POLICY)
    observe(router, 1, throttled=1.0)
    assert [EAST in shares(router, second) for second in range(2, 9)] == [False] * COOL_DOWN_S + [True, True]


@pytest.mark.parametrize(("failed", "is_out"), [(500.0, False), (501.0, True)])
def test_failures_cool_down_above_half_of_a_minute(failed: float, is_out: bool) -> None:
    """Exactly half is not enough."""
    router = CoolDown(POLICY)
    observe(router, 1, failed=failed)
    assert (EAST not in shares(router, 2)) is is_out


def test_failures_are_forgotten_with_the_minute() -> None:
    """A minute that went well counts against failures within it, and not against those after it."""
    router = CoolDown(POLICY)
    observe(router, 57)
    observe(router, 58)
    observe(router, 59, failed=1_000.0)
    assert EAST in shares(router, 60)
    observe(router, 60, failed=600.0)
    assert EAST not in shares(router, 61)


@pytest.mark.parametrize(("result", "is_out"), [("auth", True), ("client_error", False)])
def test_a_401_cools_down_at_once_and_a_400_never(result: str, is_out: bool) -> None:
    """A 401 of a hundred is enough; a pool that answers 400 to everybody stays."""
    router = CoolDown(POLICY)
    observe(router, 1, result, failed=10.0 if is_out else 1_000.0)
    assert (EAST not in shares(router, 2)) is is_out


def test_nothing_is_sent_while_all_pools_cool_down() -> None:
    """LiteLLM refuses then: the route sheds everything, with a reason."""
    router = CoolDown(POLICY)
    traffic = {("gateway", pool): Traffic(sent=10.0, throttled=1.0) for pool in (EAST, WEST, CHICAGO)}
    router.observe(2, Outcome(traffic), {pool: PoolNature(1.0) for pool in (EAST, WEST, CHICAGO)})
    route = next(route for route in router.table(2).routes if route.name == ROUTE)
    assert route.split.shed == MILLION
    assert route.shed_reason


def test_the_first_level_has_the_most_committed_capacity() -> None:
    """Azure has 21,000 units/s committed here, OCI 4,000."""
    committed = {pool.id: pool.committed_units_per_s for pool in POLICY.pools}
    assert levels_of((EAST, WEST, CHICAGO), committed) == ((EAST, WEST), (CHICAGO,))
    assert levels_of((EAST, WEST), committed) == ((EAST, WEST),)
    assert set(shares(PrioritySpill(POLICY), 1)) == {EAST, WEST}


def test_a_level_takes_its_healthy_share_times_the_factor() -> None:
    """Half of a level of two takes 70 %, three of four take all, as Envoy's documentation has it."""
    assert spill((("a", "b"), ("c",)), frozenset({"b"})) == ([70.0, 30.0], [("a",), ("c",)])
    assert spill((("a", "b", "d", "e"), ("c",)), frozenset({"b"}))[0] == [100.0, 0.0]


def test_panic_uses_ejected_pools_too() -> None:
    """A quarter of the first level and none of the second are left: 35 % can't take all, so both levels use
    all of their pools. As long as another level can take all there is no panic."""
    levels = (("a", "b", "d", "e"), ("c",))
    assert spill(levels, frozenset({"a", "b", "d", "c"})) == ([100.0, 0.0], list(levels))
    assert spill(levels, frozenset({"a", "b", "d"}))[1] == [("e",), ("c",)]
    assert spill(levels, frozenset({"a", "b", "c", "d", "e"})) == ([50.0, 50.0], list(levels))


def test_five_5xx_in_a_row_eject() -> None:
    """A pool that always fails is out in the next second, and one of which 1 % fails stays."""
    router = PrioritySpill(POLICY)
    observe(router, 1, failed=10.0)
    assert EAST in shares(router, 2)
    observe(router, 2, failed=1_000.0)
    assert EAST not in shares(router, 3)


@pytest.mark.parametrize("result", ["auth", "client_error"])
def test_what_is_no_5xx_ejects_nobody(result: str) -> None:
    """Neither does a 401 or a 400, nor a 429."""
    router = PrioritySpill(POLICY)
    observe(router, 1, result, failed=1_000.0)
    observe(router, 2, throttled=1_000.0)
    assert EAST in shares(router, 3)


def test_an_ejection_ends_with_a_sweep_and_the_next_is_longer() -> None:
    """Ejected at 1 s for 30 s: back with the sweep at 40 s. Failing again it is out for 60 s, to 110 s."""
    outliers = Outliers()
    outliers.count("a", 1_000.0, failed=1_000.0, at_s=1)
    out = []
    for second in range(2, 120):
        outliers.sweep(second)
        if second == 41:
            outliers.count("a", 1_000.0, failed=1_000.0, at_s=second)
        if outliers.ejected(["a", "b"]):
            out.append(second)
    assert EJECTED_FOR_S == 30
    assert out == [*range(2, 40), *range(41, 110)]


def test_at_most_half_of_a_cluster_is_ejected() -> None:
    """The first two of four that fail; of one pool that one."""
    outliers = Outliers()
    for pool in "abc":
        outliers.count(pool, 1_000.0, failed=1_000.0, at_s=1)
    assert outliers.ejected(["a", "b", "c", "d"]) == {"a", "b"}
    assert outliers.ejected(["c"]) == {"c"}
