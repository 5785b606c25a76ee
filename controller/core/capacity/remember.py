"""What is remembered of each pool's capacity and usual times from one decision to the next.

A pool that is no longer sent too much no longer answers 429, a limit that just grew looks like any other, and
the size of a request shows only while requests are served. So what was met is noted in the pool's memory.
"""

from typing import NamedTuple

from msgspec.structs import replace

from controller.core.capacity.stated import StatedCapacity, StatedPool, collapsed_pools
from controller.core.capacity.usable import limited_by_policy, limited_by_requests, regained
from controller.core.evidence.baseline import remember_usual
from controller.core.evidence.client_sums import ClientOutcomes
from controller.core.evidence.gather import Evidence
from controller.core.model.memo import Memo, changed_keys
from controller.core.model.memory import PoolMemory
from controller.core.model.reasons import State
from controller.core.policy.compiled import CompiledPolicy
from controller.core.policy.thresholds import Thresholds

NEW = PoolMemory()


class _Stated(NamedTuple):
    """All that is asked of the stated capacity here. ``sized``: pools of which the size of a request must be
    known. ``collapsed``: pools that can give next to nothing. Both by index."""

    capacity: StatedCapacity
    sized: frozenset[int]
    collapsed: frozenset[int]

    def changed_pools(self, now: "_Stated") -> frozenset[int]:
        """The pools of which something else is stated now, by index; when it ends does not matter here."""
        if now.capacity is self.capacity:
            return frozenset()
        before, after = self.capacity.pools, now.capacity.pools
        limits = {
            index
            for index in before.keys() | after.keys()
            if index not in before or index not in after or before[index].limits != after[index].limits
        }
        return (self.sized ^ now.sized).union(self.collapsed ^ now.collapsed, limits)


class _LastMemories(NamedTuple):
    """What the last answer was the answer to.

    ``restless``: pools to look at in every step, as time alone may change what is remembered of them, or
    something just did. All others stay as they are until ``until_ms`` while the same is known of them.
    """

    compiled: CompiledPolicy
    stated: _Stated
    before: dict[str, PoolMemory]
    evidence: dict[str, Evidence]
    restless: frozenset[str]
    until_ms: int | None

    def pools_to_look_at(
        self,
        compiled: CompiledPolicy,
        stated: _Stated,
        before: dict[str, PoolMemory],
        evidence: dict[str, Evidence],
        now_ms: int,
    ) -> set[str]:
        """The names of the pools of which something new may have to be remembered."""
        is_over = self.until_ms is not None and self.until_ms <= now_ms
        if is_over or compiled.policy is not self.compiled.policy:
            return set(compiled.pools)
        news = changed_keys(self.before, before) | changed_keys(self.evidence, evidence) | self.restless
        news = {name for name in news if name in compiled.pool_index}
        return news.union(compiled.pools[index] for index in self.stated.changed_pools(stated))


def remember(
    compiled: CompiledPolicy,
    before: dict[str, PoolMemory],
    evidence: dict[str, Evidence],
    capacity: StatedCapacity,
    now_ms: int,
    memo: Memo,
) -> dict[str, PoolMemory]:
    """Every pool's memory by name, in the policy's order, with what was met and stated since ``before``.

    The same object if nothing is new. Pools of which nothing new is known are not looked at.
    """
    by_policy = memo.once(limited_by_policy, compiled.policy)
    stated = _Stated(
        capacity,
        memo.once(limited_by_requests, compiled, capacity, by_policy),
        memo.once(collapsed_pools, compiled.policy, capacity),
    )
    last = memo.last(_LastMemories)
    names = set(compiled.pools)
    if last is not None:
        names = last.pools_to_look_at(compiled, stated, before, evidence, now_ms)
    changed: dict[str, PoolMemory] = {}
    restless: set[str] = set()
    nobody_heard = all(pool_evidence.clients is None for pool_evidence in evidence.values())
    for name in names:
        was, index = before.get(name, NEW), compiled.pool_index[name]
        if nobody_heard and (was.throttled_ms or was.near_limit_ms):
            was = hold_met_limits(was, compiled.policy.thresholds, now_ms)
        now = _remembered(compiled, index, was, evidence.get(name), stated, now_ms)
        limit = compiled.policy.pools[index].limit_units_per_s if index in stated.collapsed else 0.0
        now = remember_carried(now, evidence.get(name), limit, compiled.policy.thresholds)
        if now is not before.get(name, NEW):
            changed[name] = now
        if (
            now is not was
            or now.throttled_ms
            or now.near_limit_ms
            or now.lump_since_ms
            or now.smaller_since_ms
        ):
            restless.add(name)
    memo.keep(
        _LastMemories(
            compiled,
            stated,
            before,
            evidence=evidence,
            restless=frozenset(restless),
            until_ms=_usual_due_ms(before, compiled.policy.thresholds, now_ms, memo),
        )
    )
    if tuple(before) != compiled.pools:
        before = {name: before.get(name, NEW) for name in compiled.pools}
    return {**before, **changed} if changed else before


