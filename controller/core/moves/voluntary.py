"""Moves by choice: back to recovered pools, towards the order of merit, a trickle to standbys.

The target is the whole table filled anew in order of merit under today's limits, or as the dispatch's plan
has it. One step goes towards it by at most ``shift_share_max`` of each route, never beyond the room of a
pool that gains, and leaves small differences alone. Every step is lawful and within limits by itself.
"""

from collections.abc import Callable
from typing import NamedTuple

from controller.core.evidence.gather import Evidence
from controller.core.model.dispatch_plan import Plan
from controller.core.model.reasons import Reason
from controller.core.moves.draft import GAINS_LATE, KEEPS, OUT, Draft
from controller.core.moves.eligible import Use
from controller.core.moves.forced import find_places
from controller.core.moves.reversal import ReversalLimits
from controller.core.moves.unplaced import NOWHERE, Move, UnplacedLoad, take_from_shed
from controller.core.policy.compiled import LOWEST_RANK
from controller.core.policy.thresholds import Thresholds
from tieline.table import MILLION


def fill(draft: Draft, use: Use) -> Draft:
    """The whole table filled anew: what pools only keep stays with them, all else goes in order of merit.

    The most critical load comes first, and what is planned counts as if it held now. Load that then has no
    place stays where it is for as long as it can.
    """
    weights: list[dict[int, int]] = []
    rest: list[UnplacedLoad] = []
    grades = use.limits.grade
    for route, shares in enumerate(draft.weights):
        staying = {
            pool: parts
            for pool, parts in shares.items()
            if GAINS_LATE < grades[pool] <= OUT and not _empties(use, pool)
        }
        weights.append(staying)
        rank, parts = draft.compiled.routes[route].rank, MILLION - sum(staying.values())
        rest.append(UnplacedLoad(rank, route, NOWHERE, parts=parts, may_return=False))
    target = Draft(draft.compiled, draft.demand, weights, shed=[0] * len(weights))
    find_places(target, use.looking_ahead(), rest, [])
    if use.ahead and any(target.shed):
        find_places(target, use, take_from_shed(target, LOWEST_RANK), [])
    return target


def _empties(use: Use, pool: int) -> bool:
    """Whether the pool will carry nothing soon."""
    return use.ahead.get(pool, 1.0) <= 0


def target_of(draft: Draft, use: Use, plan: Plan | None) -> Draft:
    """Where moves by choice lead: the plan's shares of a route where they still fit, else the order of merit.

    They fit if all their pools are lawful, no pool that only keeps its load would gain or lose some, and no
    pool of them is about to be emptied.
    """
    target = fill(draft, use)
    grades = use.limits.grade
    for goal in plan.targets if plan is not None else ():
        shares, rules = draft.weights[goal.route], draft.compiled.routes[goal.route]
        weights = dict(zip(goal.pools, goal.weights, strict=True))
        keeping = {pool for pool in {*shares, *weights} if grades[pool] > GAINS_LATE}
        fits = all(shares.get(p, 0) == weights.get(p, 0) for p in keeping)
        if fits and rules.lawful_set.issuperset(weights) and not any(_empties(use, p) for p in weights):
            target.set(goal.route, weights, goal.shed)
    return target


def keep_warm(target: Draft, use: Use, evidence: dict[str, Evidence], requests: list[float]) -> None:
    """Gives a trickle to every pool that carries nothing and that no prober watches, so that it is known.

    ``trickle_share`` of a route, or as much more as makes one request in ``trickle_every_ms``. ``requests``:
    by route, per second; 0 where that is unknown.
    """
    compiled = target.compiled
    thresholds = compiled.policy.thresholds
    most = round(thresholds.trickle_share_max * MILLION)
    left = [most] * len(compiled.routes)
    shares = [_trickle(thresholds, rate) for rate in requests]
    carrying = {pool for weights in target.weights for pool in weights}
    for pool, name in enumerate(compiled.pools):
        pool_evidence = evidence.get(name)
        is_watched = pool_evidence is not None and bool(pool_evidence.probes)
        if pool in carrying or use.limits.grade[pool] >= KEEPS or is_watched or pool in use.ahead:
            continue
        for route in reversed(compiled.by_rank):
            trickle = shares[route]
            may_give = pool in compiled.routes[route].lawful_set and left[route] >= trickle
            if may_give and (giver := _largest(target, use, route)) is not None and trickle > 0:
                target.take(route, giver, trickle)
                target.give(route, pool, trickle)
                left[route] -= trickle
                break


def _trickle(thresholds: Thresholds, requests_per_s: float) -> int:
    """The parts of a route that keep one pool known."""
    share = thresholds.trickle_share
    if requests_per_s:
        share = max(share, 1000 / (thresholds.trickle_every_ms * requests_per_s))
    return round(min(share, thresholds.trickle_share_max) * MILLION)


class Wish(NamedTuple):
    """What may move of one route: parts by the pool that gains them, and by the pool that loses them."""

    route: int
    gains: dict[int, int]
    losses: dict[int, int]


class Leeway(NamedTuple):
    """One kind of move by choice: to which parts a route's share at a pool may rise, and to which fall.

    Both are asked with (route, pool).
    """

    reason: Reason
    rises: Callable[[int, int], int]
    falls: Callable[[int, int], int]


