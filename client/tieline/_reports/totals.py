"""What a client did since metrics were asked for: sums that only grow, as Prometheus and OpenTelemetry want.

It costs each attempt one look-up under a lock, and nothing when no metrics were asked for. The names and
meanings of the metrics are in the README of the client.
"""

from bisect import bisect_left
from threading import Lock
from typing import Any, NamedTuple, Protocol

from tieline._process import fork as _fork
from tieline._reports.reporter import ReportedParts
from tieline._routing.route import Outcome, Target
from tieline._tables.status import State, Status

POOLS_KEPT_MAX = 10_000  # as many as a policy may name
FIRST_TOKEN_BOUNDS_S = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 7.5, 10.0)


class MeasuredClient(Protocol):
    """What metrics need of a client; ``AsyncClient`` and ``Client`` have it."""

    @property
    def status(self) -> Status:
        """State, generation, age, and how many reports were dropped."""
        ...

    @property
    def core(self) -> ReportedParts:
        """Says of each attempt how it ended."""
        ...

    def explain(self) -> dict[str, Any]:
        """Says how many retries the budget allows."""
        ...


class Sample(NamedTuple):
    """One number with its labels."""

    labels: tuple[tuple[str, str], ...]
    value: float


class Family(NamedTuple):
    """The samples of one metric. ``grows``: it is a counter, otherwise a gauge."""

    name: str
    help: str
    grows: bool
    samples: tuple[Sample, ...]


class Histogram(NamedTuple):
    """Times to the first token at one pool. ``counts``: how many up to each bound but above the one before,
    the last without a bound; ``sum_s``: their sum in seconds."""

    pool: str
    counts: tuple[int, ...]
    sum_s: float


class _PoolTotals:
    __slots__ = ("first_token", "first_token_s", "results", "units")

    def __init__(self) -> None:
        self.results: dict[str, int] = {}
        self.units = 0.0
        self.first_token = [0] * (len(FIRST_TOKEN_BOUNDS_S) + 1)
        self.first_token_s = 0.0


class Totals:
    """Counts what one client does from now on. Pools come and go with tables; their sums stay, until
    more than ``POOLS_KEPT_MAX`` were used: then those of the one used first are dropped."""

    def __init__(self, client: MeasuredClient) -> None:
        self._client = client
        self._lock = Lock()
        self._pools: dict[str, _PoolTotals] = {}
        client.core.router.on_outcome.append(self._count)
        _fork.watch(self)

    def after_fork(self) -> None:
        """In a child process: the lock may have been held by a thread that does not exist here."""
        self._lock = Lock()

    def families(self) -> list[Family]:
        """Everything except the histogram, as it is now."""
        return [*self._sums(), *self._client_gauges(), *self._pool_gauges()]

    def first_tokens(self) -> list[Histogram]:
        """The histograms, sorted by pool."""
        with self._lock:
            return [
                Histogram(pool, tuple(row.first_token), row.first_token_s)
                for pool, row in sorted(self._pools.items())
            ]

    def _count(self, target: Target, outcome: Outcome) -> None:
        with self._lock:
            row = self._pools.get(target.pool)
            if row is None:
                if len(self._pools) >= POOLS_KEPT_MAX:
                    del self._pools[next(iter(self._pools))]
                row = self._pools[target.pool] = _PoolTotals()
            result = outcome.counted_as.value
            row.results[result] = row.results.get(result, 0) + 1
            row.units += max(0.0, outcome.units)
            if outcome.first_token_ms is not None:
                seconds = outcome.first_token_ms / 1_000
                row.first_token[bisect_left(FIRST_TOKEN_BOUNDS_S, seconds)] += 1
                row.first_token_s += seconds

    def _sums(self) -> list[Family]:
        with self._lock:
            rows = sorted(self._pools.items())
            attempts = [
                Sample((("pool", pool), ("result", result)), count)
                for pool, row in rows
                for result, count in sorted(row.results.items())
            ]
            units = [Sample((("pool", pool),), row.units) for pool, row in rows]
        dropped = [Sample((), self._client.status.reports_dropped)]
        return [
            _counter("tieline_client_attempts", "Attempts by pool and result class", attempts),
            _counter("tieline_client_units", "Load served by pool, in the table's unit", units),
            _counter("tieline_client_reports_dropped", "Reports given up", dropped),
        ]

    def _client_gauges(self) -> list[Family]:
        status = self._client.status
        states = [Sample((("state", state.value),), float(state is status.state)) for state in State]
        age = [] if status.age_ms is None else [Sample((), status.age_ms / 1_000)]
        tokens = [Sample((), self._client.explain()["retry_tokens"])]
        generation = [Sample((("generation", status.generation),), 1.0)] if status.generation else []
        overlay = [Sample((), float(bool(status.overlay)))]
        return [
            _gauge("tieline_client_state", "1 for the state the client is in", states),
            _gauge("tieline_client_table_age_seconds", "Time since the source last answered", age),
            _gauge("tieline_client_generation", "1, labelled with the generation in force", generation),
            _gauge("tieline_client_overlay", "1 while an emergency overlay is in force", overlay),
            _gauge("tieline_client_retry_tokens", "Retries that the budget allows now", tokens),
        ]

    def _pool_gauges(self) -> list[Family]:
        router, flights = self._client.core.router, self._client.core.flights
        rows = router.explain()
        weights = [
            Sample((("origin", row["origin"]), ("pool", row["pool"])), row["weight_ppm"] / 1e6)
            for row in rows
        ]
        reasons = {row["pool"]: row["out"] for row in rows if row["out"]}
        outs = [Sample((("pool", pool), ("result", why)), 1.0) for pool, why in sorted(reasons.items())]
        in_flight = [Sample((("pool", pool),), flights.count(pool)) for pool in flights.pools()]
        return [
            _gauge("tieline_client_weight", "Share of an origin's requests", weights),
            _gauge("tieline_client_pool_out", "1 while this process keeps away, and why", outs),
            _gauge("tieline_client_in_flight", "Attempts on their way", in_flight),
        ]


def _counter(name: str, text: str, samples: list[Sample]) -> Family:
    return Family(name, text, grows=True, samples=tuple(samples))


def _gauge(name: str, text: str, samples: list[Sample]) -> Family:
    return Family(name, text, grows=False, samples=tuple(samples))
