"""Where a guard would have bitten and an operator has overridden it: said with who, why and until when."""

from msgspec.structs import replace

from controller.core.assessment import Assessment
from controller.core.model.reasons import Reason, Verdict
from controller.core.moves.eligible import too_many_lost
from controller.core.orders.in_force import order_verdict
from controller.core.policy.shares import most_parts, provider_parts
from tieline.events import Command
from tieline.table import MILLION, Split


def overridden(known: Assessment, splits: list[Split], held: list[Split | None]) -> list[Verdict]:
    """Of the table that leaves, in the order of the guards' names."""
    found: list[Verdict] = []
    for guard, orders in sorted(known.orders.overridden.items()):
        match guard:
            case "fresh_capacity":
                found += _fresh_capacity(known, orders, splits, held)
            case "provider_share":
                found += _provider_share(known, orders, splits)
            case "providers_lost" if too_many_lost(known.compiled, known.memory.pools):
                found.append(_said("table", guard, next(iter(orders.values()))))
            case "sources_unheard" if known.unheard > known.compiled.policy.thresholds.unheard_share_max:
                found.append(_said("table", guard, next(iter(orders.values())), known.unheard))
            case _:
                pass
    return found


def _said(subject: str, guard: str, order: Command, value: float | None = None) -> Verdict:
    return replace(order_verdict(subject, Reason.GUARD_OVERRIDDEN, order, value), after=guard)


def _fresh_capacity(
    known: Assessment, orders: dict[int, Command], splits: list[Split], held: list[Split | None]
) -> list[Verdict]:
    """Pools without fresh capacity that gain load."""
    gains: set[int] = set()
    for split, before in zip(splits, held, strict=True):
        if split is not before:
            had = dict(zip(before.pools, before.weights, strict=True)) if before else {}
            pairs = zip(split.pools, split.weights, strict=True)
            gains.update(pool for pool, parts in pairs if parts > had.get(pool, 0))
    return [
        _said(known.compiled.pools[pool], "fresh_capacity", orders[pool])
        for pool in sorted(gains & orders.keys())
        if known.caps.pools[pool].reason is Reason.GUARD_OVERRIDDEN
    ]


def _provider_share(known: Assessment, orders: dict[int, Command], splits: list[Split]) -> list[Verdict]:
    """Routes of which a provider carries more than the policy allows."""
    compiled = known.written
    by_provider = {compiled.provider_of[pool]: order for pool, order in sorted(orders.items())}
    found = []
    for route, split in zip(compiled.routes, splits, strict=True):
        for provider, most in route.share_max.items():
            pairs = zip(split.pools, split.weights, strict=True)
            parts = provider_parts(pairs, compiled.provider_of, provider)
            if provider in by_provider and parts > most_parts(most):
                found.append(_said(route.name, "provider_share", by_provider[provider], parts / MILLION))
    return found
