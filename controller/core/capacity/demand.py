"""How much load each route has: what clients report, and until they do, what the policy expects.

A client's word counts as far as it is credible (streams/credit.py). Of what is doubtful, all clients
together count up to the share that one reporter may have of any evidence: a lie adds no more than a third.

Silence is not the end of a load. What clients that fell silent had is counted on as unheard, until they say
goodbye or others take it over, that is, until what is heard is as much as before the silence.
"""

import math
from collections.abc import Sequence
from itertools import chain, repeat
from operator import is_
from typing import NamedTuple, TypeAlias

from controller.core.evidence.heard_sources import Reach
from controller.core.evidence.reported_seconds import reported_seconds
from controller.core.model.memo import Memo
from controller.core.model.memory import Memory, UnheardLoad
from controller.core.policy.compiled import CompiledPolicy
from controller.core.policy.thresholds import Thresholds
from streams.clients import UNHEARD_MAX_MS
from streams.rows import DemandRow, DemandSecond, FlowSum


class Flow(NamedTuple):
    """Load of one (workload, origin) per second: ``units`` and ``requests`` that are credible, ``doubtful``
    units, and the units and requests of clients that are silent. ``earlier``: ``units`` ten seconds ago."""

    units: float = 0.0
    requests: float = 0.0
    doubtful: float = 0.0
    unheard_units: float = 0.0
    unheard_requests: float = 0.0
    earlier: float = 0.0

    def plus(self, other: "Flow") -> "Flow":
        """Both together."""
        return Flow(*map(float.__add__, self, other))

    def as_unheard(self) -> "Flow":
        """The same after its clients have fallen silent. Nothing of what was not credible is counted on."""
        units, requests = self.units + self.unheard_units, self.requests + self.unheard_requests
        return Flow(unheard_units=units, unheard_requests=requests, earlier=self.earlier)


CHANCE_DEVIATIONS = 3.0  # of a Poisson count: more requests than that are no chance

_Flows = dict[tuple[str, str], Flow]
"""By (workload, origin)."""


class Demand(NamedTuple):
    """By route: units/s, and requests/s as far as clients report them. Readers must not change the lists.

    ``reported``: names of the routes that were ever reported, sorted. ``unheard``: what is to be remembered
    of the load of silent clients.
    """

    units: list[float]
    requests: list[float]
    reported: tuple[str, ...]
    unheard: tuple[UnheardLoad, ...]


class _Before(NamedTuple):
    """What was remembered before."""

    reported: tuple[str, ...]
    unheard: tuple[UnheardLoad, ...]


class _LastDemand(NamedTuple):
    """The last answer, and what it was the answer to."""

    compiled: CompiledPolicy
    flows: Sequence[_Flows]
    silent: Sequence[_Flows]
    before: _Before
    demand: Demand

    def answers(
        self, compiled: CompiledPolicy, flows: Sequence[_Flows], silent: Sequence[_Flows], before: _Before
    ) -> bool:
        same = _are_same(flows, self.flows) and _are_same(silent, self.silent)
        return same and compiled is self.compiled and before == self.before


def demand_of(
    compiled: CompiledPolicy,
    rows: tuple[DemandRow, ...],
    reach: Reach,
    remembered: Memory,
    now_ms: int,
    memo: Memo,
) -> Demand:
    """The demand of every route; load that was shed is part of it. The same object while no row is new.

    ``remembered``: which routes had been reported before, and what of silent clients. A partition that was
    read to its end and holds no report of the last ``stale_min_ms`` is silent. What it asked for is counted
    on, for no more than an hour if others are heard.
    """
    thresholds = compiled.policy.thresholds
    rows = tuple(row for row in rows if row.seconds)
    flows = _kept_rates(rows, thresholds, memo)
    is_silent = [_is_silent(row, reach, thresholds, now_ms) for row in rows]
    heard = [rates for rates, silent in zip(flows, is_silent, strict=True) if not silent]
    # A row without generations has no clients: all have said goodbye.
    oldest_ms = now_ms - UNHEARD_MAX_MS if heard else 0
    gone = [
        rates
        for rates, silent, row in zip(flows, is_silent, rows, strict=True)
        if silent and row.generations and row.seconds[-1].second_ms >= oldest_ms
    ]
    before = _Before(remembered.reported, remembered.unheard)
    last = memo.last(_LastDemand)
    if last is not None and last.answers(compiled, heard, gone, before):
        return last.demand
    demand = _by_route(compiled, _added_up(heard, gone), before)
    memo.keep(_LastDemand(compiled, heard, gone, before=before, demand=demand))
    return demand