def approach(
    draft: Draft,
    target: Draft,
    use: Use,
    ramping: set[int],
    reversal: ReversalLimits,
    reason: Reason = Reason.MERIT_ORDER,
) -> list[Move]:
    """Moves every route one bounded step towards the target. Nothing is shed or restored by choice.

    ``ramping``: pools that climb back after an outage. ``reason``: of moves that have no other.
    """
    moves: list[Move] = []
    kinds = _kinds(use, ramping, reversal, reason)
    for route in draft.compiled.by_rank:
        if draft.weights[route] == target.weights[route]:
            continue
        budget = int(draft.compiled.policy.thresholds.shift_share_max * MILLION)
        for leeway in kinds:
            wish = _wish(draft, target, route, leeway)
            if wish is not None and budget > 0:
                step = _step(draft, use, wish, budget, leeway.reason)
                budget -= sum(move.parts for move in step)
                moves += step
    return moves


def _kinds(use: Use, ramping: set[int], reversal: ReversalLimits, reason: Reason) -> tuple[Leeway, ...]:
    """The kinds of moves by choice, in the order in which they use up the budget of a step."""
    grades = use.limits.grade

    def rises(_: int, pool: int) -> int:
        return 0 if pool in ramping or pool in use.ahead else MILLION

    def rises_by_merit(route: int, pool: int) -> int:
        return 0 if pool in ramping else reversal.ceiling(route, pool)

    return (
        # off a pool that will carry less soon
        Leeway(Reason.PLANNED_AHEAD, rises, lambda _, pool: 0 if pool in use.ahead else MILLION),
        # to a pool that climbs back, from all others
        Leeway(Reason.FAILBACK, lambda _, pool: MILLION if pool in ramping else 0, lambda *_: 0),
        # off a pool that is ill
        Leeway(reason, rises, lambda _, pool: 0 if grades[pool] == GAINS_LATE else MILLION),
        # all others; only these are bound by the reversal limit
        Leeway(reason, rises_by_merit, reversal.floor),
    )


def _wish(draft: Draft, target: Draft, route: int, leeway: Leeway) -> Wish | None:
    """What of a route should move within this leeway; None if it is too little."""
    shares, goal = draft.weights[route], target.weights[route]
    gains, losses = {}, {}
    for pool in sorted({*shares, *goal}):
        has, most = shares.get(pool, 0), goal.get(pool, 0)
        if (up := min(most, leeway.rises(route, pool)) - has) > 0:
            gains[pool] = up
        elif (down := has - max(most, leeway.falls(route, pool))) > 0:
            losses[pool] = down
    total = min(sum(gains.values()), sum(losses.values()))
    is_small = total < draft.compiled.policy.thresholds.shift_share_min * MILLION
    is_needed = leeway.reason in (Reason.FAILBACK, Reason.PLANNED_AHEAD)
    opens_pool = any(pool not in shares for pool in gains)
    if not total or (is_small and not is_needed and not opens_pool):
        return None
    return Wish(route, gains, losses)


def _scaled(parts: dict[int, int], most: int) -> list[tuple[int, int]]:
    """(pool, parts), all together no more than ``most`` but for rounding up."""
    total = sum(parts.values())
    return [(pool, -(-amount * min(most, total) // total)) for pool, amount in parts.items()]


def _step(draft: Draft, use: Use, wish: Wish, budget: int, reason: Reason) -> list[Move]:
    """Moves up to ``budget`` parts, those of each pool in proportion to what it should gain or lose."""
    moves: list[Move] = []
    route = wish.route
    most = min(budget, sum(wish.gains.values()), sum(wish.losses.values()))
    trickle = round(draft.compiled.policy.thresholds.trickle_share * MILLION)
    givers = iter(_scaled(wish.losses, most))
    giver, available = next(givers, (NOWHERE, 0))
    for pool, gain in _scaled(wish.gains, most):
        opens = pool not in draft.weights[route]
        if use.limits.grade[pool] > GAINS_LATE and not opens:
            continue
        is_trickle = reason in (Reason.MERIT_ORDER, Reason.PLAN) and opens and gain <= trickle
        left = min(gain, draft.room_parts(route, pool, use.limits.usable[pool], use.limits))
        while left > 0 and giver != NOWHERE:
            parts = min(left, available)
            draft.take(route, giver, parts)
            draft.give(route, pool, parts)
            why = Reason.KEEP_WARM if is_trickle else reason
            moves.append(Move(route, pool, parts, reason=why, giver=giver))
            left, available = left - parts, available - parts
            if not available:
                giver, available = next(givers, (NOWHERE, 0))
    return moves


def _largest(draft: Draft, use: Use, route: int) -> int | None:
    """The pool with the largest share of the route that may give some of it away; None if there is none."""
    weights = {p: parts for p, parts in draft.weights[route].items() if use.limits.grade[p] < KEEPS}
    trickle = round(draft.compiled.policy.thresholds.trickle_share * MILLION)
    best = max(weights, key=lambda pool: (weights[pool], -pool), default=None)
    return best if best is not None and weights[best] > 2 * trickle else None
