"""Forced moves: what a pool loses goes in merit order to lawful pools with room; nothing else is touched.

What is done for load without a place, in this order: free room; lower criticality moves on if it may; for
critical load others move on too, if they lose nothing by it; lower criticality is shed, lowest first;
critical load goes to pools of unknown health. What then has no place stays where it is as long as that pool
is only ill (do no harm), at a trickle if nothing succeeds there; the rest is shed.
"""

from heapq import heapify, heappop, heappush
from typing import NamedTuple

from controller.core.capacity.usable import UNBOUNDED
from controller.core.model.reasons import Reason
from controller.core.moves.draft import GAINS_LAST, OUT, Draft, Limits
from controller.core.moves.eligible import Use
from controller.core.policy.compiled import CRITICAL_RANK, LOWEST_RANK
from controller.core.policy.shares import parts_left
from tieline.table import MILLION

MOVES_MAX = 200_000
NOWHERE = -1
CRUMB_PARTS = 100


class Homeless(NamedTuple):
    """Parts per million of a route that have no place now; ``pool`` is where they come from.

    Sorted by rank first, so that the most critical finds a place first. ``soft``: they may go back there.
    """

    rank: int
    route: int
    pool: int
    parts: int
    soft: bool


class Moved(NamedTuple):
    """That a route lost parts at a pool (or, at NOWHERE, changed what it sheds), and why. By choice ``pool``
    is the one that gained and ``giver`` the one that lost."""

    route: int
    pool: int
    parts: int
    reason: Reason
    giver: int = NOWHERE


def settle(draft: Draft, use: Use, *, restore_rank: int) -> list[Moved]:
    """Brings the draft within its limits. Load that is shed is given room again up to ``restore_rank``."""
    moves: list[Moved] = []
    draft.few_receivers = True
    homeless = [*_from_lost(draft, use, moves), *_from_shares(draft, use, moves)]
    homeless += _from_overloaded(draft, use, moves)
    homeless += from_shed(draft, restore_rank)
    find_places(draft, use, homeless, moves)
    return moves


def find_places(draft: Draft, use: Use, homeless: list[Homeless], moves: list[Moved]) -> None:
    """Gives every part a place, the most critical first; what makes way for it joins the queue."""
    heapify(homeless)
    for _ in range(MOVES_MAX):
        if not homeless:
            return
        item = heappop(homeless)
        left = draft.place(item.route, item.parts, use.limits)
        if left and draft.demand[item.route] > 0:
            left = _make_way(draft, use.limits, item.route, left, homeless, moves)
        if left and item.rank <= CRITICAL_RANK:
            left = _on_unknown(draft, use.limits, item.route, left)
        if left and item.soft:
            left = _stay(draft, use, item, left)
        if 0 < left <= CRUMB_PARTS:
            left = _round_off(draft, use.limits, item.route, left)
        if left:
            draft.shed_parts(item.route, left)
    for item in homeless:
        draft.shed_parts(item.route, item.parts)


def _from_lost(draft: Draft, use: Use, moves: list[Moved]) -> list[Homeless]:
    """Everything on pools that are out, and everything where it may not be by law."""
    out = {pool for pool, grade in enumerate(use.limits.grade) if grade == OUT}
    found = []
    for route, weights in enumerate(draft.weights):
        rules = draft.compiled.routes[route]
        if weights.keys().isdisjoint(out) and (draft.lawful or rules.lawful_set.issuperset(weights)):
            continue
        gone = sorted(p for p in weights if p in out or p not in rules.lawful_set)
        for pool in gone:
            parts = draft.weights[route][pool]
            lawful = pool in rules.lawful_set
            if use.panic and lawful and pool in use.lost:
                parts -= min(parts, round(draft.compiled.policy.thresholds.lost_trickle_share * MILLION))
            if not parts:
                continue
            draft.take(route, pool, parts)
            found.append(Homeless(rules.rank, route, pool, parts, lawful and pool in use.lost))
            moves.append(Moved(route, pool, parts, Reason.POOL_LOST if lawful else Reason.NOT_LAWFUL))
    return found


