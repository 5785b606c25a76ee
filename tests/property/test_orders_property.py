"""What operators' orders and modes hold to, whatever the policy and whatever the weather."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from controller.core.model.memo import Memo
from controller.core.moves.held_table import HeldTable
from controller.core.moves.modes import bound_pools
from controller.core.orders.in_force import orders_in_force
from controller.core.planner import step
from controller.core.policy.compiled import compile_policy
from tests.property.worlds import examples, orders, scopes, weather, worlds
from tests.scenarios.world import World
from tieline.events import Command, in_scope
from tieline.table import RouteTable

QUICK = examples(50)
HOUR_MS = 3_600_000


def shares(world: World, table: RouteTable | None) -> list[dict[int, int]]:
    """Every route's weights by the policy's pool numbers."""
    assert table is not None
    return HeldTable(compile_policy(world.policy), table).weights


def changed(world: World, before: RouteTable | None) -> set[int]:
    """Pools whose share of any route is another one than it was."""
    pairs = zip(shares(world, before), shares(world, world.table), strict=True)
    return {pool for was, now in pairs for pool in {*was, *now} if was.get(pool) != now.get(pool)}


@QUICK
@given(st.data())
def test_no_move_by_choice_touches_what_is_frozen(data: st.DataObject) -> None:
    """A publication without a forced move leaves every share of a frozen pool as it was."""
    world = data.draw(worlds())
    world.decide()
    list(world.run(data.draw(st.sampled_from([1_000, 30_000]))))
    data.draw(weather(world))
    list(world.run(data.draw(st.sampled_from([1_000, 60_000]))))
    scope = data.draw(st.one_of(st.just("*"), scopes(world)))
    world.commands = [Command("f", "freeze", scope, "kim", "why", world.now_ms, world.now_ms + HOUR_MS)]
    frozen = {i for i, pool in enumerate(compile_policy(world.policy).pools) if in_scope(pool, scope)}
    for _ in range(data.draw(st.integers(1, 4))):
        data.draw(weather(world))
        for _ in range(15):
            before = world.table
            ready = next(world.run(1_000))
            if ready.table is not None and not ready.urgent:
                assert not changed(world, before) & frozen


@QUICK
@given(st.data())
def test_forced_moves_go_on_under_a_freeze(data: st.DataObject) -> None:
    """What would be published as forced without the freeze is published with it, to the same shares."""
    world = data.draw(worlds())
    world.decide()
    data.draw(weather(world))
    list(world.run(data.draw(st.sampled_from([3_000, 30_000]))))
    data.draw(weather(world))
    freeze = Command("f", "freeze", "*", "kim", "why", world.now_ms, world.now_ms + HOUR_MS)
    for _ in range(12):
        world.now_ms += 1_000
        world._observe()
        snapshot = world.snapshot()
        free = step(snapshot, world.now_ms)
        frozen = step(replace(snapshot, commands=(freeze,)), world.now_ms)
        assert (free.table is not None and free.urgent) == (frozen.table is not None and frozen.urgent)
        if free.urgent and free.table is not None and frozen.table is not None:
            assert free.table == frozen.table
        world.decide()


@QUICK
@given(st.data())
def test_nothing_moves_onto_or_off_a_provider_that_may_not_be_acted_on(data: st.DataObject) -> None:
    """In observe, and in recommend without an approval, every share stays as it is, whatever is ordered of
    other kinds; only a drain of those very pools empties them."""
    world = data.draw(worlds())
    world.decide()
    list(world.run(2_000))
    for _ in range(data.draw(st.integers(1, 4))):
        data.draw(weather(world))
        if data.draw(st.booleans()):
            data.draw(orders(world))
        for _ in range(data.draw(st.sampled_from([2, 15]))):
            before = world.table
            world.now_ms += 1_000
            world._observe()
            compiled = compile_policy(world.policy)
            bound = set(
                bound_pools(compiled, orders_in_force(compiled, tuple(world.commands), world.now_ms, Memo()))
            )
            world.decide()
            assert not changed(world, before) & bound
