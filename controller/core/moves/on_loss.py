"""What each route becomes when a whole provider is lost: decided in advance, by the code of any other loss.

Clients apply it by themselves once they have had to leave most of a provider. A forced publication must not
wait until it is decided anew: it carries the splits in force without the pools that are lost
(``patch_on_loss``). The next publication, ``on_loss_after_ms`` later and not urgent, carries new ones.

A split must be lawful and usable at every moment, as clients may need it at any. So a pool that is withdrawn
or lost leaves it at once, also if it carries nothing now and nothing else changes (``pools_to_drop``). Only
where the route itself keeps load on a lost pool, for want of an alternative, does its ``on_loss`` as well.
"""

from controller.core.moves.draft import GAINS, GAINS_LATE, OUT, Draft, whole
from controller.core.moves.eligible import Use
from controller.core.moves.forced import find_places
from controller.core.moves.held_table import HeldTable, split_of
from controller.core.moves.unplaced import NOWHERE, UnplacedLoad
from controller.core.policy.shares import within_shares
from tieline.table import MILLION, Split

# A patch holds for a moment only, so its rules are the quickest that are safe.
PATCH_RECEIVERS_MAX = 4
PATCH_SMALL_PARTS = 50_000  # of a million: no more than this goes to a single pool
COUNTED = (GAINS, GAINS_LATE)


def decide_on_loss(draft: Draft, use: Use) -> list[dict[str, Split]]:
    """Per route: provider -> the split without that provider, for every provider that the route uses."""
    by_route: list[dict[str, Split]] = [{} for _ in draft.weights]
    for number, provider in enumerate(draft.compiled.providers):
        members = frozenset(draft.compiled.pools_of[number])
        unplaced = _load_on(draft, members)
        if not unplaced:
            continue
        twin = draft.copy()
        for load in unplaced:
            twin.take_all(load.route, [pool for pool in twin.weights[load.route] if pool in members])
        affected = [load.route for load in unplaced]
        find_places(twin, _without(use, members), unplaced, [])
        for route in affected:
            by_route[route][provider] = split_of(twin.weights[route], twin.shed[route])
    return by_route


def on_loss_differs(before: HeldTable, on_loss: list[dict[str, Split]]) -> bool:
    """Whether any route would now meet a loss otherwise than the table says, by more than a little."""
    small = round(before.compiled.policy.thresholds.on_loss_share_min * MILLION)
    for route, losses in zip(before.routes, on_loss, strict=True):
        if route is None or route.on_loss.keys() != losses.keys():
            return True
        for provider, split in losses.items():
            was = route.on_loss[provider]
            if split != was and _moved_parts(was, split) > small:
                return True
    return False


def pools_to_drop(before: HeldTable, use: Use) -> set[int]:
    """The pools that ``on_loss`` in force counts on although they must carry nothing now."""
    return {pool for pool in unusable_pools(use) if pool in before.counted_on}


def must_be_patched(before: HeldTable, use: Use) -> bool:
    """Whether ``on_loss`` counts on unusable pools now, or gives a provider more than its largest share."""
    return bool(before.on_loss_beyond_shares or pools_to_drop(before, use))


def unusable_pools(use: Use) -> set[int]:
    """The pools that must carry nothing: those that are out, and those without any capacity."""
    grades = zip(use.limits.grade, use.limits.usable, strict=True)
    return {pool for pool, (grade, usable) in enumerate(grades) if grade == OUT or usable <= 0}


def uncounted_pools(use: Use) -> set[int]:
    """The pools that ``on_loss`` gives nothing, as they may gain nothing now, also for unknown health."""
    grades = zip(use.limits.grade, use.limits.usable, strict=True)
    return {pool for pool, (grade, usable) in enumerate(grades) if grade not in COUNTED or usable <= 0}


def patch_on_loss(before: HeldTable, use: Use) -> list[dict[str, Split]]:
    """Per route the splits in force without the pools that must carry nothing.

    What those pools had goes to the largest of the others, as far as the providers' largest shares allow, or
    is shed. No pool is added, so the splits stay lawful. What needs no patch is the same object.
    """
    out = unusable_pools(use)
    by_route: list[dict[str, Split]] = []
    owner = before.compiled.provider_of
    for number, (route, rules) in enumerate(zip(before.routes, before.compiled.routes, strict=True)):
        losses = route.on_loss if route is not None and before.same_pools else {}
        gone = out & before.named_on_loss[number]
        if gone:
            losses = {provider: _without_pools(split, gone) for provider, split in losses.items()}
        if rules.share_max and (gone or number in before.on_loss_beyond_shares):
            losses = {lost: within_shares(split, rules.share_max, owner) for lost, split in losses.items()}
        by_route.append(losses)
    return by_route


def _moved_parts(was: Split, now: Split) -> int:
    """Parts that lie elsewhere, or are shed on one side only."""
    before, after = (dict(zip(split.pools, split.weights, strict=True)) for split in (was, now))
    apart = sum(abs(before.get(pool, 0) - after.get(pool, 0)) for pool in {*before, *after})
    return (apart + abs(was.shed - now.shed)) // 2


def _without_pools(split: Split, out: set[int]) -> Split:
    gone = [pool for pool in out if pool in split.pools]
    if not gone:
        return split
    if len(gone) == 1 and len(split.pools) > 1:
        place = split.pools.index(gone[0])
        if split.weights[place] <= PATCH_SMALL_PARTS:
            return _without_place(split, place)
    left = {pool: parts for pool, parts in zip(split.pools, split.weights, strict=True) if pool not in out}
    if not left:
        return Split((), (), MILLION)
    largest = sorted(left, key=left.__getitem__)[-PATCH_RECEIVERS_MAX:]
    lost = MILLION - split.shed - sum(left.values())
    for pool, parts in zip(largest, whole([float(left[pool]) for pool in largest], lost), strict=True):
        left[pool] += parts
    return Split(tuple(left), tuple(left.values()), split.shed)


def _without_place(split: Split, place: int) -> Split:
    """Without the pool at one place: its parts go to the largest pool."""
    weights = list(split.weights)
    lost = weights.pop(place)
    weights[weights.index(max(weights))] += lost
    return Split((*split.pools[:place], *split.pools[place + 1 :]), tuple(weights), split.shed)


def _load_on(draft: Draft, members: frozenset[int]) -> list[UnplacedLoad]:
    """What each route has on these pools. It stays on the draft."""
    loads = []
    for route, weights in enumerate(draft.weights):
        parts = sum([weight for pool, weight in weights.items() if pool in members])
        if parts:
            rank = draft.compiled.routes[route].rank
            loads.append(UnplacedLoad(rank, route, NOWHERE, parts=parts, may_return=False))
    return loads


def _without(use: Use, members: frozenset[int]) -> Use:
    grades = [OUT if pool in members else grade for pool, grade in enumerate(use.limits.grade)]
    return use._replace(limits=use.limits._replace(grade=grades))
