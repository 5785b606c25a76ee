"""The margin of N-1 on the example policy: it agrees with what `tieline whatif` foretells."""

import pytest

from controller.core.assessment import assess
from controller.core.inspect.n_minus_1 import Margin, margin_without
from controller.core.inspect.what_if import WhatIfQuestion, single_losses, what_if
from controller.policy_file import load_policy
from tests.places import EXAMPLE_POLICY
from tests.scenarios.world import World

POLICY = load_policy(EXAMPLE_POLICY)
LOSSES = [pytest.param(loss, id=f"{loss.kind}-{loss.name}") for loss in single_losses(POLICY)]


@pytest.fixture(scope="module")
def world() -> World:
    """The example policy under its expected demand, settled."""
    world = World(POLICY)
    for workload in POLICY.workloads:
        for origin, units in workload.expected_units_per_s.items():
            world.demand[workload.id, origin] = units
    world.decide()
    list(world.run(20_000))
    return world


@pytest.mark.parametrize("loss", LOSSES)
def test_the_margin_sheds_what_a_rehearsal_sheds(world: World, loss: object) -> None:
    """What is shed and what fails at lost pools is not served; every other unit is."""
    snapshot, now_ms = world.snapshot(), world.now_ms
    margin = margin_without(snapshot, assess(snapshot, now_ms), loss)  # type: ignore[arg-type]
    after = what_if(snapshot, now_ms, WhatIfQuestion(loss.pools)).after  # type: ignore[attr-defined]
    assert margin.offered == pytest.approx(after.offered)
    assert sum(margin.shed.values()) == pytest.approx(after.shed + after.failed, rel=1e-6, abs=1e-3)
    assert margin.room >= 0


def test_the_ratio_is_negative_exactly_when_load_is_lost() -> None:
    """Room counts only where everything is served; without load there is nothing to compare with."""
    served = Margin("provider", "gcp", 100.0, shed={"critical": 0.0}, room=30.0)
    short = Margin("provider", "gcp", 100.0, shed={"critical": 5.0, "sheddable": 15.0}, room=30.0)
    idle = Margin("provider", "gcp", 0.0, shed={}, room=30.0)
    assert (served.ratio, short.ratio, idle.ratio) == (0.3, -0.2, 0.0)
