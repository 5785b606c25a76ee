"""The margin of N-1 on the example policy: it agrees with what `tieline whatif` foretells."""

import pytest
from msgspec.structs import replace

from controller.core.assessment import assess
from controller.core.inspect.n_minus_1 import GeographyMargin, Margin, geography_margins, margin_without
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
    world.settle(20_000)
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


def by_geography(world: World) -> tuple[GeographyMargin, ...]:
    snapshot = world.snapshot()
    return geography_margins(snapshot, assess(snapshot, world.now_ms))


def test_each_geography_has_one_margin(world: World) -> None:
    """Every geography with pools is there, with the provider whose loss leaves least."""
    rows = by_geography(world)
    assert [row.geography for row in rows] == ["us", "jp", "uk", "eu", "eea"]
    assert {row.lost for row in rows} <= {provider.id for provider in POLICY.providers}


def test_critical_load_without_a_place_is_a_negative_margin(world: World) -> None:
    """`api` is bound to Azure: without Azure it has no place anywhere, as what-if says."""
    lost = tuple(pool.id for pool in POLICY.pools if pool.provider == "azure")
    after = what_if(world.snapshot(), world.now_ms, WhatIfQuestion(lost)).after
    critical = {name: units for name, units in after.shed_by_criticality.items() if "critical" in name}
    assert sum(critical.values()) > 0
    worst = min(by_geography(world), key=lambda row: row.units_per_s)
    assert worst.lost == "azure"
    assert worst.units_per_s < 0


def test_room_is_what_the_remaining_pools_may_take(world: World) -> None:
    """Without bound workloads the margin in Japan is the room of the pools there after the worse loss."""
    free = tuple(
        replace(workload, exclusive_provider=None) for workload in POLICY.workloads if workload.id == "chat"
    )
    idle = World(replace(POLICY, workloads=free, committed_spend=()))
    idle.demand["chat", "jp"] = 1_000.0
    idle.decide()
    list(idle.run(60_000))
    japan = next(row for row in by_geography(idle) if row.geography == "jp")
    lost = tuple(pool.id for pool in POLICY.pools if pool.provider == japan.lost)
    after = what_if(idle.snapshot(), idle.now_ms, WhatIfQuestion(lost))
    carried = {row.pool: row.after for row in after.pools}
    remaining = [pool for pool in POLICY.pools if pool.geography == "jp" and pool.id not in lost]
    usable = sum(pool.limit_units_per_s * POLICY.headroom for pool in remaining)
    assert japan.units_per_s == pytest.approx(usable - sum(carried[pool.id] for pool in remaining), rel=0.01)
