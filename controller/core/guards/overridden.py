"""Where a guard would have bitten and an operator has overridden it: said with who, why and until when."""

from collections.abc import Mapping

from msgspec.structs import replace

from controller.core.assessment import Assessment
from controller.core.model.reasons import Reason, Verdict
from controller.core.moves.eligible import too_many_lost
from controller.core.orders.in_force import order_verdict
from controller.core.policy.shares import most_parts, provider_parts
from tieline.events import Command
from tieline.table import MILLION, Split


def overridden_verdicts(
    assessment: Assessment, splits: list[Split], before: list[Split | None]
) -> list[Verdict]:
    """What the overrides in force let happen in the table that leaves, in the order of the guards' names."""
    verdicts: list[Verdict] = []
    unheard_max = assessment.compiled.policy.thresholds.unheard_share_max
    for guard, orders in sorted(assessment.orders.overridden.items()):
        match guard:
            case "fresh_capacity":
                verdicts += _fresh_capacity(assessment, orders, splits, before)
            case "provider_share":
                verdicts += _provider_share(assessment, orders, splits)
            case "providers_lost" if too_many_lost(assessment.compiled, assessment.memory.pools):
                verdicts.append(_verdict("table", guard, next(iter(orders.values()))))
            case "sources_unheard" if assessment.unheard > unheard_max:
                verdicts.append(_verdict("table", guard, next(iter(orders.values())), assessment.unheard))
            case _:
                pass
    return verdicts


def _verdict(subject: str, guard: str, order: Command, value: float | None = None) -> Verdict:
    return replace(order_verdict(subject, Reason.GUARD_OVERRIDDEN, order, value), after=guard)


def _fresh_capacity(
    assessment: Assessment, orders: Mapping[int, Command], splits: list[Split], before: list[Split | None]
) -> list[Verdict]:
    """Pools without fresh capacity that gain load."""
    gaining: set[int] = set()
    for split, was in zip(splits, before, strict=True):
        if split is not was:
            old = dict(zip(was.pools, was.weights, strict=True)) if was else {}
            pairs = zip(split.pools, split.weights, strict=True)
            gaining.update(pool for pool, parts in pairs if parts > old.get(pool, 0))
    return [
        _verdict(assessment.compiled.pools[pool], "fresh_capacity", orders[pool])
        for pool in sorted(gaining & orders.keys())
        if assessment.caps.pools[pool].reason is Reason.GUARD_OVERRIDDEN
    ]


def _provider_share(
    assessment: Assessment, orders: Mapping[int, Command], splits: list[Split]
) -> list[Verdict]:
    """Routes of which a provider carries more than the policy allows."""
    compiled = assessment.written
    by_provider = {compiled.provider_of[pool]: order for pool, order in sorted(orders.items())}
    verdicts = []
    for rules, split in zip(compiled.routes, splits, strict=True):
        for provider, share in rules.share_max.items():
            pairs = zip(split.pools, split.weights, strict=True)
            parts = provider_parts(pairs, compiled.provider_of, provider)
            if provider in by_provider and parts > most_parts(share):
                order = by_provider[provider]
                verdicts.append(_verdict(rules.name, "provider_share", order, parts / MILLION))
    return verdicts
