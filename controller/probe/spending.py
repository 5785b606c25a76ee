"""PURE. What probes cost, and that they cost no more than their budget.

Money is that of the policy. A probe costs its tokens at the pool's price. Before it goes out, the most that
it can cost is set aside; when its answer names its tokens, these count instead.

Two rules keep the budget. The interval grows until a whole cycle of probes (the tiny ones between two long
ones, and one long) fits into a little less than the budget, so that probes come evenly. And whatever is
expected, no probe goes out that could take the last 60 minutes above the budget.
"""

import math
from collections import deque
from typing import NamedTuple

UNITS_PER_PRICE = 1_000_000
MS_PER_HOUR = 3_600_000
MS_PER_MINUTE = 60_000
# A pool whose price the policy does not state counts as one that is dearer than most.
PRICE_ASSUMED = 10.0
AIM_SHARE = 0.95  # of the budget; the rest is for what failed and is asked again
BUDGET_PER_POOL = 0.50  # money per hour


class Cycle(NamedTuple):
    """The probes that repeat: ``rounds`` of the cost ``round_cost`` each, and long ones of ``long_cost``, all
    in money."""

    rounds: int
    round_cost: float
    long_cost: float

    def per_hour(self, interval_ms: float) -> float:
        """Money per hour with a round in every interval."""
        return (self.round_cost + self.long_cost / self.rounds) * MS_PER_HOUR / interval_ms

    def stretched_ms(self, interval_ms: int, budget_per_hour: float) -> int:
        """The interval at which the cycle fits into the budget; ``interval_ms`` if it fits as it is."""
        return max(interval_ms, math.ceil(self.per_hour(1.0) / (AIM_SHARE * budget_per_hour)))


class PlannedSpend(NamedTuple):
    """What the probes of one region are expected to cost, in money per hour, at the interval that their
    budget allows."""

    region: str
    pools: int
    interval_ms: int
    cost_per_hour: float
    budget_per_hour: float


def cost_of(units: float, price_per_million_units: float) -> float:
    """Money for so many units; ``PRICE_ASSUMED`` stands for a price of 0."""
    return units * (price_per_million_units or PRICE_ASSUMED) / UNITS_PER_PRICE


class Ledger:
    """What was spent in the last 60 minutes. Instants are milliseconds of one monotonic clock."""

    def __init__(self, budget_per_hour: float = 0.0) -> None:
        self.budget_per_hour = budget_per_hour
        self.total = 0.0  # since the start
        self._minutes: deque[list[float]] = deque()  # [minute, money]

    def may_spend(self, cost: float, now_ms: int) -> bool:
        """Whether the last 60 minutes stay within the budget with this."""
        return self.spent(now_ms) + cost <= self.budget_per_hour

    def spend(self, cost: float, now_ms: int) -> None:
        """Note what was spent; a negative cost takes back what was set aside too much."""
        minute = now_ms // MS_PER_MINUTE
        if not self._minutes or self._minutes[-1][0] != minute:
            self._minutes.append([minute, 0.0])
        self._minutes[-1][1] += cost
        self.total += cost

    def spent(self, now_ms: int) -> float:
        """Money of the last 60 whole minutes and of the present one."""
        oldest = now_ms // MS_PER_MINUTE - 60
        while self._minutes and self._minutes[0][0] < oldest:
            self._minutes.popleft()
        return sum(money for _, money in self._minutes)
