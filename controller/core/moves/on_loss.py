"""What each route becomes when a whole provider is lost: decided now, by the same code as any other loss.

A forced publication must not wait for this. It carries the splits in force without the pools that are lost
(``patched``), and the next publication, a second later and not urgent, the ones decided anew.
"""

from controller.core.moves.draft import OUT, Draft, Limits, whole
from controller.core.moves.eligible import Use
from controller.core.moves.held_table import HeldTable, split_of
from controller.core.moves.reflex import Homeless, find_places
from controller.core.policy.shares import within_shares
from tieline.table import MILLION, Split

PATCH_RECEIVERS_MAX = 4  # for the second until on_loss is decided anew
PATCH_SMALL_PARTS = 50_000  # of a million: so little goes to one pool, which takes less time


def on_loss(draft: Draft, use: Use) -> list[dict[str, Split]]:
    """Per route: provider -> its split without that provider, for every provider that it uses."""
    found: list[dict[str, Split]] = [{} for _ in draft.weights]
    for number, provider in enumerate(draft.compiled.providers):
        members = frozenset(draft.compiled.pools_of[number])
        homeless = _lost(draft, members)
        if not homeless:
            continue
        twin = draft.copy()
        for item in homeless:
            for pool in [p for p in twin.weights[item.route] if p in members]:
                twin.take(item.route, pool, twin.weights[item.route][pool])
        affected = [item.route for item in homeless]
        find_places(twin, _without(use, members), homeless, [])
        for route in affected:
            found[route][provider] = split_of(twin.weights[route], twin.shed[route])
    return found


def differ(before: HeldTable, now: list[dict[str, Split]]) -> bool:
    """Whether any route would meet a loss otherwise than the table says, by more than a little."""
    small = round(before.compiled.policy.thresholds.on_loss_share_min * MILLION)
    for route, losses in zip(before.routes, now, strict=True):
        if route is None or route.on_loss.keys() != losses.keys():
            return True
        for provider, split in losses.items():
            was = route.on_loss[provider]
            if split != was and _moved(was, split) > small:
                return True
    return False


def _moved(was: Split, now: Split) -> int:
    """Parts that lie elsewhere, or are shed on one side only."""
    before, after = (dict(zip(split.pools, split.weights, strict=True)) for split in (was, now))
    apart = sum(abs(before.get(pool, 0) - after.get(pool, 0)) for pool in {*before, *after})
    return (apart + abs(was.shed - now.shed)) // 2


def patched(before: HeldTable, use: Use) -> list[dict[str, Split]]:
    """Per route the splits in force; what they gave to pools that are out now goes to those of the others
    that have most, as far as shares allow, or is shed. Lawful because no pool is added. What needs no patch
    is the very same object.
    """
    out = {pool for pool, grade in enumerate(use.limits.grade) if grade == OUT}
    found: list[dict[str, Split]] = []
    owner = before.compiled.provider_of
    for route, rules in zip(before.routes, before.compiled.routes, strict=True):
        losses = route.on_loss if route is not None and before.same_pools else {}
        gone = out & rules.lawful_set
        if gone and any(not gone.isdisjoint(split.pools) for split in losses.values()):
            losses = {provider: _dropped(split, gone) for provider, split in losses.items()}
            if rules.share_max:
                losses = {
                    lost: within_shares(split, rules.share_max, owner) for lost, split in losses.items()
                }
        found.append(losses)
    return found


def _dropped(split: Split, out: set[int]) -> Split:
    gone = out.intersection(split.pools)
    if not gone:
        return split
    if len(gone) == 1 and len(split.pools) > 1:
        place = split.pools.index(*gone)
        if split.weights[place] <= PATCH_SMALL_PARTS:
            return _dropped_one(split, place)
    left = {pool: parts for pool, parts in zip(split.pools, split.weights, strict=True) if pool not in out}
    if not left:
        return Split((), (), MILLION)
    most = sorted(left, key=left.__getitem__)[-PATCH_RECEIVERS_MAX:]
    lost = MILLION - split.shed - sum(left.values())
    for pool, parts in zip(most, whole([float(left[pool]) for pool in most], lost), strict=True):
        left[pool] += parts
    return Split(tuple(left), tuple(left.values()), split.shed)


def _dropped_one(split: Split, place: int) -> Split:
    """A small loss goes to the pool that has most."""
    weights = list(split.weights)
    lost = weights.pop(place)
    weights[weights.index(max(weights))] += lost
    return Split((*split.pools[:place], *split.pools[place + 1 :]), tuple(weights), split.shed)


def _lost(draft: Draft, members: frozenset[int]) -> list[Homeless]:
    found = []
    for route, weights in enumerate(draft.weights):
        parts = sum(weights[pool] for pool in weights if pool in members)
        if parts:
            found.append(Homeless(draft.compiled.routes[route].rank, route, -1, parts, False))
    return found


def _without(use: Use, members: frozenset[int]) -> Use:
    limits = use.limits
    grades = [OUT if pool in members else grade for pool, grade in enumerate(limits.grade)]
    return use._replace(limits=Limits(limits.usable, limits.committed, grades, limits.group_usable))
