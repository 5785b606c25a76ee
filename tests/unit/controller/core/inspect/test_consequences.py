"""What an order would change on the example policy: its answer is what the planner decides with the order."""

import pytest
from msgspec.structs import replace

from controller.core.inspect.consequence_words import objections, summary
from controller.core.inspect.consequences import FORCE_RULES, Consequences, consequences
from controller.core.planner import step
from controller.core.snapshot import Snapshot
from controller.policy_file import load_policy
from tests.places import EXAMPLE_POLICY
from tests.scenarios.world import World
from tieline.events import Command, Verb

POLICY = load_policy(EXAMPLE_POLICY)


def settled(growth: float) -> World:
    """The example policy under so many times its expected demand, settled."""
    world = World(POLICY)
    world.settle(60_000, growth=growth)
    return world


@pytest.fixture(scope="module")
def world() -> World:
    """Under the expected demand."""
    return settled(1.0)


def with_order(world: World, verb: Verb, scope: str, **more: str) -> Snapshot:
    """The moment of the world with one more order of an hour."""
    order = Command("c", verb, scope, "kim", "drill", world.now_ms, world.now_ms + 3_600_000, **more)  # type: ignore[arg-type]
    snapshot = world.snapshot()
    return replace(snapshot, commands=(*snapshot.commands, order))


def of_order(world: World, verb: Verb, scope: str, **more: str) -> Consequences:
    """What this order would change now."""
    return consequences(world.snapshot(), with_order(world, verb, scope, **more), world.now_ms)


def test_what_moves_is_what_the_planner_publishes(world: World) -> None:
    """The pools of a drained provider end at nothing, and the others gain what it had."""
    change = of_order(world, "drain", "oci")
    ready = step(with_order(world, "drain", "oci"), world.now_ms)
    assert ready.table is not None
    after = {pool.pool: pool.after for pool in change.pools}
    assert all(not units for pool, units in after.items() if pool.startswith("oci/"))
    gained = sum(max(pool.after - pool.before, 0.0) for pool in change.pools)
    assert gained == pytest.approx(change.moved_units_per_s, rel=0.01)
    assert change.objections == ()
    assert summary(change)[0].startswith(
        f"it moves {change.moved_units_per_s:,.0f} of 51,000 tokens/s at once: "
    )


def test_what_would_move_anyway_is_no_consequence(world: World) -> None:
    """Without a difference between the two moments nothing changes, whatever is due by choice."""
    same = consequences(world.snapshot(), world.snapshot(), world.now_ms)
    assert (same.moved_units_per_s, same.pools, same.workloads) == (0.0, (), ())
    assert same.due_before == same.due_after > 0
    assert summary(same) == ("it moves nothing at once",)


def test_a_freeze_leaves_no_move_by_choice(world: World) -> None:
    """What is still due by choice falls to nothing, and that is said. Although a step is due, none counts as
    moved by the order."""
    after = with_order(world, "freeze", "*")
    assert after.memory is not None
    rested = replace(after.memory, voluntary_ms=0)
    before = replace(world.snapshot(), memory=rested)
    change = consequences(before, replace(after, memory=rested), world.now_ms)
    assert change.moved_units_per_s == 0
    assert change.due_before > 0
    assert change.due_after == 0
    assert summary(change)[1].startswith("left to bounded steps by choice: ")


def test_load_without_a_place_names_workload_and_contract(world: World) -> None:
    """What only one provider may serve is shed without it: by criticality, by rule, and with what binds."""
    change = of_order(world, "drain", "azure")
    assert change.shed_after["critical"] - change.shed_before["critical"] == pytest.approx(13_000, rel=0.01)
    assert {objection.rule for objection in change.objections} == {"critical_shed", "last_pool"}
    assert (
        "api, which only azure may serve, would have no pool left for requests from us, eu, jp"
        in objections(change)
    )
    assert "it would shed 5,000 of 5,000 tokens/s of api/eu, which is critical" in objections(change)
    assert "exclusive_elsewhere" in {rule.reason for rule in change.binding}
    assert not any(pool.startswith("azure/") for rule in change.binding for pool in rule.pools)
    assert "shed: critical 0 -> 13,000 tokens/s" in summary(change)


def test_an_order_after_which_one_loss_sheds_critical_load_is_told() -> None:
    """N-1 held before the order and does not after it: the provider that must not fail is named, and the
    burst that the order costs has its price."""
    change = of_order(settled(1.4), "drain", "gcp")
    assert {objection.rule for objection in change.objections} == {"no_n_minus_1"}
    assert (
        objections(change)
        == "if azure were lost after it, 2,795 tokens/s more of critical load would be shed"
    )
    assert "burst: 0 -> 4,000 tokens/s; 0.00 -> 43.20 per hour" in summary(change)


def test_every_objection_has_a_rule_that_can_be_forced(world: World) -> None:
    """The list of names is one place, and says what each protects."""
    change = of_order(world, "drain", "azure")
    assert {objection.rule for objection in change.objections} <= set(FORCE_RULES)


def test_taking_an_order_back_is_not_objected_to() -> None:
    """What a drain sheds is served again; that the loss of its pools would shed it then is nothing new."""
    world = settled(1.0)
    drained = with_order(world, "drain", "azure")
    world.commands = list(drained.commands)
    list(world.run(2_000))
    snapshot = world.snapshot()
    change = consequences(snapshot, replace(snapshot, commands=()), world.now_ms)
    assert change.shed_before["critical"] > 12_000
    assert change.shed_after["critical"] < change.shed_before["critical"]
    assert change.objections == ()


def test_an_evacuation_says_what_stays_and_for_how_long(world: World) -> None:
    """What finds no room elsewhere stays, is not shed, and so nothing forbids it; a drain sheds it."""
    moved = of_order(world, "evacuate", "azure")
    assert moved.emptying is not None
    assert moved.emptying.staying == pytest.approx(13_000, rel=0.01)
    assert moved.objections == ()
    line = next(line for line in summary(moved) if "stay at the emptied pools" in line)
    assert line == "13,000 tokens/s stay at the emptied pools until other pools have room"
    ramps = replace(moved, emptying=replace(moved.emptying, room_in_ms=90_000))
    assert f"{line}; those that climb their ramp have it in 90 s at the soonest" in summary(ramps)
    drained = of_order(world, "drain", "azure")
    assert drained.emptying is not None
    assert drained.emptying.staying == 0
    assert drained.shed_after["critical"] == pytest.approx(13_000, rel=0.01)


def test_requests_in_flight_at_emptied_pools_are_told(world: World) -> None:
    """How many, and for how long the oldest has waited; an order that empties nothing tells of none."""
    change = of_order(world, "drain", "oci")
    assert change.emptying is not None
    waiting = replace(change, emptying=replace(change.emptying, in_flight=12, oldest_ms=40_000))
    text = "12 requests are in flight there, the oldest for 40 s, and end by themselves"
    assert text in summary(waiting)
    assert of_order(world, "freeze", "*").emptying is None


def test_another_policy_is_compared_by_name(world: World) -> None:
    """A pool that the other policy lacks ends at nothing, although the pools have other numbers there."""
    snapshot = world.snapshot()
    gone = POLICY.pools[0].id
    other = replace(POLICY, pools=tuple(pool for pool in POLICY.pools if pool.id != gone))
    change = consequences(snapshot, replace(snapshot, policy=other), world.now_ms)
    assert next(pool for pool in change.pools if pool.pool == gone).after == 0
