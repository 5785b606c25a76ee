"""What each pool may carry: the tightest of stated limits, quota groups and what throttling shows.

A stated capacity holds until its expiry; then the policy's committed capacity is assumed, and nothing is
moved onto the pool until somebody states it anew. Where no source is registered that could state it, the
policy's figure stands.
"""

from typing import NamedTuple

from controller.core.clients import Clients
from controller.core.compiled import Compiled
from controller.core.evidence import Evidence
from controller.core.policy import Policy, Thresholds
from controller.core.reasons import Reason
from streams.rows import Row
from tieline.events import Capacity, in_scope

STATING_KINDS = ("fleet", "quota")
THROTTLED_FLOOR = 0.1  # of the limit: throttling alone never takes a pool to nothing


class PoolCap(NamedTuple):
    """Limits of one pool in units/s, before headroom and ramp. ``fresh``: load may be moved onto it."""

    limit: float
    committed: float
    fresh: bool
    reason: Reason
    until_ms: int | None = None


class Caps(NamedTuple):
    """By pool index; ``groups`` by group index, in units/s."""

    pools: list[PoolCap]
    groups: list[float]


class _Stated(NamedTuple):
    limit: float
    committed: float | None
    until_ms: int


def capacities(rules: Compiled, rows: tuple[Row, ...], evidence: dict[str, Evidence], now_ms: int) -> Caps:
    """What every pool and quota group may carry now."""
    stated, groups, expired = _stated(rows, now_ms)
    policy = rules.policy
    could_be_stated = _could_be_stated(policy)
    pools = []
    for index, pool in enumerate(policy.pools):
        said = stated.get(pool.id)
        if said is not None:
            committed = pool.committed_units_per_s if said.committed is None else said.committed
            cap = PoolCap(said.limit, min(committed, said.limit), True, Reason.CAPACITY_STATED, said.until_ms)
        else:
            reason = Reason.CAPACITY_EXPIRED if pool.id in expired else Reason.CAPACITY_COMMITTED
            cap = PoolCap(
                pool.assumed_units_per_s, pool.committed_units_per_s, not could_be_stated[index], reason
            )
        seen = evidence.get(pool.id)
        pools.append(_throttled(cap, seen.clients, policy.thresholds) if seen and seen.clients else cap)
    limits = [
        min(group.limit_units_per_s, groups.get(group.id, group.limit_units_per_s))
        for group in policy.quota_groups
    ]
    return Caps(pools, limits)


def _stated(rows: tuple[Row, ...], now_ms: int) -> tuple[dict[str, _Stated], dict[str, float], set[str]]:
    """Of several sources the tightest counts."""
    stated: dict[str, _Stated] = {}
    groups: dict[str, float] = {}
    expired: set[str] = set()
    for row in rows:
        event = row.event
        if not isinstance(event, Capacity):
            continue
        if event.expires_ms <= now_ms:
            expired.update(said.pool for said in event.pools)
            continue
        for said in event.pools:
            held = stated.get(said.pool)
            if held is None or said.limit_units_per_s < held.limit:
                new = _Stated(said.limit_units_per_s, said.committed_units_per_s, event.expires_ms)
                stated[said.pool] = new
        for group in event.groups:
            limit = group.limit_units_per_s
            groups[group.group] = min(groups.get(group.group, limit), limit)
    return stated, groups, expired


_kept: dict[int, tuple[Policy, tuple[bool, ...]]] = {}


def _could_be_stated(policy: Policy) -> tuple[bool, ...]:
    """Per pool: whether a registered source may state its capacity. Kept by the policy's identity."""
    held = _kept.get(id(policy))
    if held is None or held[0] is not policy:
        scopes = [source.scope for source in policy.sources if source.kind in STATING_KINDS]
        answer = tuple(any(s == "*" or in_scope(pool.id, s) for s in scopes) for pool in policy.pools)
        _kept.clear()
        held = _kept[id(policy)] = (policy, answer)
    return held[1]


def _throttled(cap: PoolCap, seen: Clients, limits: Thresholds) -> PoolCap:
    """429 speaks about capacity: what was served while they came is what there is."""
    attempts = seen.requests + seen.throttled
    if attempts < limits.requests_min or seen.throttled < limits.throttled_share * attempts:
        return cap
    served = max(seen.units * 1000 / seen.span_ms, cap.limit * THROTTLED_FLOOR)
    if served >= cap.limit:
        return cap
    return PoolCap(served, min(cap.committed, served), cap.fresh, Reason.THROTTLED, cap.until_ms)
