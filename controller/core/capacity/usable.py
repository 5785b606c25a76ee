"""What each pool may carry: the tightest of its own limits, its quota groups', and what throttling shows.

Limits of requests/s and of requests in flight become units/s by the size that the pool's requests have and
the time that they take. Of capacity that is new only a part counts, see remember.py.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from controller.core.capacity.stated import (
    LoadLimits,
    StatedCapacity,
    collapsed_groups,
    could_be_stated,
    policy_limits,
)
from controller.core.model.memo import Memo
from controller.core.model.memory import PoolMemory
from controller.core.model.reasons import Reason
from controller.core.policy.compiled import CompiledPolicy
from controller.core.policy.policy import Policy, Pool
from controller.core.policy.thresholds import Thresholds

REGAIN_STEPS_MAX = 10  # after so many a limit that was met has grown beyond any other
UNBOUNDED = float("inf")  # units/s, where nothing limits them
RAMPED_REASONS = (Reason.CAPACITY_STATED, Reason.CAPACITY_ACCEPTED, Reason.CAPACITY_EXPIRED)


class PoolCap(NamedTuple):
    """The limit of one pool in units/s before headroom and ramp, and which reason set it.

    ``committed``: the part of it that is paid for. ``fresh``: load may be moved onto the pool. ``carried``:
    what clients are served there although sources state that it can give next to nothing.
    """

    limit: float
    committed: float
    fresh: bool
    reason: Reason
    until_ms: int | None = None
    carried: float = 0.0

    def within(self, limit: float, reason: Reason) -> "PoolCap":
        """The same, no larger than ``limit``; the same object if it is within it."""
        if limit >= self.limit:
            return self
        return self._replace(limit=limit, committed=min(self.committed, limit), reason=reason)


class Caps(NamedTuple):
    """The limits of all pools by index, and of quota groups by index in units/s.

    ``planned``: by pool index, a smaller limit in units/s that begins soon.
    """

    pools: list[PoolCap]
    groups: list[float]
    planned: dict[int, float]


def capacities(
    compiled: CompiledPolicy,
    stated: StatedCapacity,
    memories: dict[str, PoolMemory],
    now_ms: int,
    memo: Memo,
    vouched: Iterable[int] = (),
) -> Caps:
    """What every pool and quota group may carry now. ``memories``: what is remembered of the pools, by name.

    ``vouched``: pools of which an operator does not ask that their capacity is fresh. The same object while
    nothing else is stated and no pool is vouched for, throttled, ramped, or limited by its requests.
    """
    thresholds = compiled.policy.thresholds
    could_state = memo.once(could_be_stated, compiled.policy)
    base = memo.once(
        _stated_caps,
        stated,
        compiled.policy,
        could_state,
        memo.once(_silent_caps, compiled.policy, could_state),
    )
    if vouched:
        base = base._replace(pools=_vouched(base.pools, vouched))
    pools = base.pools
    for index, memory in memo.once(_limiting_memories, compiled.pools, memories):
        cap = _ramped(base.pools[index], memory, thresholds)
        for limit, reason in _request_limits(_limits(compiled, stated, index), memory):
            cap = cap.within(limit, reason)
        cap = cap._replace(carried=memory.carried_units_per_s) if memory.carried_units_per_s else cap
        cap = _within_met_limits(cap, memory, thresholds, now_ms)
        if cap is not base.pools[index]:
            pools = list(pools) if pools is base.pools else pools
            pools[index] = cap
    groups = _group_units(compiled, stated, memories, base.groups)
    groups = _with_carried(compiled, stated, memories, groups)
    return base if pools is base.pools and groups is base.groups else Caps(pools, groups, base.planned)


def limited_by_policy(policy: Policy) -> frozenset[int]:
    """The pools whose requests the policy itself limits, by index; limits of quota groups left aside."""
    return frozenset(index for index, pool in enumerate(policy.pools) if policy_limits(pool).limits_requests)


def limited_by_requests(
    compiled: CompiledPolicy, stated: StatedCapacity, by_policy: frozenset[int]
) -> frozenset[int]:
    """The pools of which the size of a request must be known, as a limit of requests binds them.

    ``by_policy`` is the answer of ``limited_by_policy``.
    """
    groups = {group for group, limits in enumerate(stated.groups) if limits.limits_requests}
    in_groups = (
        {index for index, own in enumerate(compiled.groups_of) if not groups.isdisjoint(own)}
        if groups
        else ()
    )
    spoken_of = {*stated.pools, *stated.expired}
    return by_policy.union(
        in_groups, (index for index in spoken_of if _limits(compiled, stated, index).limits_requests)
    )


def _limiting_memories(
    names: tuple[str, ...], memories: dict[str, PoolMemory]
) -> list[tuple[int, PoolMemory]]:
    """The pools of which something is remembered that may limit them, by index."""
    return [
        (index, memory)
        for index, name in enumerate(names)
        if (memory := memories.get(name)) is not None
        and (
            memory.throttled_ms
            or memory.near_limit_ms
            or memory.lump_since_ms
            or memory.units_per_request
            or memory.carried_units_per_s
        )
    ]


def _silent_caps(policy: Policy, could_state: tuple[bool, ...]) -> list[PoolCap]:
    """What counts of each pool while nothing was ever stated of it."""
    pairs = zip(policy.pools, could_state, strict=True)
    return [_unstated(pool, None, could_be_stated=could) for pool, could in pairs]


def _stated_caps(
    stated: StatedCapacity, policy: Policy, could_state: tuple[bool, ...], silent: list[PoolCap]
) -> Caps:
    """What is stated or assumed of each pool, whatever is remembered of it.

    Pools of which nothing is stated keep their object of ``silent``.
    """
    pools = list(silent)
    for index, last in stated.expired.items():
        pools[index] = _unstated(policy.pools[index], last, could_be_stated=could_state[index])
    for index, statement in stated.pools.items():
        committed = policy.pools[index].committed_units_per_s
        limit = statement.limits.units
        paid = committed if statement.committed is None else statement.committed
        fresh = index not in stated.late
        pools[index] = PoolCap(
            limit,
            min(paid, limit),
            fresh,
            reason=Reason.CAPACITY_ACCEPTED if statement.accepted else Reason.CAPACITY_STATED,
            until_ms=statement.until_ms if fresh else None,
        )
    return Caps(pools, [limits.units for limits in stated.groups], stated.planned)


def _unstated(pool: Pool, last: LoadLimits | None, *, could_be_stated: bool) -> PoolCap:
    """What counts while nobody states a pool's capacity.

    That is the policy's limit, if no source could state another. If one could, the ``last`` stated limit or
    the policy's bounds what the pool carries, and it gains nothing.
    """
    committed = pool.committed_units_per_s
    if not could_be_stated:
        return PoolCap(pool.limit_units_per_s, committed, True, reason=Reason.CAPACITY_BY_POLICY)
    limit = pool.limit_units_per_s if last is None else last.units
    return PoolCap(limit, min(committed, limit), False, reason=Reason.CAPACITY_EXPIRED)


def _vouched(pools: list[PoolCap], vouched: Iterable[int]) -> list[PoolCap]:
    """With those counting as fresh for which an operator vouches, up to the limit that was stated last."""
    caps = list(pools)
    for index in vouched:
        if not caps[index].fresh:
            caps[index] = caps[index]._replace(fresh=True, reason=Reason.GUARD_OVERRIDDEN)
    return caps


def _limits(compiled: CompiledPolicy, stated: StatedCapacity, index: int) -> LoadLimits:
    """The limits of requests that the policy gives a pool, or those stated in their place."""
    own = policy_limits(compiled.policy.pools[index])
    statement = stated.pools.get(index)
    limits = statement.limits if statement is not None else stated.expired.get(index)
    if limits is None:
        return own
    return LoadLimits(
        limits.units,
        own.requests if limits.requests is None else limits.requests,
        own.slots if limits.slots is None else limits.slots,
    )


def _request_limits(limits: LoadLimits, memory: PoolMemory) -> Iterator[tuple[float, Reason]]:
    """Limits of requests as units/s, as far as it is known what a request is."""
    if limits.requests is not None and memory.units_per_request:
        yield limits.requests * memory.units_per_request, Reason.REQUESTS_LIMIT
    if limits.slots is not None and memory.units_per_slot:
        yield limits.slots * memory.units_per_slot, Reason.CONCURRENCY_LIMIT


def _group_units(
    compiled: CompiledPolicy, stated: StatedCapacity, memories: dict[str, PoolMemory], units: list[float]
) -> list[float]:
    """The limits of quota groups in units/s: ``units``, or less where a group limits requests.

    The pool with the smallest requests decides: so the group keeps its limit of requests whatever mix of its
    pools serves. The same list if no limit of requests binds.
    """
    tightest = units
    for group, limits in enumerate(stated.groups):
        if not limits.limits_requests:
            continue
        members = [
            name for name, owners in zip(compiled.pools, compiled.groups_of, strict=True) if group in owners
        ]
        sized = [memories[name] for name in members if name in memories and memories[name].units_per_request]
        limit = min((by for memory in sized for by, _ in _request_limits(limits, memory)), default=UNBOUNDED)
        if limit < tightest[group]:
            tightest = list(tightest) if tightest is units else tightest
            tightest[group] = limit
    return tightest


def _with_carried(
    compiled: CompiledPolicy, stated: StatedCapacity, memories: dict[str, PoolMemory], units: list[float]
) -> list[float]:
    """The limits of quota groups, where next to nothing is stated no less than what clients are served there,
    as far as the policy allows it. The same list if there is no such group."""
    groups = collapsed_groups(compiled.policy, stated)
    if not groups:
        return units
    carried = dict.fromkeys(groups, 0.0)
    for name, owners in zip(compiled.pools, compiled.groups_of, strict=True):
        for group in owners:
            if group in carried and name in memories:
                carried[group] += memories[name].carried_units_per_s
    own = [group.limit_units_per_s for group in compiled.policy.quota_groups]
    headroom = compiled.policy.headroom
    return [
        max(limit, min(own[group], carried.get(group, 0.0) / headroom)) for group, limit in enumerate(units)
    ]


def regained(units: float, at_ms: int, thresholds: Thresholds, now_ms: int) -> float:
    """To what a limit that was met at ``at_ms`` has grown back by now, in units/s.

    It grows by steps, each twice as large as the one before: a limit that is not met again is probably gone,
    and load may be shed for it meanwhile. One that still holds is met at the first steps, which are small.
    """
    over_ms = now_ms - at_ms - thresholds.throttled_hold_ms
    steps = max(0, over_ms // max(1, thresholds.shift_period_ms) + 1)
    for step in range(min(steps, REGAIN_STEPS_MAX)):
        units *= 1.0 + (thresholds.throttled_regain - 1.0) * 2**step
    return units


def _within_met_limits(cap: PoolCap, memory: PoolMemory, thresholds: Thresholds, now_ms: int) -> PoolCap:
    """The tightest of what is stated, what throttling showed, and what rate-limit headers showed. The latter
    two grow back step by step, and never raise what is stated."""
    floor = cap.limit * thresholds.throttled_floor_share
    for units, at_ms, reason in (
        (memory.throttled_units_per_s, memory.throttled_ms, Reason.THROTTLED),
        (memory.near_limit_units_per_s, memory.near_limit_ms, Reason.NEAR_RATE_LIMIT),
    ):
        if at_ms:
            limit = regained(units, at_ms, thresholds, now_ms)
            if limit < cap.carried:
                cap = cap._replace(carried=limit)
            cap = cap.within(max(limit, floor), reason)
    return cap


def _ramped(cap: PoolCap, memory: PoolMemory, thresholds: Thresholds) -> PoolCap:
    """What was known before, and as much of the new capacity as its step of the ramp allows."""
    if not memory.lump_since_ms or cap.reason not in RAMPED_REASONS:
        return cap
    lump = cap.limit - memory.limit_units_per_s
    step = thresholds.ramp_steps[min(memory.lump_step, len(thresholds.ramp_steps) - 1)]
    return cap.within(memory.limit_units_per_s + max(lump, 0.0) * step, Reason.CAPACITY_RAMPED)
