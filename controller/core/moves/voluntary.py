"""Moves by choice: back to recovered pools, towards merit order, a trickle to standbys. Never needed at once.

The target is the whole table filled anew in merit order under today's limits; a step goes towards it by at
most 10 % of each route's demand, never beyond the receiver's room, and small differences are left alone.
Every step is lawful and within the limits by itself.
"""

from collections.abc import Callable
from typing import NamedTuple

from controller.core.evidence.gather import Evidence
from controller.core.model.dispatch_plan import Plan
from controller.core.model.reasons import Reason
from controller.core.moves.draft import GAINS_LATE, KEEPS, OUT, Draft
from controller.core.moves.eligible import Use
from controller.core.moves.reflex import NOWHERE, Homeless, Moved, find_places, from_shed
from controller.core.moves.reversal import Barred
from controller.core.policy.compiled import LOWEST_RANK
from controller.core.policy.thresholds import Thresholds
from tieline.table import MILLION


def fill(draft: Draft, use: Use) -> Draft:
    """The target: what pools only keep stays with them, all else is placed anew, the most critical first,
    as if what is planned held now. What then has no place stays where it is for as long as it can."""
    weights: list[dict[int, int]] = []
    rest: list[Homeless] = []
    grades = use.limits.grade
    for route, held in enumerate(draft.weights):
        kept = {
            pool: parts
            for pool, parts in held.items()
            if GAINS_LATE < grades[pool] <= OUT and not _empties(use, pool)
        }
        weights.append(kept)
        rank = draft.compiled.routes[route].rank
        rest.append(Homeless(rank, route, NOWHERE, MILLION - sum(kept.values()), False))
    target = Draft(draft.compiled, draft.demand, weights, [0] * len(weights))
    find_places(target, use.looking_ahead(), rest, [])
    if use.ahead and any(target.shed):
        find_places(target, use, from_shed(target, LOWEST_RANK), [])
    return target


def _empties(use: Use, pool: int) -> bool:
    """Whether the pool will carry nothing soon."""
    return use.ahead.get(pool, 1.0) <= 0


def planned(draft: Draft, use: Use, plan: Plan | None) -> Draft:
    """The target by merit order, and where a plan is given, its shares: of every route for which they still
    fit what pools may be used for, and the route as it is."""
    target = fill(draft, use)
    grades = use.limits.grade
    for wish in plan.targets if plan is not None else ():
        held, route = draft.weights[wish.route], draft.compiled.routes[wish.route]
        weights = dict(zip(wish.pools, wish.weights, strict=True))
        stays = {pool for pool in {*held, *weights} if grades[pool] > GAINS_LATE}
        fits = all(held.get(p, 0) == weights.get(p, 0) for p in stays)
        if fits and route.lawful_set.issuperset(weights) and not any(_empties(use, p) for p in weights):
            target.set(wish.route, weights, wish.shed)
    return target


def keep_warm(target: Draft, use: Use, evidence: dict[str, Evidence], requests: list[float]) -> None:
    """A trickle for every pool that carries nothing and that no prober watches, so that it is known.

    0.5 % of a route, or as much more as makes one request in 10 s. ``requests``: by route, per second; 0
    where that is unknown.
    """
    compiled = target.compiled
    limits = compiled.policy.thresholds
    most = round(limits.trickle_share_max * MILLION)
    left = [most] * len(compiled.routes)
    shares = [_trickle(limits, rate) for rate in requests]
    carrying = {pool for weights in target.weights for pool in weights}
    for pool, name in enumerate(compiled.pools):
        seen = evidence.get(name)
        if pool in carrying or use.limits.grade[pool] >= KEEPS or (seen and seen.probes) or pool in use.ahead:
            continue
        for route in reversed(compiled.by_rank):
            trickle = shares[route]
            lends = pool in compiled.routes[route].lawful_set and left[route] >= trickle
            if lends and (giver := _largest(target, use, route)) is not None and trickle > 0:
                target.take(route, giver, trickle)
                target.give(route, pool, trickle)
                left[route] -= trickle
                break


def _trickle(limits: Thresholds, requests_per_s: float) -> int:
    """Parts of a route that keep one pool known."""
    share = limits.trickle_share
    if requests_per_s:
        share = max(share, 1000 / (limits.trickle_every_ms * requests_per_s))
    return round(min(share, limits.trickle_share_max) * MILLION)


class Wish(NamedTuple):
    """What may move of one route: parts by pool that gains, and by pool that loses."""

    route: int
    gains: dict[int, int]
    losses: dict[int, int]


class Leeway(NamedTuple):
    """One kind of move by choice: how far a route's share at a pool may rise, and how far it may fall."""

    reason: Reason
    rises: Callable[[int, int], int]
    falls: Callable[[int, int], int]


