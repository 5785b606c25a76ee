"""What each route becomes when a whole provider is lost: decided now, by the same code as any other loss."""

from controller.core.draft import OUT, Draft, Limits
from controller.core.eligible import Use
from controller.core.held import split_of
from controller.core.reflex import Homeless, find_places
from tieline.table import Split


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
