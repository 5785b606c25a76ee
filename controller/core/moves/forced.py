"""Forced moves: what a pool loses goes in order of merit to lawful pools with room; nothing else is touched.

What is done for load without a place, in this order: it takes free room; other load moves on to free room
where that makes room for it (chains.py); what only was too much for a pool stays there, within the pool's
whole limit; it takes most of the headroom that is kept for surges, as shedding would be worse; less critical
load is shed, the least critical first; critical load goes to pools of unknown health. Load that then has no
place returns to the pool that it left if that pool is only ill (do no harm), at a trickle if nothing succeeds
there. Of what would be shed then, a little tries each pool of unknown health. The rest is shed.

A pool that is evacuated counts as lost, and what finds no place elsewhere returns to it while it serves. What
an operator fails over to one pool comes last, within the room that is left there.
"""

from heapq import heapify, heappop

from controller.core.capacity.usable import UNBOUNDED
from controller.core.model.reasons import Reason
from controller.core.moves.chains import Chains
from controller.core.moves.draft import GAINS_LAST, GAINS_LATE, Draft, DraftLimits
from controller.core.moves.eligible import Use
from controller.core.moves.unplaced import (
    Move,
    UnplacedLoad,
    take_beyond_shares,
    take_from_lost,
    take_from_overloaded,
    take_from_shed,
)
from controller.core.policy.compiled import CRITICAL_RANK
from controller.core.policy.policy import Policy
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
    _fail_over(draft, use, moves)
    return moves


def _fail_over(draft: Draft, use: Use, moves: list[Move]) -> None:
    """Moves what an operator fails over to one pool there, the most critical routes first, as far as the
    pool has room of its own. Nothing makes way for it, and what finds no room stays where it is."""
    limits = use.limits
    for route in [route for route in draft.compiled.by_rank if route in use.preferred]:
        pool, weights = use.preferred[route], draft.weights[route]
        if limits.grade[pool] > GAINS_LATE:
            continue
        for giver in sorted(weights.keys() - {pool}, key=lambda giver: (-weights[giver], giver)):
            if use.keeps[giver] == UNBOUNDED:  # a mode lets it keep its load
                continue
            room = draft.room_parts(route, pool, limits.usable[pool], limits)
            if parts := min(draft.weights[route][giver], room):
                draft.take(route, giver, parts)
                draft.give(route, pool, parts)
                moves.append(Move(route, giver, parts, reason=Reason.FAILED_OVER))


def find_places(draft: Draft, use: Use, unplaced: list[UnplacedLoad], moves: list[Move]) -> None:
    """Gives every part a place or sheds it, the most critical first. Empties ``unplaced``.

    Load that makes way for other load joins the queue and is added to ``moves``.
    """
    if not unplaced:
        return
    heapify(unplaced)
    scarce = limits_in_scarcity(draft.compiled.policy, use.limits)
    in_place = limits_in_place(draft.compiled.policy, use.limits)
    chains = Chains(draft, use.limits, moves=moves, unplaced=unplaced)
    into_headroom = Chains(draft, scarce, moves=moves, unplaced=unplaced)
    onto_unknown = Chains(draft, use.limits, moves=moves, unplaced=unplaced, with_unknown=True)
    for _ in range(MOVES_MAX):
        if not unplaced:
            return
        items = _next_route(unplaced)
        rank, route, left = items[0].rank, items[0].route, sum(item.parts for item in items)
        has_demand = draft.demand[route] > 0
        left = draft.place(route, left, use.limits)
        if left and has_demand:
            left = chains.into_room(route, left)
        left = _return_all(draft, use, in_place, [item for item in items if item.pool not in use.lost], left)
        if left and has_demand:
            left = draft.place(route, left, scarce)
            left = into_headroom.into_room(route, left)
            left = chains.in_place_of_others(route, left)
        if left and rank <= CRITICAL_RANK:
            left = draft.place(route, left, use.limits, grades=(GAINS_LAST,))
            if left and has_demand:
                left = onto_unknown.into_room(route, left)
        left = _return_all(draft, use, use.limits, [item for item in items if item.pool in use.lost], left)
        if left and has_demand:
            left = _try_unknown(draft, use.limits, route, left)
        if 0 < left <= CRUMB_PARTS:
            left = _round_off(draft, use.limits, route, left)
        if left:
            draft.shed_parts(route, left)
    for item in unplaced:
        draft.shed_parts(item.route, item.parts)


def limits_in_scarcity(policy: Policy, limits: DraftLimits) -> DraftLimits:
    """The limits for load that would be shed otherwise: it may use most of the headroom."""
    factor = max(policy.thresholds.headroom_in_scarcity / policy.headroom, 1.0)
    return DraftLimits(
        [units * factor for units in limits.usable],
        [units * factor for units in limits.committed],
        limits.grade,
        group_usable=[units * factor for units in limits.group_usable],
    )


def limits_in_place(policy: Policy, limits: DraftLimits) -> DraftLimits:
    """The limits for load that stays where it is: a quota group may be full, as a pool may (``Use.keeps``).

    Load that comes back from being shed fills only most of a limit (``limits_in_scarcity``). So demand that
    goes up and down a little at the edge of capacity moves nothing.
    """
    return limits._replace(group_usable=[units / policy.headroom for units in limits.group_usable])


def _next_route(unplaced: list[UnplacedLoad]) -> list[UnplacedLoad]:
    """Takes the first load off the queue, with all other load of the same route."""
    items = [heappop(unplaced)]
    while unplaced and unplaced[0].route == items[0].route:
        items.append(heappop(unplaced))
    return items


def _try_unknown(draft: Draft, limits: DraftLimits, route: int, parts: int) -> int:
    """Rather than be shed, a little goes to each pool of unknown health, so that it becomes known.

    A pool gets the first step of the ramp, or the route's trickle if that is more. Returns the parts left.
    """
    thresholds = draft.compiled.policy.thresholds
    for pool in draft.compiled.routes[route].lawful:
        canary = limits.usable[pool] * thresholds.ramp_steps[0]
        if limits.grade[pool] != GAINS_LAST or draft.load[pool] >= canary or parts <= 0:
            continue
        wanted = max(canary / draft.demand[route], thresholds.trickle_share) * MILLION
        room = draft.room_parts(route, pool, limits.usable[pool], limits)
        if (gift := min(parts, int(wanted), room)) > 0:
            draft.give(route, pool, gift)
            parts -= gift
    return parts


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


def _return_all(draft: Draft, use: Use, limits: DraftLimits, items: list[UnplacedLoad], left: int) -> int:
    """Up to ``left`` parts go back to the pools that they left. Returns the parts left."""
    for item in items:
        if left and item.may_return:
            left -= _return(draft, use, limits, item, min(left, item.parts))
    return left


def _return(draft: Draft, use: Use, limits: DraftLimits, item: UnplacedLoad, parts: int) -> int:
    """Back to the pool it left: within what that pool may keep, or a trickle if nothing succeeds there.

    Returns the parts that have gone back.
    """
    room = draft.room_parts(item.route, item.pool, use.keeps[item.pool], limits)
    if use.lost.get(item.pool, 1.0) <= 0:
        trickle = round(draft.compiled.policy.thresholds.trickle_share * MILLION)
        room = min(room, trickle - draft.weights[item.route].get(item.pool, 0))
    back = max(min(parts, room), 0)
    if back:
        draft.give(item.route, item.pool, back)
    return back