def _remembered(
    compiled: CompiledPolicy,
    index: int,
    memory: PoolMemory,
    evidence: Evidence | None,
    stated: _Stated,
    now_ms: int,
) -> PoolMemory:
    """One pool's memory."""
    thresholds, clients = compiled.policy.thresholds, evidence.clients if evidence else None
    if memory.throttled_ms or (clients and clients.throttled):
        memory = remember_throttling(memory, clients, thresholds, now_ms)
    if memory.near_limit_ms or (clients and clients.near_limit_served):
        memory = remember_near_limit(memory, clients, thresholds, now_ms)
    if not memory.usual_p50_ms or now_ms - memory.usual_ms >= thresholds.usual_period_ms:
        memory = remember_usual(memory, clients, thresholds, now_ms)
    if index in stated.sized:
        memory = remember_requests(memory, clients, thresholds)
    known_limit = compiled.policy.pools[index].limit_units_per_s
    statement = stated.capacity.pools.get(index)
    if statement is not None and statement.accepted:  # what it is added to is known, and nothing else is
        known_limit = statement.limits.units - statement.accepted
    if statement is not None and _may_change_limit(memory, statement, known_limit):
        memory = remember_limit(memory, statement.limits.units, known_limit, thresholds, now_ms)
    return memory


class _UsualDue(NamedTuple):
    """When the first pool's usual times may change again, by these memories and thresholds."""

    before: dict[str, PoolMemory]
    thresholds: Thresholds
    due_ms: int | None


def _usual_due_ms(
    before: dict[str, PoolMemory], thresholds: Thresholds, now_ms: int, memo: Memo
) -> int | None:
    """When a pool's usual times may next change; looked up anew once that is over."""
    last = memo.last(_UsualDue)
    is_same = last is not None and last.before is before and last.thresholds is thresholds
    if last is not None and is_same and (last.due_ms is None or now_ms < last.due_ms):
        return last.due_ms
    times = [pool.usual_ms + thresholds.usual_period_ms for pool in before.values() if pool.usual_p50_ms]
    due_ms = min((at for at in times if at > now_ms), default=None)
    memo.keep(_UsualDue(before, thresholds, due_ms))
    return due_ms


def remember_requests(
    memory: PoolMemory, clients: ClientOutcomes | None, thresholds: Thresholds
) -> PoolMemory:
    """With units per request, and units/s per request in flight, as clients meet them.

    The same object while they are about what they were.
    """
    if clients is None or clients.ok < thresholds.requests_min or clients.units <= 0:
        return memory
    size, slot = clients.units / clients.ok, memory.units_per_slot
    if clients.in_flight_total:
        slot = clients.units / clients.in_flight_total
    same_size = _is_same(size, memory.units_per_request, thresholds)
    if same_size and _is_same(slot, memory.units_per_slot, thresholds):
        return memory
    return replace(memory, units_per_request=size, units_per_slot=slot)


def remember_throttling(
    memory: PoolMemory, clients: ClientOutcomes | None, thresholds: Thresholds, now_ms: int
) -> PoolMemory:
    """With what was served while 429s came, as long as that limits the pool. The same object if that is not
    new."""
    if clients is not None and clients.throttled:
        attempts = clients.requests + clients.throttled
        enough = attempts >= thresholds.requests_min
        if enough and clients.throttled >= thresholds.throttled_share * attempts:
            served = clients.throttled_served
            if _is_news(served, memory.throttled_units_per_s, memory.throttled_ms, thresholds, now_ms):
                return replace(memory, throttled_units_per_s=served, throttled_ms=now_ms)
            return memory
    if _is_past(memory.throttled_ms, thresholds, now_ms):
        return replace(memory, throttled_units_per_s=0.0, throttled_ms=0)
    return memory


def remember_near_limit(
    memory: PoolMemory, clients: ClientOutcomes | None, thresholds: Thresholds, now_ms: int
) -> PoolMemory:
    """The same with what was served while rate-limit headers said that little was left.

    They speak of one secret's limit. So they count for the pool only where the clients that they speak to
    carry nearly all of its load, as each client's share is weighted by its load in the sum. A limit by the
    minute refills slowly, so little is left for a while after load has gone: then less that is served shows
    no smaller limit. If it is smaller, 429 answers will say so.
    """
    if clients is not None and clients.near_limit_served > 0 and clients.requests >= thresholds.requests_min:
        served, at_ms = clients.near_limit_served, memory.near_limit_ms
        if at_ms and now_ms - at_ms <= thresholds.throttled_hold_ms:
            served = max(served, memory.near_limit_units_per_s)
        if _is_news(served, memory.near_limit_units_per_s, at_ms, thresholds, now_ms):
            return replace(memory, near_limit_units_per_s=served, near_limit_ms=now_ms)
        return memory
    if _is_past(memory.near_limit_ms, thresholds, now_ms):
        return replace(memory, near_limit_units_per_s=0.0, near_limit_ms=0)
    return memory