def _from_shares(draft: Draft, use: Use, moves: list[Moved]) -> list[Homeless]:
    """What a provider carries of a route beyond its largest share, as under a new policy. Pools that may not
    be acted on keep theirs."""
    found = []
    for index, rules in enumerate(draft.compiled.routes):
        for provider, most in rules.share_max.items():
            there = [p for p in draft.weights[index] if draft.compiled.provider_of[p] == provider]
            over = -parts_left(most, sum(draft.weights[index][p] for p in there))
            for pool in sorted(there, key=lambda p: (-draft.weights[index][p], p)):
                parts = min(over, draft.weights[index][pool])
                if parts <= 0 or use.keeps[pool] == UNBOUNDED:
                    continue
                draft.take(index, pool, parts)
                found.append(Homeless(rules.rank, index, pool, parts, False))
                moves.append(Moved(index, pool, parts, Reason.SHARE_EXCEEDED))
                over -= parts
    return found


def _from_overloaded(draft: Draft, use: Use, moves: list[Moved]) -> list[Homeless]:
    """What pools and quota groups carry beyond their limit, the least critical first. What finds no better
    place may go back, as far as the pool's headroom reaches."""
    limits = use.limits
    slack = 1.0 + draft.compiled.policy.thresholds.overload_tolerance
    found: list[Homeless] = []
    carried = enumerate(zip(draft.load, limits.usable, strict=True))
    for pool in [pool for pool, (load, most) in carried if load > most * slack and load > 0]:
        if limits.grade[pool] != OUT:
            found += _evict(draft, pool, draft.load[pool] - limits.usable[pool], moves)
    for group, load in enumerate(draft.group_load):
        excess = load - limits.group_usable[group]
        if load > limits.group_usable[group] * slack:
            members = [p for p, owner in enumerate(draft.compiled.group_of) if owner == group]
            members = [p for p in members if limits.usable[p] < UNBOUNDED]  # a mode lets others keep theirs
            for pool in sorted(members, key=lambda p: (-draft.load[p], p)):
                part = min(excess, draft.load[pool])
                if part > 0:
                    found += _evict(draft, pool, part, moves)
                    excess -= part
    return found


