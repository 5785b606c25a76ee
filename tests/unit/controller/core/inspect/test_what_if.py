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
    world = World(POLICY)
    world.settle(60_000)
    return world


def _after_loss(snapshot: Snapshot, lost: tuple[str, ...], now_ms: int) -> Snapshot:
    """The same moment with these pools down in memory, and nothing heard of them."""
    assessment = assess(snapshot, now_ms)
    down = PoolMemory(
        State.DOWN, Reason.CLIENTS_FAILING, now_ms, down_since_ms=now_ms, hold_until_ms=now_ms + 60_000
    )
    pools = {name: down if name in lost else was for name, was in assessment.memory.pools.items()}
    return replace(
        snapshot,
        memory=replace(assessment.memory, pools=pools, voluntary_ms=0),
        reports=tuple(row for row in snapshot.reports if not _speaks_of(row.event, lost)),
        demand=tuple(_silenced(row, lost) for row in snapshot.demand),
    )


def _speaks_of(event: Any, lost: tuple[str, ...]) -> bool:
    return any(entry.pool in lost for entry in event.pools)


def _silenced(row: DemandRow, lost: tuple[str, ...]) -> DemandRow:
    seconds = [
        replace(second, pools=tuple(total for total in second.pools if total.pool not in lost))
        for second in row.seconds
    ]
    return replace(row, seconds=tuple(seconds))


NAMED = [pytest.param(loss.pools, id=f"{loss.kind}-{loss.name}") for loss in losses(POLICY)]


@pytest.mark.parametrize("lost", NAMED)
def test_the_answer_is_what_the_planner_would_publish(world: World, lost: tuple[str, ...]) -> None:
    """For each single loss: a step with these pools down publishes the shares that were foretold."""
    snapshot, now_ms = world.snapshot(), world.now_ms
    compiled = compile_policy(POLICY)
    foretold, _ = draft_after(snapshot, assess(snapshot, now_ms), WhatIfQuestion(lost))
    ready = step(_after_loss(snapshot, lost, now_ms), now_ms)
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
    """A workload that must go through Azure by contract is shed and not moved; no contract is broken."""
    azure = next(loss for loss in single_losses(POLICY) if loss.name == "azure")
    answer = what_if(world.snapshot(), world.now_ms, WhatIfQuestion(azure.pools))
    api = [route for route in answer.after.routes if route.route.startswith("api/")]
    assert all(route.shed > 0.9 * route.offered for route in api)
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
    assert all(more.offered > less.offered for less, more in pairwise(grown))
    assert grown[-1].shed > grown[0].shed
    for worth in grown:
        served = {route.criticality for route in worth.routes if route.served > 0.05 * route.offered}
        if worth.shed_by_criticality["critical_plus"] > 0.05 * worth.offered:
            assert "sheddable" not in served
        assert not worth.overloads
        assert not worth.broken


def test_a_provider_that_only_observes_keeps_its_load_and_fails_it(world: World) -> None:
    """Where the mode moves nothing, the load of lost pools counts as failed."""
    providers = tuple(
        replace(provider, mode="observe") if provider.id == "oci" else provider
        for provider in POLICY.providers
    )
    policy: Policy = replace(POLICY, providers=providers)
    snapshot = replace(world.snapshot(), policy=policy)
    oci = next(loss for loss in single_losses(policy) if loss.name == "oci")
    before, after = (what_if(snapshot, world.now_ms, WhatIfQuestion(lost)) for lost in ((), oci.pools))
    carried = sum(load.before for load in before.pools if load.pool in oci.pools)
    assert carried > 0
    assert after.after.failed == pytest.approx(carried)


def test_every_kind_of_loss_is_named() -> None:
    """Providers, regions and failure domains; and single pools, which N-1 does not ask about."""
    kinds = {loss.kind for loss in losses(POLICY)}
    assert kinds == {"provider", "region", "domain", "pool"}
    assert {loss.kind for loss in single_losses(POLICY)} == kinds - {"pool"}
    edge = next(loss for loss in single_losses(POLICY) if loss.name == "azure-front-door")
    assert edge.pools == tuple(pool.id for pool in POLICY.pools if "azure-front-door" in pool.domains)
