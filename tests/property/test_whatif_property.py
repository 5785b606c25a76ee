"""What holds of every what-if, whatever the policy, the weather, the loss and the growth."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.core.inspect.what_if import WhatIfQuestion, losses, what_if
from controller.core.model.reasons import Reason
from tests.property.worlds import examples, weather, worlds
from tests.scenarios.world import World

QUICK = examples(60)


def _lived(data: st.DataObject) -> World:
    """A world in which something has happened."""
    world = data.draw(worlds())
    world.decide()
    for _ in range(data.draw(st.integers(1, 3))):
        data.draw(weather(world))
        list(world.run(4_000))
    return world


@QUICK
@given(st.data())
def test_a_what_if_keeps_the_law_and_every_unit(data: st.DataObject) -> None:
    """Served, shed and failed sum to the demand as grown; nothing lost is used but by a mode that moves
    nothing; no contract is broken, except where the table in force already breaks it."""
    world = _lived(data)
    snapshot = world.snapshot()
    loss = data.draw(st.sampled_from(losses(world.policy)))
    growth = data.draw(st.sampled_from([0.0, 0.2, 3.0, -0.5]))
    before = what_if(snapshot, world.now_ms, WhatIfQuestion()).before
    answer = what_if(snapshot, world.now_ms, WhatIfQuestion(loss.pools, growth))
    assert answer.after.offered == pytest.approx(before.offered * (1 + growth))
    for one in answer.after.routes:
        assert one.served + one.shed + one.failed == pytest.approx(one.offered, abs=1e-6)
        assert min(one.served, one.shed, one.failed) >= -1e-6
    assert sum(answer.after.shed_by_criticality.values()) == pytest.approx(answer.after.shed)
    unlawful = [one for one in answer.after.broken if one.reason is Reason.NOT_LAWFUL]
    assert not unlawful
    assert {(one.subject, one.after) for one in answer.after.broken} <= {
        (one.subject, one.after) for one in answer.before.broken
    }
    act = {provider.id for provider in world.policy.providers if provider.mode == "act"}
    lost = [one for one in answer.pools if one.pool in loss.pools and one.pool.split("/")[0] in act]
    assert sum(one.after for one in lost) <= answer.after.failed + 1e-6
    assert answer == what_if(snapshot, world.now_ms, WhatIfQuestion(loss.pools, growth))
