"""What holds of every decision, whatever the policy and whatever the weather."""

from copy import deepcopy

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from controller.core.assessment import assess
from controller.core.moves.draft import GAINS_LAST
from controller.core.moves.forced import limits_in_scarcity
from controller.core.moves.held_table import HeldTable
from controller.core.planner import Planner, step
from controller.core.policy.compiled import compile_policy
from controller.core.policy.lawful import may_serve
from controller.core.snapshot import Ready, Snapshot
from tests.property.worlds import examples, orders, weather, worlds
from tests.scenarios.world import World
from tieline.table import MILLION, RouteTable, Split, check

QUICK = examples(60)
ROUNDING_UNITS = 1.0


def _lawful(world: World, table: RouteTable) -> None:
    workloads = {workload.id: workload for workload in world.policy.workloads}
    origins = {origin.id: origin for origin in world.policy.origins}
    pools = {pool.id: pool for pool in world.policy.pools}
    for route in table.routes:
        for split in (route.split, *route.on_loss.values()):
            for index in split.pools:
                pool = pools[table.pools[index].pool]
                assert may_serve(pool, workloads[route.workload], origins[route.origin])
        for index in route.last_resort:
            name = table.pools[index].pool
            assert name in workloads[route.workload].last_resort
            assert may_serve(pools[name], workloads[route.workload], origins[route.origin])


def _within_room(snapshot: Snapshot, ready: Ready, now_ms: int) -> None:
    """Nothing gains beyond what it may carry, and what may not gain does not."""
    assert ready.table is not None
    assert snapshot.table is not None
    compiled = compile_policy(snapshot.policy)
    known = assess(snapshot, now_ms)
    before = HeldTable(compiled, snapshot.table).draft(known.demand).load
    after = HeldTable(compiled, ready.table).draft(known.demand).load
    most = limits_in_scarcity(snapshot.policy, known.use.limits)
    for pool, (was, now) in enumerate(zip(before, after, strict=True)):
        if now > was + ROUNDING_UNITS:
            assert known.use.limits.grade[pool] <= GAINS_LAST
            # What stays where it grew may fill the whole limit.
            assert now <= max(most.usable[pool], known.use.keeps[pool]) + ROUNDING_UNITS


def _share_limits(world: World, snapshot: Snapshot, table: RouteTable) -> None:
    """No provider gains beyond its share of a workload."""
    compiled = assess(snapshot, world.now_ms).compiled  # without the limits that an operator overrides
    old = {route.name: route.split for route in snapshot.table.routes} if snapshot.table else {}
    for rule, route in zip(compiled.routes, table.routes, strict=True):
        for provider, most in rule.share_max.items():

            def carried(split: Split, owner: int = provider) -> int:
                pairs = zip(split.pools, split.weights, strict=True)
                return sum(parts for pool, parts in pairs if compiled.provider_of[pool] == owner)

            before = carried(old[route.name]) if route.name in old else 0
            assert carried(route.split) <= max(round(most * MILLION), before)


@QUICK
@given(st.data())
def test_every_published_table_is_whole_lawful_and_within_room(data: st.DataObject) -> None:
    """Shares sum to a million, contracts and residency hold in on_loss too, no move overfills a pool."""
    world = data.draw(worlds())
    world.decide()
    for _ in range(data.draw(st.integers(1, 5))):
        data.draw(weather(world))
        if data.draw(st.booleans()):
            data.draw(orders(world))
        for _ in range(data.draw(st.sampled_from([1, 3, 12]))):
            snapshot_before = world.table
            world.now_ms += 1000
            world._observe()
            snapshot = world.snapshot()
            assert snapshot.table is snapshot_before
            ready = world.decide()
            if ready.table is not None:
                check(ready.table)
                _lawful(world, ready.table)
                _within_room(snapshot, ready, world.now_ms)
                _share_limits(world, snapshot, ready.table)


@QUICK
@given(st.data())
def test_the_first_table_is_whole_and_lawful(data: st.DataObject) -> None:
    """A lineage begins with a table that serves within the contracts, from the policy alone."""
    world = data.draw(worlds())
    ready = world.decide()
    assert ready.table is not None
    check(ready.table)
    _lawful(world, ready.table)


