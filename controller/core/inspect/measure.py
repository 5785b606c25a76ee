"""What a table is worth under a demand: served, shed and failed load, overloads, money, and what it breaks.

For each route ``served + shed + failed = offered``. ``failed`` is what is sent to pools and does not succeed
there. Money is what burst costs: load beyond the committed part of each pool, at the policy's price.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from msgspec import Struct

from controller.core.capacity.usable import Caps
from controller.core.model.reasons import Reason, Verdict
from controller.core.moves.draft import Draft
from controller.core.policy.compiled import CompiledPolicy
from controller.core.policy.shares import most_parts, provider_parts
from tieline.table import CRITICALITIES, MILLION, RouteTable

SECONDS_PER_HOUR = 3_600
UNITS_PER_PRICE = 1_000_000  # prices are per million units
LIMIT_SLACK = 1.001  # whole parts per million round up, which is no overload


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


class Measurement(Struct, frozen=True):
    """All routes together, in units/s; ``committed_used`` and ``burst_used`` by provider.

    ``broken`` names each route that goes against law or contract. It must be empty in every table.
    """

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


class _Bill(NamedTuple):
    """Load within and beyond what is committed, in units/s by provider, and what the latter costs."""

    committed: dict[str, float]
    burst: dict[str, float]
    money_per_hour: float


def measure(draft: Draft, caps: Caps, success: Mapping[int, float], now_ms: int) -> Measurement:
    """What the draft is worth.

    ``success`` is the share of attempts that succeed, by pool index; a pool that it lacks succeeds always.
    """
    compiled = draft.compiled
    routes = tuple(_route(draft, route, success) for route in range(len(compiled.routes)))
    shed: dict[str, float] = dict.fromkeys(CRITICALITIES, 0.0)
    for route in routes:
        shed[route.criticality] += route.shed
    bill = _bill(compiled, draft.load, caps)
    return Measurement(
        offered=sum(route.offered for route in routes),
        served=sum(route.served for route in routes),
        shed=sum(route.shed for route in routes),
        failed=sum(route.failed for route in routes),
        shed_by_criticality=shed,
        burst_money_per_hour=bill.money_per_hour,
        committed_used=bill.committed,
        burst_used=bill.burst,
        overloads=_overloads(draft, caps),
        broken=broken_rules(compiled, draft.weights, now_ms),
        routes=routes,
    )


def broken_rules(
    compiled: CompiledPolicy, weights: Sequence[Mapping[int, int]], now_ms: int
) -> tuple[Verdict, ...]:
    """Where the weights go against law or contract: the subject is a route, ``after`` a pool or provider."""
    verdicts = []
    for rule, parts in zip(compiled.routes, weights, strict=True):
        barred = [pool for pool in sorted(parts) if parts[pool] and pool not in rule.lawful_set]
        verdicts += [
            Verdict(rule.name, Reason.NOT_LAWFUL, now_ms, after=compiled.pools[pool]) for pool in barred
        ]
        for provider, share_max in sorted(rule.share_max.items()):
            carried = provider_parts(parts.items(), compiled.provider_of, provider)
            if carried > most_parts(share_max):
                verdicts.append(
                    Verdict(
                        rule.name,
                        Reason.GUARD_PROVIDER_SHARE,
                        now_ms,
                        after=compiled.providers[provider],
                        value=carried / MILLION,
                        limit=share_max,
                    )
                )
    return tuple(verdicts)


def moved_units(before: Draft, after: Draft) -> float:
    """The load that the second draft puts elsewhere than the first, in units/s of the second's demand."""
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
        route=rule.name,
        criticality=rule.criticality,
        offered=draft.demand[route],
        served=(sum(weights.values()) - failing) * units,
        shed=draft.shed[route] * units,
        failed=failing * units,
    )


def _bill(compiled: CompiledPolicy, load: Sequence[float], caps: Caps) -> _Bill:
    committed = dict.fromkeys(compiled.providers, 0.0)
    burst = dict.fromkeys(compiled.providers, 0.0)
    money = 0.0
    for index, pool in enumerate(compiled.policy.pools):
        paid = min(load[index], caps.pools[index].committed)
        extra = max(0.0, load[index] - paid)
        committed[pool.provider] += paid
        burst[pool.provider] += extra
        money += extra * pool.price_per_million_units * SECONDS_PER_HOUR / UNITS_PER_PRICE
    return _Bill(committed, burst, money)


def _overloads(draft: Draft, caps: Caps) -> tuple[Overload, ...]:
    compiled = draft.compiled
    pools = [(compiled.pools[i], draft.load[i], cap.limit) for i, cap in enumerate(caps.pools)]
    groups = [(name, draft.group_load[i], caps.groups[i]) for i, name in enumerate(compiled.groups)]
    return tuple(
        Overload(name, load, limit) for name, load, limit in (*pools, *groups) if load > limit * LIMIT_SLACK
    )


def pool_shares(table: RouteTable) -> dict[str, float]:
    """Pool -> its mean share over all routes, from 0 to 1."""
    sums: dict[int, int] = defaultdict(int)
    for route in table.routes:
        for index, weight in zip(route.split.pools, route.split.weights, strict=True):
            sums[index] += weight
    return {info.pool: sums[index] / len(table.routes) / MILLION for index, info in enumerate(table.pools)}
