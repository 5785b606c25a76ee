"""N-1 margins of the example policy."""

import pytest
from msgspec.structs import replace

from controller.core.inspect.margins import margins
from controller.core.inspect.what_if import WhatIfQuestion, what_if
from controller.policy_file import load_policy
from tests.places import EXAMPLE_POLICY
from tests.scenarios.world import World

POLICY = load_policy(EXAMPLE_POLICY)


@pytest.fixture(scope="module")
def world() -> World:
    """The example policy under its expected demand, settled."""
    world = World(POLICY)
    for workload in POLICY.workloads:
        for origin, units in workload.expected_units_per_s.items():
            world.demand[workload.id, origin] = units
    world.decide()
    list(world.run(30_000))
    return world


def test_each_geography_has_one_margin(world: World) -> None:
    """Every geography with pools is there, with the provider whose loss leaves least."""
    rows = margins(world.snapshot(), world.now_ms)
    assert [row.geography for row in rows] == ["us", "jp", "uk", "eu", "eea"]
    assert {row.lost for row in rows} <= {provider.id for provider in POLICY.providers}


def test_critical_load_without_a_place_is_a_negative_margin(world: World) -> None:
    """`api` is bound to Azure: without Azure it has no place anywhere, as what-if says."""
    lost = tuple(pool.id for pool in POLICY.pools if pool.provider == "azure")
    after = what_if(world.snapshot(), world.now_ms, WhatIfQuestion(lost)).after
    critical = {name: units for name, units in after.shed_by_criticality.items() if "critical" in name}
    assert sum(critical.values()) > 0
    worst = min(margins(world.snapshot(), world.now_ms), key=lambda row: row.units_per_s)
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
    japan = next(row for row in margins(idle.snapshot(), idle.now_ms) if row.geography == "jp")
    lost = tuple(pool.id for pool in POLICY.pools if pool.provider == japan.lost)
    after = what_if(idle.snapshot(), idle.now_ms, WhatIfQuestion(lost))
    carried = {row.pool: row.after for row in after.pools}
    remaining = [pool for pool in POLICY.pools if pool.geography == "jp" and pool.id not in lost]
    usable = sum(pool.limit_units_per_s * POLICY.headroom for pool in remaining)
    assert japan.units_per_s == pytest.approx(usable - sum(carried[pool.id] for pool in remaining), rel=0.01)
