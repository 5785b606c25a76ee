"""What each pool may carry: the tightest of its limits, its quota group's, and what throttling shows.

Limits of requests/s and of requests in flight are turned into units/s by the size that the pool's requests
have and the time that they take. Capacity that is new (a lump) comes into use by the steps of a ramp.
"""

from collections.abc import Iterator
from typing import NamedTuple

from msgspec.structs import replace

from controller.core.capacity.stated import Limits, Said, Stated, could_be_stated, limits_of
from controller.core.evidence.client_sums import ClientOutcomes
from controller.core.model.memo import Memo
from controller.core.model.memory import PoolMemory
from controller.core.model.reasons import Reason, State
from controller.core.policy.compiled import CompiledPolicy
from controller.core.policy.policy import Policy
from controller.core.policy.thresholds import Thresholds

UNBOUNDED = float("inf")  # units/s, where nothing limits them


class PoolCap(NamedTuple):
    """Limits of one pool in units/s, before headroom and ramp. ``fresh``: load may be moved onto it."""

    limit: float
    committed: float
    fresh: bool
    reason: Reason
    until_ms: int | None = None

    def within(self, limit: float, reason: Reason) -> "PoolCap":
        """The same, no larger than ``limit``."""
        if limit >= self.limit:
            return self
        return self._replace(limit=limit, committed=min(self.committed, limit), reason=reason)


class Caps(NamedTuple):
    """By pool index; ``groups`` by group index, in units/s. ``coming``: by pool index, a smaller limit that
    will hold soon."""

    pools: list[PoolCap]
    groups: list[float]
    coming: dict[int, float]


def capacities(
    compiled: CompiledPolicy, said: Stated, memory: dict[str, PoolMemory], now_ms: int, memo: Memo
) -> Caps:
    """What every pool and quota group may carry now; the same object while nothing else is stated and no pool
    is throttled, ramped, or limited by its requests."""
    base = memo.once(_base, said, compiled.policy, memo.once(could_be_stated, compiled.policy))
    pools = base.pools
    for index, held in memo.once(_bound, compiled.pools, memory):
        cap = _ramped(base.pools[index], held, compiled.policy.thresholds)
        for limit, reason in _by_requests(_limits(compiled, said, index), held):
            cap = cap.within(limit, reason)
        cap = _throttled(cap, held, compiled.policy.thresholds, now_ms)
        if cap is not base.pools[index]:
            pools = list(pools) if pools is base.pools else pools
            pools[index] = cap
    groups = _groups(compiled, said, memory, base.groups)
    return base if pools is base.pools and groups is base.groups else Caps(pools, groups, base.coming)


def _bound(names: tuple[str, ...], memory: dict[str, PoolMemory]) -> list[tuple[int, PoolMemory]]:
    """The pools of which something is remembered that may limit them."""
    pairs = ((index, memory[name]) for index, name in enumerate(names) if name in memory)
    return [
        (index, held)
        for index, held in pairs
        if held.throttled_ms or held.lump_since_ms or held.units_per_request
    ]


def _base(said: Stated, policy: Policy, could: tuple[bool, ...]) -> Caps:
    """What is stated or assumed of each pool, whatever is remembered of it."""
    pools = []
    for index, pool in enumerate(policy.pools):
        assumed, committed = pool.assumed_units_per_s, pool.committed_units_per_s
        if (one := said.pools.get(index)) is not None:
            limit = one.limits.units
            paid = min(committed if one.committed is None else one.committed, limit)
            fresh = index not in said.late
            until_ms = one.until_ms if fresh else None
            pools.append(PoolCap(limit, paid, fresh, Reason.CAPACITY_STATED, until_ms))
        else:
            expired = index in said.expired
            reason = Reason.CAPACITY_EXPIRED if expired else Reason.CAPACITY_COMMITTED
            pools.append(PoolCap(assumed, committed, not could[index], reason))
    return Caps(pools, [limits.units for limits in said.groups], said.coming)


def _limits(compiled: CompiledPolicy, said: Stated, index: int) -> Limits:
    """The policy's limits of requests, or those stated in their place."""
    own = limits_of(compiled.policy.pools[index])
    if (one := said.pools.get(index)) is None:
        return own
    requests, slots = one.limits.requests, one.limits.slots
    return Limits(
        one.limits.units,
        own.requests if requests is None else requests,
        own.slots if slots is None else slots,
    )


def _by_requests(limits: Limits, held: PoolMemory) -> Iterator[tuple[float, Reason]]:
    """Limits of requests as units/s, as far as it is known what a request is."""
    if limits.requests is not None and held.units_per_request:
        yield limits.requests * held.units_per_request, Reason.REQUESTS_LIMIT
    if limits.slots is not None and held.units_per_slot:
        yield limits.slots * held.units_per_slot, Reason.CONCURRENCY_LIMIT


def _groups(
    compiled: CompiledPolicy, said: Stated, memory: dict[str, PoolMemory], units: list[float]
) -> list[float]:
    """Limits of quota groups in units/s. Whatever mix of its pools serves, the pool with the smallest
    requests keeps the group within its limit of requests. The very same list if that changes nothing."""
    found = units
    for group, limits in enumerate(said.groups):
        if limits.requests is None and limits.slots is None:
            continue
        members = [
            name for name, owner in zip(compiled.pools, compiled.group_of, strict=True) if owner == group
        ]
        known = [held for held in map(memory.get, members) if held is not None and held.units_per_request]
        tight = min((by for held in known for by, _ in _by_requests(limits, held)), default=UNBOUNDED)
        if tight < found[group]:
            found = list(found) if found is units else found
            found[group] = tight
    return found


