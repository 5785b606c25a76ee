"""Moves by choice: back to recovered pools, towards merit order, a trickle to standbys. Never needed at once.

The target is the whole table filled anew in merit order under today's limits; a step goes towards it by at
most 10 % of each route's demand, never beyond the receiver's room, and small differences are left alone.
Every step is lawful and within the limits by itself.
"""

from controller.core.draft import GAINS_LATE, KEEPS, OUT, Draft
from controller.core.eligible import Use
from controller.core.evidence import Evidence
from controller.core.plan import Plan
from controller.core.reasons import Reason
from controller.core.reflex import NOWHERE, Homeless, Moved, find_places
from tieline.table import MILLION


def fill(draft: Draft, use: Use) -> Draft:
    """The target: what pools only keep stays with them, all else is placed anew, the most critical first."""
    weights: list[dict[int, int]] = []
    rest: list[Homeless] = []
    grades = use.limits.grade
    for route, held in enumerate(draft.weights):
        kept = {pool: parts for pool, parts in held.items() if GAINS_LATE < grades[pool] <= OUT}
        weights.append(kept)
        rank = draft.rules.routes[route].rank
        rest.append(Homeless(rank, route, NOWHERE, MILLION - sum(kept.values()), False))
    target = Draft(draft.rules, draft.demand, weights, [0] * len(weights))
    find_places(target, use, rest, [])
    return target


def planned(draft: Draft, use: Use, plan: Plan | None) -> Draft:
    """The target by merit order, and where a plan is given, its shares: of every route for which they still
    fit what pools may be used for, and the route as it is."""
    target = fill(draft, use)
    grades = use.limits.grade
    for wish in plan.targets if plan is not None else ():
        held, route = draft.weights[wish.route], draft.rules.routes[wish.route]
        weights = dict(zip(wish.pools, wish.weights, strict=True))
        stays = {pool for pool in {*held, *weights} if grades[pool] > GAINS_LATE}
        if all(held.get(p, 0) == weights.get(p, 0) for p in stays) and route.lawful_set.issuperset(weights):
            target.set(wish.route, weights, wish.shed)
    return target


def keep_warm(target: Draft, use: Use, evidence: dict[str, Evidence]) -> None:
    """A trickle for every pool that carries nothing and that no prober watches, so that it is known."""
    rules = target.rules
    limits = rules.policy.thresholds
    trickle = round(limits.trickle_share * MILLION)
    left = [round(limits.trickle_share_max * MILLION)] * len(rules.routes)
    carrying = {pool for weights in target.weights for pool in weights}
    for pool, name in enumerate(rules.pools):
        seen = evidence.get(name)
        if pool in carrying or use.limits.grade[pool] >= KEEPS or (seen and seen.probes):
            continue
        for route in reversed(rules.by_rank):
            lends = pool in rules.routes[route].lawful_set and left[route] >= trickle
            if lends and (giver := _largest(target, use, route)) is not None and trickle > 0:
                target.take(route, giver, trickle)
                target.give(route, pool, trickle)
                left[route] -= trickle
                break


def approach(
    draft: Draft, target: Draft, use: Use, ramping: set[int], reason: Reason = Reason.MERIT_ORDER
) -> list[Moved]:
    """One bounded step of every route towards the target, told by receiver. Nothing is shed by choice."""
    moves: list[Moved] = []
    limits = draft.rules.policy.thresholds
    for route in draft.rules.by_rank:
        held, wanted = draft.weights[route], target.weights[route]
        if held == wanted or draft.shed[route] or target.shed[route]:
            continue
        gains = {p: w - held.get(p, 0) for p, w in sorted(wanted.items()) if w > held.get(p, 0)}
        losses = {p: w - wanted.get(p, 0) for p, w in sorted(held.items()) if w > wanted.get(p, 0)}
        total = sum(gains.values())
        opens = any(pool in ramping or pool not in held for pool in gains)
        if total < limits.shift_share_min * MILLION and not opens:
            continue
        budget = min(total, int(limits.shift_share_max * MILLION))
        parts = (_scaled(gains, budget, total), _scaled(losses, budget, total))
        moves += _step(draft, use, route, *parts, ramping, reason)
    return moves


def _scaled(parts: dict[int, int], budget: int, total: int) -> list[tuple[int, int]]:
    return [(pool, -(-amount * budget // total)) for pool, amount in parts.items()]


def _step(
    draft: Draft,
    use: Use,
    route: int,
    gains: list[tuple[int, int]],
    losses: list[tuple[int, int]],
    ramping: set[int],
    by_choice: Reason,
) -> list[Moved]:
    moves: list[Moved] = []
    trickle = round(draft.rules.policy.thresholds.trickle_share * MILLION)
    givers = iter(losses)
    giver, available = next(givers, (NOWHERE, 0))
    for pool, wanted in gains:
        if use.limits.grade[pool] > GAINS_LATE and pool in draft.weights[route]:
            continue
        reason = Reason.FAILBACK if pool in ramping else by_choice
        if pool not in ramping and pool not in draft.weights[route] and wanted <= trickle:
            reason = Reason.KEEP_WARM
        left = min(wanted, draft.room_parts(route, pool, use.limits.usable[pool], use.limits))
        while left > 0 and giver != NOWHERE:
            parts = min(left, available)
            draft.take(route, giver, parts)
            draft.give(route, pool, parts)
            moves.append(Moved(route, pool, parts, reason))
            left, available = left - parts, available - parts
            if not available:
                giver, available = next(givers, (NOWHERE, 0))
    return moves


def _largest(draft: Draft, use: Use, route: int) -> int | None:
    """The pool with the largest share that may give some of it away."""
    weights = {p: parts for p, parts in draft.weights[route].items() if use.limits.grade[p] < KEEPS}
    trickle = round(draft.rules.policy.thresholds.trickle_share * MILLION)
    best = max(weights, key=lambda pool: (weights[pool], -pool), default=None)
    return best if best is not None and weights[best] > 2 * trickle else None