def _are_same(now: Sequence[_Flows], before: Sequence[_Flows]) -> bool:
    return len(now) == len(before) and all(map(is_, now, before))


def _added_up(heard: Sequence[_Flows], silent: Sequence[_Flows]) -> _Flows:
    totals: _Flows = {}
    for flows in heard:
        for key, flow in flows.items():
            totals[key] = totals[key].plus(flow) if key in totals else flow
    for flows in silent:
        for key, flow in flows.items():
            totals[key] = totals.get(key, Flow()).plus(flow.as_unheard())
    return totals


def _by_route(compiled: CompiledPolicy, totals: _Flows, before: _Before) -> Demand:
    thresholds = compiled.policy.thresholds
    names, remembered = set(before.reported), {load.route: load for load in before.unheard}
    units, requests, unheard = [], [], []
    for route in compiled.routes:
        total = totals.get((route.workload, route.origin))
        if total is None:
            units.append(0.0 if route.name in names else route.expected_units_per_s)
            requests.append(0.0)
            continue
        heard = total.units + believed(total, route.expected_units_per_s, thresholds)
        if total.units or total.unheard_units or not any(total):
            names.add(route.name)
        elif route.name not in names:  # nobody credible has spoken of it
            heard = max(heard, route.expected_units_per_s)
        load = counted_on(remembered.get(route.name), route.name, heard, total, thresholds)
        if load is not None:
            unheard.append(load)
        still = load.of(heard, total.unheard_units) if load is not None else 0.0
        units.append(heard + still)
        requests.append(total.requests + _part(still, total.unheard_units) * total.unheard_requests)
    reported = before.reported if len(names) == len(before.reported) else tuple(sorted(names))
    loads = before.unheard if tuple(unheard) == before.unheard else tuple(unheard)
    return Demand(units, requests, reported, unheard=loads)


def believed(total: Flow, expected_units_per_s: float, thresholds: Thresholds) -> float:
    """The units/s of what is doubtful that count: one reporter's share, or what the policy expects."""
    share = thresholds.reporter_share_max
    most = (total.units + total.unheard_units) * share / max(1.0 - share, share)
    return min(total.doubtful, max(most, expected_units_per_s - total.units))


def counted_on(
    before: UnheardLoad | None, route: str, heard: float, total: Flow, thresholds: Thresholds
) -> UnheardLoad | None:
    """What to remember of the load of a route's silent clients; None if there are none. ``heard`` in units/s.

    The same object while it is about the same.
    """
    unheard = total.unheard_units
    if unheard <= thresholds.forced_share_min * heard or not unheard:
        return None
    if before is None:
        before = UnheardLoad(route, total.earlier or heard + unheard, unheard)
    load, more = before, unheard - before.unheard
    if more > thresholds.same_share * before.unheard:
        # Those that fell silent now were heard before; if as much is heard as then, they are only late.
        then = max(heard, min(heard + more, total.earlier or heard + more))
        then += before.of(then, before.unheard)
        load = UnheardLoad(route, max(before.before, then), unheard, gone=before.gone)
    elif -more > thresholds.same_share * before.unheard:
        load = UnheardLoad(route, before.before, unheard, gone=min(before.gone, unheard))
    # A silence that begins is small in the mean of ten seconds, and is no less one for that.
    noise = min(thresholds.overload_tolerance * load.before, load.unheard / 2)
    if heard >= load.before - noise and load.gone < load.unheard:
        load = UnheardLoad(route, load.before, load.unheard, gone=load.unheard)
    return load


