"""The linear programme as arrays: what a (policy, problem) means in costs, rooms and rows. No solver here.

Cost points per unit, from the heaviest: shedding by criticality; breach of the first refusal; critical load
without room after a loss; a degraded pool; burst (and its price); latency; any move away from the held table.
Tiers lie so far apart that a lower one never pays for a higher one. docs/dispatch.md has the formulas.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from controller.core.model.dispatch_plan import Problem, is_critical
from controller.core.moves.draft import GAINS, GAINS_LAST, GAINS_LATE, OUT
from controller.core.policy.compiled import UNKNOWN_LATENCY_MS, CompiledPolicy, prepaid_providers
from tieline.table import MILLION

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]
Bools = NDArray[np.bool_]

SHED = (600_000.0, 200_000.0, 60_000.0, 20_000.0)  # by rank, the most critical first
UNKNOWN_POOL = 100_000.0  # critical load on a pool of unknown health: between shedding others and itself
FIRST_REFUSAL = 2_000.0
SECURITY, SECURITY_ALL = 100.0, 1_600.0  # of one loss, and of all losses together
DEGRADED = 40.0
BURST, PRICE = 10.0, 10.0  # any burst; and the dearest more than the cheapest
MOVED_MAX = 0.5
LOAD_SCALED = 10_000.0  # all load together, so that the solver's tolerances mean the same everywhere


class World(NamedTuple):
    """A problem as arrays, load scaled by ``scale``. ``routes`` are those with load, by number; the first
    axis of two-dimensional arrays is their place, the second the pool.

    ``kept`` stays where it is (silent, stale or observed pools); ``rest`` is to be placed; ``held`` is what
    of that lies where now. ``cost`` is infinite where the route may not gain. ``klass`` numbers critical
    routes of one lawful set (-1: not critical), ``reserve[class]`` the pools that may take them after a loss.
    """

    compiled: CompiledPolicy
    scale: float
    routes: Ints
    load: Floats
    rest: Floats
    kept: Floats
    held: Floats
    cost: Floats
    shed_cost: Floats
    moved: float
    committed: Floats
    burst: Floats
    burst_cost: Floats
    usable: Floats
    group: Ints
    group_room: Floats
    group_usable: Floats
    provider: Ints
    share: dict[tuple[int, int], float]
    klass: Ints
    reserve: Bools


def world_of(compiled: CompiledPolicy, problem: Problem) -> World:
    """Prepared once for every solve. ``demand`` must not be all zero."""
    routes = np.array([i for i, units in enumerate(problem.demand) if units > 0], dtype=np.int32)
    load = np.array([problem.demand[i] for i in routes])
    scale = LOAD_SCALED / float(load.sum())
    load = load * scale
    grade = np.array(problem.grade, dtype=np.int32)
    ready = (grade == GAINS) | (grade == GAINS_LATE)
    flows = _flows(problem, routes, load, len(compiled.pools))
    lawful = _lawful(compiled, routes)
    held = np.where(ready[None, :] & lawful, flows, 0.0)
    kept = np.where((grade > GAINS_LATE)[None, :] & (grade != OUT)[None, :], flows, 0.0)
    usable = np.minimum(np.array(problem.usable) * scale, LOAD_SCALED * 10)
    fixed = kept.sum(axis=0)
    committed = np.minimum(np.array(problem.committed) * scale, usable)
    group = np.array(compiled.group_of, dtype=np.int32)
    group_usable = np.array(problem.group_usable) * scale
    in_group = np.zeros(len(group_usable))
    np.add.at(in_group, group[group >= 0], fixed[group >= 0])
    klass, reserve = _classes(compiled, routes, lawful & ready[None, :])
    limits = compiled.policy.thresholds
    return World(
        compiled,
        scale,
        routes,
        load,
        np.maximum(load - kept.sum(axis=1), 0.0),
        kept,
        held,
        _cost(compiled, problem, routes, lawful, grade),
        np.array([SHED[compiled.routes[i].rank] for i in routes]),
        min(limits.latency_band_ms / UNKNOWN_LATENCY_MS, MOVED_MAX),
        np.maximum(committed - fixed, 0.0),
        np.maximum(usable - np.maximum(committed, fixed), 0.0),
        _burst_cost(compiled, problem),
        usable,
        group,
        np.maximum(group_usable - in_group, 0.0),
        group_usable,
        np.array(compiled.provider_of, dtype=np.int32),
        _share(compiled, routes, load, kept),
        klass,
        reserve,
    )


def _flows(problem: Problem, routes: Ints, load: Floats, pools: int) -> Floats:
    flows = np.zeros((len(routes), pools))
    for place, route in enumerate(routes):
        split = problem.held[route]
        if split.pools:
            flows[place, list(split.pools)] = np.array(split.weights) * (load[place] / MILLION)
    return flows


def _lawful(compiled: CompiledPolicy, routes: Ints) -> Bools:
    lawful = np.zeros((len(routes), len(compiled.pools)), dtype=np.bool_)
    for place, route in enumerate(routes):
        lawful[place, list(compiled.routes[route].lawful)] = True
    return lawful


def _cost(compiled: CompiledPolicy, problem: Problem, routes: Ints, lawful: Bools, grade: Ints) -> Floats:
    """What a unit of the route on the pool costs beside burst: latency, and the pool's health."""
    policy = compiled.policy
    by_origin = {
        origin.id: np.array([pool.latency_ms.get(origin.id, UNKNOWN_LATENCY_MS) for pool in policy.pools])
        for origin in policy.origins
    }
    latency = np.array([by_origin[compiled.routes[i].origin] for i in routes])
    cost = np.minimum(latency / UNKNOWN_LATENCY_MS, 1.0)
    cost = cost + np.where(grade == GAINS_LATE, DEGRADED, 0.0)[None, :]
    critical = np.array([is_critical(compiled.routes[i].rank) for i in routes])
    last = (grade == GAINS_LAST)[None, :] & critical[:, None]
    cost = np.where(last, cost + UNKNOWN_POOL, cost)
    may = lawful & ((grade <= GAINS_LATE)[None, :] | last) & (np.array(problem.usable) > 0)[None, :]
    return np.where(may, cost, np.inf)


