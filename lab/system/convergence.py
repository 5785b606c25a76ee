"""Whether a world is as good after its long quiet time as its twin, the same world in which nothing happened.

PURE: compares how both ended. "As good" is what the design promises, since plans of the same cost are equal:
no pool is less usable than in the twin, of no criticality more is shed, no pool carries more than is usable
where none does in the twin, what is placed costs no more (docs/dispatch.md) than moves by choice leave alone,
and load has come to rest.

Some things last longer than any quiet time, by design. Each has a sentence here, and a world in which it is
under way is not judged in what it touches: ``Convergence.unjudged`` has those sentences. Pools that are still
down by right (held down, or waiting for a person) are drained in the twin: so all else is judged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from msgspec.structs import replace

from controller.core.model.memory import Memory
from controller.core.model.reasons import State
from controller.core.policy.policy import Policy, Pool
from controller.core.policy.thresholds import Thresholds
from lab.sim.contracts import RANKS
from lab.sim.observe import expected_units
from lab.sim.spec import Occurrence
from lab.sim.splits import loads, table_shares
from lab.system.spec import SystemWorld
from lab.system.worth import DOMAINS_MAX, Scales, Worth
from tieline.events import in_scope
from tieline.table import MILLION, RouteTable

CONVERGES = "converges to the fault-free plan"
LONG_QUIET_S = 360  # what was moved by choice stays there for 300 s
TWIN_S = 180  # by then a first table has found its places
REST_MS = 60_000
HEARD_UNITS = 50.0  # a second: five requests
LATE_MS = 30_000  # reports, a decision, a plan and a step by choice have come by then
REGAIN_STEPS = 10  # after so many a limit that was met has grown beyond any other
ROUNDING = 0.02  # of the load in question: less is rounding, or not worth a publication
SAME_PARTS = 1_000  # of a million: a share that differs by less is the same


class EndState(NamedTuple):
    """How a run ended, at ``at_ms``. ``demand``: by route, in units/s. ``moved_ms``: when load last moved.
    ``doubted``: routes of which clients are served so little that not all that they ask for is believed."""

    at_ms: int
    table: RouteTable
    memory: Memory
    demand: Mapping[str, float]
    moved_ms: int = 0
    doubted: frozenset[str] = frozenset()


class Convergence(NamedTuple):
    """``faults``: in what the world is worse than its twin. ``unjudged``: why that can't be told yet."""

    faults: tuple[str, ...] = ()
    unjudged: tuple[str, ...] = ()


def must_converge(world: SystemWorld) -> bool:
    """Whether nothing has happened for so long at its end that it can be held against its twin."""
    quiet_from_s = world.seconds - world.quiet_s
    happens = [(float(item.at_s), float(item.for_s)) for item in world.fuzz.occurrences]
    happens += [(fault.at_s, fault.for_s) for fault in world.faults]
    over = all(for_s and at_s + for_s <= quiet_from_s + 1 for at_s, for_s in happens)
    return world.quiet_s >= LONG_QUIET_S and over


def twin_of(world: SystemWorld, ending: EndState) -> SystemWorld:
    """The same world in which nothing happens, but that pools which are down at the end are never used."""
    down = [pool for pool, memory in ending.memory.pools.items() if memory.state is State.DOWN]
    drains = tuple(Occurrence("drain", 0, pool) for pool in down)
    return replace(world, faults=(), fuzz=replace(world.fuzz, occurrences=drains, seconds=TWIN_S))


def convergence(policy: Policy, world: EndState, twin: EndState) -> Convergence:
    """Holds the end of a world against that of its twin."""
    world, twin = _as_known(policy, world), _as_known(policy, twin)
    if faults := tuple(_less_usable(policy, world, twin)):
        return Convergence(faults)
    under_way = _pools_under_way(policy, world, world.at_ms - LATE_MS)
    if reasons := (*under_way, *_other_worlds(policy, world, twin)):
        return Convergence(unjudged=reasons)
    scales = _scales(policy, world)
    ours, theirs = scales.worth(world.table), scales.worth(twin.table)
    packed = _scales(policy, twin).worth(twin.table).packed
    if faults := tuple(_served_worse(ours, theirs, packed=packed)):
        return Convergence(faults)
    restless = (*_dearer(policy, world, twin, scales=scales), *_restless(world))
    if restless and (reasons := (*_unweighed(scales, ours, theirs), *_on_the_way(policy, world))):
        return Convergence(unjudged=reasons)
    return Convergence(restless)


def _as_known(policy: Policy, state: EndState) -> EndState:
    """With the demand that the planner counts on: for which no client ever asked counts as it is expected."""
    expected = expected_units(policy)
    never = {route.name for route in state.table.routes} - set(state.memory.reported)
    assumed = {route: expected.get(route, 0.0) for route in sorted(never)}
    return state._replace(demand={**state.demand, **assumed})


