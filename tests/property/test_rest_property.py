"""Movement without need: a world in which nothing changes comes to rest, one that hovers nearly so."""

from hypothesis import given
from hypothesis import strategies as st

from controller.core.model.reasons import Reason
from tests.property.worlds import examples, weather, worlds
from tests.scenarios.world import World
from tieline.table import RouteTable

BY_CHOICE = {Reason.MERIT_ORDER, Reason.KEEP_WARM, Reason.PLAN}


@examples(12)
@given(st.data())
def test_a_quiet_world_comes_to_rest(data: st.DataObject) -> None:
    """No weight goes back and forth: after minutes without news, nothing more is published.

    Except where pools give less than is stated: how much is found out again and again.
    """
    world = data.draw(worlds())
    world.decide()
    for _ in range(data.draw(st.integers(0, 2))):
        data.draw(weather(world))
        list(world.run(2_000))
    for how in world.pools.values():
        how.serves = None
    list(world.run(400_000))
    published = world.publications
    world.said = []
    list(world.run(60_000))
    assert world.publications == published, world.said


def _shares(table: RouteTable) -> dict[tuple[str, int], int]:
    return {
        (route.name, pool): parts
        for route in table.routes
        for pool, parts in zip(route.split.pools, route.split.weights, strict=True)
    }


def _hover(data: st.DataObject, world: World) -> None:
    """From now on something goes up and down again and again; draws what, how far and how often."""
    route = data.draw(st.sampled_from(sorted(world.demand)))
    pool = world.pools[data.draw(st.sampled_from(sorted(world.pools)))]
    demand, stated = world.demand[route], pool.stated or 0.0
    swing = data.draw(st.sampled_from([0.05, 0.2, 0.5]))
    every = data.draw(st.sampled_from([3, 11, 25]))
    which = data.draw(st.sampled_from(["demand", "limit", "both"]))
    choices: dict[tuple[str, int], tuple[int, int]] = {}  # (route, pool) -> when by choice, and which way
    for second in range(500):
        factor = 1 + (swing if second // every % 2 else -swing)
        if which != "limit":
            world.demand[route] = demand * factor
        if which != "demand":
            pool.stated = stated * factor
        before = world.table
        (ready,) = world.run(1_000)
        if ready.table is None or ready.urgent or before is None:
            continue
        if not {said.reason for said in ready.decisions} & BY_CHOICE:
            continue
        was, now = _shares(before), _shares(ready.table)
        for key in {*was, *now}:
            change = now.get(key, 0) - was.get(key, 0)
            if change:
                at, way = choices.get(key, (-10_000, change))
                assert way * change > 0 or second - at >= world.policy.thresholds.reversal_ms // 1000, key
                choices[key] = (second, change)


@examples(25)
@given(st.data())
def test_what_moved_by_choice_is_not_moved_back_while_demand_or_limits_hover(data: st.DataObject) -> None:
    """Whatever goes up and down, no share of a route at a pool rises and falls by choice within minutes."""
    world = data.draw(worlds())
    world.decide()
    list(world.run(60_000))
    _hover(data, world)
