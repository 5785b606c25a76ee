"""What sources state of capacity, taken together: limits in force, limits that are planned, and until when.

Of several sources the tightest limit counts. No statement counts for longer than ``capacity_counts_max_ms``
after its record, whatever expiry it names. One that is over goes on to limit its pool, because silence moves
nothing: what the pool carries stays, and nothing is moved onto it until somebody states its capacity anew.
"""

from typing import NamedTuple

from controller.core.evidence.heard_sources import Reach
from controller.core.model.memo import Memo
from controller.core.policy.compiled import CompiledPolicy
from controller.core.policy.policy import Policy, Pool, QuotaGroup
from controller.core.policy.thresholds import Thresholds
from streams.rows import Row
from tieline.events import Capacity, GroupCapacity, PoolCapacity, in_scope
from tieline.offers import AcceptedCapacity
from tieline.registration import SENDERS

STATING_KINDS = SENDERS[Capacity]


class LoadLimits(NamedTuple):
    """Limits of a pool or a quota group: units/s, requests/s, requests in flight; None: not limited."""

    units: float
    requests: float | None = None
    slots: float | None = None

    def tightest(self, other: "LoadLimits") -> "LoadLimits":
        """The tighter of each."""
        return LoadLimits(
            min(self.units, other.units),
            _least(self.requests, other.requests),
            _least(self.slots, other.slots),
        )

    @property
    def limits_requests(self) -> bool:
        """Whether requests are limited, be it their rate or how many are in flight."""
        return self.requests is not None or self.slots is not None


class StatedPool(NamedTuple):
    """What is stated of one pool, until ``until_ms``. ``committed``: None if the policy's figure stands.
    ``accepted``: the part of the limit that a provider has promised on request, and nobody states yet."""

    limits: LoadLimits
    committed: float | None
    until_ms: int
    accepted: float = 0.0


class StatedCapacity(NamedTuple):
    """All that is stated. ``pools`` by pool index: those of which something is stated.

    ``expired``: pools of which something was stated and no longer is, with the limits that were stated last.
    ``groups``: limits by group index, the policy's own included. ``planned``: by pool index a smaller limit
    in units/s that begins within ``thresholds.lead_ms``. ``until_ms``: when the first of this changes without
    any event, None if never. ``late``: pools of which it is not known whether what was stated still holds.
    """

    pools: dict[int, StatedPool]
    expired: dict[int, LoadLimits]
    groups: list[LoadLimits]
    planned: dict[int, float]
    until_ms: int | None
    late: frozenset[int] = frozenset()


class _LastStatement(NamedTuple):
    """The last answer, and what it was the answer to."""

    compiled: CompiledPolicy
    rows: tuple[Row, ...]
    accepted: tuple[AcceptedCapacity, ...]
    current: frozenset[int]
    from_ms: int
    stated: StatedCapacity

    def answers(
        self,
        compiled: CompiledPolicy,
        rows: tuple[Row, ...],
        accepted: tuple[AcceptedCapacity, ...],
        current: frozenset[int],
        now_ms: int,
    ) -> bool:
        if (
            compiled.policy is not self.compiled.policy
            or accepted != self.accepted
            or current != self.current
            or len(rows) != len(self.rows)
            or now_ms < self.from_ms
            or (self.stated.until_ms is not None and now_ms >= self.stated.until_ms)
        ):
            return False
        return all(row is old for row, old in zip(rows, self.rows, strict=True))


def stated_capacity(
    compiled: CompiledPolicy,
    rows: tuple[Row, ...],
    reach: Reach,
    now_ms: int,
    memo: Memo,
    accepted: tuple[AcceptedCapacity, ...] = (),
) -> StatedCapacity:
    """What is stated now, and what was ``accepted`` on request; the same object while nothing of it is new
    and none begins or ends."""
    partitions = {row.position.partition for row in rows}
    current = frozenset(partition for partition in partitions if reach.is_current("capacity", partition))
    last = memo.last(_LastStatement)
    if last is not None and last.answers(compiled, rows, accepted, current, now_ms):
        return last.stated
    stated = _Statements(compiled, current, now_ms).taken_together(rows, accepted)
    memo.keep(_LastStatement(compiled, rows, accepted, current=current, from_ms=now_ms, stated=stated))
    return stated


