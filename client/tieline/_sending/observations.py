"""PURE: many observations of pools in one window become one report per provider-region."""

from __future__ import annotations

from msgspec.structs import asdict, replace

from tieline.events import POOLS_PER_EVENT_MAX, Outcomes, PoolObservation, Report, pool_of

Home = tuple[str, str]


class Window:
    """What one source has seen since ``start_ms``, by provider-region. A record carries a region whole."""

    def __init__(self, source: str, incarnation: str, start_ms: int) -> None:
        self._source = source
        self._incarnation = incarnation
        self._begun_ms = start_ms
        self._starts_ms: dict[Home, int] = {}
        self._sequence = 0
        self._homes: dict[Home, dict[str, PoolObservation]] = {}

    def add(self, seen: PoolObservation) -> None:
        """Add what was seen of one pool; a pool seen twice is merged.

        Raises ValueError when a region has more pools than an event may name.
        """
        pools = self._homes.setdefault(pool_of(seen.pool), {})
        held = pools.get(seen.pool)
        if held is None and len(pools) >= POOLS_PER_EVENT_MAX:
            raise ValueError(
                f"{'/'.join(pool_of(seen.pool))} has more than {POOLS_PER_EVENT_MAX} pools: "
                "split it over several sources"
            )
        pools[seen.pool] = seen if held is None else merged(held, seen)

    def close(self, end_ms: int, interval_ms: int, only: str | None = None) -> tuple[Report, ...]:
        """The reports of this window, sorted by provider-region; the next window begins where it ends.

        ``only``: close it for this ``provider/region`` alone.
        """
        reports = []
        for provider, region in sorted(self._homes):
            if only is not None and only != f"{provider}/{region}":
                continue
            pools = self._homes.pop((provider, region))
            start_ms = self._starts_ms.get((provider, region), self._begun_ms)
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
    """Two observations of one pool as one: counts add up, else what was measured later holds."""
    counts = asdict(earlier.outcomes)
    for name, count in asdict(later.outcomes).items():
        counts[name] += count
    latencies = {
        name: getattr(later, name) if getattr(later, name) is not None else getattr(earlier, name)
        for name in ("first_token_p50_ms", "first_token_p99_ms", "per_token_p50_ms")
    }
    return replace(later, outcomes=Outcomes(**counts), units=earlier.units + later.units, **latencies)