def _evict(draft: Draft, pool: int, units: float, moves: list[Moved]) -> list[Homeless]:
    """Takes ``units`` of load off a pool."""
    found = []
    for route in reversed(draft.compiled.by_rank):
        demand = draft.demand[route]
        if units <= 0:
            break
        weight = draft.weights[route].get(pool, 0)
        if not weight or demand <= 0:
            continue
        parts = min(weight, -int(-units * MILLION // demand))
        draft.take(route, pool, parts)
        found.append(Homeless(draft.compiled.routes[route].rank, route, pool, parts, True))
        moves.append(Moved(route, pool, parts, Reason.OVERLOAD))
        units -= parts * demand / MILLION
    return found


def from_shed(draft: Draft, restore_rank: int) -> list[Homeless]:
    """What is shed now and may be served again if there is room."""
    found = []
    for route in [route for route, parts in enumerate(draft.shed) if parts]:
        rank, parts = draft.compiled.routes[route].rank, draft.shed[route]
        if rank <= restore_rank:
            draft.shed_parts(route, -parts)
            found.append(Homeless(rank, route, NOWHERE, parts, False))
    return found


def _make_way(
    draft: Draft, limits: Limits, route: int, parts: int, homeless: list[Homeless], moves: list[Moved]
) -> int:
    """Other load gives up its place where that costs less than shedding these parts. Returns parts left."""
    rank = draft.compiled.routes[route].rank
    lowest_first = range(LOWEST_RANK, (rank if rank > CRITICAL_RANK else -1), -1)
    for victim in _victims(draft, route, lowest_first):
        if parts <= 0 or not _has_elsewhere(draft, limits, victim, route):
            continue
        for pool in _shared_pools(draft, limits, route, victim):
            if parts > 0 and _move_on(draft, limits, victim, pool, parts * draft.demand[route], moves):
                parts = draft.place(route, parts, limits)
    for victim in _victims(draft, route, range(LOWEST_RANK, rank, -1)):
        for pool in _shared_pools(draft, limits, route, victim):
            if parts <= 0:
                return 0
            _turn_out(draft, victim, pool, parts * draft.demand[route], homeless, moves)
            parts = draft.place(route, parts, limits)
    return _make_way_beyond(draft, limits, route, parts, homeless, moves) if parts else 0


def _make_way_beyond(
    draft: Draft, limits: Limits, route: int, parts: int, homeless: list[Homeless], moves: list[Moved]
) -> int:
    """For critical load: others leave its pools for pools it may not use, where lower criticality is shed."""
    rank = draft.compiled.routes[route].rank
    if rank > CRITICAL_RANK:
        return parts
    allowed = draft.compiled.routes[route].lawful_set
    lowest = _victims(draft, route, range(LOWEST_RANK, rank, -1))
    for mover in _victims(draft, route, range(rank, -1, -1)):
        beyond = [pool for pool in draft.compiled.routes[mover].lawful if pool not in allowed]
        for pool in _shared_pools(draft, limits, route, mover):
            for victim in lowest:
                for there in [p for p in beyond if p in draft.weights[victim]]:
                    if parts <= 0:
                        return 0
                    if limits.grade[there] >= GAINS_LAST or pool not in draft.weights[mover]:
                        continue
                    units = min(parts * draft.demand[route], draft.weights[mover][pool] * draft.demand[mover])
                    _turn_out(draft, victim, there, units, homeless, moves)
                    _move_on(draft, limits, mover, pool, units, moves)
                    parts = draft.place(route, parts, limits)
    return parts


def _turn_out(
    draft: Draft, victim: int, pool: int, units: float, homeless: list[Homeless], moves: list[Moved]
) -> None:
    """Up to ``units`` (parts x units/s) of the victim leave the pool and queue for another place."""
    given = min(draft.weights[victim][pool], int(units / draft.demand[victim]) + 1)
    draft.take(victim, pool, given)
    moves.append(Moved(victim, pool, given, Reason.MADE_WAY))
    heappush(homeless, Homeless(draft.compiled.routes[victim].rank, victim, NOWHERE, given, False))


def _victims(draft: Draft, route: int, ranks: range) -> list[int]:
    """Other routes with load, by the given ranks in order."""
    order = list(ranks)
    found = [
        other
        for other in draft.compiled.by_rank
        if other != route and draft.demand[other] > 0 and draft.compiled.routes[other].rank in order
    ]
    return sorted(found, key=lambda other: (order.index(draft.compiled.routes[other].rank), other))


def _has_elsewhere(draft: Draft, limits: Limits, victim: int, route: int) -> bool:
    """Whether the victim could go where the route may not; where both may go there is no room left."""
    taken = draft.compiled.routes[route].lawful_set
    return any(
        limits.grade[pool] < GAINS_LAST and draft.room(pool, limits.usable[pool], limits) > 0
        for pool in draft.compiled.routes[victim].lawful
        if pool not in taken
    )


def _shared_pools(draft: Draft, limits: Limits, route: int, victim: int) -> list[int]:
    """Pools that carry the victim and may gain load of the route, in the policy's order."""
    weights = draft.weights[victim]
    lawful = draft.compiled.routes[route].lawful
    return [pool for pool in lawful if pool in weights and limits.grade[pool] < GAINS_LAST]


def _move_on(draft: Draft, limits: Limits, victim: int, pool: int, units: float, moves: list[Moved]) -> bool:
    """Moves up to ``units`` parts-weighted load of the victim off the pool into free room elsewhere."""
    wanted = min(draft.weights[victim][pool], int(units / draft.demand[victim]) + 1)
    draft.take(victim, pool, wanted)
    left = draft.place(victim, wanted, limits, barred=pool)
    if left:
        draft.give(victim, pool, left)
    if moved := wanted - left:
        moves.append(Moved(victim, pool, moved, Reason.MADE_WAY))
    return moved > 0


def _on_unknown(draft: Draft, limits: Limits, route: int, parts: int) -> int:
    return draft.place(route, parts, limits, grades=(GAINS_LAST,))


def _round_off(draft: Draft, limits: Limits, route: int, parts: int) -> int:
    """A remainder too small to speak of goes where most of the route is, rather than be shed."""
    rules = draft.compiled.routes[route]
    weights = draft.weights[route]
    able = [
        pool
        for pool in sorted(weights)
        if limits.grade[pool] < GAINS_LAST and draft.compiled.provider_of[pool] not in rules.share_max
    ]
    if not able:
        return parts
    draft.give(route, max(able, key=lambda pool: weights[pool]), parts)
    return 0


def _stay(draft: Draft, use: Use, item: Homeless, parts: int) -> int:
    """Back to where it was: within what that pool may keep, or a trickle if nothing succeeds there."""
    room = draft.room_parts(item.route, item.pool, use.keeps[item.pool], use.limits)
    if use.lost.get(item.pool, 1.0) <= 0:
        trickle = round(draft.compiled.policy.thresholds.trickle_share * MILLION)
        room = min(room, trickle - draft.weights[item.route].get(item.pool, 0))
    kept = min(parts, room)
    if kept > 0:
        draft.give(item.route, item.pool, kept)
    return parts - max(kept, 0)
