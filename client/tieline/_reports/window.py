"""What one client counts between two reports: load offered and shed, and how attempts ended, by pool."""

from threading import Lock

from tieline._health.ejection import Out
from tieline._http.flights import Flights
from tieline._routing.route import Outcome, Target
from tieline.event_fields import DURATION_MAX_MS, LATENCY_MAX_MS
from tieline.events import Flow, Outcomes, PoolObservation, ResultClass
from tieline.quantiles import nearest_rank

SAMPLES_MAX = 512


class Samples:
    """At most 512 values of a window: every value until there are so many, then every second, every fourth.

    Thinning by position treats the beginning, the middle and the end of a window alike, and needs no
    randomness.
    """

    __slots__ = ("_count", "_every", "_values")

    def __init__(self) -> None:
        self._values: list[float] = []
        self._every = 1
        self._count = 0

    def add(self, value: float) -> None:
        """Count one more value, and keep it if its position says so."""
        if self._count % self._every == 0:
            self._values.append(value)
            if len(self._values) >= SAMPLES_MAX:
                self._values = self._values[::2]
                self._every *= 2
        self._count += 1

    def quantile(self, share: float) -> float | None:
        """The value at this rank of those that were kept; None without values."""
        return nearest_rank(self._values, share)


class _PoolCounts:
    __slots__ = ("first_token", "left", "left_units", "per_token", "results", "units")

    def __init__(self) -> None:
        self.results: dict[ResultClass, int] = {}
        self.units = 0.0
        self.left = self.left_units = 0.0  # of rate limits, weighted by the units that know it
        self.first_token = Samples()
        self.per_token = Samples()


class DemandWindow:
    """Everything counted since the last report. Thread-safe."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._pools: dict[str, _PoolCounts] = {}
        self._offered: dict[str, float] = {}
        self._shed: dict[str, float] = {}

    def after_fork(self) -> None:
        """In a child process: forget what was counted, because the parent reports it."""
        self._lock = Lock()
        self._pools, self._offered, self._shed = {}, {}, {}

    def offered(self, origin: str, units: float) -> None:
        """A caller asks for ``units`` of load."""
        with self._lock:
            self._offered[origin] = self._offered.get(origin, 0.0) + units

    def shed(self, origin: str, units: float) -> None:
        """A request of ``units`` was turned away."""
        with self._lock:
            self._shed[origin] = self._shed.get(origin, 0.0) + units

    def observe(self, target: Target, outcome: Outcome) -> None:
        """An attempt at the target has ended."""
        with self._lock:
            row = self._pools.get(target.pool)
            if row is None:
                row = self._pools[target.pool] = _PoolCounts()
            result = outcome.counted_as
            row.results[result] = row.results.get(result, 0) + 1
            row.units += max(0.0, outcome.units)
            if outcome.rate_limit_left is not None and outcome.units > 0:
                row.left += outcome.units * min(max(outcome.rate_limit_left, 0.0), 1.0)
                row.left_units += outcome.units
            if outcome.first_token_ms is not None:
                row.first_token.add(min(max(outcome.first_token_ms, 0.0), LATENCY_MAX_MS))
            if outcome.per_token_ms is not None:
                row.per_token.add(min(max(outcome.per_token_ms, 0.0), LATENCY_MAX_MS))

    def take(
        self,
        workload: str,
        counts: dict[str, tuple[int, int]],
        outs: dict[str, Out],
        flights: Flights,
        now_ms: int,
    ) -> tuple[tuple[Flow, ...], tuple[PoolObservation, ...]]:
        """Flows sorted by origin and observations sorted by pool; the window begins anew.

        ``counts``: origin -> (requests offered, requests shed); ``outs``: the pools that this process keeps
        away from. A pool is observed if it has counts, is out, or has requests in flight.
        """
        with self._lock:
            pools, self._pools = self._pools, {}
            offered, self._offered = self._offered, {}
            shed, self._shed = self._shed, {}
        flows = []
        for origin in sorted({*counts, *offered, *shed}):
            requests, shed_requests = counts.get(origin, (0, 0))
            flows.append(
                Flow(
                    workload,
                    origin,
                    requests=requests,
                    offered_units=offered.get(origin, 0.0),
                    shed_requests=shed_requests,
                    shed_units=shed.get(origin, 0.0),
                )
            )
        names = sorted({*pools, *outs, *flights.pools()})
        observations = (
            _observation(pool, pools.get(pool), outs.get(pool), flights, now_ms) for pool in names
        )
        return tuple(flows), tuple(observations)


def _observation(
    pool: str, row: _PoolCounts | None, out: Out | None, flights: Flights, now_ms: int
) -> PoolObservation:
    row = row or _PoolCounts()
    # An ejection whose time is over is not reported. This process would try the pool again, but if the table
    # gives the pool no weight, no request ever shows that it is well: the report would keep it out for ever.
    ejected = out.result if out is not None and now_ms < out.until_ms else None
    return PoolObservation(
        pool=pool,
        outcomes=Outcomes(**{result.value: count for result, count in row.results.items()}),
        units=row.units,
        first_token_p50_ms=row.first_token.quantile(0.5),
        first_token_p99_ms=row.first_token.quantile(0.99),
        per_token_p50_ms=row.per_token.quantile(0.5),
        in_flight=flights.count(pool),
        oldest_in_flight_ms=min(flights.oldest_ms(pool, now_ms), DURATION_MAX_MS),
        ejected=ejected,
        rate_limit_left=min(1.0, row.left / row.left_units) if row.left_units else None,
    )
