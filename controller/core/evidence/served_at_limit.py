"""What a pool serves while it answers 429: its true limit, whatever is stated.

A single second says little: reports of it are still on their way, or no client met the limit in it. So it is
the mean over the last seconds whose reports have arrived, each weighted by its share of 429s: the more of
them, the nearer the pool was to its limit.
"""

from typing import NamedTuple

from controller.core.evidence.reported_seconds import reported_seconds
from controller.core.policy.thresholds import Thresholds
from streams.rows import DemandRow, PoolSum


class Window(NamedTuple):
    """One partition's row and the first second of it that counts."""

    row: DemandRow
    from_ms: int


class _Served(NamedTuple):
    """One second of a pool over all partitions: units/s, answers, and the 429s among them."""

    units: float = 0.0
    answers: int = 0
    throttled: int = 0

    def with_more(self, pool_sum: PoolSum) -> "_Served":
        count = pool_sum.outcomes.throttled
        answers = pool_sum.outcomes.ok + count
        return _Served(self.units + pool_sum.units, self.answers + answers, self.throttled + count)


def served_while_throttled(
    windows: tuple[Window, ...], pools: list[str], thresholds: Thresholds
) -> dict[str, float]:
    """Pool -> the units/s that it served while it answered 429 in the last ``throttled_window_ms``.

    0 while no second with a 429 is complete.
    """
    totals: dict[str, dict[int, _Served]] = {pool: {} for pool in pools}
    if not totals:
        return {}
    for row, from_ms in windows:
        seconds = reported_seconds([s for s in row.seconds if s.second_ms >= from_ms], thresholds)
        for second in seconds:
            if second.second_ms > seconds[-1].second_ms - thresholds.throttled_window_ms:
                for pool_sum in [pool_sum for pool_sum in second.pools if pool_sum.pool in totals]:
                    own = totals[pool_sum.pool]
                    own[second.second_ms] = own.get(second.second_ms, _Served()).with_more(pool_sum)
    return {pool: _weighted_mean(list(own.values())) for pool, own in totals.items()}


def _weighted_mean(seconds: list[_Served]) -> float:
    weights = [second.throttled / second.answers if second.throttled else 0.0 for second in seconds]
    total = sum(weights)
    pairs = zip(seconds, weights, strict=True)
    return sum(second.units * weight for second, weight in pairs) / total if total else 0.0
