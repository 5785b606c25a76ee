"""A problem as arrays: what each unit of load costs, and how much room there is. No solver is used here.

Costs are in points per unit/s. From the heaviest: shed load by criticality, burst against the right of first
refusal, critical load without room after a loss, a degraded pool, burst and its price, latency, and any move
away from the table in force. They lie so far apart that a lesser goal does not pay for a greater one.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from controller.core.model.dispatch_plan import Problem
from controller.core.moves.draft import GAINS, GAINS_LAST, GAINS_LATE, OUT
from controller.core.policy.compiled import (
    CRITICAL_RANK,
    UNKNOWN_LATENCY_MS,
    CompiledPolicy,
    prepaid_providers,
)
from tieline.table import MILLION

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]
Bools = NDArray[np.bool_]
ShareLimits = dict[tuple[int, int], float]

# Shed load, by rank, the most critical first. A unit of room serves one unit of load, so a rank has to
# outweigh the next one and all costs below. Then critical load is never shed to serve less critical load or
# to save money.
SHED = (600_000.0, 200_000.0, 60_000.0, 20_000.0)
# Critical load that a plan brings onto a pool of unknown health: dearer than to shed sheddable load and use
# its room, cheaper than to shed the critical load itself.
UNKNOWN_POOL = 100_000.0
FIRST_REFUSAL = 2_000.0  # burst of any other provider than the holder of the right of first refusal
# Critical load without room after one loss. SECURITY_ALL bounds the sum over all losses: with many of them
# each counts less, see solve.py.
SECURITY, SECURITY_ALL = 100.0, 1_600.0
DEGRADED = 40.0  # load on a degraded pool
# Any burst, and what the dearest burst costs more than free burst. The first keeps committed capacity first
# where a policy names no prices.
BURST, PRICE = 10.0, 10.0
MOVED_MAX = 0.5  # a unit that isn't where the table in force has it; latency costs 1 at most
LOAD_SCALED = 10_000.0  # all load together, so that the solver's tolerances mean the same for any policy


class Instance(NamedTuple):
    """A problem as arrays, with R routes that have load, P pools, G quota groups and C classes.

    Load and room are in units/s times ``scale``, costs in points per unit. The first axis of a
    two-dimensional array is a route's place among ``routes`` (not its number in the policy), the second the
    pool's number. A class is a set of critical routes that may gain load on the same pools: a loss strikes
    them alike.

    In a merged instance (``commodities.py``) each row stands for a set of alike routes, and ``routes`` names
    the first of them. Where pools are merged too (``pool_classes.py``) the axis of pools is one of classes,
    but for burst, which each pool keeps.
    """

    compiled: CompiledPolicy
    scale: float
    routes: Ints  # [R] number in the policy
    load: Floats  # [R] demand, above 0
    to_place: Floats  # [R] demand without what is fixed
    fixed: Floats  # [R, P] load that stays where it is: on pools that are silent, stale or not to be acted on
    in_place: Floats  # [R, P] load that the table in force has there, which costs no move
    cost: Floats  # [R, P] latency and health; infinite where the route may not gain load
    shed_cost: Floats  # [R]
    move_cost: float
    committed_room: Floats  # [P] committed capacity beside the fixed load
    burst_room: Floats  # [P] what the pool may carry beyond that
    burst_cost: Floats  # [P]
    burst_of: Ints  # [P] the room that the pool's burst adds to: its own, or that of its class
    usable: Floats  # [P] what the pool may carry in all
    groups_of: Ints  # [P, M] the quota groups of each pool, filled up with -1
    group_room: Floats  # [G] beside the fixed load
    group_usable: Floats  # [G] in all
    provider_of: Ints  # [P]
    share_room: ShareLimits  # (route's place, provider) to what it may carry there beside the fixed load
    class_of: Ints  # [R] class, -1 for a route that is not critical
    reserve: Bools  # [C, P] whether the pool may take load of the class after a loss

    def least_burst_cost(self) -> Floats:
        """[P] what the cheapest burst of each pool, or class of pools, costs."""
        least = np.full(len(self.usable), np.inf)
        np.minimum.at(least, self.burst_of, self.burst_cost)
        return least

    def in_group(self, group: int) -> Bools:
        """[P] whether each pool is in the quota group."""
        members: Bools = (self.groups_of == group).any(axis=1)
        return members


def instance_of(compiled: CompiledPolicy, problem: Problem) -> Instance:
    """The problem as arrays, made once for all rounds of a solve. At least one route must have demand."""
    routes = np.array([i for i, units in enumerate(problem.demand) if units > 0], dtype=np.int32)
    load = np.array([problem.demand[i] for i in routes])
    scale = LOAD_SCALED / float(load.sum())
    load = load * scale
    grade = np.array(problem.grade, dtype=np.int32)
    ready = (grade == GAINS) | (grade == GAINS_LATE)
    flows = _flows(problem, routes, load, len(compiled.pools))
    lawful = _lawful(compiled, routes)
    fixed = np.where((grade > GAINS_LATE)[None, :] & (grade != OUT)[None, :], flows, 0.0)
    fixed_load = fixed.sum(axis=0)
    # Infinite limits (pools that no mode bounds) become ten times all load, which binds nothing either.
    usable = np.minimum(np.array(problem.usable) * scale, LOAD_SCALED * 10)
    committed = np.minimum(np.array(problem.committed) * scale, usable)
    groups_of = _groups_of(compiled)
    group_usable = np.array(problem.group_usable) * scale
    class_of, reserve = _classes(compiled, routes, lawful & ready[None, :])
    thresholds = compiled.policy.thresholds
    return Instance(
        compiled=compiled,
        scale=scale,
        routes=routes,
        load=load,
        to_place=np.maximum(load - fixed.sum(axis=1), 0.0),
        fixed=fixed,
        in_place=np.where(ready[None, :] & lawful, flows, 0.0),
        cost=_cost(compiled, problem, routes, lawful),
        shed_cost=np.array([SHED[compiled.routes[i].rank] for i in routes]),
        move_cost=min(thresholds.latency_band_ms / UNKNOWN_LATENCY_MS, MOVED_MAX),
        committed_room=np.maximum(committed - fixed_load, 0.0),
        burst_room=np.maximum(usable - np.maximum(committed, fixed_load), 0.0),
        burst_cost=_burst_cost(compiled, problem),
        burst_of=np.arange(len(compiled.pools), dtype=np.int32),
        usable=usable,
        groups_of=groups_of,
        group_room=np.maximum(group_usable - _by_group(groups_of, fixed_load, len(group_usable)), 0.0),
        group_usable=group_usable,
        provider_of=np.array(compiled.provider_of, dtype=np.int32),
        share_room=_share_room(compiled, routes, load, fixed),
        class_of=class_of,
        reserve=reserve,
    )


def _flows(problem: Problem, routes: Ints, load: Floats, pools: int) -> Floats:
    """[R, P] where the table in force puts the load of each route."""
    flows = np.zeros((len(routes), pools))
    for place, route in enumerate(routes):
        split = problem.in_force[route]
        if split.pools:
            flows[place, list(split.pools)] = np.array(split.weights) * (load[place] / MILLION)
    return flows


def _lawful(compiled: CompiledPolicy, routes: Ints) -> Bools:
    """[R, P] whether law and contract let the route use the pool."""
    lawful = np.zeros((len(routes), len(compiled.pools)), dtype=np.bool_)
    for place, route in enumerate(routes):
        lawful[place, list(compiled.routes[route].lawful)] = True
    return lawful


def _groups_of(compiled: CompiledPolicy) -> Ints:
    """[P, M] where M is the most quota groups that a pool is in, at least 1."""
    most = max((len(groups) for groups in compiled.groups_of), default=1) or 1
    rows = [(*groups, *[-1] * (most - len(groups))) for groups in compiled.groups_of]
    return np.array(rows, dtype=np.int32).reshape(len(rows), most)


def _by_group(groups_of: Ints, load: Floats, groups: int) -> Floats:
    """[G] the load of each group's pools together."""
    total = np.zeros(groups)
    for group_of in groups_of.T:
        np.add.at(total, group_of[group_of >= 0], load[group_of >= 0])
    return total