def _acting(policy: Policy) -> frozenset[str]:
    """The pools that Tieline may move load onto and off."""
    acting = {provider.id for provider in policy.providers if provider.mode == "act"}
    return frozenset(pool.id for pool in policy.pools if pool.provider in acting)


def _in_state(ending: EndState, *states: State) -> frozenset[str]:
    return frozenset(pool for pool, memory in ending.memory.pools.items() if memory.state in states)


def _scales(policy: Policy, ending: EndState) -> Scales:
    """What tables are weighed by: what is known of the pools at the end of the world."""
    acting = _acting(policy)
    ready = acting & _in_state(ending, State.HEALTHY)
    return Scales(policy, ending.demand, ready, bound=acting - _in_state(ending, State.DOWN))


def _less_usable(policy: Policy, world: EndState, twin: EndState) -> Iterator[str]:
    """Pools that should be usable again."""
    for pool in policy.pools:
        memory, other = world.memory.pools[pool.id], twin.memory.pools[pool.id]
        is_worse = memory.state is State.DOWN or other.state is State.HEALTHY
        if memory.state is State.HEALTHY or not is_worse or _ill_by_right(policy, pool, world):
            continue
        since_s = (world.at_ms - memory.since_ms) // 1_000
        yield f"{pool.id} has been {memory.state.value} for {since_s} s ({memory.reason.value})"


def _ill_by_right(policy: Policy, pool: Pool, world: EndState) -> bool:
    """A pool stays down for as long as its outage lasted, doubled by each relapse, or until a person lets it
    return, where the policy says so. Then each step of its ramp takes its time, and needs success. One that
    carries nothing and that no prober watches shows none, and stays unknown: whether any load may try it
    depends on the mode, on shares and on the room of its quota groups."""
    memory = world.memory.pools[pool.id]
    if memory.state is State.DOWN:
        manual = any(item.id == pool.provider and item.failback == "manual" for item in policy.providers)
        return manual or world.at_ms < memory.hold_until_ms + LATE_MS
    step_ms = policy.thresholds.ramp_step_min_ms + LATE_MS
    climbs = memory.state is State.RECOVERING and world.at_ms < memory.ramp_since_ms + step_ms
    return climbs or (memory.state is not State.DEGRADED and not _is_heard(policy, pool, world))


def _is_heard(policy: Policy, pool: Pool, world: EndState) -> bool:
    """Whether a prober watches the pool, or clearly more than a trickle goes there."""
    is_watched = any(item.kind == "probe" and in_scope(pool.id, item.scope) for item in policy.sources)
    return is_watched or loads(world.table, dict(world.demand)).get(pool.id, 0.0) >= HEARD_UNITS


def _pools_under_way(policy: Policy, world: EndState, since_ms: int) -> Iterator[str]:
    """Pools whose usable capacity has changed after ``since_ms``, or is still going to."""
    met_after_ms = since_ms - _regain_ms(policy.thresholds)
    for pool, memory in world.memory.pools.items():
        if memory.state is State.RECOVERING:
            yield f"{pool} climbs its ramp"
        elif memory.since_ms > since_ms:
            yield f"{pool} has been {memory.state.value} only since {_ago(world, memory.since_ms)}"
        if max(memory.throttled_ms, memory.near_limit_ms) > max(met_after_ms, 0):
            yield f"{pool} met a limit, which holds for a while and then grows back by steps"
        if memory.lump_since_ms:
            yield f"{pool} has new capacity, which comes into use by steps"


def _ago(world: EndState, at_ms: int) -> str:
    return f"{(world.at_ms - at_ms) // 1_000} s before the end"


def _regain_ms(thresholds: Thresholds) -> int:
    """How long a limit that was met may bind."""
    return thresholds.throttled_hold_ms + REGAIN_STEPS * thresholds.shift_period_ms


def _whole_move_ms(thresholds: Thresholds) -> int:
    """How long moves by choice need to take all of a route elsewhere."""
    return round(thresholds.shift_period_ms / max(thresholds.shift_share_max, 0.01)) + LATE_MS


def _other_worlds(policy: Policy, world: EndState, twin: EndState) -> Iterator[str]:
    """Why the planner rightly sees something else in the world than in its twin."""
    # A world in which clients have asked for more has no more to place than what is expected beside it. The
    # other way round it may have less.
    if not set(twin.memory.reported) <= set(world.memory.reported):
        yield "clients have not asked yet for all that they ask for in the twin"
    for route in sorted(world.doubted | twin.doubted):
        yield f"the demand of {route} is not believed, as clients are served little of it"
    ours, theirs = table_shares(world.table), table_shares(twin.table)
    loaded = [route for route, units in world.demand.items() if units]
    acting, healthy = _acting(policy), _in_state(world, State.HEALTHY)
    for pool in (item.id for item in policy.pools):
        differs = any(abs(ours[r].get(pool, 0) - theirs[r].get(pool, 0)) > SAME_PARTS for r in loaded)
        if differs and pool not in acting:
            yield f"{pool} keeps what it has: outside mode act nothing moves onto it, or off it"
        elif differs and pool not in healthy and any(theirs[r].get(pool, 0) for r in loaded):
            yield f"{pool} is not known to be healthy: it keeps what it carries, and gains nothing"


