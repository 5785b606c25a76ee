"""PURE: the probes of one pool, begun and ended, become what is reported of it in each round.

What is in flight counts as well, so that a pool that accepts and never answers shows before any time-out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from controller.probe.request import ProbeEnd
from tieline.event_fields import LATENCY_MAX_MS
from tieline.events import Outcomes, PoolObservation, ResultClass
from tieline.quantiles import nearest_rank


def quantile_ms(values: Sequence[float], share: float) -> float | None:
    """The quantile of latencies, at most what an event may carry; None without values."""
    latency_ms = nearest_rank(values, share)
    return latency_ms if latency_ms is None else min(latency_ms, LATENCY_MAX_MS)


def without_repeats(counts: Mapping[str, int]) -> dict[str, int]:
    """The counts by class, where something succeeds with no more failures than half of the successes, or one.

    What fails alone is asked more often than what serves: again beside it, and for second opinions. Were all
    of it counted, a part that fails would look like a pool that fails.
    """
    successes = counts.get(ResultClass.OK, 0)
    if not successes:
        return dict(counts)
    left = max(1, successes // 2)
    reported: dict[str, int] = {}
    for name, count in counts.items():
        is_failure = name not in (ResultClass.OK, ResultClass.THROTTLED)
        reported[name] = min(count, left) if is_failure else count
        left -= reported[name] if is_failure else 0
    return reported


class _Round:
    """What has ended in one round; ``ended_ms``: when the last of it did."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.first_tokens_ms: list[float] = []
        self.per_tokens_ms: list[float] = []
        self.units = 0.0
        self.ended_ms = 0


class Watch:
    """The probes of one pool. Instants are milliseconds of one monotonic clock.

    A report replaces the one before it, so each shows all of the present round so far. Where nothing has
    ended in it yet, the last round in which something did still counts for a while: a pool that answers more
    slowly than it is asked would be unknown half of the time otherwise.
    """

    def __init__(self, pool: str) -> None:
        self.pool = pool
        self._under_way: dict[int, int] = {}  # number -> when it began
        self._serial = 0
        self._round, self._last = _Round(), _Round()

    @property
    def in_flight(self) -> int:
        return len(self._under_way)

    def begin_round(self) -> None:
        """What ends from now on belongs to the next round."""
        if self._round.counts:
            self._last = self._round
        self._round = _Round()

    def begin(self, now_ms: int) -> int:
        """A probe goes out; gives its number."""
        self._serial += 1
        self._under_way[self._serial] = now_ms
        return self._serial

    def end(self, number: int, end: ProbeEnd, now_ms: int, *, units: float = 0.0) -> None:
        """A probe has ended; ``units``: load that it took, e.g. tokens. KeyError when it isn't under way."""
        del self._under_way[number]
        counts = self._round.counts
        counts[end.result] = counts.get(end.result, 0) + 1
        self._round.units += units
        self._round.ended_ms = now_ms
        if end.first_token_ms is not None:
            self._round.first_tokens_ms.append(end.first_token_ms)
        if end.per_token_ms is not None:
            self._round.per_tokens_ms.append(end.per_token_ms)

    def forget(self, number: int) -> None:
        """A probe was given up by this process; that says nothing about the pool."""
        self._under_way.pop(number, None)

    def observation(self, now_ms: int, *, repeats_ms: int = 0) -> PoolObservation:
        """What came of the probes of this round, and what is under way now. ``repeats_ms``: for so long after
        its last probe the last round counts while this one has nothing."""
        oldest_ms = max((now_ms - began_ms for began_ms in self._under_way.values()), default=0)
        latest = self._round
        if not latest.counts and now_ms - self._last.ended_ms <= repeats_ms:
            latest = self._last
        return PoolObservation(
            pool=self.pool,
            outcomes=Outcomes(**without_repeats(latest.counts)),
            units=latest.units,
            first_token_p50_ms=quantile_ms(latest.first_tokens_ms, 0.5),
            first_token_p99_ms=quantile_ms(latest.first_tokens_ms, 0.99),
            per_token_p50_ms=quantile_ms(latest.per_tokens_ms, 0.5),
            in_flight=self.in_flight,
            oldest_in_flight_ms=max(0, oldest_ms),
        )
