"""Alike routes are solved as one: whatever load the sum has, its routes can have it at the same cost."""

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from controller.core.lp.commodities import Commodities, commodities_of, given_back
from controller.core.lp.losses import block_of
from controller.core.lp.programme import Floats, Instance, instance_of
from controller.core.lp.tableau import Tableau
from controller.core.policy.compiled import compile_policy
from tests.property.planned import policies, problems, with_twins

ROUNDING = 1e-6  # of a commodity's load
LIMIT_S = 60.0


class Answer(NamedTuple):
    """The load of each commodity on each pool ([K, P]), and what is shed of it ([K])."""

    commodities: Commodities
    flows: Floats
    shed: Floats


@st.composite
def answers(draw: st.DrawFn) -> Answer:
    """Any way to place the load of a world's commodities on pools that they may use, the best or not."""
    policy = with_twins(draw(policies()))
    problem = draw(problems(policy))
    if not any(problem.demand):
        problem = replace(problem, demand=(100.0,) * len(problem.demand))
    commodities = commodities_of(instance_of(compile_policy(policy), problem))
    merged = commodities.merged
    weights = np.array(
        [[draw(st.integers(0, 3)) for _ in range(merged.cost.shape[1] + 1)] for _ in merged.routes],
        dtype=np.float64,
    )
    weights[:, :-1] *= np.isfinite(merged.cost)
    weights[:, -1] += weights.sum(axis=1) == 0
    load = weights / weights.sum(axis=1)[:, None] * merged.to_place[:, None]
    return Answer(commodities, load[:, :-1], load[:, -1])


@settings(max_examples=200, deadline=None)
@given(answers())
def test_routes_get_exactly_the_load_of_their_commodity(answer: Answer) -> None:
    """Each route has all of its demand on pools or shed, and together they have what their commodity has."""
    routes, of_route = answer.commodities.routes, answer.commodities.of_route
    flows, shed = given_back(*answer)
    least = ROUNDING * routes.load.sum()
    assert min(flows.min(), shed.min()) >= 0
    assert flows.sum(axis=1) + shed == pytest.approx(routes.to_place, abs=least)
    assert not flows[np.isinf(routes.cost)].any()
    for number in range(len(answer.flows)):
        members = of_route == number
        assert flows[members].sum(axis=0) == pytest.approx(answer.flows[number], abs=least)
        assert shed[members].sum() == pytest.approx(answer.shed[number], abs=least)


@settings(max_examples=200, deadline=None)
@given(answers())
def test_no_more_load_moves_than_moves_of_the_commodity(answer: Answer) -> None:
    """On every pool, what its routes gain is in sum what the commodity gains: the price of moves is equal."""
    commodities = answer.commodities
    flows, _ = given_back(*answer)
    gains = np.maximum(flows - commodities.routes.in_place, 0.0)
    most = np.maximum(answer.flows - commodities.merged.in_place, 0.0)
    for number in range(len(answer.flows)):
        of_routes = gains[commodities.of_route == number].sum(axis=0)
        assert of_routes == pytest.approx(most[number], abs=ROUNDING * commodities.routes.load.sum())


def _least_cost(instance: Instance, penalty: float) -> float:
    """The optimum with all losses of providers, in points x scaled units/s."""
    tableau = Tableau(instance, LIMIT_S, candidates=24)
    for number, name in enumerate(instance.compiled.providers):
        block = block_of(instance, name, instance.provider_of == number)
        if block is not None:
            tableau.add_block(block, np.full(len(block.struck), penalty))
    tableau.solve()
    return tableau.objective


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_commodities_cost_what_their_routes_cost(data: st.DataObject) -> None:
    """The optimum is the same with one row for each route and with one row for each commodity."""
    policy = with_twins(data.draw(policies()))
    problem = data.draw(problems(policy))
    if any(problem.demand):
        commodities = commodities_of(instance_of(compile_policy(policy), problem))
        apart, together = _least_cost(commodities.routes, 50.0), _least_cost(commodities.merged, 50.0)
        assert together == pytest.approx(apart, rel=1e-6, abs=1e-3)
