"""Whatever the policy and the weather, a drill sheds nothing, ends, and gives its pools back."""

from hypothesis import given
from hypothesis import strategies as st

from controller.core.model.drill import DrillOutcome
from tests.property.worlds import examples, scopes, weather, worlds
from tests.scenarios.world import World
from tieline.events import Command

QUICK = examples(40)
MINUTE_MS = 60_000


def shed_parts(world: World) -> list[int]:
    """What each route sheds by the table in force."""
    assert world.table is not None
    return [route.split.shed for route in world.table.routes]


@QUICK
@given(st.data())
def test_a_drill_ends_by_itself_and_sheds_nothing_by_itself(data: st.DataObject) -> None:
    """In still weather a table with the drill sheds no more than before; in any weather the drill is over
    after its time, with an outcome."""
    world = data.draw(worlds())
    world.decide()
    list(world.run(30_000))
    scope = data.draw(scopes(world))
    until_ms = world.now_ms + MINUTE_MS
    world.commands = [Command("d", "drill", scope, "kim", "why", world.now_ms, until_ms)]
    before = shed_parts(world)
    next(iter(world.run(1_000)))
    assert world.memory is not None
    (drill,) = world.memory.drills
    if drill.is_emptying:
        assert shed_parts(world) == before
    data.draw(weather(world))
    while world.now_ms <= until_ms:
        next(iter(world.run(1_000)))
        (drill,) = world.memory.drills
        if drill.outcome:
            assert not drill.is_emptying
    assert drill.outcome is not DrillOutcome.NONE
