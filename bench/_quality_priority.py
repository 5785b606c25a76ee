"""Priority levels with spill, panic and the ejection of outliers: what a proxy such as Envoy does.

Level 0 has the pools of the provider with the most committed capacity among a route's lawful pools, level 1
all others, because that capacity is paid for in any case. The settings are Envoy's defaults, but for one:

- A level takes (share of its pools that are not ejected) x 1.4 of the load, at most all; the rest spills:
  https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/priority
- While the levels together could not take all load, a level with less than 50 % of its pools left uses all
  of them (panic): .../upstream/load_balancing/panic_threshold
- Five 5xx in a row, failed connections and time-outs among them, eject a pool for 30 s, longer by 30 s at
  each further time, at most 300 s. Ejections end with the sweeps, every 10 s:
  https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/cluster/v3/outlier_detection.proto
- ``max_ejection_percent`` is 50 %. The default of 10 % would eject one pool of any cluster here, and so keep
  a provider that is lost with two or three pools in use.

A 400, a 401 or a 429 is no 5xx, so none of them ejects a pool. Ejection by success rate is left out: it
begins at five pools in a cluster, and only one cluster here has five.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench._quality_routers import Fleet
from controller.core.policy.policy import Policy
from lab.sim.contracts import provider_of
from lab.sim.fleet import Outcome, PoolNature
from lab.sim.reports import UNITS_PER_REQUEST
from tieline.table import RouteTable

OVERPROVISIONING = 1.4
PANIC_BELOW = 0.5
IN_A_ROW = 5
SWEEP_EVERY_S = 10
EJECTED_FOR_S = 30
EJECTED_MAX_S = 300
EJECTED_SHARE_MAX = 0.5
IS_5XX = ("server_error", "connect", "timeout")


class PrioritySpill:
    """Two levels for each route, and one record of ejections for all of them."""

    def __init__(self, policy: Policy) -> None:
        self._fleet = Fleet(policy)
        self._levels = {
            route: levels_of(pools, self._fleet.committed) for route, pools in self._fleet.lawful.items()
        }
        self._outliers = Outliers()

    def table(self, _: float, /) -> RouteTable:
        """The load of each level, dealt out by the limits of its pools."""
        return self._fleet.table({route: self._parts(levels) for route, levels in self._levels.items()})

    def observe(self, at_s: float, outcome: Outcome, natures: Mapping[str, PoolNature]) -> None:
        """Counts failures in a row."""
        self._outliers.sweep(at_s)
        for (_, pool), traffic in outcome.traffic.items():
            failed = traffic.failed if natures[pool].result in IS_5XX else 0.0
            self._outliers.count(pool, traffic.sent, failed, at_s)

    def _parts(self, levels: Sequence[tuple[str, ...]]) -> dict[str, float]:
        pools = [pool for level in levels for pool in level]
        ejected = self._outliers.ejected(pools)
        parts: dict[str, float] = {}
        for share, level in zip(*spill(levels, ejected), strict=True):
            weights = self._fleet.by_limit(level)
            total = sum(weights.values())
            parts.update({pool: share * weight / total for pool, weight in weights.items() if share > 0})
        return parts


def levels_of(pools: Sequence[str], committed: Mapping[str, float]) -> tuple[tuple[str, ...], ...]:
    """The pools of the provider with the most committed capacity, and all others if there are any."""
    sums: dict[str, float] = {}
    for pool in pools:
        sums[provider_of(pool)] = sums.get(provider_of(pool), 0.0) + committed[pool]
    first = max(sorted(sums), key=lambda provider: sums[provider])
    levels = (
        tuple(pool for pool in pools if provider_of(pool) == first),
        tuple(pool for pool in pools if provider_of(pool) != first),
    )
    return tuple(level for level in levels if level)


def spill(
    levels: Sequence[tuple[str, ...]], ejected: frozenset[str]
) -> tuple[list[float], list[tuple[str, ...]]]:
    """By level: its share of the load in whole percent, and the pools among which it is dealt out."""
    well = [tuple(pool for pool in level if pool not in ejected) for level in levels]
    scores = [
        min(100, int(100 * OVERPROVISIONING * len(healthy) / len(level)))
        for healthy, level in zip(well, levels, strict=True)
    ]
    total = min(100, sum(scores))
    if total == 0:
        return [100.0 / len(levels)] * len(levels), list(levels)
    shares, left = [], 100.0
    for score in scores:
        shares.append(min(left, 100.0 * score / total))
        left -= shares[-1]
    used = [
        level if total < 100 and len(healthy) < PANIC_BELOW * len(level) else healthy
        for healthy, level in zip(well, levels, strict=True)
    ]
    return shares, used


class Outliers:
    """Which pools are ejected until when.

    Load is a flow here, without single requests, so a run of failures is expected, not observed: a pool with
    n requests of which a share f fails has n x f^5 runs of five. It is ejected once they sum up to one.
    """

    def __init__(self) -> None:
        self._runs: dict[str, float] = {}
        self._times: dict[str, int] = {}
        self._until_s: dict[str, float] = {}
        self._sweeps = 0

    def sweep(self, at_s: float) -> None:
        """Ends ejections, and forgets one for each pool that has been in use, every ten seconds."""
        if int(at_s // SWEEP_EVERY_S) == self._sweeps:
            return
        self._sweeps = int(at_s // SWEEP_EVERY_S)
        for pool, times in self._times.items():
            if pool not in self._until_s:
                self._times[pool] = max(0, times - 1)
        self._until_s = {pool: until_s for pool, until_s in self._until_s.items() if until_s > at_s}

    def count(self, pool: str, sent: float, failed: float, at_s: float) -> None:
        """The latest time of a pool, in units: what was sent, and what of it was answered with a 5xx."""
        if sent <= 0 or pool in self._until_s:
            return
        share = failed / sent
        self._runs[pool] = self._runs.get(pool, 0.0) + sent / UNITS_PER_REQUEST * share**IN_A_ROW
        if self._runs[pool] >= 1:
            self._runs[pool] = 0.0
            self._times[pool] = self._times.get(pool, 0) + 1
            for_s = min(EJECTED_FOR_S * self._times[pool], EJECTED_MAX_S)
            self._until_s[pool] = at_s + for_s

    def ejected(self, pools: Sequence[str]) -> frozenset[str]:
        """The ejected pools of a cluster: half of it at most, but always one, the first ejected first."""
        most = max(1, int(EJECTED_SHARE_MAX * len(pools)))
        return frozenset([pool for pool in self._until_s if pool in pools][:most])
