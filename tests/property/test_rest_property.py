"""A world in which nothing changes any more comes to rest."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.property.worlds import weather, worlds


@settings(max_examples=20, suppress_health_check=list(HealthCheck))
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
