"""What sources state of capacity, taken together: limits that hold, limits that are planned, and until when.

Of several sources the tightest counts. A statement holds until its expiry; then the policy's committed
capacity is assumed, and nothing is moved onto the pool until somebody states it anew. While its partition is
not consumed to its end a newer one may be there that nobody has read: what is over goes on to limit the pool,
but nothing is moved onto it. Where no source is registered that could state it, the policy's figure stands.
"""

from typing import NamedTuple

from controller.core.evidence.hearing import Reach
from controller.core.model.memo import Memo
from controller.core.policy.compiled import CompiledPolicy
from controller.core.policy.policy import Policy, Pool, QuotaGroup
from controller.core.policy.thresholds import Thresholds
from streams.rows import Row
from tieline.events import Capacity, GroupCapacity, PoolCapacity, in_scope

STATING_KINDS = ("fleet", "quota")


class Limits(NamedTuple):
    """Of a pool or a quota group: units/s, requests/s, requests in flight; None: not limited."""

    units: float
    requests: float | None = None
    slots: float | None = None

    def tightest(self, other: "Limits") -> "Limits":
        """The tighter of each."""
        return Limits(
            min(self.units, other.units),
            _least(self.requests, other.requests),
            _least(self.slots, other.slots),
        )


class Said(NamedTuple):
    """What is stated of one pool, until ``until_ms``. ``committed``: None as the policy says."""

    limits: Limits
    committed: float | None
    until_ms: int


class Stated(NamedTuple):
    """``pools``: by index, those of which something is stated. ``expired``: those of which something was, and
    ``late``: those of which it is not known whether it still is.

    ``groups``: limits by group index, the policy's own included. ``coming``: by pool index, a smaller limit
    in units/s that holds within ``lead_ms``. ``until_ms``: holds so long without any event, None: for ever.
    """

    pools: dict[int, Said]
    expired: frozenset[int]
    groups: list[Limits]
    coming: dict[int, float]
    until_ms: int | None
    late: frozenset[int] = frozenset()


class _KeptStatement(NamedTuple):
    """The last answer, and what it was the answer to."""

    compiled: CompiledPolicy
    rows: tuple[Row, ...]
    read: frozenset[int]
    from_ms: int
    stated: Stated

    def answers(
        self, compiled: CompiledPolicy, rows: tuple[Row, ...], read: frozenset[int], now_ms: int
    ) -> bool:
        if (
            compiled.policy is not self.compiled.policy
            or read != self.read
            or len(rows) != len(self.rows)
            or now_ms < self.from_ms
            or (self.stated.until_ms is not None and now_ms >= self.stated.until_ms)
        ):
            return False
        return all(row is old for row, old in zip(rows, self.rows, strict=True))


def stated_capacity(
    compiled: CompiledPolicy, rows: tuple[Row, ...], reach: Reach, now_ms: int, memo: Memo
) -> Stated:
    """What is stated now; the same object while no statement is new and none begins or ends."""
    partitions = {row.position.partition for row in rows}
    read = frozenset(partition for partition in partitions if reach.is_current("capacity", partition))
    kept = memo.last(_KeptStatement)
    if kept is None or not kept.answers(compiled, rows, read, now_ms):
        kept = _KeptStatement(compiled, rows, read, now_ms, _stated(compiled, rows, read, now_ms))
        memo.keep(kept)
    return kept.stated


def lead_ms(limits: Thresholds) -> int:
    """How long before it begins a planned change is made room for: as long as moves by choice need to take
    everything away, and two periods more."""
    return limits.shift_period_ms * (round(1 / max(limits.shift_share_max, 0.01)) + 2)


def _stated(compiled: CompiledPolicy, rows: tuple[Row, ...], read: frozenset[int], now_ms: int) -> Stated:
    """``read``: the partitions that are consumed to their end."""
    pools: dict[int, Said] = {}
    fresh: set[int] = set()
    expired: set[int] = set()
    groups = [_of_group(group) for group in compiled.policy.quota_groups]
    number = {name: index for index, name in enumerate(compiled.groups)}
    times: list[int] = []
    counting: list[Capacity] = []
    for row in rows:
        if not isinstance(event := row.event, Capacity):
            continue
        times.append(event.expires_ms)
        over = event.expires_ms <= now_ms
        counts = not over or row.position.partition not in read
        for said in event.pools:
            index = compiled.pool_index.get(said.pool)
            if index is None:
                continue
            if counts:
                pools[index] = _tighter(pools.get(index), said, event.expires_ms)
            (expired if over else fresh).add(index)
        if counts:
            counting.append(event)
            for group in (one for one in event.groups if one.group in number):
                groups[number[group.group]] = groups[number[group.group]].tightest(_of_group(group))
    coming = _planned(compiled, counting, pools, now_ms, times)
    until_ms = min((at for at in times if at > now_ms), default=None)
    late = frozenset(pools.keys() - fresh)
    return Stated(pools, frozenset(expired), groups, coming, until_ms, late)


def _tighter(held: Said | None, said: PoolCapacity, until_ms: int) -> Said:
    limits = Limits(said.limit_units_per_s, said.requests_per_s, said.concurrency)
    if held is None:
        return Said(limits, said.committed_units_per_s, until_ms)
    first = held.limits.units <= limits.units
    committed, ends_ms = (held.committed, held.until_ms) if first else (said.committed_units_per_s, until_ms)
    return Said(held.limits.tightest(limits), committed, ends_ms)


def _planned(
    compiled: CompiledPolicy, events: list[Capacity], pools: dict[int, Said], now_ms: int, times: list[int]
) -> dict[int, float]:
    """Changes in force into ``pools``, those that are near returned; when any begins or ends into times."""
    coming: dict[int, float] = {}
    lead = lead_ms(compiled.policy.thresholds)
    for event in events:
        for change in event.planned:
            index = compiled.pool_index.get(change.pool)
            ends_ms = change.until_ms or event.expires_ms
            times += [change.from_ms - lead, change.from_ms, ends_ms]
            over = now_ms >= ends_ms and change.until_ms is not None  # else it ends when its statement does
            if index is None or now_ms < change.from_ms - lead or over:
                continue
            limit = change.limit_units_per_s
            if change.from_ms > now_ms:
                coming[index] = min(limit, coming.get(index, limit))
            elif index in pools:
                held = pools[index]
                pools[index] = held._replace(limits=held.limits.tightest(Limits(limit)))
    return coming


def limits_of(pool: Pool) -> Limits:
    """What the policy says of a pool beside its units/s."""
    return Limits(pool.limit_units_per_s, pool.requests_per_s, pool.concurrency)


def _of_group(group: QuotaGroup | GroupCapacity) -> Limits:
    return Limits(group.limit_units_per_s, group.requests_per_s, group.concurrency)


def _least(one: float | None, other: float | None) -> float | None:
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)


def could_be_stated(policy: Policy) -> tuple[bool, ...]:
    """Per pool whether a registered source could state its capacity."""
    scopes = [source.scope for source in policy.sources if source.kind in STATING_KINDS]
    return tuple(any(in_scope(pool.id, scope) for scope in scopes) for pool in policy.pools)