def limited_by_requests(compiled: CompiledPolicy, said: Stated) -> set[int]:
    """The pools of which it must be known what a request is."""
    groups = {g for g, limits in enumerate(said.groups) if (limits.requests, limits.slots) != (None, None)}
    return {
        index
        for index, pool in enumerate(compiled.policy.pools)
        if (pool.requests_per_s, pool.concurrency) != (None, None)
        or compiled.group_of[index] in groups
        or (index in said.pools and said.pools[index].limits[1:] != (None, None))
    }


def note_requests(held: PoolMemory, seen: ClientOutcomes | None, limits: Thresholds) -> PoolMemory:
    """Units per request, and units/s per request in flight, as clients meet them; the same object while
    they are about what they were."""
    if seen is None or seen.ok < limits.requests_min or seen.units <= 0:
        return held
    size = seen.units / seen.ok
    slot = seen.units / (seen.span_ms / 1_000) / seen.in_flight if seen.in_flight else held.units_per_slot
    if _is_same(size, held.units_per_request, limits) and _is_same(slot, held.units_per_slot, limits):
        return held
    return replace(held, units_per_request=size, units_per_slot=slot)


def _is_same(now: float, before: float, limits: Thresholds) -> bool:
    return abs(now - before) <= limits.same_share * before


def note_throttling(
    held: PoolMemory, seen: ClientOutcomes | None, limits: Thresholds, now_ms: int
) -> PoolMemory:
    """429 speaks about capacity: what was served while they came is what there is. Remembered for a while,
    since a pool that is no longer sent too much no longer says so; the same object if nothing is new."""
    if seen is not None and seen.throttled:
        attempts = seen.requests + seen.throttled
        if attempts >= limits.requests_min and seen.throttled >= limits.throttled_share * attempts:
            now = seen.throttled_served
            moved = abs(now - held.throttled_units_per_s) > limits.same_share * now
            if now > 0 and (moved or now_ms - held.throttled_ms >= limits.throttled_renew_ms):
                return replace(held, throttled_units_per_s=now, throttled_ms=now_ms)
            return held
    if (
        held.throttled_ms
        and now_ms - held.throttled_ms > limits.throttled_forget_factor * limits.throttled_hold_ms
    ):
        return replace(held, throttled_units_per_s=0.0, throttled_ms=0)
    return held


def _throttled(cap: PoolCap, held: PoolMemory, limits: Thresholds, now_ms: int) -> PoolCap:
    """The tighter of what is stated and what throttling showed, which grows back step by step."""
    if not held.throttled_ms:
        return cap
    over_ms = now_ms - held.throttled_ms - limits.throttled_hold_ms
    steps = max(0, over_ms // max(1, limits.shift_period_ms) + 1)
    shown = held.throttled_units_per_s * limits.throttled_regain**steps
    return cap.within(max(shown, cap.limit * limits.throttled_floor_share), Reason.THROTTLED)


def is_news(held: PoolMemory, said: Said, known: float) -> bool:
    """Whether what is stated may change what is remembered of a pool's limit: a quick look."""
    was = held.limit_units_per_s
    return said.limits.units != (known if was < 0 else was) or bool(
        held.lump_since_ms + held.smaller_since_ms
    )


def note_lump(held: PoolMemory, said: Said, known: float, limits: Thresholds, now_ms: int) -> PoolMemory:
    """Capacity that appears in a lump is a promise that nobody has tried: the known part is used at once,
    the rest by the steps of the ramp, each only while the pool is healthy. ``known`` is the policy's limit,
    for a pool of which nothing was stated yet. The same object if nothing is new."""
    now, was = said.limits.units, known if held.limit_units_per_s < 0 else held.limit_units_per_s
    if now > was * (1 + limits.lump_share):
        return _climbed(held, was, now, limits, now_ms)
    if now >= was or _is_same(now, was, limits):
        if _is_same(now, was, limits) and not (held.smaller_since_ms or held.lump_since_ms):
            return held
        return replace(held, limit_units_per_s=max(now, was), smaller_since_ms=0, lump_since_ms=0)
    if not held.smaller_since_ms or held.lump_since_ms:
        return replace(held, limit_units_per_s=was, smaller_since_ms=now_ms, lump_since_ms=0)
    if now_ms - held.smaller_since_ms >= limits.lump_known_ms:
        return replace(held, limit_units_per_s=now, smaller_since_ms=0)
    return held


def _climbed(held: PoolMemory, was: float, now: float, limits: Thresholds, now_ms: int) -> PoolMemory:
    """The first step of a lump, or the next; after the last all of it is known."""
    if not held.lump_since_ms:
        return replace(held, limit_units_per_s=was, smaller_since_ms=0, lump_step=0, lump_since_ms=now_ms)
    if now_ms - held.lump_since_ms < limits.ramp_step_min_ms or held.state is not State.HEALTHY:
        return held
    if held.lump_step + 2 >= len(limits.ramp_steps):
        return replace(held, limit_units_per_s=now, lump_step=0, lump_since_ms=0)
    return replace(held, lump_step=held.lump_step + 1, lump_since_ms=now_ms)


def _ramped(cap: PoolCap, held: PoolMemory, limits: Thresholds) -> PoolCap:
    """What was known before, and of the lump as much as its step allows."""
    if not held.lump_since_ms or cap.reason is not Reason.CAPACITY_STATED:
        return cap
    lump = cap.limit - held.limit_units_per_s
    step = limits.ramp_steps[min(held.lump_step, len(limits.ramp_steps) - 1)]
    return cap.within(held.limit_units_per_s + max(lump, 0.0) * step, Reason.CAPACITY_RAMPED)