def _part(some: float, whole: float) -> float:
    return some / whole if whole else 0.0


_Load: TypeAlias = tuple[tuple[int, tuple[FlowSum, ...]], ...]
"""The start of each second whose reports have arrived, and what was asked for in it."""


class _LastRates(NamedTuple):
    """The last rates of each row, and the load that they are of."""

    thresholds: Thresholds
    rows: list[tuple[_Load, _Flows]]


def _kept_rates(rows: tuple[DemandRow, ...], thresholds: Thresholds, memo: Memo) -> list[_Flows]:
    """The rates of each row: the same object while its load is equal, as most news is of pools alone."""
    last = memo.last(_LastRates)
    before = last.rows if last is not None and last.thresholds is thresholds else []
    loads = memo.each(_load_of, rows, thresholds)
    earlier = chain(before, repeat(None))
    pairs = []
    for row, load, was in zip(rows, loads, earlier, strict=False):
        is_same = was is not None and was[0] == load
        pairs.append(was if was and is_same else (load, _rates(row, thresholds)))
    memo.keep(_LastRates(thresholds, pairs))
    return [rates for _, rates in pairs]


def _load_of(row: DemandRow, thresholds: Thresholds) -> _Load:
    return tuple((second.second_ms, second.flows) for second in reported_seconds(row.seconds, thresholds))


def _is_silent(row: DemandRow, reach: Reach, thresholds: Thresholds, now_ms: int) -> bool:
    last_ms = row.seconds[-1].second_ms + 1000
    is_old = last_ms + thresholds.stale_min_ms <= now_ms
    return is_old and reach.is_current("demand", row.position.partition)


def _rates(row: DemandRow, thresholds: Thresholds) -> _Flows:
    """The load of each flow: the mean over the last seconds, or over the very last ones where load surges."""
    seconds = reported_seconds(row.seconds, thresholds)
    last_ms = seconds[-1].second_ms
    from_ms = last_ms - thresholds.demand_window_ms
    means = _means([s for s in seconds if s.second_ms > from_ms])
    recent = [s for s in seconds if s.second_ms > last_ms - thresholds.surge_window_ms]
    for key, flow in _means(recent).items():
        usual = means[key]
        count, usual_count = flow.requests * len(recent), usual.requests * len(recent)
        by_chance = CHANCE_DEVIATIONS * math.sqrt(usual_count)
        if flow.units > usual.units * (1 + thresholds.surge_share) and count > usual_count + by_chance:
            means[key] = usual._replace(units=flow.units, requests=flow.requests)
    for key, flow in _means([s for s in seconds if s.second_ms <= from_ms]).items():
        if key in means:
            # What was unheard then was late, or is remembered: counted here it would be counted twice.
            means[key] = means[key]._replace(earlier=flow.units)
    return means


def _means(seconds: Sequence[DemandSecond]) -> _Flows:
    span_s = max(1, (seconds[-1].second_ms - seconds[0].second_ms) // 1000 + 1) if seconds else 1
    sums: dict[tuple[str, str], list[float]] = {}
    for second in seconds:
        for flow in second.flows:
            total = sums.setdefault((flow.workload, flow.origin), [0.0] * 5)
            total[0] += (flow.offered_units - flow.doubtful_units) / span_s
            total[1] += flow.requests
            total[2] += flow.doubtful_units / span_s
            total[3] += flow.unheard_units / span_s
            total[4] += flow.unheard_requests
    return {
        key: Flow(units, requests / span_s, doubtful, unheard_units=unheard, unheard_requests=silent / span_s)
        for key, (units, requests, doubtful, unheard, silent) in sums.items()
    }
