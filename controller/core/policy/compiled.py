"""A policy prepared for deciding: names as indices, and the lawful pools of every route in order of merit.

Order of merit of a route: first the capacity already paid for, nearest latency band first. Then burst, that
is capacity that costs extra: first that of the holder of a first refusal, unless it has declined; then the
cheapest, where a commitment to spend counts as a price of zero; then the nearest. Pools of one tier are
equally good and share a load in proportion to their room.
"""

from collections.abc import Mapping
from itertools import combinations
from typing import NamedTuple

from msgspec.msgpack import Encoder
from msgspec.structs import replace

from controller.core.model.memo import Memo
from controller.core.policy.lawful import PoolKinds, origins_of
from controller.core.policy.policy import Origin, Policy, Pool, Workload, version_of
from tieline.table import CRITICALITIES, Criticality, PoolInfo

CRITICAL_RANK = CRITICALITIES.index("critical")  # up to it load is secured against losses
LOWEST_RANK = len(CRITICALITIES) - 1
_encode = Encoder(order="deterministic").encode
UNKNOWN_LATENCY_MS = 1_000.0  # of a pool for an origin for which the policy states none


class Tier(NamedTuple):
    """Pools of equal merit, by index. ``burst``: their capacity beyond what is committed counts."""

    burst: bool
    pools: tuple[int, ...]


class RouteRules(NamedTuple):
    """What the policy says of one (workload, origin). ``name`` is ``workload/origin``.

    ``rank`` is the place of its criticality in ``CRITICALITIES``: 0 is the most critical, up to
    ``CRITICAL_RANK`` it is critical. ``share_max`` is by provider index. ``last_resort`` holds lawful pools
    only.
    """

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
    """One policy by index. ``pools``, ``providers`` and ``groups`` are ids; ``routes`` are rules.

    ``provider_of`` and ``groups_of`` are by pool, the latter the quota groups of a pool in rising order;
    ``pools_of`` is by provider. ``group_sets``: first each quota group alone, then the larger sets of which a
    pool is in every group. ``by_rank``: all routes, the most critical first. ``infos``: pools for a table.
    """

    policy: Policy
    version: str
    pools: tuple[str, ...]
    pool_index: dict[str, int]
    providers: tuple[str, ...]
    provider_of: tuple[int, ...]
    pools_of: tuple[tuple[int, ...], ...]
    groups: tuple[str, ...]
    groups_of: tuple[tuple[int, ...], ...]
    group_sets: tuple[tuple[int, ...], ...]
    routes: tuple[RouteRules, ...]
    route_index: dict[tuple[str, str], int]
    by_rank: tuple[int, ...]
    infos: tuple[PoolInfo, ...]


