"""Forced moves: what a pool loses goes in order of merit to lawful pools with room; nothing else is touched.

What is done for load without a place, in this order: it takes free room; less critical load moves on to
other pools if it may; for critical load other load moves on too, if it loses nothing by it; less critical
load is shed, the least critical first; critical load goes to pools of unknown health. Load that then has no
place returns to the pool that it left if that pool is only ill (do no harm), at a trickle if nothing
succeeds there. The rest is shed.
"""

from collections.abc import Iterator
from heapq import heapify, heappop, heappush

from controller.core.model.reasons import Reason
from controller.core.moves.draft import GAINS_LAST, Draft, DraftLimits
from controller.core.moves.eligible import Use
from controller.core.moves.unplaced import (
    NOWHERE,
    Move,
    UnplacedLoad,
    take_beyond_shares,
    take_from_lost,
    take_from_overloaded,
    take_from_shed,
)
from controller.core.policy.compiled import CRITICAL_RANK, LOWEST_RANK
from tieline.table import MILLION

MOVES_MAX = 200_000  # a bound of the loop that no table of the largest policy reaches
CRUMB_PARTS = 100  # of a million: a remainder up to this is not worth shedding


def settle(draft: Draft, use: Use, *, restore_rank: int) -> list[Move]:
    """Brings the draft within its limits. Load that is shed is given room again up to ``restore_rank``."""
    moves: list[Move] = []
    draft.few_receivers = True
    unplaced = [*take_from_lost(draft, use, moves), *take_beyond_shares(draft, use, moves)]
    unplaced += take_from_overloaded(draft, use, moves)
    unplaced += take_from_shed(draft, restore_rank)
    find_places(draft, use, unplaced, moves)
    return moves


def find_places(draft: Draft, use: Use, unplaced: list[UnplacedLoad], moves: list[Move]) -> None:
    """Gives every part a place or sheds it, the most critical first. Empties ``unplaced``.

    Load that makes way for other load joins the queue and is added to ``moves``.
    """
    heapify(unplaced)
    for _ in range(MOVES_MAX):
        if not unplaced:
            return
        item = heappop(unplaced)
        left = draft.place(item.route, item.parts, use.limits)
        if left and draft.demand[item.route] > 0:
            left = _make_way(draft, use.limits, item.route, left, unplaced, moves)
        if left and item.rank <= CRITICAL_RANK:
            left = draft.place(item.route, left, use.limits, grades=(GAINS_LAST,))
        if left and item.may_return:
            left = _return(draft, use, item, left)
        if 0 < left <= CRUMB_PARTS:
            left = _round_off(draft, use.limits, item.route, left)
        if left:
            draft.shed_parts(item.route, left)
    for item in unplaced:
        draft.shed_parts(item.route, item.parts)


