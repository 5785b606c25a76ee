"""How much load each route has: what clients report, and until they do, what the policy expects."""

from controller.core.compiled import Compiled
from controller.core.evidence import Reach
from streams.rows import DemandRow

ROWS_KEPT = 256
SPAN_SECONDS = 10

_Flows = dict[tuple[str, str], float]
_kept: dict[int, tuple[DemandRow, _Flows]] = {}


def demand_of(
    rules: Compiled,
    rows: tuple[DemandRow, ...],
    reach: Reach,
    reported: tuple[str, ...],
    silent_after_ms: int,
    now_ms: int,
) -> tuple[list[float], tuple[str, ...]]:
    """(units/s by route, names of routes ever reported, sorted). Offered load includes what was shed.

    A partition without a report for ``silent_after_ms``, though it is consumed to its end, has no clients.
    """
    totals: _Flows = {}
    for row in rows:
        if not row.seconds or _silent(row, reach, silent_after_ms, now_ms):
            continue
        for flow, units in _rates(row).items():
            totals[flow] = totals.get(flow, 0.0) + units
    known = set(reported)
    demand = []
    for route in rules.routes:
        units_now = totals.get((route.workload, route.origin))
        if units_now is not None:
            known.add(route.name)
        if route.name in known:
            demand.append(units_now or 0.0)
        else:
            demand.append(route.expected_units_per_s)
    return demand, reported if len(known) == len(reported) else tuple(sorted(known))


def _silent(row: DemandRow, reach: Reach, silent_after_ms: int, now_ms: int) -> bool:
    heard_ms = row.seconds[-1].second_ms + 1000
    return heard_ms + silent_after_ms <= now_ms and reach.is_current("demand", row.position.partition)


def _rates(row: DemandRow) -> _Flows:
    """Mean units/s of each flow over the last whole seconds. Kept by identity."""
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
            found[key] = found.get(key, 0.0) + flow.offered_units / span_s
    while len(_kept) >= ROWS_KEPT:
        _kept.pop(next(iter(_kept)))
    _kept[id(row)] = (row, found)
    return found