def _cost(compiled: CompiledPolicy, problem: Problem, routes: Ints, lawful: Bools) -> Floats:
    """[R, P] what a unit of the route costs on the pool, apart from burst: latency and the pool's health."""
    policy = compiled.policy
    grade = np.array(problem.grade, dtype=np.int32)
    by_origin = {
        origin.id: np.array([pool.latency_ms.get(origin.id, UNKNOWN_LATENCY_MS) for pool in policy.pools])
        for origin in policy.origins
    }
    latency_ms = np.array([by_origin[compiled.routes[i].origin] for i in routes])
    cost = np.minimum(latency_ms / UNKNOWN_LATENCY_MS, 1.0)
    cost = cost + np.where(grade == GAINS_LATE, DEGRADED, 0.0)[None, :]
    critical = np.array([compiled.routes[i].rank <= CRITICAL_RANK for i in routes])
    last = (grade == GAINS_LAST)[None, :] & critical[:, None]
    cost = np.where(last, cost + UNKNOWN_POOL, cost)
    may = lawful & ((grade <= GAINS_LATE)[None, :] | last) & (np.array(problem.usable) > 0)[None, :]
    return np.where(may, cost, np.inf)


def _burst_cost(compiled: CompiledPolicy, problem: Problem) -> Floats:
    """[P] what a unit of burst costs: its price, and the right of first refusal.

    The right makes every other provider's burst dearer than any burst of its holder, except on the pools for
    which the holder has declined. Once it has declined for all its pools the right binds nobody.
    """
    prepaid = prepaid_providers(compiled.policy, frozenset(problem.used_up))
    prices = np.array(
        [0.0 if p.provider in prepaid else p.price_per_million_units for p in compiled.policy.pools]
    )
    cost: Floats = BURST + PRICE * prices / max(float(prices.max()), 1e-9)
    if compiled.policy.first_refusal is not None:
        owner = compiled.providers.index(compiled.policy.first_refusal)
        first = np.array(compiled.provider_of) == owner
        first[list(problem.refused)] = False
        if first.any():
            cost = np.where(first, cost, cost + FIRST_REFUSAL)
    return cost


