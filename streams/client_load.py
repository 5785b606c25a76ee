"""What is remembered of one client's load and reports. Pure.

Rates are smoothed over ``SMOOTHED_OVER_S``, so that one odd window is not taken for what its client has.
While a client is late its load is estimated by these rates, second by second, until a report covers the time.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from streams.rows import DemandSecond
from tieline.events import Demand, Flow, stale_after_ms

NEWCOMER_MS = 60_000
LATE_INTERVALS = 2  # a client that misses two reports in a row is unheard
LATE_MIN_MS = 2_000
SMOOTHED_OVER_S = 10.0

FlowKey = tuple[str, str]
Rates = dict[FlowKey, tuple[float, float]]
"""(workload, origin) -> (units/s, requests/s)."""


class Estimate(NamedTuple):
    """What was counted of a late client in one second: its ``rates``, over so many ``seconds``."""

    second_ms: int
    seconds: float
    rates: Rates


class Client(NamedTuple):
    """What is remembered of a client's reports. Rates are per second, smoothed.

    ``known_since_ms``: when it was first heard, 0 if it was there before this process. ``window_end_ms``: of
    its last report, by its own clock. ``counted_ms``: until when its load is counted. ``served``: units/s
    that it is served. ``attempts``: attempts/s that count. ``estimates``: what was counted as unheard and no
    report has covered, the oldest first.
    """

    incarnation: str
    sequence: int
    generation: str
    heard_ms: int
    interval_ms: int
    failing: frozenset[str]
    near_limit: frozenset[str]
    of_its_own: bool
    known_since_ms: int
    window_end_ms: int
    counted_ms: int
    rates: Rates
    served: float
    attempts: float
    estimates: tuple[Estimate, ...] = ()

    def is_newcomer(self, at_ms: int) -> bool:
        """Whether too little is known of it for its word to count beside that of others."""
        is_young = at_ms - self.known_since_ms < NEWCOMER_MS
        return self.known_since_ms > 0 and (is_young or not self.attempts)

    def late_after_ms(self, resumed_ms: int) -> int:
        """From when on it is unheard, if it could report again from ``resumed_ms`` on."""
        late_ms = max(LATE_MIN_MS, LATE_INTERVALS * self.interval_ms)
        return max(self.heard_ms, resumed_ms) + late_ms

    @property
    def silent_after_ms(self) -> int:
        """From when on its last word is no evidence any more."""
        return self.heard_ms + stale_after_ms(self.interval_ms)


class Unheard(NamedTuple):
    """Load of a flow that silent clients had in one second: ``units`` and ``requests`` in all."""

    key: FlowKey
    units: float
    requests: float
    second_ms: int


def window_s(event: Demand) -> float:
    """The length of a report's window in seconds, no less than a tenth of one."""
    return max(0.1, (event.window_end_ms - event.window_start_ms) / 1_000)


def rates_in(flows: Iterable[Flow], seconds: float) -> Rates:
    """The rates of these flows over a window of so many seconds."""
    rates: Rates = {}
    for flow in flows:
        units, requests = rates.get((flow.workload, flow.origin), (0.0, 0.0))
        key = (flow.workload, flow.origin)
        rates[key] = (units + flow.offered_units / seconds, requests + flow.requests / seconds)
    return rates


def rates_of(second: DemandSecond | None) -> Rates:
    """The load of one second, what was unheard then included."""
    if second is None:
        return {}
    return {
        (flow.workload, flow.origin): (
            flow.offered_units - flow.doubtful_units + flow.unheard_units,
            flow.requests + flow.unheard_requests,
        )
        for flow in second.flows
    }


def smoothed(before: Rates, now: Rates, seconds: float) -> Rates:
    """The rates after a window of so many seconds in which they were ``now``."""
    rates: Rates = {}
    for key in {**before, **now}:
        old, new = before.get(key, (0.0, 0.0)), now.get(key, (0.0, 0.0))
        rates[key] = (_towards(old[0], new[0], seconds), _towards(old[1], new[1], seconds))
    return rates


def amounts(estimates: Iterable[Estimate]) -> Iterator[Unheard]:
    """What the estimates stand for, by flow."""
    for second_ms, seconds, rates in estimates:
        for key, (units, requests) in rates.items():
            yield Unheard(key, units * seconds, requests * seconds, second_ms=second_ms)


def _towards(before: float, now: float, seconds: float) -> float:
    return before + (now - before) * min(1.0, seconds / SMOOTHED_OVER_S)
