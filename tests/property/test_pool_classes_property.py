"""Pools that are merged: every limit of every pool holds, and hardly anything costs more than without it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from controller.core.lp.commodities import commodities_of
from controller.core.lp.losses import LossBlock, block_of
from controller.core.lp.pool_classes import given_to_pools, pool_classes_of
from controller.core.lp.programme import Floats, Instance, instance_of
from controller.core.lp.tableau import Tableau
from controller.core.policy.compiled import compile_policy
from tests.property.planned import worlds

ROUNDING = 1e-6  # of all load
LIMIT_S = 60.0
PENALTY = 50.0
MERGED_COST_MAX = 1.01  # x the exact cost, beside latency and moves


@st.composite
def instances(draw: st.DrawFn) -> Instance:
    """The commodities of a world in which each pool has others that differ from it in price and size."""
    policy, problem = draw(worlds(twin_pools=True))
    if not any(problem.demand):
        problem = replace(problem, demand=(100.0,) * len(problem.demand))
    return commodities_of(instance_of(compile_policy(policy), problem)).merged


def solved(instance: Instance, *, with_hubs: bool) -> tuple[Tableau, list[LossBlock]]:
    """The optimum with the losses of all providers."""
    tableau, blocks = Tableau(instance, LIMIT_S, candidates=24), []
    for number, name in enumerate(instance.compiled.providers):
        block = block_of(instance, name, instance.provider_of == number, with_hubs=with_hubs)
        if block is not None:
            blocks.append(block)
            tableau.add_block(block, np.full(len(block.struck), PENALTY))
    tableau.solve()
    return tableau, blocks


def cost_on_pools(instance: Instance, flows: Floats, tableau: Tableau, blocks: list[LossBlock]) -> float:
    """What these flows on single pools cost, with what ``tableau`` sheds and leaves without room."""
    used = flows > 0
    burst = np.maximum(flows.sum(axis=0) - instance.committed_room, 0.0)
    return float(
        (flows[used] * instance.cost[used]).sum()
        + instance.move_cost * np.maximum(flows - instance.in_place, 0.0).sum()
        + (burst * instance.burst_cost).sum()
        + (tableau.shed() * instance.shed_cost).sum()
        + PENALTY * sum(float(tableau.short(block).sum()) for block in blocks)
    )


@settings(max_examples=150, deadline=None)
@given(instances())
def test_merged_pools_cost_at_most_a_hundredth_more(instance: Instance) -> None:
    """Beside a latency band, and the price of a move, for each unit. Never less than the exact optimum."""
    exact, _ = solved(instance, with_hubs=False)
    classes = pool_classes_of(instance)
    tableau, blocks = solved(classes.merged, with_hubs=True)
    cost = cost_on_pools(instance, given_to_pools(classes, tableau.flows()), tableau, blocks)
    tolerance = 1e-6 * exact.objective + 1e-3
    assert cost >= exact.objective - tolerance
    units = float(instance.load.sum())
    assert cost <= MERGED_COST_MAX * exact.objective + 2 * instance.move_cost * units + tolerance


@settings(max_examples=150, deadline=None)
@given(instances())
def test_pools_get_exactly_the_load_of_their_class(instance: Instance) -> None:
    """Within what each pool may carry, only on pools that the route may use, all of it and no more."""
    classes = pool_classes_of(instance)
    tableau, _ = solved(classes.merged, with_hubs=True)
    flows = given_to_pools(classes, tableau.flows())
    least = ROUNDING * float(instance.load.sum())
    assert flows.min() >= 0
    assert not flows[np.isinf(instance.cost)].any()
    assert (flows.sum(axis=0) <= instance.committed_room + instance.burst_room + least).all()
    for number in range(len(classes.merged.usable)):
        members = classes.of_pool == number
        assert flows[:, members].sum(axis=1) == pytest.approx(tableau.flows()[:, number], abs=least)


@settings(max_examples=60, deadline=None)
@given(instances())
def test_load_in_place_that_fits_stays(instance: Instance) -> None:
    """Where the pools carry what the programme would have them carry, nothing moves within a class."""
    classes = pool_classes_of(instance)
    tableau, _ = solved(classes.merged, with_hubs=True)
    flows = given_to_pools(classes, tableau.flows())
    in_force = classes._replace(pools=instance._replace(in_place=flows))
    again = given_to_pools(in_force, tableau.flows())
    assert again == pytest.approx(flows, abs=ROUNDING * float(instance.load.sum()))


@settings(max_examples=100, deadline=None)
@given(instances())
def test_hubs_change_no_cost(instance: Instance) -> None:
    """The optimum is the same as with a column for each class and each kind that it may use."""
    with_hubs, _ = solved(instance, with_hubs=True)
    without, _ = solved(instance, with_hubs=False)
    assert with_hubs.objective == pytest.approx(without.objective, rel=1e-6, abs=1e-3)