@QUICK
@given(st.data())
def test_silence_moves_nothing(data: st.DataObject) -> None:
    """Whatever has happened: from the moment nobody is heard any more, no weight changes."""
    world = data.draw(worlds())
    world.decide()
    for _ in range(data.draw(st.integers(0, 3))):
        data.draw(weather(world))
        list(world.run(5000))
    world.clients = 0
    world.silent_sources = {"prober", "prober-us", "fleet"}
    list(world.run(70_000))
    routes = [(route.name, route.split) for route in world.table.routes] if world.table else []
    list(world.run(20_000))
    after = [(route.name, route.split) for route in world.table.routes] if world.table else []
    assert after == routes


@QUICK
@given(st.data())
def test_a_recorded_decision_decides_again_to_the_same_bytes(data: st.DataObject) -> None:
    """A snapshot that was written down and read back gives the same decision, byte by byte."""
    world = data.draw(worlds())
    world.decide()
    for _ in range(data.draw(st.integers(1, 3))):
        data.draw(weather(world))
        data.draw(orders(world))
        list(world.run(3000))
    world.now_ms += 1000
    world._observe()
    snapshot = world.snapshot()
    written = msgspec.msgpack.encode(snapshot)
    again = msgspec.msgpack.decode(written, type=Snapshot)
    encode = msgspec.msgpack.Encoder(order="deterministic").encode
    assert encode(step(again, world.now_ms)) == encode(step(snapshot, world.now_ms))


def _partly(data: st.DataObject, one: Snapshot, other: Snapshot) -> Snapshot:
    """One snapshot in which some rows, or the memory, are the very objects of another."""
    changed: dict[str, object] = {"memory": data.draw(st.sampled_from([one.memory, other.memory]))}
    for name in ("reports", "statements", "capacities", "demand"):
        mine, others = getattr(one, name), getattr(other, name)
        if len(mine) == len(others):
            pick = data.draw(st.lists(st.booleans(), min_size=len(mine), max_size=len(mine)))
            rows = zip(mine, others, pick, strict=True)
            changed[name] = tuple(b if later else a for a, b, later in rows)
    return msgspec.structs.replace(one, **changed)


@QUICK
@given(st.data())
def test_what_is_kept_from_step_to_step_changes_no_decision(data: st.DataObject) -> None:
    """Whatever a planner decided before, and whichever rows are the same objects as then: its bytes are those
    of a step that has seen none of it."""
    world = data.draw(worlds())
    seen = []
    for _ in range(data.draw(st.integers(2, 4))):
        data.draw(weather(world))
        world.now_ms += data.draw(st.sampled_from([1_000, 20_000]))
        world._observe()
        seen.append((world.snapshot(), world.now_ms))
        world.decide()
    encode = msgspec.msgpack.Encoder(order="deterministic").encode
    planner = Planner()
    for _ in range(6):
        one, at_ms = data.draw(st.sampled_from(seen))
        other, _ = data.draw(st.sampled_from(seen))
        snapshot = _partly(data, one, other)
        at_ms += data.draw(st.sampled_from([0, 0, 500, 16_000]))
        assert encode(planner.step(snapshot, at_ms)) == encode(step(snapshot, at_ms))


@QUICK
@given(st.data())
def test_a_take_over_changes_no_weight_by_itself(data: st.DataObject) -> None:
    """Another leader in the same world moves nothing that the old one would not have moved at that moment."""
    world = data.draw(worlds())
    world.decide()
    data.draw(weather(world))
    list(world.run(40_000))
    settled = [route.split for route in world.table.routes] if world.table else []
    planner, world.planner = world.planner, Planner()  # what a planner keeps changes no decision
    stayed = deepcopy(world).decide().table
    world.planner = planner
    world.take_over()
    new = world.decide().table
    allowed = [settled] if stayed is None else [settled, [route.split for route in stayed.routes]]
    assert new is None or [route.split for route in new.routes] in allowed


@examples(20)
@given(st.data())
def test_what_is_kept_between_decisions_changes_none(data: st.DataObject) -> None:
    """Two installations decided in turns by one planner, with the same pools or other ones, are decided as a
    step decides each that keeps nothing."""
    encode = msgspec.msgpack.Encoder(order="deterministic").encode
    first = data.draw(worlds())
    second = (
        World(first.policy, demand=dict(first.demand)) if data.draw(st.booleans()) else data.draw(worlds())
    )
    first.planner = second.planner
    for _ in range(data.draw(st.integers(2, 12))):
        world = data.draw(st.sampled_from([first, second]))
        if data.draw(st.booleans()):
            data.draw(weather(world))
        if data.draw(st.integers(0, 3)) == 0:
            data.draw(orders(world))
        world.now_ms += 1000
        world._observe()
        snapshot = world.snapshot()
        assert encode(world.decide()) == encode(step(snapshot, world.now_ms))
