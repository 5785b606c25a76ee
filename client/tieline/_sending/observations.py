"""PURE. Many observations of pools in one window become one report for each provider and region."""

from __future__ import annotations

from msgspec.structs import asdict, replace

from tieline.events import POOLS_PER_EVENT_MAX, Outcomes, PoolObservation, Report, pool_of

ProviderRegion = tuple[str, str]


class ObservationWindow:
    """What one source has observed since ``start_ms``. A report carries all pools of a provider and region,
    because it replaces whatever the source reported of that region before."""

    def __init__(self, source: str, incarnation: str, start_ms: int) -> None:
        self._source = source
        self._incarnation = incarnation
        self._first_start_ms = start_ms
        self._starts_ms: dict[ProviderRegion, int] = {}
        self._sequence = 0
        self._regions: dict[ProviderRegion, dict[str, PoolObservation]] = {}

    def add(self, observation: PoolObservation) -> None:
        """Add an observation; two of the same pool are merged.

        Raises ValueError when a region has more pools than an event may name.
        """
        pools = self._regions.setdefault(pool_of(observation.pool), {})
        earlier = pools.get(observation.pool)
        if earlier is None and len(pools) >= POOLS_PER_EVENT_MAX:
            raise ValueError(
                f"{'/'.join(pool_of(observation.pool))} has more than {POOLS_PER_EVENT_MAX} pools: "
                "split it over several sources"
            )
        pools[observation.pool] = observation if earlier is None else merged(earlier, observation)

    def close(self, end_ms: int, interval_ms: int, only: str | None = None) -> tuple[Report, ...]:
        """The reports of this window, sorted by provider and region; the next window begins where it ends.

        ``only``: close the window of this ``provider/region`` alone.
        """
        reports = []
        for provider, region in sorted(self._regions):
            if only is not None and only != f"{provider}/{region}":
                continue
            pools = self._regions.pop((provider, region))
            start_ms = self._starts_ms.get((provider, region), self._first_start_ms)
            self._starts_ms[provider, region] = end_ms
            self._sequence += 1
            reports.append(
                Report(
                    source=self._source,
                    provider=provider,
                    region=region,
                    incarnation=self._incarnation,
                    sequence=self._sequence,
                    window_start_ms=min(start_ms, end_ms),
                    window_end_ms=end_ms,
                    interval_ms=interval_ms,
                    pools=tuple(pools[name] for name in sorted(pools)),
                )
            )
        return tuple(reports)


def merged(earlier: PoolObservation, later: PoolObservation) -> PoolObservation:
    """Two observations of one pool as one: counts and units add up, and every other value is the later one
    that was measured."""
    counts = asdict(earlier.outcomes)
    for name, count in asdict(later.outcomes).items():
        counts[name] += count
    measured = {
        name: getattr(later, name) if getattr(later, name) is not None else getattr(earlier, name)
        for name in ("first_token_p50_ms", "first_token_p99_ms", "per_token_p50_ms", "rate_limit_left")
    }
    return replace(later, outcomes=Outcomes(**counts), units=earlier.units + later.units, **measured)