class _Tiers:
    """The tiers of routes. Routes with the same pools from the same origin share them, as one object."""

    def __init__(
        self, policy: Policy, declined: frozenset[int] = frozenset(), used_up: frozenset[str] = frozenset()
    ) -> None:
        self._policy = policy
        providers = [pool.provider for pool in policy.pools]
        self._first_refusal = {
            index
            for index, provider in enumerate(providers)
            if provider == policy.first_refusal and index not in declined
        }
        prepaid = prepaid_providers(policy, used_up)
        self._price = [
            0.0 if provider in prepaid else pool.price_per_million_units
            for provider, pool in zip(providers, policy.pools, strict=True)
        ]
        self._made: dict[tuple[tuple[int, ...], str], tuple[Tier, ...]] = {}

    def of(self, lawful: tuple[int, ...], origin: str) -> tuple[Tier, ...]:
        """Those of a route that may use the pools ``lawful`` from this origin."""
        key = (lawful, origin)
        if key not in self._made:
            self._made[key] = self._make(lawful, origin)
        return self._made[key]

    def _make(self, lawful: tuple[int, ...], origin: str) -> tuple[Tier, ...]:
        band_ms = self._policy.thresholds.latency_band_ms
        tiers: dict[tuple[int, int, float, int], list[int]] = {}
        for index in lawful:
            pool = self._policy.pools[index]
            band = int(pool.latency_ms.get(origin, UNKNOWN_LATENCY_MS) // band_ms)
            later = int(bool(self._first_refusal) and index not in self._first_refusal)
            tiers.setdefault((0, 0, 0.0, band), []).append(index)
            tiers.setdefault((1, later, self._price[index], band), []).append(index)
        return tuple(Tier(bool(key[0]), tuple(members)) for key, members in sorted(tiers.items()))


class _Routes:
    """Makes the rules of routes. What routes have in common is one object: at many pools it is large."""

    def __init__(self, policy: Policy, provider_index: dict[str, int], pool_index: dict[str, int]) -> None:
        self._provider_index = provider_index
        self._pool_index = pool_index
        self._tiers = _Tiers(policy)
        self._kinds = PoolKinds(policy)
        self._lawful: dict[bytes, tuple[int, ...]] = {}
        self._sets: dict[tuple[int, ...], frozenset[int]] = {}

    def of(self, workload: Workload, origin: Origin) -> RouteRules:
        """The rules of one route."""
        lawful = self._lawful_pools(workload, origin)
        lawful_set = self._sets.setdefault(lawful, frozenset(lawful))
        share_max = sorted(workload.provider_share_max.items())
        index_of = self._pool_index
        return RouteRules(
            name=f"{workload.id}/{origin.id}",
            workload=workload.id,
            origin=origin.id,
            criticality=workload.criticality,
            rank=CRITICALITIES.index(workload.criticality),
            lawful=lawful,
            lawful_set=lawful_set,
            tiers=self._tiers.of(lawful, origin.id),
            share_max={self._provider_index[name]: most for name, most in share_max},
            expected_units_per_s=workload.expected_units_per_s.get(origin.id, 0.0),
            last_resort=tuple(
                index_of[name] for name in workload.last_resort if index_of.get(name) in lawful_set
            ),
        )

    def _lawful_pools(self, workload: Workload, origin: Origin) -> tuple[int, ...]:
        """The same for all workloads that differ in nothing but what is no matter of law."""
        plain = replace(
            workload,
            id="",
            criticality=CRITICALITIES[0],
            provider_share_max={},
            expected_units_per_s={},
            last_resort=(),
        )
        key = _encode((plain, origin))
        if key not in self._lawful:
            self._lawful[key] = self._kinds.lawful(workload, origin)
        return self._lawful[key]


def compile_policy(policy: Policy) -> CompiledPolicy:
    """The policy by index. Takes longer than a decision, so callers that decide often keep the result."""
    pools = tuple(pool.id for pool in policy.pools)
    providers = tuple(provider.id for provider in policy.providers)
    groups = tuple(group.id for group in policy.quota_groups)
    pool_index = {name: index for index, name in enumerate(pools)}
    provider_index = {name: index for index, name in enumerate(providers)}
    group_index = {name: index for index, name in enumerate(groups)}
    provider_of = tuple(provider_index[pool.provider] for pool in policy.pools)
    groups_of = tuple(
        tuple(sorted({group_index[name] for name in pool.quota_groups if name in group_index}))
        for pool in policy.pools
    )
    making = _Routes(policy, provider_index, pool_index)
    routes = tuple(
        making.of(workload, origin)
        for workload in policy.workloads
        for origin in origins_of(policy, workload)
    )
    return CompiledPolicy(
        policy=policy,
        version=version_of(policy),
        pools=pools,
        pool_index=pool_index,
        providers=providers,
        provider_of=provider_of,
        pools_of=tuple(
            tuple(pool for pool, owner in enumerate(provider_of) if owner == provider)
            for provider in range(len(providers))
        ),
        groups=groups,
        groups_of=groups_of,
        group_sets=_group_sets(groups_of, len(groups)),
        routes=routes,
        route_index={(route.workload, route.origin): index for index, route in enumerate(routes)},
        by_rank=tuple(sorted(range(len(routes)), key=lambda index: (routes[index].rank, index))),
        infos=tuple(_info(pool) for pool in policy.pools),
    )


def _group_sets(groups_of: tuple[tuple[int, ...], ...], count: int) -> tuple[tuple[int, ...], ...]:
    """See ``CompiledPolicy.group_sets``."""
    larger = {
        part
        for groups in set(groups_of)
        for size in range(2, len(groups) + 1)
        for part in combinations(groups, size)
    }
    return (*((group,) for group in range(count)), *sorted(larger))


def without_share_limits(compiled: CompiledPolicy, providers: frozenset[int]) -> CompiledPolicy:
    """The same policy without the largest shares of these providers; the same object if there are none."""
    if not providers:
        return compiled
    routes = tuple(
        route._replace(share_max={p: share for p, share in route.share_max.items() if p not in providers})
        for route in compiled.routes
    )
    return compiled._replace(routes=routes)


def with_burst(
    compiled: CompiledPolicy, declined: frozenset[int], used_up: frozenset[str] = frozenset()
) -> CompiledPolicy:
    """The same policy while the holder of the first refusal gives no burst on the pools ``declined``, and
    what was committed to the providers ``used_up`` is used up; the same object without any."""
    if not declined and not used_up:
        return compiled
    tiers = _Tiers(compiled.policy, declined, used_up)
    routes = tuple(route._replace(tiers=tiers.of(route.lawful, route.origin)) for route in compiled.routes)
    return compiled._replace(routes=routes)


def with_pins(compiled: CompiledPolicy, pins: Mapping[str, frozenset[int]]) -> CompiledPolicy:
    """The same policy while workloads are pinned to pools; the same object if none is.

    A route keeps only those of its lawful pools that its workload is pinned to. One to which none of these
    may serve stays as it is, so that a pin never makes a pool lawful nor leaves a route without any.
    """
    if not pins:
        return compiled
    tiers = _Tiers(compiled.policy)
    return compiled._replace(
        routes=tuple(_pinned(tiers, route, pins.get(route.workload)) for route in compiled.routes)
    )


def _pinned(tiers: _Tiers, route: RouteRules, pools: frozenset[int] | None) -> RouteRules:
    lawful = tuple(pool for pool in route.lawful if pools is None or pool in pools)
    if lawful == route.lawful or not lawful:
        return route
    return route._replace(
        lawful=lawful,
        lawful_set=frozenset(lawful),
        tiers=tiers.of(lawful, route.origin),
        last_resort=tuple(pool for pool in route.last_resort if pool in lawful),
    )


class _RulesInForce(NamedTuple):
    """The last policy with exceptions, and what it was made of."""

    written: CompiledPolicy
    exceptions: tuple[frozenset[int], frozenset[int], Mapping[str, frozenset[int]], frozenset[str]]
    compiled: CompiledPolicy


def rules_in_force(
    written: CompiledPolicy,
    unshared: frozenset[int],
    declined: frozenset[int],
    pins: Mapping[str, frozenset[int]],
    memo: Memo,
    used_up: frozenset[str] = frozenset(),
) -> CompiledPolicy:
    """The policy as it is written, with the exceptions that hold now; the same object if there are none.

    ``unshared``: providers whose largest shares an operator overrides. ``declined``: pools on which the
    holder of the first refusal gives no burst. ``pins``: the pools that an operator pins a workload to.
    ``used_up``: providers whose commitments to spend are used up.
    """
    used_up = used_up & prepaid_providers(written.policy)
    if not unshared and not declined and not pins and not used_up:
        return written
    exceptions = (unshared, declined, pins, used_up)
    last = memo.last(_RulesInForce)
    if last is not None and last.written is written and last.exceptions == exceptions:
        return last.compiled
    compiled = with_burst(with_pins(without_share_limits(written, unshared), pins), declined, used_up)
    memo.keep(_RulesInForce(written, exceptions, compiled))
    return compiled


def prepaid_providers(policy: Policy, used_up: frozenset[str] = frozenset()) -> frozenset[str]:
    """Providers whose burst counts as free, since a commitment to spend is paid whether used or not: until it
    is ``used_up``."""
    return frozenset(spend.provider for spend in policy.committed_spend) - used_up


def _info(pool: Pool) -> PoolInfo:
    return PoolInfo(
        pool.id,
        pool.geography,
        pool.url,
        adapter=pool.adapter,
        credential=pool.credential,
        models=pool.models,
    )
