"""PURE. On whose requests the share falls that the table sheds of a workload.

The table says how much of a route's demand is turned away, not whose. Left to chance, everybody would lose
the same part, and who asks for ten times as much would get ten times as much. Here each caller gets what it
asks for up to a level that is the same for all, in proportion to their weights (max-min fairness); what is
above the level is shed. The sum stays the table's: where nothing is above the level nothing is shed here that
the table would not have shed.

Demand is an average over the last seconds. A caller's share to shed is spread evenly over its requests by
counting: each adds its part to the caller's debt, and one that makes it a whole is shed.
"""

from math import exp

from msgspec import Struct

AVERAGE_MS = 5_000
RECKON_EVERY_MS = 200
FORGET_BELOW = 1e-3  # of a unit: a caller that has not asked for minutes


class _Demand(Struct):
    """One caller's. ``units``: the decaying sum; ``shed``: the share of its requests to shed; ``debt``: what
    of that is due."""

    weight: float
    units: float = 0.0
    at_ms: int = 0
    shed: float = 0.0
    debt: float = 0.0

    def decay(self, now_ms: int) -> None:
        self.units *= exp(-max(0, now_ms - self.at_ms) / AVERAGE_MS)
        self.at_ms = now_ms


class FairShares:
    """The rule for one route, which is one workload from one origin."""

    def __init__(self) -> None:
        self._demands: dict[str, _Demand] = {}
        self._reckoned_ms = 0
        self._reckoned_for = -1.0

    def decide(
        self, caller: str, weight: float, units: float, *, shed_share: float, now_ms: int
    ) -> bool | None:
        """Whether this request is shed; None while nothing is short. ``shed_share``: of the route, 0 to 1."""
        demand = self._demands.setdefault(caller, _Demand(weight))
        demand.weight = weight
        demand.decay(now_ms)
        demand.units += units
        if shed_share <= 0.0:
            return None
        if now_ms - self._reckoned_ms >= RECKON_EVERY_MS or shed_share != self._reckoned_for:
            self._reckon(shed_share, now_ms)
        demand.debt += demand.shed
        if demand.debt < 1.0:
            return False
        demand.debt -= 1.0
        return True

    def _reckon(self, shed_share: float, now_ms: int) -> None:
        self._reckoned_ms, self._reckoned_for = now_ms, shed_share
        for demand in self._demands.values():
            demand.decay(now_ms)
        self._demands = {name: each for name, each in self._demands.items() if each.units > FORGET_BELOW}
        served = (1.0 - shed_share) * sum(each.units for each in self._demands.values())
        level = fair_level([(each.units, each.weight) for each in self._demands.values()], served)
        for demand in self._demands.values():
            demand.shed = max(0.0, 1.0 - demand.weight * level / demand.units)


def fair_level(demands: list[tuple[float, float]], served: float) -> float:
    """The level, for a weight of one, up to which each of the demands (units, weight) is met, so that
    ``served`` units are met in all."""
    left, weights = served, sum(weight for _, weight in demands)
    for units, weight in sorted(demands, key=lambda row: row[0] / row[1]):
        if units / weight * weights > left:
            return left / weights
        left -= units
        weights -= weight
    return max((units / weight for units, weight in demands), default=0.0)