def could_be_stated(policy: Policy) -> tuple[bool, ...]:
    """Per pool whether a registered source could state its capacity."""
    scopes = [source.scope for source in policy.sources if source.kind in STATING_KINDS]
    return tuple(any(in_scope(pool.id, scope) for scope in scopes) for pool in policy.pools)


def counts_until_ms(row: Row, thresholds: Thresholds) -> int:
    """Until when a statement of capacity counts: its own expiry, at most ``capacity_counts_max_ms``."""
    most_ms = row.append_ms + thresholds.capacity_counts_max_ms
    return min(row.event.expires_ms, most_ms) if isinstance(row.event, Capacity) else most_ms


def policy_limits(pool: Pool) -> LoadLimits:
    """The limits that the policy gives a pool."""
    return LoadLimits(pool.limit_units_per_s, pool.requests_per_s, pool.concurrency)


def collapsed_groups(policy: Policy, stated: StatedCapacity) -> set[int]:
    """The quota groups that can give next to nothing, as it is stated: less than throttling ever leaves."""
    floor_share = policy.thresholds.throttled_floor_share
    pairs = enumerate(zip(policy.quota_groups, stated.groups, strict=True))
    return {index for index, (group, limits) in pairs if limits.units < floor_share * group.limit_units_per_s}


def collapsed_pools(policy: Policy, stated: StatedCapacity) -> frozenset[int]:
    """The pools that can give next to nothing, as it is stated of them or of one of their quota groups."""
    floor_share = policy.thresholds.throttled_floor_share
    groups = {policy.quota_groups[index].id for index in collapsed_groups(policy, stated)}
    pools = {
        index
        for index, pool in stated.pools.items()
        if pool.limits.units < floor_share * policy.pools[index].limit_units_per_s
    }
    if groups:
        pools.update(i for i, pool in enumerate(policy.pools) if not groups.isdisjoint(pool.quota_groups))
    return frozenset(pools)


