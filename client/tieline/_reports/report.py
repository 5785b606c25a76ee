"""What one client tells the planner: load asked for and shed, and how requests ended, by pool, in windows.

Accumulating costs a request a few dictionary look-ups; sending happens elsewhere. What can't be sent is
dropped and counted, never waited for.
"""

from threading import Lock
from typing import Protocol

from tieline._health.ejection import Out
from tieline._http.flights import Flights
from tieline._routing.route import Outcome, Target
from tieline.events import (
    DURATION_MAX_MS,
    LATENCY_MAX_MS,
    Demand,
    Flow,
    Outcomes,
    PoolObservation,
    ResultClass,
)
from tieline.quantiles import nearest_rank

SAMPLES_MAX = 512


class Sink(Protocol):
    """Takes reports. ``post`` never waits and never raises."""

    def post(self, event: Demand) -> object: ...


class Samples:
    """At most 512 values of a window: every one until there are so many, then every second, every fourth.
    Thinning by position keeps a window's beginning, middle and end alike, and needs no randomness."""

    __slots__ = ("_every", "_seen", "_values")

    def __init__(self) -> None:
        self._values: list[float] = []
        self._every = 1
        self._seen = 0

    def add(self, value: float) -> None:
        """One more value."""
        if self._seen % self._every == 0:
            self._values.append(value)
            if len(self._values) >= SAMPLES_MAX:
                self._values = self._values[::2]
                self._every *= 2
        self._seen += 1

    def quantile(self, share: float) -> float | None:
        """The value at this rank of those that were kept; None without values."""
        return nearest_rank(self._values, share)


class _PoolWindow:
    __slots__ = ("counts", "first_token", "per_token", "units")

    def __init__(self) -> None:
        self.counts: dict[ResultClass, int] = {}
        self.units = 0.0
        self.first_token = Samples()
        self.per_token = Samples()


class Window:
    """Everything since the last report. Thread-safe."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._pools: dict[str, _PoolWindow] = {}
        self._offered: dict[str, float] = {}
        self._shed: dict[str, float] = {}

    def after_fork(self) -> None:
        """In a child process: what was counted is the parent's to tell."""
        self._lock = Lock()
        self._pools, self._offered, self._shed = {}, {}, {}

    def offered(self, origin: str, units: float) -> None:
        """Load that a caller asked for."""
        with self._lock:
            self._offered[origin] = self._offered.get(origin, 0.0) + units

    def shed(self, origin: str, units: float) -> None:
        """Load that was turned away."""
        with self._lock:
            self._shed[origin] = self._shed.get(origin, 0.0) + units

    def observe(self, target: Target, outcome: Outcome) -> None:
        """One attempt has ended."""
        with self._lock:
            row = self._pools.get(target.pool)
            if row is None:
                row = self._pools[target.pool] = _PoolWindow()
            row.counts[outcome.result] = row.counts.get(outcome.result, 0) + 1
            row.units += max(0.0, outcome.units)
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
        """Flows by origin and pools by name, sorted; the window begins anew."""
        with self._lock:
            pools, self._pools = self._pools, {}
            offered, self._offered = self._offered, {}
            shed, self._shed = self._shed, {}
        origins = sorted({*counts, *offered, *shed})
        flows = tuple(
            Flow(
                workload,
                origin,
                counts.get(origin, (0, 0))[0],
                offered.get(origin, 0.0),
                counts.get(origin, (0, 0))[1],
                shed.get(origin, 0.0),
            )
            for origin in origins
        )
        named = sorted({*pools, *outs, *flights.pools()})
        return flows, tuple(_observation(pool, pools.get(pool), outs, flights, now_ms) for pool in named)


def _observation(
    pool: str, row: _PoolWindow | None, outs: dict[str, Out], flights: Flights, now_ms: int
) -> PoolObservation:
    row = row or _PoolWindow()
    out = outs.get(pool)
    # Once its time is over this process would try the pool again: without weight no request ever shows it.
    kept_away = out is not None and now_ms < out.until_ms
    return PoolObservation(
        pool=pool,
        outcomes=Outcomes(**{result.value: count for result, count in row.counts.items()}),
        units=row.units,
        first_token_p50_ms=row.first_token.quantile(0.5),
        first_token_p99_ms=row.first_token.quantile(0.99),
        per_token_p50_ms=row.per_token.quantile(0.5),
        in_flight=flights.count(pool),
        oldest_in_flight_ms=min(flights.oldest_ms(pool, now_ms), DURATION_MAX_MS),
        ejected=out.result if out is not None and kept_away else None,
    )


class UrgentGate:
    """PURE. At most one urgent report a second for each pool."""

    def __init__(self, every_ms: int = 1_000) -> None:
        self._every_ms = every_ms
        self._last: dict[str, int] = {}

    def passes(self, pool: str, now_ms: int) -> bool:
        """Whether an ejection of ``pool`` may be told at once; otherwise it waits for the next report."""
        last = self._last.get(pool)
        if last is not None and now_ms - last < self._every_ms:
            return False
        self._last[pool] = now_ms
        return True