def hold_met_limits(memory: PoolMemory, thresholds: Thresholds, now_ms: int) -> PoolMemory:
    """With limits that were met held where they are, while no client is heard: nobody could say that they are
    met again. The same object until they would grow back."""
    held_until_ms = thresholds.throttled_hold_ms - thresholds.throttled_renew_ms
    if memory.throttled_ms and now_ms - memory.throttled_ms >= held_until_ms:
        units = regained(memory.throttled_units_per_s, memory.throttled_ms, thresholds, now_ms)
        memory = replace(memory, throttled_units_per_s=units, throttled_ms=now_ms)
    if memory.near_limit_ms and now_ms - memory.near_limit_ms >= held_until_ms:
        units = regained(memory.near_limit_units_per_s, memory.near_limit_ms, thresholds, now_ms)
        memory = replace(memory, near_limit_units_per_s=units, near_limit_ms=now_ms)
    return memory


def _is_news(served: float, before: float, at_ms: int, thresholds: Thresholds, now_ms: int) -> bool:
    """Whether what was served at a limit is to be remembered: it moved, or the last time is long ago."""
    moved = abs(served - before) > thresholds.same_share * served
    return served > 0 and (moved or now_ms - at_ms >= thresholds.throttled_renew_ms)


def _is_past(at_ms: int, thresholds: Thresholds, now_ms: int) -> bool:
    forget_after_ms = thresholds.throttled_forget_factor * thresholds.throttled_hold_ms
    return at_ms > 0 and now_ms - at_ms > forget_after_ms


def remember_carried(
    memory: PoolMemory, evidence: Evidence | None, limit: float, thresholds: Thresholds
) -> PoolMemory:
    """With the most that clients are served there, up to ``limit`` in units/s, the policy's, while sources
    state that the pool can give next to nothing; else ``limit`` is 0. The same object while that hardly
    grows."""
    if not limit:
        return replace(memory, carried_units_per_s=0.0) if memory.carried_units_per_s else memory
    clients = evidence.clients if evidence else None
    if clients is None or clients.throttled or clients.failing_share >= thresholds.failing_share_degraded:
        return memory
    served = min(clients.units / (clients.span_ms / 1_000), limit)
    if served <= memory.carried_units_per_s * (1 + thresholds.overload_tolerance):
        return memory
    return replace(memory, carried_units_per_s=served)


def remember_limit(
    memory: PoolMemory, limit: float, policy_limit: float, thresholds: Thresholds, now_ms: int
) -> PoolMemory:
    """With which part of the stated ``limit`` is known, and which is new and climbs the ramp.

    Until something was stated, the limit of the policy is the known one. A smaller limit is known only once
    it was stated for ``lump_known_ms``, so that a limit which comes back soon is not new. The same object if
    nothing changes.
    """
    known_limit = policy_limit if memory.limit_units_per_s < 0 else memory.limit_units_per_s
    if limit > known_limit * (1 + thresholds.lump_share):
        return _climb(memory, known_limit, limit, thresholds, now_ms)
    if limit >= known_limit or _is_same(limit, known_limit, thresholds):
        is_settled = not (memory.smaller_since_ms or memory.lump_since_ms)
        if _is_same(limit, known_limit, thresholds) and is_settled:
            return memory
        return replace(memory, limit_units_per_s=max(limit, known_limit), smaller_since_ms=0, lump_since_ms=0)
    if not memory.smaller_since_ms or memory.lump_since_ms:
        return replace(memory, limit_units_per_s=known_limit, smaller_since_ms=now_ms, lump_since_ms=0)
    if now_ms - memory.smaller_since_ms >= thresholds.lump_known_ms:
        return replace(memory, limit_units_per_s=limit, smaller_since_ms=0)
    return memory


def _climb(
    memory: PoolMemory, known_limit: float, limit: float, thresholds: Thresholds, now_ms: int
) -> PoolMemory:
    """The first step of new capacity, or the next one; after the last all of it is known."""
    if not memory.lump_since_ms:
        return replace(
            memory, limit_units_per_s=known_limit, smaller_since_ms=0, lump_step=0, lump_since_ms=now_ms
        )
    has_rested = now_ms - memory.lump_since_ms >= thresholds.ramp_step_min_ms
    if not has_rested or memory.state is not State.HEALTHY:
        return memory
    if memory.lump_step + 2 >= len(thresholds.ramp_steps):
        return replace(memory, limit_units_per_s=limit, lump_step=0, lump_since_ms=0)
    return replace(memory, lump_step=memory.lump_step + 1, lump_since_ms=now_ms)


def _may_change_limit(memory: PoolMemory, statement: StatedPool, policy_limit: float) -> bool:
    """Whether what is stated may change what is remembered of the limit: a quick look."""
    known_limit = policy_limit if memory.limit_units_per_s < 0 else memory.limit_units_per_s
    return statement.limits.units != known_limit or bool(memory.lump_since_ms + memory.smaller_since_ms)


def _is_same(now: float, before: float, thresholds: Thresholds) -> bool:
    return abs(now - before) <= thresholds.same_share * before
