"""What every collector of capacity has: how long its word counts, and from figures to events. Pure."""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Annotated, ClassVar, NamedTuple

from msgspec import Meta

from controller.collect.collector import Collected, Collector, Stamp
from controller.core.policy.check import Fault, Path, near_miss
from controller.core.policy.policy import Policy
from tieline.event_fields import Name, PoolId, ProviderId
from tieline.events import Capacity, Claim, GroupCapacity, PoolCapacity, Statement, in_scope, pool_of

POOLS_MAX = 500
FIGURE_MAX = 1e12  # as ``events.Rate``
# With the most replicas that a collector counts, the products stay within what an event may hold.
Positive = Annotated[float, Meta(gt=0, le=1e7)]
Slots = Annotated[int, Meta(ge=0, le=10**6)]


class StatedGroup(NamedTuple):
    """A quota group's limits, and the region in whose event they are stated."""

    provider: str
    region: str
    capacity: GroupCapacity


class NamedGroup(NamedTuple):
    """A quota group that the settings name, at this path."""

    path: Path
    group: Name
    provider: ProviderId


class CapacityCollector(Collector, frozen=True, kw_only=True):
    """Settings of every collector of capacity. ``expires_after_s``: for how long a figure counts after the
    last round that stated it."""

    sends: ClassVar[tuple[type[Collected], ...]] = (Capacity,)

    expires_after_s: Annotated[float, Meta(ge=10, le=86_400)] = 300.0

    def named_pools(self) -> Iterator[tuple[Path, PoolId]]:
        """Every pool that the settings name, with the path of its field."""
        yield from ()

    def named_groups(self) -> Iterator[NamedGroup]:
        """Every quota group that the settings name."""
        yield from ()

    def faults(self) -> Iterator[Fault]:
        """See ``Collector``."""
        if self.expires_after_s < 2 * self.interval_s:
            text = "must be at least twice interval_s, or capacity expires between two rounds"
            yield Fault(("expires_after_s",), text)

    def policy_faults(self, policy: Policy) -> Iterator[Fault]:
        """See ``Collector``."""
        scope = next((source.scope for source in policy.sources if source.id == self.name), "*")
        pools = {pool.id: pool for pool in policy.pools}
        for path, name in self.named_pools():
            if name not in pools:
                yield Fault(path, f"unknown pool {name}{near_miss(name, pools)}")
            elif not in_scope(name, scope):
                yield Fault(path, f"the policy lets this source speak of {scope} only, not of {name}")
        groups = {group.id for group in policy.quota_groups}
        for path, group, provider in self.named_groups():
            members = [pool for pool in policy.pools if group in pool.quota_groups]
            if group not in groups:
                yield Fault(path, f"unknown quota group {group}{near_miss(group, groups)}")
            elif not any(in_scope(pool.id, scope) for pool in members):
                text = f"the policy lets this source speak of {scope} only, not of the quota group {group}"
                yield Fault(path, text)
            elif not any(pool.provider == provider for pool in members):
                yield Fault(path, f"the quota group {group} has no pool of {provider}")

    def capacities(
        self, pools: Iterable[PoolCapacity], stamp: Stamp, groups: Iterable[StatedGroup] = ()
    ) -> tuple[Capacity, ...]:
        """One event for each region of which something is stated."""
        by_region: dict[tuple[str, str], tuple[list[PoolCapacity], list[GroupCapacity]]] = defaultdict(
            lambda: ([], [])
        )
        for pool in pools:
            by_region[pool_of(pool.pool)][0].append(pool)
        for group in groups:
            by_region[group.provider, group.region][1].append(group.capacity)
        return tuple(
            Capacity(
                source=stamp.source,
                provider=provider,
                region=region,
                incarnation=stamp.incarnation,
                sequence=stamp.sequence,
                issued_ms=stamp.now_ms,
                expires_ms=self.expires_ms(stamp),
                pools=tuple(own_pools),
                groups=tuple(own_groups),
            )
            for (provider, region), (own_pools, own_groups) in sorted(by_region.items())
        )

    def degradations(self, texts: dict[str, str], regions: Iterable[str], stamp: Stamp) -> list[Statement]:
        """A statement for each of the ``regions`` (provider/region) that its pools in ``texts`` are degraded,
        each with its text. One without such pools retracts what was stated there."""
        claims: dict[str, list[Claim]] = defaultdict(list)
        for pool, text in sorted(texts.items()):
            claim = Claim(state="degraded", expires_ms=self.expires_ms(stamp), pools=(pool,), text=text)
            claims["/".join(pool_of(pool))].append(claim)
        return [
            Statement(
                source=stamp.source,
                provider=pool_of(place)[0],
                region=pool_of(place)[1],
                kind="status",
                incarnation=stamp.incarnation,
                sequence=stamp.sequence,
                issued_ms=stamp.now_ms,
                claims=tuple(claims[place]),
            )
            for place in sorted(regions)
        ]

    def expires_ms(self, stamp: Stamp) -> int:
        """Until when what is stated now counts."""
        return stamp.now_ms + round(self.expires_after_s * 1_000)


def twice_named(pools: Iterable[tuple[Path, str]]) -> Iterator[Fault]:
    """Pools that are named a second time; an event may name each once."""
    first: dict[str, Path] = {}
    for path, pool in pools:
        if pool in first:
            yield Fault(path, f"{pool} is named twice")
        first.setdefault(pool, path)


def figure_of(value: object) -> float | None:
    """A number, or a text that is one, from 0 to ``FIGURE_MAX``; None for everything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and 0 <= number <= FIGURE_MAX else None
