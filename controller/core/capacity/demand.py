"""How much load each route has: what clients report, and until they do, what the policy expects."""

import math
from collections.abc import Sequence
from operator import is_
from typing import NamedTuple

from controller.core.evidence.heard_sources import Reach
from controller.core.evidence.reported_seconds import reported_seconds
from controller.core.model.memo import Memo
from controller.core.policy.compiled import CompiledPolicy
from controller.core.policy.thresholds import Thresholds
from streams.rows import DemandRow, DemandSecond

CHANCE_DEVIATIONS = 3.0  # of a Poisson count: more requests than that are no chance

_Flows = dict[tuple[str, str], tuple[float, float]]
"""(workload, origin) -> (units/s, requests/s)."""


class Demand(NamedTuple):
    """By route: units/s, and requests/s as far as clients report them. Readers must not change the lists.

    ``reported``: names of the routes that were ever reported, sorted.
    """

    units: list[float]
    requests: list[float]
    reported: tuple[str, ...]


class _LastDemand(NamedTuple):
    """The last answer, and what it was the answer to."""

    compiled: CompiledPolicy
    flows: Sequence[_Flows]
    reported: tuple[str, ...]
    demand: Demand

    def answers(self, compiled: CompiledPolicy, flows: Sequence[_Flows], reported: tuple[str, ...]) -> bool:
        same = len(flows) == len(self.flows) and all(map(is_, flows, self.flows))
        return same and compiled is self.compiled and reported == self.reported


def demand_of(
    compiled: CompiledPolicy,
    rows: tuple[DemandRow, ...],
    reach: Reach,
    reported: tuple[str, ...],
    now_ms: int,
    memo: Memo,
) -> Demand:
    """The demand of every route; load that was shed is part of it. The same object while no row is new.

    ``reported``: names of the routes that had been reported before. A partition that was read to its end and
    holds no report of the last ``stale_min_ms`` has no clients.
    """
    thresholds = compiled.policy.thresholds
    loud = [row for row in rows if row.seconds and not _is_silent(row, reach, thresholds, now_ms)]
    flows = memo.each(_rates, loud, thresholds)
    last = memo.last(_LastDemand)
    if last is not None and last.answers(compiled, flows, reported):
        return last.demand
    demand = _by_route(compiled, _added_up(flows), reported)
    memo.keep(_LastDemand(compiled, flows, reported, demand=demand))
    return demand


def _added_up(rows: Sequence[_Flows]) -> _Flows:
    totals: _Flows = {}
    for flows in rows:
        for flow, (units, requests) in flows.items():
            so_far = totals.get(flow, (0.0, 0.0))
            totals[flow] = (so_far[0] + units, so_far[1] + requests)
    return totals


def _by_route(compiled: CompiledPolicy, totals: _Flows, reported: tuple[str, ...]) -> Demand:
    names = set(reported)
    units, requests = [], []
    for route in compiled.routes:
        total = totals.get((route.workload, route.origin))
        if total is not None:
            names.add(route.name)
        units.append((total[0] if total else 0.0) if route.name in names else route.expected_units_per_s)
        requests.append(total[1] if total else 0.0)
    return Demand(units, requests, reported if len(names) == len(reported) else tuple(sorted(names)))


def _is_silent(row: DemandRow, reach: Reach, thresholds: Thresholds, now_ms: int) -> bool:
    last_ms = row.seconds[-1].second_ms + 1000
    is_old = last_ms + thresholds.stale_min_ms <= now_ms
    return is_old and reach.is_current("demand", row.position.partition)


def _rates(row: DemandRow, thresholds: Thresholds) -> _Flows:
    """The load of each flow: the mean over the last seconds, or over the very last ones where load surges."""
    seconds = reported_seconds(row.seconds, thresholds)
    last_ms = seconds[-1].second_ms
    means = _means([s for s in seconds if s.second_ms > last_ms - thresholds.demand_window_ms])
    recent = [s for s in seconds if s.second_ms > last_ms - thresholds.surge_window_ms]
    for flow, (units, requests) in _means(recent).items():
        usual_units, usual_requests = means[flow]
        count, usual_count = requests * len(recent), usual_requests * len(recent)
        by_chance = CHANCE_DEVIATIONS * math.sqrt(usual_count)
        if units > usual_units * (1 + thresholds.surge_share) and count > usual_count + by_chance:
            means[flow] = (units, requests)
    return means


def _means(seconds: Sequence[DemandSecond]) -> _Flows:
    """The mean load of each flow over these seconds, which are not empty."""
    span_s = max(1, (seconds[-1].second_ms - seconds[0].second_ms) // 1000 + 1)
    units: dict[tuple[str, str], float] = {}
    requests: dict[tuple[str, str], int] = {}
    for second in seconds:
        for flow in second.flows:
            key = (flow.workload, flow.origin)
            units[key] = units.get(key, 0.0) + flow.offered_units / span_s
            requests[key] = requests.get(key, 0) + flow.requests
    return {key: (load, requests[key] / span_s) for key, load in units.items()}
