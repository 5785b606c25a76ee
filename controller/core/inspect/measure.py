"""What a table is worth under a demand: served, shed and failed, overloads, money, and what it breaks.

served + shed + failed = offered, for every route. ``failed`` is what is sent to pools that don't succeed.
Money is what burst costs: load beyond the committed part of each pool, at the policy's price.
"""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from controller.core.capacity.usable import Caps
from controller.core.model.reasons import Reason, Verdict
from controller.core.moves.draft import Draft
from controller.core.policy.compiled import CompiledPolicy
from controller.core.policy.shares import most_parts, provider_parts
from tieline.table import CRITICALITIES, MILLION

SECONDS_PER_HOUR = 3_600
LIMIT_SLACK = 1.001  # integer weights round up


class RouteMeasure(Struct, frozen=True):
    """One route in units/s."""

    route: str
    criticality: str
    offered: float
    served: float
    shed: float
    failed: float


class Overload(Struct, frozen=True):
    """A pool or quota group that is sent more than its whole limit, in units/s."""

    subject: str
    load: float
    limit: float


class Measured(Struct, frozen=True):
    """All routes together, in units/s. ``broken`` must be empty: law and contracts hold in every path."""

    offered: float
    served: float
    shed: float
    failed: float
    shed_by_criticality: dict[str, float]
    burst_money_per_hour: float
    committed_used: dict[str, float]
    burst_used: dict[str, float]
    overloads: tuple[Overload, ...]
    broken: tuple[Verdict, ...]
    routes: tuple[RouteMeasure, ...]


def measure(draft: Draft, caps: Caps, success: Mapping[int, float], now_ms: int) -> Measured:
    """The draft's worth. ``success``: the share of attempts that succeed, by pool index; 1 where absent."""
    compiled = draft.compiled
    routes = tuple(_route(draft, route, success) for route in range(len(compiled.routes)))
    shed: dict[str, float] = dict.fromkeys(CRITICALITIES, 0.0)
    for one, rule in zip(routes, compiled.routes, strict=True):
        shed[rule.criticality] += one.shed
    committed, burst, money = _spent(compiled, draft.load, caps)
    return Measured(
        sum(one.offered for one in routes),
        sum(one.served for one in routes),
        sum(one.shed for one in routes),
        sum(one.failed for one in routes),
        shed,
        money,
        committed,
        burst,
        _overloads(draft, caps),
        broken(compiled, draft.weights, now_ms),
        routes,
    )


def broken(
    compiled: CompiledPolicy, weights: Sequence[Mapping[int, int]], now_ms: int
) -> tuple[Verdict, ...]:
    """Where a table goes against law or contract: subject ``route``, ``after`` names pool or provider."""
    found = []
    for rule, given in zip(compiled.routes, weights, strict=True):
        barred = [pool for pool in sorted(given) if given[pool] and pool not in rule.lawful_set]
        found += [
            Verdict(rule.name, Reason.NOT_LAWFUL, now_ms, after=compiled.pools[pool]) for pool in barred
        ]
        for provider, most in sorted(rule.share_max.items()):
            share = provider_parts(given.items(), compiled.provider_of, provider)
            if share > most_parts(most):
                name = compiled.providers[provider]
                found.append(
                    Verdict(
                        rule.name,
                        Reason.GUARD_PROVIDER_SHARE,
                        now_ms,
                        after=name,
                        value=share / MILLION,
                        limit=most,
                    )
                )
    return tuple(found)


def moved_units(before: Draft, after: Draft) -> float:
    """Load that the second draft puts elsewhere than the first, in units/s of the second's demand."""
    total = 0.0
    for route, units in enumerate(after.demand):
        was, now = before.weights[route], after.weights[route]
        gained = sum(max(0, now[pool] - was.get(pool, 0)) for pool in sorted(now))
        gained += max(0, after.shed[route] - before.shed[route])
        total += gained * units / MILLION
    return total


def _route(draft: Draft, route: int, success: Mapping[int, float]) -> RouteMeasure:
    rule, weights = draft.compiled.routes[route], draft.weights[route]
    units = draft.demand[route] / MILLION
    failing = sum(weights[pool] * (1.0 - success.get(pool, 1.0)) for pool in sorted(weights))
    return RouteMeasure(
        rule.name,
        rule.criticality,
        draft.demand[route],
        (sum(weights.values()) - failing) * units,
        draft.shed[route] * units,
        failing * units,
    )


def _spent(
    compiled: CompiledPolicy, load: Sequence[float], caps: Caps
) -> tuple[dict[str, float], dict[str, float], float]:
    """(committed units/s used by provider, burst units/s by provider, money per hour)."""
    committed = dict.fromkeys(compiled.providers, 0.0)
    burst = dict.fromkeys(compiled.providers, 0.0)
    money = 0.0
    for index, pool in enumerate(compiled.policy.pools):
        paid = min(load[index], caps.pools[index].committed)
        extra = max(0.0, load[index] - paid)
        committed[pool.provider] += paid
        burst[pool.provider] += extra
        money += extra * pool.price_per_million_units * SECONDS_PER_HOUR / 1_000_000
    return committed, burst, money


def _overloads(draft: Draft, caps: Caps) -> tuple[Overload, ...]:
    compiled = draft.compiled
    pools = [(compiled.pools[i], draft.load[i], cap.limit) for i, cap in enumerate(caps.pools)]
    groups = [(name, draft.group_load[i], caps.groups[i]) for i, name in enumerate(compiled.groups)]
    return tuple(
        Overload(name, load, limit) for name, load, limit in (*pools, *groups) if load > limit * LIMIT_SLACK
    )