def _burst_cost(compiled: CompiledPolicy, problem: Problem) -> Floats:
    """Price, and the right of first refusal: others' burst is dearer than any burst of the holder."""
    prepaid = prepaid_providers(compiled.policy)
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


def _share(
    compiled: CompiledPolicy, routes: Ints, load: Floats, kept: Floats
) -> dict[tuple[int, int], float]:
    """(route's place, provider) -> the most that it may carry beside what is kept there."""
    found = {}
    for place, route in enumerate(routes):
        for provider, most in sorted(compiled.routes[route].share_max.items()):
            there = float(kept[place, list(compiled.pools_of[provider])].sum())
            found[place, provider] = max(most * float(load[place]) - there, 0.0)
    return found


def _classes(compiled: CompiledPolicy, routes: Ints, ready: Bools) -> tuple[Ints, Bools]:
    """Critical routes that may go to the very same pools are one class: a loss strikes them alike."""
    klass = np.full(len(routes), -1, dtype=np.int32)
    numbers: dict[tuple[bytes, int], int] = {}
    rows = []
    for place, route in enumerate(routes):
        rule = compiled.routes[route]
        if not is_critical(rule.rank):
            continue
        key = (ready[place].tobytes(), place if rule.share_max else -1)
        if key not in numbers:
            numbers[key] = len(numbers)
            rows.append(ready[place])
        klass[place] = numbers[key]
    reserve = np.array(rows, dtype=np.bool_).reshape(len(rows), ready.shape[1])
    return klass, reserve


class Block(NamedTuple):
    """One loss as rows and columns: the lost pools, and for what remains who may take whose load.

    Pools that the same classes may use (of one provider and quota group) count as one ``kind``. Row numbers
    are local to the block: classes first, then kinds, groups and share limits. ``flows`` lists (class, kind).
    """

    name: str
    lost: Bools
    kind: Ints
    classes: Ints
    class_row: Ints
    kind_row: Ints
    group_row: Ints
    share_row: dict[tuple[int, int], int]
    lower: Floats
    upper: Floats
    flows: NDArray[np.int32]
    flow_group: Ints
    flow_provider: Ints


def block_of(world: World, name: str, lost: Bools) -> Block | None:
    """The rows and columns of one loss, or None if it can't strike critical load."""
    critical = world.klass >= 0
    placed = np.isfinite(world.cost) & lost[None, :] & critical[:, None]
    struck = np.unique(world.klass[critical & (placed.any(axis=1) | (world.kept[:, lost].sum(axis=1) > 0))])
    if not len(struck):
        return None
    remaining = world.reserve.any(axis=0) & ~lost
    keys = np.concatenate([world.reserve, world.group[None, :], world.provider[None, :]]).T
    kind = np.full(len(lost), -1, dtype=np.int32)
    kinds, number = np.unique(keys[remaining], axis=0, return_inverse=True)
    kind[remaining] = number.reshape(-1)
    kept = world.kept[critical]
    kept_pool = kept.sum(axis=0)
    room = np.zeros(len(kinds))
    np.add.at(room, kind[remaining], np.maximum(world.usable - kept_pool, 0.0)[remaining])
    from_kept = np.array([world.kept[world.klass == c][:, lost].sum() for c in struck])
    groups = [g for g in range(len(world.group_usable)) if (remaining & (world.group == g)).any()]
    group_room = [float(world.group_usable[g] - kept_pool[(world.group == g) & ~lost].sum()) for g in groups]
    shares = [key for key in world.share if world.klass[key[0]] in struck]
    count = len(struck)
    class_row = np.full(len(world.reserve), -1, dtype=np.int32)
    class_row[struck] = np.arange(count)
    group_row = np.full(len(world.group_usable) + 1, -1, dtype=np.int32)
    group_row[groups] = count + len(kinds) + np.arange(len(groups))
    first_share = count + len(kinds) + len(groups)
    share_row = {key: first_share + i for i, key in enumerate(shares)}
    at, to = np.nonzero(kinds[:, struck].T) if len(kinds) else (np.zeros(0, int), np.zeros(0, int))
    most = np.concatenate([room, np.maximum(group_room, 0.0), [world.share[key] for key in shares]])
    return Block(
        name,
        lost,
        kind,
        struck.astype(np.int32),
        class_row,
        (count + np.arange(len(kinds))).astype(np.int32),
        group_row,
        share_row,
        np.concatenate([from_kept, np.full(len(most), -np.inf)]),
        np.concatenate([from_kept, most]),
        np.stack([at, to], axis=1).astype(np.int32),
        kinds[to, -2].astype(np.int32),
        kinds[to, -1].astype(np.int32),
    )
