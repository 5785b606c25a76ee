"""Load that has no place now: what leaves pools that are lost, full, or not lawful, and what is shed.

Each function takes such load off the draft. The caller must find another place for it, see forced.py.
"""

from itertools import product
from typing import NamedTuple

from controller.core.capacity.usable import UNBOUNDED
from controller.core.model.reasons import Reason
from controller.core.moves.draft import GAINS_LAST, OUT, Draft
from controller.core.moves.eligible import Use
from controller.core.policy.compiled import CompiledPolicy
from controller.core.policy.shares import parts_left
from tieline.table import MILLION

NOWHERE = -1


class UnplacedLoad(NamedTuple):
    """Parts per million of a route that have no place now; ``pool`` is where they come from, or NOWHERE.

    Sorted by rank first, so that the most critical load finds a place first. ``may_return``: to that pool, if
    there is no better place.
    """

    rank: int
    route: int
    pool: int
    parts: int
    may_return: bool


class Move(NamedTuple):
    """That a route lost parts at a pool (or, at NOWHERE, changed what it sheds), and why.

    In a move by choice ``pool`` is the one that gained the parts and ``giver`` the one that lost them.
    """

    route: int
    pool: int
    parts: int
    reason: Reason
    giver: int = NOWHERE


def take_from_lost(draft: Draft, use: Use, moves: list[Move]) -> list[UnplacedLoad]:
    """Everything on pools that are out, and everything where it may not be by law."""
    out = {pool for pool, grade in enumerate(use.limits.grade) if grade == OUT}
    unplaced = []
    for route, weights in enumerate(draft.weights):
        rules = draft.compiled.routes[route]
        leaving = weights.keys() & out
        if not draft.lawful:
            leaving |= weights.keys() - rules.lawful_set
        for pool in sorted(leaving):
            parts = draft.weights[route][pool]
            lawful = pool in rules.lawful_set
            if use.panic and lawful and pool in use.lost:
                parts -= min(parts, round(draft.compiled.policy.thresholds.lost_trickle_share * MILLION))
            if not parts:
                continue
            draft.take(route, pool, parts)
            may_return = lawful and pool in use.lost
            unplaced.append(UnplacedLoad(rules.rank, route, pool, parts=parts, may_return=may_return))
            reason = Reason.POOL_LOST if lawful else Reason.NOT_LAWFUL
            moves.append(Move(route, pool, parts, reason=reason))
    return unplaced


def take_beyond_shares(draft: Draft, use: Use, moves: list[Move]) -> list[UnplacedLoad]:
    """What a provider carries of a route beyond its largest share, as under a new policy.

    Pools that may not be acted on keep theirs.
    """
    unplaced = []
    for route, rules in enumerate(draft.compiled.routes):
        for provider, share in rules.share_max.items():
            own = [p for p in draft.weights[route] if draft.compiled.provider_of[p] == provider]
            over = -parts_left(share, sum(draft.weights[route][p] for p in own))
            for pool in sorted(own, key=lambda p: (-draft.weights[route][p], p)):
                parts = min(over, draft.weights[route][pool])
                if parts <= 0 or use.keeps[pool] == UNBOUNDED:
                    continue
                draft.take(route, pool, parts)
                unplaced.append(UnplacedLoad(rules.rank, route, pool, parts=parts, may_return=False))
                moves.append(Move(route, pool, parts, reason=Reason.SHARE_EXCEEDED))
                over -= parts
    return unplaced


def take_from_overloaded(draft: Draft, use: Use, moves: list[Move]) -> list[UnplacedLoad]:
    """What pools and quota groups carry beyond their limit, the least critical load first.

    What finds no better place may return, as far as the pool's headroom reaches. Silence moves nothing, so a
    pool of unknown health keeps what it carries up to its whole limit.
    """
    limits = use.limits
    slack = 1.0 + draft.compiled.policy.thresholds.overload_tolerance
    unplaced: list[UnplacedLoad] = []
    loads = enumerate(zip(draft.load, limits.usable, strict=True))
    for pool in [pool for pool, (load, usable) in loads if load > usable * slack and load > 0]:
        if limits.grade[pool] == GAINS_LAST and draft.load[pool] <= use.keeps[pool] * slack:
            continue
        if limits.grade[pool] != OUT:
            unplaced += _evict(draft, [pool], draft.load[pool] - limits.usable[pool], moves)
    for group, load in enumerate(draft.group_load):
        if load > limits.group_usable[group] * slack:
            members = [p for p, groups in enumerate(draft.compiled.groups_of) if group in groups]
            members = [p for p in members if limits.usable[p] < UNBOUNDED]  # a mode lets others keep theirs
            members.sort(key=lambda p: (-draft.load[p], p))
            unplaced += _evict(draft, members, load - limits.group_usable[group], moves)
    return unplaced


def _evict(draft: Draft, pools: list[int], units: float, moves: list[Move]) -> list[UnplacedLoad]:
    """Takes ``units`` of load off these pools together, the least critical first."""
    unplaced = []
    for route, pool in product(reversed(draft.compiled.by_rank), pools):
        demand, weight = draft.demand[route], draft.weights[route].get(pool, 0)
        if units <= 0:
            break
        if not weight or demand <= 0:
            continue
        parts = min(weight, -int(-units * MILLION // demand))
        draft.take(route, pool, parts)
        rank = draft.compiled.routes[route].rank
        unplaced.append(UnplacedLoad(rank, route, pool, parts=parts, may_return=True))
        moves.append(Move(route, pool, parts, reason=Reason.OVERLOAD))
        units -= parts * demand / MILLION
    return unplaced


def take_from_shed(draft: Draft, restore_rank: int) -> list[UnplacedLoad]:
    """What is shed now of routes up to this rank, to be served again if there is room."""
    unplaced = []
    for route in [route for route, parts in enumerate(draft.shed) if parts]:
        rank, parts = draft.compiled.routes[route].rank, draft.shed[route]
        if rank <= restore_rank:
            draft.shed_parts(route, -parts)
            unplaced.append(UnplacedLoad(rank, route, NOWHERE, parts=parts, may_return=False))
    return unplaced


def whole_routes(compiled: CompiledPolicy) -> list[UnplacedLoad]:
    """All load of all routes, for a draft that is still empty."""
    return [
        UnplacedLoad(rules.rank, route, NOWHERE, parts=MILLION, may_return=False)
        for route, rules in enumerate(compiled.routes)
    ]