def _served_worse(ours: Worth, theirs: Worth, *, packed: float) -> Iterator[str]:
    for rank, name in enumerate(RANKS):
        # What is in place in the twin may fill a pool to its limit; what is shed comes back only to a part.
        most = theirs.shed[rank] + packed + ROUNDING * ours.demand[rank] + 1
        if ours.shed[rank] > most:
            kind = "and more critical load" if rank else "load"
            yield f"{name} {kind}: {ours.shed[rank]:.0f} shed, {theirs.shed[rank]:.0f} in the twin"
            return
    # Where load is shed, what is in place stays, up to the whole limit of its pool.
    if ours.above and not theirs.above and theirs.shed[-1] <= 1:
        yield f"pools carry {ours.above:.0f} more than is usable, and none does in the twin"


def _unweighed(scales: Scales, ours: Worth, theirs: Worth) -> Iterator[str]:
    """Why what is placed may cost more by right."""
    if max(ours.shed[-1], theirs.shed[-1]) > 1:
        yield "load is shed: what is served takes the headroom that there is, and stays where it is"
    if scales.domains > DOMAINS_MAX:
        yield f"{scales.domains} failure domains are more than the dispatch weighs at once"


def _on_the_way(policy: Policy, world: EndState) -> Iterator[str]:
    """Why moves by choice may not have come to their end."""
    yield from _pools_under_way(policy, world, world.at_ms - _whole_move_ms(policy.thresholds))
    for pool in sorted(_in_state(world, State.DEGRADED)):
        yield f"{pool} is degraded, in the twin as well: what it costs to leave it is not weighed here"
    yield from _barred(policy, world)


def _barred(policy: Policy, world: EndState) -> Iterator[str]:
    """Shares that must not be moved back by choice yet (``reversal_ms``, doubled by each turn), or that may
    be since so lately that steps by choice may still be on their way."""
    thresholds = policy.thresholds
    names, shares = [route.name for route in world.table.routes], table_shares(world.table)
    for shift in world.memory.shifts:
        lasts_ms = min(thresholds.reversal_ms << shift.turns, thresholds.reversal_max_ms)
        route, pool = names[shift.route], policy.pools[shift.pool].id
        is_over = world.at_ms - shift.at_ms >= lasts_ms + _whole_move_ms(thresholds)
        if is_over or not world.demand.get(route):
            continue
        has = shares[route].get(pool, 0)
        if (has <= shift.parts + SAME_PARTS) if shift.rose else (has >= shift.parts - SAME_PARTS):
            yield f"{route} at {pool} is not moved back by choice for {lasts_ms // 1_000} s"


def _restless(world: EndState) -> Iterator[str]:
    if world.at_ms - world.moved_ms < REST_MS:
        yield f"load still moved {_ago(world, world.moved_ms)}"


def _dearer(policy: Policy, world: EndState, twin: EndState, *, scales: Scales) -> Iterator[str]:
    """Whether what is placed costs more than in the twin, and more than that for which load is not moved: the
    price of the way to the twin's places, and a small part of each route."""
    ours, theirs = scales.worth(world.table), scales.worth(twin.table)
    thresholds = policy.thresholds
    small = thresholds.shift_share_min * ours.demand[-1]
    dearest = scales.dearest()
    slack = 1 + _apart(world, twin) * thresholds.latency_band_ms / 1_000
    slack += sum(min(points, small * dearest[kind]) for kind, points in ours.costs.items())
    slack += theirs.beyond * dearest["burst"]  # room that moves by choice don't use
    more = sum(ours.costs.values()) - sum(theirs.costs.values())
    if more > slack:
        kinds = ", ".join(f"{k} {ours.costs[k]:.0f} ({theirs.costs[k]:.0f})" for k in ours.costs)
        yield f"what is placed costs {more:.0f} points/s more, {slack:.0f} are left alone: {kinds}"


def _apart(world: EndState, twin: EndState) -> float:
    """Units/s that lie elsewhere than in the twin."""
    ours, theirs = table_shares(world.table), table_shares(twin.table)
    units = 0.0
    for route, demand in world.demand.items():
        if demand:
            gains = (parts - ours[route].get(pool, 0) for pool, parts in theirs[route].items())
            units += demand * sum(gain for gain in gains if gain > 0) / MILLION
    return units
