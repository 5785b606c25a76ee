"""How much load each route has: what clients report, and until they do, what the policy expects."""

from typing import NamedTuple

from controller.core.compiled import Compiled
from controller.core.evidence import Reach
from streams.rows import DemandRow

ROWS_KEPT = 256
SPAN_SECONDS = 10

_Flows = dict[tuple[str, str], tuple[float, float]]  # units/s, requests/s
_kept: dict[int, tuple[DemandRow, _Flows]] = {}


class Demanded(NamedTuple):
    """By route: units/s and, as far as clients report, requests/s.

    ``reported``: names of routes that were ever reported, sorted.
    """

    units: list[float]
    requests: list[float]
    reported: tuple[str, ...]


def demand_of(
    rules: Compiled,
    rows: tuple[DemandRow, ...],
    reach: Reach,
    reported: tuple[str, ...],
    silent_after_ms: int,
    now_ms: int,
) -> Demanded:
    """What every route is asked for. Offered load includes what was shed.

    A partition without a report for ``silent_after_ms``, though it is consumed to its end, has no clients.
    """
    totals: _Flows = {}
    for row in rows:
        if not row.seconds or _silent(row, reach, silent_after_ms, now_ms):
            continue
        for flow, (units, requests) in _rates(row).items():
            so_far = totals.get(flow, (0.0, 0.0))
            totals[flow] = (so_far[0] + units, so_far[1] + requests)
    known = set(reported)
    demand, rates = [], []
    for route in rules.routes:
        now = totals.get((route.workload, route.origin))
        if now is not None:
            known.add(route.name)
        demand.append((now[0] if now else 0.0) if route.name in known else route.expected_units_per_s)
        rates.append(now[1] if now else 0.0)
    return Demanded(demand, rates, reported if len(known) == len(reported) else tuple(sorted(known)))


def _silent(row: DemandRow, reach: Reach, silent_after_ms: int, now_ms: int) -> bool:
    heard_ms = row.seconds[-1].second_ms + 1000
    return heard_ms + silent_after_ms <= now_ms and reach.is_current("demand", row.position.partition)


def _rates(row: DemandRow) -> _Flows:
    """Mean load of each flow over the last whole seconds. Kept by identity."""
    held = _kept.get(id(row))
    if held is not None and held[0] is row:
        return held[1]
    newest_ms = row.seconds[-1].second_ms
    whole = [s for s in row.seconds if newest_ms - SPAN_SECONDS * 1000 <= s.second_ms < newest_ms]
    seconds = whole or list(row.seconds[-1:])
    span_s = max(1, (seconds[-1].second_ms - seconds[0].second_ms) // 1000 + 1)
    found: _Flows = {}
    for second in seconds:
        for flow in second.flows:
            key = (flow.workload, flow.origin)
            so_far = found.get(key, (0.0, 0.0))
            found[key] = (so_far[0] + flow.offered_units / span_s, so_far[1] + flow.requests / span_s)
    while len(_kept) >= ROWS_KEPT:
        _kept.pop(next(iter(_kept)))
    _kept[id(row)] = (row, found)
    return found