class _Statements:
    """Statements while they are taken together. ``current``: the partitions that were read to their end."""

    def __init__(self, compiled: CompiledPolicy, current: frozenset[int], now_ms: int) -> None:
        self._compiled = compiled
        self._thresholds = compiled.policy.thresholds
        self._current = current
        self._now_ms = now_ms
        self._pools: dict[int, StatedPool] = {}
        self._fresh: set[int] = set()
        self._expired: dict[int, LoadLimits] = {}
        self._groups = [_group_limits(group) for group in compiled.policy.quota_groups]
        self._group_index = {name: index for index, name in enumerate(compiled.groups)}
        self._times_ms: list[int] = []
        self._counting: list[Capacity] = []

    def taken_together(self, rows: tuple[Row, ...], accepted: tuple[AcceptedCapacity, ...]) -> StatedCapacity:
        """What the rows amount to now, with what was accepted on request."""
        for row in rows:
            if isinstance(row.event, Capacity):
                self._take(row.event, counts_until_ms(row, self._thresholds), row.position.partition)
        planned = self._take_plans()
        if accepted:
            planned |= self._take_accepted(rows, accepted, planned)
        return StatedCapacity(
            self._pools,
            self._expired,
            self._groups,
            planned=planned,
            until_ms=min((at for at in self._times_ms if at > self._now_ms), default=None),
            late=frozenset(self._pools.keys() - self._fresh),
        )

    def _take(self, event: Capacity, until_ms: int, partition: int) -> None:
        """Takes one statement in, as far as it still counts."""
        self._times_ms.append(until_ms)
        is_over = until_ms <= self._now_ms
        counts = not is_over or partition not in self._current
        for pool in event.pools:
            index = self._compiled.pool_index.get(pool.pool)
            if index is None:
                continue
            if counts:
                self._pools[index] = _tighter(self._pools.get(index), pool, until_ms)
            if is_over:
                limits = _stated_limits(pool)
                self._expired[index] = limits.tightest(self._expired.get(index, limits))
            else:
                self._fresh.add(index)
        if not counts:
            return
        self._counting.append(event)
        for group in event.groups:
            if (number := self._group_index.get(group.group)) is not None:
                self._groups[number] = self._groups[number].tightest(_group_limits(group))

    def _take_plans(self) -> dict[int, float]:
        """Takes in the planned changes that are in force. Returns those that begin soon, by pool index."""
        soon: dict[int, float] = {}
        lead_ms = self._thresholds.lead_ms
        for event in self._counting:
            for change in event.planned:
                index = self._compiled.pool_index.get(change.pool)
                ends_ms = change.until_ms or event.expires_ms
                self._times_ms += [change.from_ms - lead_ms, change.from_ms, ends_ms]
                # A change without an end ends with its statement, and that counts here.
                is_over = self._now_ms >= ends_ms and change.until_ms is not None
                if index is None or self._now_ms < change.from_ms - lead_ms or is_over:
                    continue
                limit = change.limit_units_per_s
                if change.from_ms > self._now_ms:
                    soon[index] = min(limit, soon.get(index, limit))
                elif index in self._pools:
                    pool = self._pools[index]
                    self._pools[index] = pool._replace(limits=pool.limits.tightest(LoadLimits(limit)))
        return soon

    def _take_accepted(
        self, rows: tuple[Row, ...], accepted: tuple[AcceptedCapacity, ...], planned: dict[int, float]
    ) -> dict[int, float]:
        """Adds what was accepted and has begun. Returns limits of pools of which some ends soon, by index.

        What sources state of a pool or a quota group after the start outweighs the promise: then it is part
        of what they state, or it has not come. Nothing is added where it is not known what it would add to.
        """
        pools_ms, groups_ms = _last_stated_ms(rows)
        ending: dict[int, float] = {}
        for part in accepted:
            self._times_ms += [part.from_ms, part.until_ms - self._thresholds.lead_ms, part.until_ms]
            index = self._compiled.pool_index.get(part.pool)
            if index is None or not part.from_ms <= self._now_ms < part.until_ms:
                continue
            for group in self._compiled.groups_of[index]:
                if groups_ms.get(self._compiled.groups[group], 0) < part.from_ms:
                    limits = self._groups[group]
                    self._groups[group] = limits._replace(units=limits.units + part.units_per_s)
            base = self._known(index, part.until_ms)
            if base is None or pools_ms.get(part.pool, 0) >= part.from_ms:
                continue
            self._pools[index] = base._replace(
                limits=base.limits._replace(units=base.limits.units + part.units_per_s),
                until_ms=min(base.until_ms, part.until_ms),
                accepted=base.accepted + part.units_per_s,
            )
            self._fresh.add(index)
            if part.until_ms - self._thresholds.lead_ms <= self._now_ms:
                ending[index] = ending.get(index, 0.0) + part.units_per_s
        left = {index: self._pools[index].limits.units - units for index, units in ending.items()}
        return {index: min(units, planned.get(index, units)) for index, units in left.items()}

    def _known(self, index: int, until_ms: int) -> StatedPool | None:
        """What the pool can give, so that more can be added; None if nobody says so now."""
        if index in self._pools:
            return self._pools[index] if index in self._fresh else None
        if index in self._expired or could_be_stated(self._compiled.policy)[index]:
            return None
        return StatedPool(LoadLimits(self._compiled.policy.pools[index].limit_units_per_s), None, until_ms)


def _last_stated_ms(rows: tuple[Row, ...]) -> tuple[dict[str, int], dict[str, int]]:
    """(Pool, quota group) -> when a source last stated its capacity, by the earlier of both clocks."""
    pools: dict[str, int] = {}
    groups: dict[str, int] = {}
    for row in rows:
        if isinstance(row.event, Capacity):
            at_ms = min(row.event.issued_ms, row.append_ms)
            for pool in row.event.pools:
                pools[pool.pool] = max(at_ms, pools.get(pool.pool, 0))
            for group in row.event.groups:
                groups[group.group] = max(at_ms, groups.get(group.group, 0))
    return pools, groups


def _tighter(before: StatedPool | None, pool: PoolCapacity, until_ms: int) -> StatedPool:
    """The tightest limits of both; the committed part and the end are those of the tighter in units/s."""
    limits = _stated_limits(pool)
    if before is None:
        return StatedPool(limits, pool.committed_units_per_s, until_ms)
    together = before.limits.tightest(limits)
    if before.limits.units <= limits.units:
        return before._replace(limits=together)
    return StatedPool(together, pool.committed_units_per_s, until_ms)


def _stated_limits(pool: PoolCapacity) -> LoadLimits:
    return LoadLimits(pool.limit_units_per_s, pool.requests_per_s, pool.concurrency)


def _group_limits(group: QuotaGroup | GroupCapacity) -> LoadLimits:
    return LoadLimits(group.limit_units_per_s, group.requests_per_s, group.concurrency)


def _least(first: float | None, second: float | None) -> float | None:
    if first is None or second is None:
        return second if first is None else first
    return min(first, second)