def _make_way(
    draft: Draft, limits: DraftLimits, route: int, parts: int, unplaced: list[UnplacedLoad], moves: list[Move]
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
            _turn_out(draft, victim, pool, parts * draft.demand[route], unplaced, moves)
            parts = draft.place(route, parts, limits)
    return _make_way_beyond(draft, limits, route, parts, unplaced, moves) if parts else 0


def _make_way_beyond(
    draft: Draft, limits: DraftLimits, route: int, parts: int, unplaced: list[UnplacedLoad], moves: list[Move]
) -> int:
    """For critical load: another route moves from a pool that this one may use to a pool that it may not use,
    where less critical load is turned out. Returns the parts left."""
    if draft.compiled.routes[route].rank > CRITICAL_RANK:
        return parts
    for mover, pool, victim, beyond in _detours(draft, limits, route):
        if parts <= 0:
            return 0
        if limits.grade[beyond] >= GAINS_LAST or pool not in draft.weights[mover]:
            continue
        units = min(parts * draft.demand[route], draft.weights[mover][pool] * draft.demand[mover])
        _turn_out(draft, victim, beyond, units, unplaced, moves)
        _move_on(draft, limits, mover, pool, units, moves)
        parts = draft.place(route, parts, limits)
    return parts


def _detours(draft: Draft, limits: DraftLimits, route: int) -> Iterator[tuple[int, int, int, int]]:
    """(mover, the pool it would leave to the route, victim, the pool beyond that carries the victim).

    Follows the draft: what the caller changes meanwhile counts for the detours to come.
    """
    rank = draft.compiled.routes[route].rank
    allowed = draft.compiled.routes[route].lawful_set
    victims = _victims(draft, route, range(LOWEST_RANK, rank, -1))
    for mover in _victims(draft, route, range(rank, -1, -1)):
        beyond = [pool for pool in draft.compiled.routes[mover].lawful if pool not in allowed]
        for pool in _shared_pools(draft, limits, route, mover):
            for victim in victims:
                for place in [p for p in beyond if p in draft.weights[victim]]:
                    yield mover, pool, victim, place


def _turn_out(
    draft: Draft, victim: int, pool: int, units: float, unplaced: list[UnplacedLoad], moves: list[Move]
) -> None:
    """Up to ``units`` (parts x units/s) of the victim leave the pool and queue for another place."""
    parts = min(draft.weights[victim][pool], int(units / draft.demand[victim]) + 1)
    draft.take(victim, pool, parts)
    moves.append(Move(victim, pool, parts, reason=Reason.MADE_WAY))
    rank = draft.compiled.routes[victim].rank
    heappush(unplaced, UnplacedLoad(rank, victim, NOWHERE, parts=parts, may_return=False))


def _victims(draft: Draft, route: int, ranks: range) -> list[int]:
    """Other routes with load, in the order of these ranks."""
    order = list(ranks)
    victims = [
        other
        for other in draft.compiled.by_rank
        if other != route and draft.demand[other] > 0 and draft.compiled.routes[other].rank in order
    ]
    return sorted(victims, key=lambda other: (order.index(draft.compiled.routes[other].rank), other))


def _has_elsewhere(draft: Draft, limits: DraftLimits, victim: int, route: int) -> bool:
    """Whether the victim finds room where the route may not go; where both may go no room is left."""
    allowed = draft.compiled.routes[route].lawful_set
    return any(
        limits.grade[pool] < GAINS_LAST and draft.room(pool, limits.usable[pool], limits) > 0
        for pool in draft.compiled.routes[victim].lawful
        if pool not in allowed
    )


def _shared_pools(draft: Draft, limits: DraftLimits, route: int, victim: int) -> list[int]:
    """Pools that carry the victim and may gain load of the route, in the policy's order."""
    weights = draft.weights[victim]
    lawful = draft.compiled.routes[route].lawful
    return [pool for pool in lawful if pool in weights and limits.grade[pool] < GAINS_LAST]


def _move_on(
    draft: Draft, limits: DraftLimits, victim: int, pool: int, units: float, moves: list[Move]
) -> bool:
    """Moves up to ``units`` (parts x units/s) of the victim off the pool into free room elsewhere.

    Returns whether anything moved.
    """
    parts = min(draft.weights[victim][pool], int(units / draft.demand[victim]) + 1)
    draft.take(victim, pool, parts)
    left = draft.place(victim, parts, limits, barred=pool)
    if left:
        draft.give(victim, pool, left)
    if moved := parts - left:
        moves.append(Move(victim, pool, moved, reason=Reason.MADE_WAY))
    return moved > 0


def _round_off(draft: Draft, limits: DraftLimits, route: int, parts: int) -> int:
    """A remainder that is too small to shed goes to the route's largest pool. Returns the parts left."""
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


def _return(draft: Draft, use: Use, item: UnplacedLoad, parts: int) -> int:
    """Back to the pool it left: within what that pool may keep, or a trickle if nothing succeeds there.

    Returns the parts left.
    """
    room = draft.room_parts(item.route, item.pool, use.keeps[item.pool], use.limits)
    if use.lost.get(item.pool, 1.0) <= 0:
        trickle = round(draft.compiled.policy.thresholds.trickle_share * MILLION)
        room = min(room, trickle - draft.weights[item.route].get(item.pool, 0))
    back = max(min(parts, room), 0)
    if back:
        draft.give(item.route, item.pool, back)
    return parts - back
