"""What-if on the example policy: its answer is what the planner would publish."""

from itertools import pairwise
from typing import Any

import pytest
from msgspec.structs import replace

from controller.core.assessment import assess
from controller.core.inspect.what_if import WhatIfQuestion, draft_after, losses, single_losses, what_if
from controller.core.model.memory import PoolMemory
from controller.core.model.reasons import Reason, State
from controller.core.moves.held_table import HeldTable, split_of
from controller.core.planner import step
from controller.core.policy.compiled import compile_policy
from controller.core.policy.policy import Policy
from controller.core.snapshot import Snapshot
from controller.policy_file import load_policy
from streams.rows import DemandRow
from tests.places import EXAMPLE_POLICY
from tests.scenarios.world import World

POLICY = load_policy(EXAMPLE_POLICY)


@pytest.fixture(scope="module")
def world() -> World:
    """The example policy under its expected demand, settled."""
    made = World(POLICY)
    for workload in POLICY.workloads:
        for origin, units in workload.expected_units_per_s.items():
            made.demand[workload.id, origin] = units
    made.decide()
    list(made.run(60_000))
    return made


def _told(snapshot: Snapshot, lost: tuple[str, ...], now_ms: int) -> Snapshot:
    """The same moment with these pools found down, and nothing heard of them."""
    known = assess(snapshot, now_ms)
    down = PoolMemory(
        State.DOWN, Reason.CLIENTS_FAILING, now_ms, down_since_ms=now_ms, hold_until_ms=now_ms + 60_000
    )
    pools = {name: down if name in lost else one for name, one in known.memory.pools.items()}
    return replace(
        snapshot,
        memory=replace(known.memory, pools=pools, voluntary_ms=0),
        reports=tuple(row for row in snapshot.reports if not _speaks_of(row.event, lost)),
        demand=tuple(_silenced(row, lost) for row in snapshot.demand),
    )


def _speaks_of(event: Any, lost: tuple[str, ...]) -> bool:
    return any(seen.pool in lost for seen in event.pools)


def _silenced(row: DemandRow, lost: tuple[str, ...]) -> DemandRow:
    seconds = [
        replace(second, pools=tuple(one for one in second.pools if one.pool not in lost))
        for second in row.seconds
    ]
    return replace(row, seconds=tuple(seconds))


NAMED = [pytest.param(loss.pools, id=f"{loss.kind}-{loss.name}") for loss in losses(POLICY)]


@pytest.mark.parametrize("lost", NAMED)
def test_the_answer_is_what_the_planner_would_publish(world: World, lost: tuple[str, ...]) -> None:
    """With these pools down a step publishes the very shares that were foretold, for each single loss."""
    snapshot, now_ms = world.snapshot(), world.now_ms
    compiled = compile_policy(POLICY)
    foretold, _ = draft_after(snapshot, assess(snapshot, now_ms), WhatIfQuestion(lost))
    ready = step(_told(snapshot, lost, now_ms), now_ms)
    assert snapshot.table is not None
    carried = any(
        POLICY.pools[index].id in lost for route in snapshot.table.routes for index in route.split.pools
    )
    assert (ready.table is not None) == carried
    after = HeldTable(compiled, ready.table or snapshot.table)
    for route in range(len(compiled.routes)):
        published = split_of(after.weights[route], after.shed[route])
        assert published == split_of(foretold.weights[route], foretold.shed[route])


def test_what_azure_alone_may_serve_is_shed_without_it(world: World) -> None:
    """The workload that goes through Azure by contract is shed, not moved; nothing is broken."""
    azure = next(one for one in single_losses(POLICY) if one.name == "azure")
    answer = what_if(world.snapshot(), world.now_ms, WhatIfQuestion(azure.pools))
    api = [one for one in answer.after.routes if one.route.startswith("api/")]
    assert all(one.shed > 0.9 * one.offered for one in api)
    assert not answer.after.broken
    assert not answer.after.overloads
    assert answer.moved_units_per_s > 0
    assert answer.before == what_if(world.snapshot(), world.now_ms, WhatIfQuestion()).before


def test_growth_beyond_capacity_is_shed_from_the_least_critical(world: World) -> None:
    """Served never falls with growth, and no critical_plus load is shed while sheddable load is served."""
    grown = [
        what_if(world.snapshot(), world.now_ms, WhatIfQuestion((), growth)).after
        for growth in (0.0, 0.5, 1.0, 3.0)
    ]
    assert all(one.offered > was.offered for was, one in pairwise(grown))
    assert grown[-1].shed > grown[0].shed
    for one in grown:
        served = {route.criticality for route in one.routes if route.served > 0.05 * route.offered}
        if one.shed_by_criticality["critical_plus"] > 0.05 * one.offered:
            assert "sheddable" not in served
        assert not one.overloads
        assert not one.broken


def test_a_provider_that_only_observes_keeps_its_load_and_fails_it(world: World) -> None:
    """Where the mode moves nothing, the answer says what would fail."""
    providers = tuple(replace(one, mode="observe") if one.id == "oci" else one for one in POLICY.providers)
    policy: Policy = replace(POLICY, providers=providers)
    snapshot = replace(world.snapshot(), policy=policy)
    oci = next(one for one in single_losses(policy) if one.name == "oci")
    before, after = (what_if(snapshot, world.now_ms, WhatIfQuestion(lost)) for lost in ((), oci.pools))
    carried = sum(one.before for one in before.pools if one.pool in oci.pools)
    assert carried > 0
    assert after.after.failed == pytest.approx(carried)


def test_every_kind_of_loss_is_named() -> None:
    """Providers, regions, failure domains; and single pools, which N-1 does not ask for."""
    kinds = {one.kind for one in losses(POLICY)}
    assert kinds == {"provider", "region", "domain", "pool"}
    assert {one.kind for one in single_losses(POLICY)} == kinds - {"pool"}
    edge = next(one for one in single_losses(POLICY) if one.name == "azure-front-door")
    assert edge.pools == tuple(pool.id for pool in POLICY.pools if "azure-front-door" in pool.domains)
