"""What each pool may carry: the tightest of stated limits, quota groups and what throttling shows.

A stated capacity holds until its expiry; then the policy's committed capacity is assumed, and nothing is
moved onto the pool until somebody states it anew. Where no source is registered that could state it, the
policy's figure stands.
"""

from typing import NamedTuple

from msgspec.structs import replace

from controller.core.clients import Clients
from controller.core.compiled import Compiled
from controller.core.memory import PoolMemory
from controller.core.policy import Policy, Thresholds
from controller.core.reasons import Reason
from streams.rows import Row
from tieline.events import Capacity, in_scope

STATING_KINDS = ("fleet", "quota")
SAME_SHARE = 0.1  # a smaller difference is the same finding
RENEW_MS = 5_000
FOREVER_MS = 86_400_000
FORGET_AFTER = 10  # x throttled_hold_ms
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


def capacities(rules: Compiled, rows: tuple[Row, ...], memory: dict[str, PoolMemory], now_ms: int) -> Caps:
    """What every pool and quota group may carry now. The very same answer while no statement is new, none
    expires and no pool is throttled."""
    throttled = any(held.throttled_ms for held in memory.values())
    if _last and not throttled and _last[0].holds(rules, rows, now_ms):
        return _last[0].caps
    caps, until_ms = _capacities(rules, rows, memory, now_ms)
    _last[:] = [] if throttled else [_Kept(rules, rows, now_ms, until_ms, caps)]
    return caps


def _capacities(
    rules: Compiled, rows: tuple[Row, ...], memory: dict[str, PoolMemory], now_ms: int
) -> tuple[Caps, int]:
    """And until when this holds by itself."""
    stated, groups, expired = _stated(rows, now_ms)
    policy = rules.policy
    pools = list(_assumed(policy))
    for name in expired:
        if (index := rules.pool_index.get(name)) is not None:
            pools[index] = pools[index]._replace(reason=Reason.CAPACITY_EXPIRED)
    for name, said in stated.items():
        if (index := rules.pool_index.get(name)) is not None:
            promised = policy.pools[index].committed_units_per_s
            committed = min(promised if said.committed is None else said.committed, said.limit)
            pools[index] = PoolCap(said.limit, committed, True, Reason.CAPACITY_STATED, said.until_ms)
    for index, name in enumerate(rules.pools):
        held = memory.get(name)
        if held is not None and held.throttled_ms:
            pools[index] = _throttled(pools[index], held, policy.thresholds, now_ms)
    limits = [
        min(group.limit_units_per_s, groups.get(group.id, group.limit_units_per_s))
        for group in policy.quota_groups
    ]
    times = [row.event.expires_ms for row in rows if isinstance(row.event, Capacity)]
    return Caps(pools, limits), min((at for at in times if at > now_ms), default=now_ms + FOREVER_MS)


class _Kept(NamedTuple):
    """The last answer, and what it was the answer to."""

    rules: Compiled
    rows: tuple[Row, ...]
    from_ms: int
    until_ms: int
    caps: Caps

    def holds(self, rules: Compiled, rows: tuple[Row, ...], now_ms: int) -> bool:
        if (
            rules is not self.rules
            or len(rows) != len(self.rows)
            or not self.from_ms <= now_ms < self.until_ms
        ):
            return False
        return all(row is old for row, old in zip(rows, self.rows, strict=True))


_last: list[_Kept] = []


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


_kept: dict[int, tuple[Policy, tuple[PoolCap, ...]]] = {}


def _assumed(policy: Policy) -> tuple[PoolCap, ...]:
    """Per pool what holds while nobody states it: the policy's figure, fresh only where no registered source
    could. Kept by the policy's identity."""
    held = _kept.get(id(policy))
    if held is None or held[0] is not policy:
        scopes = [source.scope for source in policy.sources if source.kind in STATING_KINDS]
        answer = tuple(
            PoolCap(
                pool.assumed_units_per_s,
                pool.committed_units_per_s,
                not any(in_scope(pool.id, s) for s in scopes),
                Reason.CAPACITY_COMMITTED,
            )
            for pool in policy.pools
        )
        _kept.clear()
        held = _kept[id(policy)] = (policy, answer)
    return held[1]


def note_throttling(held: PoolMemory, seen: Clients | None, limits: Thresholds, now_ms: int) -> PoolMemory:
    """429 speaks about capacity: what was served while they came is what there is. Remembered for a while,
    since a pool that is no longer sent too much no longer says so; the same object if nothing is new."""
    if seen is not None and seen.throttled:
        attempts = seen.requests + seen.throttled
        if attempts >= limits.requests_min and seen.throttled >= limits.throttled_share * attempts:
            now = seen.throttled_served
            moved = abs(now - held.throttled_units_per_s) > SAME_SHARE * now
            if now > 0 and (moved or now_ms - held.throttled_ms >= RENEW_MS):
                return replace(held, throttled_units_per_s=now, throttled_ms=now_ms)
            return held
    if held.throttled_ms and now_ms - held.throttled_ms > FORGET_AFTER * limits.throttled_hold_ms:
        return replace(held, throttled_units_per_s=0.0, throttled_ms=0)
    return held


def _throttled(cap: PoolCap, held: PoolMemory, limits: Thresholds, now_ms: int) -> PoolCap:
    """The tighter of what is stated and what throttling showed, which grows back step by step."""
    if not held.throttled_ms:
        return cap
    over_ms = now_ms - held.throttled_ms - limits.throttled_hold_ms
    steps = max(0, over_ms // max(1, limits.shift_period_ms) + 1)
    shown = held.throttled_units_per_s * limits.throttled_regain**steps
    shown = max(shown, cap.limit * THROTTLED_FLOOR)
    if shown >= cap.limit:
        return cap
    return PoolCap(shown, min(cap.committed, shown), cap.fresh, Reason.THROTTLED, cap.until_ms)