def _share_room(compiled: CompiledPolicy, routes: Ints, load: Floats, fixed: Floats) -> ShareLimits:
    """For each share limit of a route, what its provider may carry of it beside the fixed load."""
    room = {}
    for place, route in enumerate(routes):
        for provider, share in sorted(compiled.routes[route].share_max.items()):
            fixed_there = float(fixed[place, list(compiled.pools_of[provider])].sum())
            room[place, provider] = max(share * float(load[place]) - fixed_there, 0.0)
    return room


def _classes(compiled: CompiledPolicy, routes: Ints, ready: Bools) -> tuple[Ints, Bools]:
    """([R] class of each route or -1, [C, P] the pools that each class may use after a loss).

    A route with a share limit is a class of its own, since the limit binds this route alone.
    """
    class_of = np.full(len(routes), -1, dtype=np.int32)
    numbers: dict[tuple[bytes, int], int] = {}
    rows = []
    for place, route in enumerate(routes):
        rule = compiled.routes[route]
        if rule.rank > CRITICAL_RANK:
            continue
        key = (ready[place].tobytes(), place if rule.share_max else -1)
        if key not in numbers:
            numbers[key] = len(numbers)
            rows.append(ready[place])
        class_of[place] = numbers[key]
    reserve = np.array(rows, dtype=np.bool_).reshape(len(rows), ready.shape[1])
    return class_of, reserve
