"""PURE: the probes of one pool, begun and ended, become one observation per window.

What is in flight counts as well, so that a pool that accepts and never answers shows before any time-out.
"""

from __future__ import annotations

from collections.abc import Sequence

from tieline.event_fields import LATENCY_MAX_MS
from tieline.events import Outcomes, PoolObservation, ResultClass
from tieline.quantiles import nearest_rank


def quantile_ms(values: Sequence[float], share: float) -> float | None:
    """The quantile of latencies, at most what an event may carry; None without values."""
    latency_ms = nearest_rank(values, share)
    return latency_ms if latency_ms is None else min(latency_ms, LATENCY_MAX_MS)


class Watch:
    """The probes of one pool. Instants are milliseconds of one monotonic clock."""

    def __init__(self, pool: str) -> None:
        self.pool = pool
        self._under_way: dict[int, int] = {}  # number -> when it began
        self._serial = 0
        self._counts: dict[str, int] = {}
        self._first_tokens_ms: list[float] = []
        self._units = 0.0

    @property
    def in_flight(self) -> int:
        return len(self._under_way)

    def begin(self, now_ms: int) -> int:
        """A probe goes out; gives its number."""
        self._serial += 1
        self._under_way[self._serial] = now_ms
        return self._serial

    def end(
        self, number: int, result: ResultClass, *, first_token_ms: float | None = None, units: float = 0.0
    ) -> None:
        """A probe has ended; ``units``: load that it took, e.g. tokens. KeyError when it isn't under way."""
        del self._under_way[number]
        self._counts[result] = self._counts.get(result, 0) + 1
        self._units += units
        if first_token_ms is not None:
            self._first_tokens_ms.append(first_token_ms)

    def forget(self, number: int) -> None:
        """A probe was given up by this process; that says nothing about the pool."""
        self._under_way.pop(number, None)

    def observation(self, now_ms: int) -> PoolObservation:
        """What came of probes since the last call, and what is under way now; begins the next window."""
        oldest_ms = max((now_ms - began_ms for began_ms in self._under_way.values()), default=0)
        observation = PoolObservation(
            pool=self.pool,
            outcomes=Outcomes(**self._counts),
            units=self._units,
            first_token_p50_ms=quantile_ms(self._first_tokens_ms, 0.5),
            first_token_p99_ms=quantile_ms(self._first_tokens_ms, 0.99),
            in_flight=self.in_flight,
            oldest_in_flight_ms=max(0, oldest_ms),
        )
        self._counts, self._units, self._first_tokens_ms = {}, 0.0, []
        return observation
