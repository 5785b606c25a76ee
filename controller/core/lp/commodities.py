"""Routes that the programme can't tell apart are solved as one commodity, and then get their load back.

Routes are alike if they may use the same pools at the same costs, cost the same to shed, and are of the same
class. A large installation has few commodities among many routes: one for each combination of rules, not one
for each workload.

This changes nothing in the answer. Whatever can be done with the routes can be done with their sum, at the
same cost or less. The other way round, ``given_back`` makes of any answer for a commodity an answer for its
routes at the same cost. Only moves have a cost that depends on who has what in place, so it takes care of
those: a pool that keeps or gains load keeps all that each route has there, and a pool that loses load loses
no more than it must. What the routes then lack is, in sum, what the other pools gain and what is shed; and
each route may use each of these pools, at the same cost.

A route with a share limit stays alone. The limit binds each route by itself, and what fits into the sum of
two limits need not fit into each of them where the routes lie in different places.
"""

from typing import NamedTuple

import numpy as np

from controller.core.lp.programme import Floats, Instance, Ints


class Commodities(NamedTuple):
    """The instance with one row for each route, the same with one row for each commodity, and [R] the
    commodity of each route."""

    routes: Instance
    merged: Instance
    of_route: Ints


def commodities_of(instance: Instance) -> Commodities:
    """The commodities of an instance that has a row for each route, in the order of their first routes."""
    of_route, first = _alike(instance)

    def total(by_route: Floats) -> Floats:
        summed = np.zeros((len(first), *by_route.shape[1:]))
        np.add.at(summed, of_route, by_route)
        return summed

    merged = instance._replace(
        routes=instance.routes[first],
        load=total(instance.load),
        to_place=total(instance.to_place),
        fixed=total(instance.fixed),
        in_place=total(instance.in_place),
        cost=instance.cost[first],
        shed_cost=instance.shed_cost[first],
        share_room={(int(of_route[place]), p): room for (place, p), room in instance.share_room.items()},
        class_of=instance.class_of[first],
    )
    return Commodities(instance, merged, of_route)


def _alike(instance: Instance) -> tuple[Ints, Ints]:
    """([R] the commodity of each route, [K] the place of the first route of each commodity)."""
    limited = {place for place, _ in instance.share_room}
    numbers: dict[tuple[object, ...], int] = {}
    of_route = np.zeros(len(instance.routes), dtype=np.int32)
    first = []
    for place, cost in enumerate(instance.cost):
        alone = place if place in limited else -1
        key = (alone, instance.class_of[place], instance.shed_cost[place], cost.tobytes())
        if key not in numbers:
            numbers[key] = len(numbers)
            first.append(place)
        of_route[place] = numbers[key]
    return of_route, np.array(first, dtype=np.int32)


def given_back(commodities: Commodities, flows: Floats, shed: Floats) -> tuple[Floats, Floats]:
    """([R, P], [R]) the load that each route has on each pool, and what is shed of it.

    ``flows`` ([K, P]) and ``shed`` ([K]) are those of the commodities; all in scaled units/s.
    """
    of_route, routes = commodities.of_route, commodities.routes
    by_route, shed_by_route = flows[of_route], shed[of_route]
    for number in np.nonzero(np.bincount(of_route) > 1)[0]:
        members = np.nonzero(of_route == number)[0]
        demand, in_place = routes.to_place[members], routes.in_place[members]
        divided = _divided(demand, in_place, flows[number], float(shed[number]))
        by_route[members], shed_by_route[members] = divided
    return by_route, shed_by_route


def _divided(demand: Floats, in_place: Floats, flow: Floats, shed: float) -> tuple[Floats, Floats]:
    """([M, P], [M]) the load of one commodity on each pool and what is shed of it, by its M routes.

    ``demand`` is [M], ``in_place`` is [M, P], ``flow`` is [P].
    """
    keeps = kept(in_place, flow)
    lacks = np.maximum(demand - keeps.sum(axis=1), 0.0)
    dropped = lacks * min(shed / max(float(lacks.sum()), 1e-9), 1.0)
    return keeps + overlaps(lacks - dropped, flow - keeps.sum(axis=0)), dropped


def kept(in_place: Floats, flow: Floats) -> Floats:
    """[M, P] what each route keeps where it is. On a pool that loses load, the smallest shares leave first,
    so that routes come to lie on fewer pools and not on ever more."""
    order = np.argsort(in_place, axis=0, kind="stable")
    rising = np.take_along_axis(in_place, order, axis=0)
    leaves = np.maximum(rising.sum(axis=0) - flow, 0.0)
    before = np.cumsum(rising, axis=0) - rising
    keeps = np.zeros(in_place.shape)
    np.put_along_axis(keeps, order, rising - np.clip(leaves - before, 0.0, rising), axis=0)
    return keeps


def overlaps(lacks: Floats, gains: Floats) -> Floats:
    """[M, P] what each route gains on each pool: both are laid end to end, and what lies side by side belongs
    together. So all but the first and last pool of a route are its alone."""
    upto_route, upto_pool = np.cumsum(lacks)[:, None], np.cumsum(np.maximum(gains, 0.0))[None, :]
    end = np.minimum(upto_route, upto_pool)
    start = np.maximum(upto_route - lacks[:, None], upto_pool - np.maximum(gains, 0.0)[None, :])
    overlap: Floats = np.maximum(end - start, 0.0)
    return overlap
