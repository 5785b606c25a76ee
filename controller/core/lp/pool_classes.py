"""Pools that the programme can hardly tell apart are solved as one class, and then get their load back.

Where many routes differ, for example by context or by what they are pinned to, few of them are one commodity,
and a large programme would take minutes. Then pools are merged as well: those of one provider and of the same
quota groups that the same routes may use, before and after a loss, within one latency band of each other.

Capacity, quota, law and the losses of providers mean the same for a class as for its pools, so the merged
programme says exactly how much of them there is. Prices stay exact too: each pool keeps a burst column of its
own, at its own price. Two things are lost. A class has the mean latency of its pools, but no move is made for
less than a latency band in any case. And what moves within a class costs nothing in the programme, so the way
back moves as little as it can.

The way back fills the pools of a class as the programme did: committed capacity first, then the cheapest
burst; of equally good pools first what is in place, then in proportion to the room. Each route keeps what it
has on pools that keep their load.

Losses of other domains may strike a part of a class, so none of them joins a merged programme. They are
screened pool by pool, after the way back, and the plan says which of them are not survived.

Small programmes are never merged (``PAIRS_MAX``), so their plans are exact.
Tested in tests/unit/controller/core/lp/test_pool_classes.py and tests/property/test_pool_classes_property.py.
"""

from typing import NamedTuple

import numpy as np

from controller.core.lp.commodities import kept, overlaps
from controller.core.lp.losses import Positions
from controller.core.lp.programme import Floats, Instance, Ints

CLASSES_MAX = 2_000  # with more of them pools farther apart are merged
BANDS_WIDER = (2, 4, 8)
PAIRS_MAX = 60_000  # commodities x pools that are columns to begin with; with more of them pools are merged


class PoolClasses(NamedTuple):
    """The instance with one column of the matrices for each pool, the same with one for each class, and [P]
    the class of each pool."""

    pools: Instance
    merged: Instance
    of_pool: Ints


def pool_classes_of(instance: Instance) -> PoolClasses:
    """The classes of an instance's pools, in the order of their first pools."""
    of_pool, first = _numbered(instance, bands=1)
    for bands in BANDS_WIDER:
        if len(first) > CLASSES_MAX:
            of_pool, first = _numbered(instance, bands=bands)
    count = len(first)

    def total(by_pool: Floats) -> Floats:
        summed = np.zeros((*by_pool.shape[:-1], count))
        np.add.at(summed.T, of_pool, by_pool.T)
        return summed

    critical_fixed = instance.fixed[instance.class_of >= 0].sum(axis=0)
    # After a loss a pool takes what it has beside its fixed critical load, if that is less than it may carry.
    usable = np.maximum(instance.usable, critical_fixed)
    merged = instance._replace(
        fixed=total(instance.fixed),
        in_place=total(instance.in_place),
        cost=_mean_cost(instance, of_pool, count),
        committed_room=total(instance.committed_room),
        burst_of=of_pool,
        usable=total(usable),
        groups_of=instance.groups_of[first],
        provider_of=instance.provider_of[first],
        reserve=instance.reserve[:, first],
    )
    return PoolClasses(instance, merged, of_pool)


def _numbered(instance: Instance, *, bands: int) -> tuple[Ints, Positions]:
    """([P] class of each pool, the first pool of each class), with pools within ``bands`` latency bands."""
    may_gain = np.isfinite(instance.cost)
    band = bands * max(instance.move_cost, 1e-6)
    steps = np.where(may_gain, np.floor(np.where(may_gain, instance.cost, 0.0) / band), -1.0)
    rows = [steps, instance.reserve, instance.groups_of.T, instance.provider_of[None, :]]
    keys = np.ascontiguousarray(np.concatenate(rows).T)
    numbers: dict[bytes, int] = {}
    of_pool = np.array([numbers.setdefault(key.tobytes(), len(numbers)) for key in keys], dtype=np.int32)
    _, first = np.unique(of_pool, return_index=True)
    return of_pool, first


def _mean_cost(instance: Instance, of_pool: Ints, count: int) -> Floats:
    """[R, C] the mean cost of the pools of a class, by what they may carry; infinite where none may gain."""
    weight = np.maximum(instance.usable, 1e-9)
    by_class = np.bincount(of_pool, weights=weight, minlength=count)
    share = weight / by_class[of_pool]
    mean = np.zeros((len(instance.cost), count))
    np.add.at(mean.T, of_pool, (np.where(np.isfinite(instance.cost), instance.cost, 0.0) * share).T)
    allowed = np.zeros(mean.shape, dtype=np.bool_)
    allowed[:, of_pool] = np.isfinite(instance.cost)
    return np.where(allowed, mean, np.inf)


def given_to_pools(classes: PoolClasses, flows: Floats) -> Floats:
    """[R, P] the load of each route on each pool, of ``flows`` ([R, C]) on classes; scaled units/s."""
    pools, by_pool = classes.pools, np.zeros(classes.pools.cost.shape)
    order = np.argsort(classes.of_pool, kind="stable")
    ends = np.cumsum(np.bincount(classes.of_pool))
    for number, members in enumerate(np.split(order, ends[:-1])):
        routes = np.nonzero(flows[:, number] > 0)[0]
        if not len(routes):
            continue
        flow = flows[routes, number]
        in_place = pools.in_place[np.ix_(routes, members)]
        by_pool[np.ix_(routes, members)] = _divided(pools, members, flow, in_place)
    return by_pool


def _divided(pools: Instance, members: Positions, flow: Floats, in_place: Floats) -> Floats:
    """[R, M] the load of routes on the M pools of one class. ``flow`` is [R], ``in_place`` is [R, M]."""
    if len(members) == 1:
        return flow[:, None]
    load = _load(pools, members, float(flow.sum()), in_place.sum(axis=0))
    keeps = kept(kept(in_place.T, flow).T, load)
    return keeps + overlaps(flow - keeps.sum(axis=1), load - keeps.sum(axis=0))


def _load(pools: Instance, members: Positions, units: float, in_place: Floats) -> Floats:
    """[M] what each pool carries of its class's ``units``: committed capacity first, then burst by price.

    ``in_place`` ([M]) is what is there already.
    """
    load = np.zeros(len(members))
    costs = pools.burst_cost[members]
    levels = [pools.committed_room[members]]
    levels += [np.where(costs == cost, pools.burst_room[members], 0.0) for cost in np.unique(costs)]
    for room in levels:
        load += _filled(units - float(load.sum()), np.minimum(np.maximum(in_place - load, 0.0), room), room)
    # What the solver's tolerance let through beyond the room goes where the load is.
    rest = units - float(load.sum())
    return load + rest * (load / load.sum() if load.sum() > 0 else np.full(len(load), 1 / len(load)))


def _filled(units: float, in_place: Floats, room: Floats) -> Floats:
    """[M] at most ``units`` on the pools: first what is in place, then in proportion to the room beside."""
    most = float(in_place.sum())
    if units <= most:
        return in_place * (max(units, 0.0) / most if most > 0 else 0.0)
    free = room - in_place
    return in_place + free * min((units - most) / max(float(free.sum()), 1e-12), 1.0)
