"""A table that the next leader continues: the weights stay, and pools are as the policy describes them."""

from __future__ import annotations

from msgspec.structs import replace

from controller.core.moves.inherited_table import under_policy
from controller.core.policy.compiled import compile_policy
from tests.unit.controller.core.made import policy, pool
from tieline.table import MILLION, Generation, PoolInfo, Route, RouteTable, Split, check

COMPILED = compile_policy(policy((pool("azure/sweden"), pool("gcp/paris"))))
AZURE, GCP = COMPILED.infos


def table_with(infos: tuple[PoolInfo, ...], route: Route) -> RouteTable:
    return RouteTable(Generation("x", 1, 1), 0, infos, routes=(route,))


def route_with(split: Split, **more: object) -> Route:
    return Route("w", "eu", "critical", split=split, **more)  # type: ignore[arg-type]


def test_weights_stay_and_addresses_come_from_the_policy() -> None:
    """A foreign URL, another credential and other settings are gone; all weights stay."""
    foreign = replace(AZURE, url="http://elsewhere", credential="stolen")
    route = route_with(
        Split((0, 1), (400_000, 500_000), 100_000),
        on_loss={"azure": Split((0,), (MILLION,))},
        last_resort=(1, 0),
        shed_reason="no_room",
    )
    after = under_policy(table_with((GCP, foreign), route), COMPILED)
    check(after)
    assert after.pools == (AZURE, GCP)
    [after_route] = after.routes
    assert after_route.split == Split((0, 1), (500_000, 400_000), 100_000)
    assert after_route.on_loss == {"azure": Split((1,), (MILLION,))}
    assert after_route.last_resort == (0, 1)
    assert after.settings == COMPILED.policy.clients


def test_share_of_a_pool_that_the_policy_lacks_goes_to_its_neighbours() -> None:
    """In proportion to their weights, and everything still sums to one million."""
    foreign = PoolInfo("evil/x/y", "eu", "http://elsewhere")
    route = route_with(Split((0, 1, 2), (500_000, 400_000, 100_000)), last_resort=(0,))
    after = under_policy(table_with((foreign, AZURE, GCP), route), COMPILED)
    check(after)
    assert after.routes[0].split == Split((0, 1), (800_000, 200_000))
    assert after.routes[0].last_resort == ()


def test_route_with_no_pool_of_the_policy_is_shed() -> None:
    """Nothing is left that it could use, and the reason says so."""
    foreign = PoolInfo("evil/x/y", "eu", "http://elsewhere")
    after = under_policy(table_with((foreign,), route_with(Split((0,), (MILLION,)))), COMPILED)
    check(after)
    assert after.routes[0].split == Split((), (), MILLION)
    assert after.routes[0].shed_reason == "not_lawful"
