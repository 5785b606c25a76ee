"""A policy prepared for deciding: names as indices, lawful pools in merit order. Made once per policy.

Merit order of a route: capacity already paid for first, nearest latency band first; then burst, that of the
holder of a first refusal before any other's unless it has declined, cheapest first (where a commitment to
spend pays for it, it costs nothing more) and nearest within one price. Pools of one tier are equally good and
share a load in proportion to their room.
"""

from typing import NamedTuple

from controller.core.model.memo import Memo
from controller.core.policy.lawful import lawful_pools, origins_of
from controller.core.policy.policy import Origin, Policy, Pool, Workload, version_of
from tieline.table import CRITICALITIES, Criticality, PoolInfo

CRITICAL_RANK = CRITICALITIES.index("critical")  # up to it load is secured against losses
LOWEST_RANK = len(CRITICALITIES) - 1
UNKNOWN_LATENCY_MS = 1_000.0


class Tier(NamedTuple):
    """Pools of equal merit. ``burst``: beyond what is committed."""

    burst: bool
    pools: tuple[int, ...]


class RouteRules(NamedTuple):
    """What the policy says of one (workload, origin). ``rank`` is the place of its criticality in
    ``CRITICALITIES``: 0 is the most critical, up to ``CRITICAL_RANK`` it is critical. ``last_resort`` is
    lawful."""

    name: str
    workload: str
    origin: str
    criticality: Criticality
    rank: int
    lawful: tuple[int, ...]
    lawful_set: frozenset[int]
    tiers: tuple[Tier, ...]
    share_max: dict[int, float]
    expected_units_per_s: float
    last_resort: tuple[int, ...]


class CompiledPolicy(NamedTuple):
    """One policy, indexed. ``pools``, ``groups`` and ``providers`` are ids by index."""

    policy: Policy
    version: str
    pools: tuple[str, ...]
    pool_index: dict[str, int]
    providers: tuple[str, ...]
    provider_of: tuple[int, ...]
    pools_of: tuple[tuple[int, ...], ...]
    groups: tuple[str, ...]
    group_of: tuple[int, ...]
    routes: tuple[RouteRules, ...]
    route_index: dict[tuple[str, str], int]
    by_rank: tuple[int, ...]
    infos: tuple[PoolInfo, ...]


def compile_policy(policy: Policy) -> CompiledPolicy:
    """The policy prepared. Costs as much as a decision: who decides often keeps the result."""
    pools = tuple(pool.id for pool in policy.pools)
    providers = tuple(provider.id for provider in policy.providers)
    groups = tuple(group.id for group in policy.quota_groups)
    number = {name: index for index, name in enumerate(providers)}
    group_number = {name: index for index, name in enumerate(groups)}
    provider_of = tuple(number[pool.provider] for pool in policy.pools)
    routes = tuple(
        _route(policy, workload, origin, number)
        for workload in policy.workloads
        for origin in origins_of(policy, workload)
    )
    return CompiledPolicy(
        policy,
        version_of(policy),
        pools,
        {name: index for index, name in enumerate(pools)},
        providers,
        provider_of,
        tuple(tuple(i for i, owner in enumerate(provider_of) if owner == p) for p in range(len(providers))),
        groups,
        tuple(group_number.get(pool.quota_group, -1) for pool in policy.pools),
        routes,
        {(route.workload, route.origin): index for index, route in enumerate(routes)},
        tuple(sorted(range(len(routes)), key=lambda index: (routes[index].rank, index))),
        tuple(_info(pool) for pool in policy.pools),
    )


def without_share_limits(compiled: CompiledPolicy, providers: frozenset[int]) -> CompiledPolicy:
    """The same policy without the largest shares of these providers; the same object if there are none."""
    if not providers:
        return compiled
    routes = tuple(
        route._replace(share_max={p: share for p, share in route.share_max.items() if p not in providers})
        for route in compiled.routes
    )
    return compiled._replace(routes=routes)


def with_declined(compiled: CompiledPolicy, declined: frozenset[int]) -> CompiledPolicy:
    """The same policy while the holder of the first refusal gives no burst on these pools; the same object
    if there are none."""
    if not declined:
        return compiled
    routes = tuple(
        route._replace(tiers=_tiers(compiled.policy, route.lawful, route.origin, declined))
        for route in compiled.routes
    )
    return compiled._replace(routes=routes)


class _RulesInForce(NamedTuple):
    """The last policy with exceptions, and what it was made of."""

    written: CompiledPolicy
    exceptions: tuple[frozenset[int], frozenset[int]]
    compiled: CompiledPolicy


def rules_in_force(
    written: CompiledPolicy, unshared: frozenset[int], declined: frozenset[int], memo: Memo
) -> CompiledPolicy:
    """The policy as it is written, with the exceptions that hold now; the same object if there are none.

    ``unshared``: providers whose largest shares an operator overrides. ``declined``: pools on which the
    holder of the first refusal gives no burst.
    """
    if not unshared and not declined:
        return written
    kept = memo.last(_RulesInForce)
    if kept is not None and kept.written is written and kept.exceptions == (unshared, declined):
        return kept.compiled
    compiled = with_declined(without_share_limits(written, unshared), declined)
    memo.keep(_RulesInForce(written, (unshared, declined), compiled))
    return compiled


def _info(pool: Pool) -> PoolInfo:
    return PoolInfo(pool.id, pool.geography, pool.url, pool.adapter, pool.credential, pool.models)


def _route(policy: Policy, workload: Workload, origin: Origin, number: dict[str, int]) -> RouteRules:
    lawful = lawful_pools(policy, workload, origin)
    allowed = {policy.pools[index].id: index for index in lawful}
    return RouteRules(
        f"{workload.id}/{origin.id}",
        workload.id,
        origin.id,
        workload.criticality,
        CRITICALITIES.index(workload.criticality),
        lawful,
        frozenset(lawful),
        _tiers(policy, lawful, origin.id),
        {number[name]: share for name, share in sorted(workload.provider_share_max.items())},
        workload.expected_units_per_s.get(origin.id, 0.0),
        tuple(allowed[name] for name in workload.last_resort if name in allowed),
    )


def _tiers(
    policy: Policy, lawful: tuple[int, ...], origin: str, declined: frozenset[int] = frozenset()
) -> tuple[Tier, ...]:
    band_ms = policy.thresholds.latency_band_ms
    holds = {
        index
        for index, pool in enumerate(policy.pools)
        if pool.provider == policy.first_refusal and index not in declined
    }
    prepaid = prepaid_providers(policy)
    found: dict[tuple[int, int, float, int], list[int]] = {}
    for index in lawful:
        pool = policy.pools[index]
        band = int(pool.latency_ms.get(origin, UNKNOWN_LATENCY_MS) // band_ms)
        later = int(bool(holds) and index not in holds)
        price = 0.0 if pool.provider in prepaid else pool.price_per_million_units
        found.setdefault((0, 0, 0.0, band), []).append(index)
        found.setdefault((1, later, price, band), []).append(index)
    return tuple(Tier(bool(key[0]), tuple(members)) for key, members in sorted(found.items()))


def prepaid_providers(policy: Policy) -> frozenset[str]:
    """Providers whose burst counts as free, as a commitment to spend pays for it whether used or not."""
    return frozenset(spend.provider for spend in policy.committed_spend)
