"""What each route becomes when a whole provider is lost: decided now, by the same code as any other loss.

A forced publication must not wait for this. It carries the splits in force without the pools that are lost
(``patched``), and the next publication, a second later and not urgent, the ones decided anew.
"""

from heapq import nlargest

from controller.core.draft import OUT, RECEIVERS_MAX, Draft, Limits, whole
from controller.core.eligible import Use
from controller.core.held import Held, split_of
from controller.core.reflex import Homeless, find_places
from tieline.table import MILLION, Split


def on_loss(draft: Draft, use: Use) -> list[dict[str, Split]]:
    """Per route: provider -> its split without that provider, for every provider that it uses."""
    found: list[dict[str, Split]] = [{} for _ in draft.weights]
    for number, provider in enumerate(draft.rules.providers):
        members = frozenset(draft.rules.pools_of[number])
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


def patched(before: Held, use: Use) -> list[dict[str, Split]]:
    """Per route the splits in force; what they gave to pools that are out now goes to those of the others
    that have most, or is shed. Lawful because nothing is added. What needs no patch is the very same object.
    """
    out = {pool for pool, grade in enumerate(use.limits.grade) if grade == OUT}
    found: list[dict[str, Split]] = []
    for route in before.routes:
        losses = route.on_loss if route is not None and before.same_pools else {}
        if out and any(not out.isdisjoint(split.pools) for split in losses.values()):
            losses = {provider: _dropped(split, out) for provider, split in losses.items()}
        found.append(losses)
    return found


def _dropped(split: Split, out: set[int]) -> Split:
    if out.isdisjoint(split.pools):
        return split
    left = {pool: parts for pool, parts in zip(split.pools, split.weights, strict=True) if pool not in out}
    if not left:
        return Split((), (), MILLION)
    most = nlargest(RECEIVERS_MAX, left, key=left.__getitem__)
    lost = MILLION - split.shed - sum(left.values())
    for pool, parts in zip(most, whole([float(left[pool]) for pool in most], lost), strict=True):
        left[pool] += parts
    return Split(tuple(left), tuple(left.values()), split.shed)


def _lost(draft: Draft, members: frozenset[int]) -> list[Homeless]:
    found = []
    for route, weights in enumerate(draft.weights):
        parts = sum(weights[pool] for pool in weights if pool in members)
        if parts:
            found.append(Homeless(draft.rules.routes[route].rank, route, -1, parts, False))
    return found


def _without(use: Use, members: frozenset[int]) -> Use:
    limits = use.limits
    grades = [OUT if pool in members else grade for pool, grade in enumerate(limits.grade)]
    return use._replace(limits=Limits(limits.usable, limits.committed, grades, limits.group_usable))
