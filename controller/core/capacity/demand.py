"""How much load each route has: what clients report, and until they do, what the policy expects."""

from collections.abc import Sequence
from operator import is_
from typing import NamedTuple

from controller.core.evidence.hearing import Reach
from controller.core.model.memo import Memo
from controller.core.policy.compiled import CompiledPolicy
from controller.core.policy.thresholds import Thresholds
from streams.rows import DemandRow

_Flows = dict[tuple[str, str], tuple[float, float]]  # units/s, requests/s


class Demanded(NamedTuple):
    """By route: units/s and, as far as clients report, requests/s. Not to be changed by who reads it.

    ``reported``: names of routes that were ever reported, sorted.
    """

    units: list[float]
    requests: list[float]
    reported: tuple[str, ...]


class _KeptDemand(NamedTuple):
    """The last answer, and what it was the answer to."""

    compiled: CompiledPolicy
    flows: Sequence[_Flows]
    reported: tuple[str, ...]
    demanded: Demanded

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
) -> Demanded:
    """What every route is asked for. Offered load includes what was shed.

    A partition without a report for ``stale_min_ms``, though it is consumed to its end, has no clients.
    """
    thresholds = compiled.policy.thresholds
    heard = [row for row in rows if row.seconds and not _silent(row, reach, thresholds, now_ms)]
    flows = memo.each(_rates, heard, thresholds)
    kept = memo.last(_KeptDemand)
    if kept is None or not kept.answers(compiled, flows, reported):
        kept = _KeptDemand(compiled, flows, reported, _demanded(compiled, _added_up(flows), reported))
        memo.keep(kept)
    return kept.demanded


def _added_up(rows: Sequence[_Flows]) -> _Flows:
    totals: _Flows = {}
    for flows in rows:
        for flow, (units, requests) in flows.items():
            so_far = totals.get(flow, (0.0, 0.0))
            totals[flow] = (so_far[0] + units, so_far[1] + requests)
    return totals


def _demanded(compiled: CompiledPolicy, totals: _Flows, reported: tuple[str, ...]) -> Demanded:
    known = set(reported)
    demand, rates = [], []
    for route in compiled.routes:
        now = totals.get((route.workload, route.origin))
        if now is not None:
            known.add(route.name)
        demand.append((now[0] if now else 0.0) if route.name in known else route.expected_units_per_s)
        rates.append(now[1] if now else 0.0)
    return Demanded(demand, rates, reported if len(known) == len(reported) else tuple(sorted(known)))


def _silent(row: DemandRow, reach: Reach, thresholds: Thresholds, now_ms: int) -> bool:
    heard_ms = row.seconds[-1].second_ms + 1000
    return heard_ms + thresholds.stale_min_ms <= now_ms and reach.is_current("demand", row.position.partition)


def _rates(row: DemandRow, thresholds: Thresholds) -> _Flows:
    """Mean load of each flow over the last whole seconds."""
    newest_ms = row.seconds[-1].second_ms
    whole = [s for s in row.seconds if newest_ms - thresholds.demand_window_ms <= s.second_ms < newest_ms]
    seconds = whole or list(row.seconds[-1:])
    span_s = max(1, (seconds[-1].second_ms - seconds[0].second_ms) // 1000 + 1)
    units: dict[tuple[str, str], float] = {}
    requests: dict[tuple[str, str], int] = {}
    for second in seconds:
        for flow in second.flows:
            key = (flow.workload, flow.origin)
            units[key] = units.get(key, 0.0) + flow.offered_units / span_s
            requests[key] = requests.get(key, 0) + flow.requests
    return {key: (load, requests[key] / span_s) for key, load in units.items()}