def approach(
    draft: Draft,
    target: Draft,
    use: Use,
    ramping: set[int],
    barred: Barred,
    reason: Reason = Reason.MERIT_ORDER,
) -> list[Moved]:
    """One bounded step of every route towards the target, told by receiver. Nothing is shed by choice, and
    nothing goes back where it just came from."""
    moves: list[Moved] = []
    kinds = _kinds(use, ramping, barred, reason)
    for route in draft.compiled.by_rank:
        if draft.weights[route] == target.weights[route] or draft.shed[route] or target.shed[route]:
            continue
        budget = int(draft.compiled.policy.thresholds.shift_share_max * MILLION)
        for leeway in kinds:
            wish = _wish(draft, target, route, leeway)
            if wish is not None and budget > 0:
                made = _step(draft, use, wish, budget, leeway.reason)
                budget -= sum(move.parts for move in made)
                moves += made
    return moves


def _kinds(use: Use, ramping: set[int], barred: Barred, reason: Reason) -> tuple[Leeway, ...]:
    """In this order: off a pool that will carry less soon; to a pool that climbs back, from all others; off a
    pool that is ill; and the rest, which alone the reversal limit binds."""
    grades = use.limits.grade

    def rises(_: int, pool: int) -> int:
        return 0 if pool in ramping or pool in use.ahead else MILLION

    return (
        Leeway(Reason.PLANNED_AHEAD, rises, lambda _, pool: 0 if pool in use.ahead else MILLION),
        Leeway(Reason.FAILBACK, lambda _, pool: MILLION if pool in ramping else 0, lambda *_: 0),
        Leeway(reason, rises, lambda _, pool: 0 if grades[pool] == GAINS_LATE else MILLION),
        Leeway(
            reason, lambda route, pool: 0 if pool in ramping else barred.ceiling(route, pool), barred.floor
        ),
    )


def _wish(draft: Draft, target: Draft, route: int, leeway: Leeway) -> Wish | None:
    """What of a route should move within this leeway; None if it is too little."""
    held, wanted = draft.weights[route], target.weights[route]
    limits = draft.compiled.policy.thresholds
    gains, losses = {}, {}
    for pool in sorted({*held, *wanted}):
        has, most = held.get(pool, 0), wanted.get(pool, 0)
        if (up := min(most, leeway.rises(route, pool)) - has) > 0:
            gains[pool] = up
        elif (down := has - max(most, leeway.falls(route, pool))) > 0:
            losses[pool] = down
    total = min(sum(gains.values()), sum(losses.values()))
    needed = leeway.reason in (Reason.FAILBACK, Reason.PLANNED_AHEAD)
    opens = needed or any(pool not in held for pool in gains)
    if not total or (total < limits.shift_share_min * MILLION and not opens):
        return None
    return Wish(route, gains, losses)


def _scaled(parts: dict[int, int], most: int) -> list[tuple[int, int]]:
    total = sum(parts.values())
    return [(pool, -(-amount * min(most, total) // total)) for pool, amount in parts.items()]


def _step(draft: Draft, use: Use, wish: Wish, budget: int, why: Reason) -> list[Moved]:
    """Moves up to ``budget`` parts, each pool's in proportion to what it should gain or lose."""
    moves: list[Moved] = []
    route = wish.route
    most = min(budget, sum(wish.gains.values()), sum(wish.losses.values()))
    trickle = round(draft.compiled.policy.thresholds.trickle_share * MILLION)
    givers = iter(_scaled(wish.losses, most))
    giver, available = next(givers, (NOWHERE, 0))
    for pool, wanted in _scaled(wish.gains, most):
        if use.limits.grade[pool] > GAINS_LATE and pool in draft.weights[route]:
            continue
        reason = why
        if (
            why in (Reason.MERIT_ORDER, Reason.PLAN)
            and pool not in draft.weights[route]
            and wanted <= trickle
        ):
            reason = Reason.KEEP_WARM
        left = min(wanted, draft.room_parts(route, pool, use.limits.usable[pool], use.limits))
        while left > 0 and giver != NOWHERE:
            parts = min(left, available)
            draft.take(route, giver, parts)
            draft.give(route, pool, parts)
            moves.append(Moved(route, pool, parts, reason, giver))
            left, available = left - parts, available - parts
            if not available:
                giver, available = next(givers, (NOWHERE, 0))
    return moves


def _largest(draft: Draft, use: Use, route: int) -> int | None:
    """The pool with the largest share that may give some of it away."""
    weights = {p: parts for p, parts in draft.weights[route].items() if use.limits.grade[p] < KEEPS}
    trickle = round(draft.compiled.policy.thresholds.trickle_share * MILLION)
    best = max(weights, key=lambda pool: (weights[pool], -pool), default=None)
    return best if best is not None and weights[best] > 2 * trickle else None
