"""What a client did since metrics were asked for: sums that only grow, as Prometheus and OpenTelemetry want.
Costs a request one look-up under a lock; nothing when no metrics were asked for."""

from bisect import bisect_left
from threading import Lock
from typing import NamedTuple

from tieline._client import AsyncClient
from tieline._process import fork as _fork
from tieline._routing.route import Outcome, Target
from tieline._sync import Client
from tieline._tables.status import State

FIRST_TOKEN_BOUNDS_S = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 7.5, 10.0)


class Sample(NamedTuple):
    """One number with its labels."""

    labels: tuple[tuple[str, str], ...]
    value: float


class Family(NamedTuple):
    """Numbers of one name. ``grows``: a counter; else a gauge."""

    name: str
    help: str
    grows: bool
    samples: tuple[Sample, ...]


class Histogram(NamedTuple):
    """First tokens of one pool: counts up to each bound, the last without one, and the sum in seconds."""

    pool: str
    counts: tuple[int, ...]
    sum_s: float


class _Pool:
    __slots__ = ("counts", "first_token", "first_token_s", "units")

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.units = 0.0
        self.first_token = [0] * (len(FIRST_TOKEN_BOUNDS_S) + 1)
        self.first_token_s = 0.0


class Totals:
    """Follows one client from now on. Pools come and go with tables; their sums stay."""

    def __init__(self, client: AsyncClient | Client) -> None:
        self._client = client
        self._core = client.core
        self._lock = Lock()
        self._pools: dict[str, _Pool] = {}
        self._core.router.on_outcome.append(self._ended)
        _fork.watch(self)

    def after_fork(self) -> None:
        """In a child: the lock may have been held by a thread that is not here."""
        self._lock = Lock()

    def families(self) -> list[Family]:
        """Everything but the histogram, as it is now."""
        return [*self._sums(), *self._client_itself(), *self._pools_now()]

    def first_tokens(self) -> list[Histogram]:
        """By pool, sorted."""
        with self._lock:
            return [
                Histogram(pool, tuple(row.first_token), row.first_token_s)
                for pool, row in sorted(self._pools.items())
            ]

    def _ended(self, target: Target, outcome: Outcome) -> None:
        with self._lock:
            row = self._pools.get(target.pool)
            if row is None:
                row = self._pools[target.pool] = _Pool()
            name = outcome.result.value
            row.counts[name] = row.counts.get(name, 0) + 1
            row.units += max(0.0, outcome.units)
            if outcome.first_token_ms is not None:
                seconds = outcome.first_token_ms / 1_000
                row.first_token[bisect_left(FIRST_TOKEN_BOUNDS_S, seconds)] += 1
                row.first_token_s += seconds

    def _sums(self) -> list[Family]:
        with self._lock:
            rows = sorted(self._pools.items())
            attempts = tuple(
                Sample((("pool", pool), ("result", result)), count)
                for pool, row in rows
                for result, count in sorted(row.counts.items())
            )
            units = tuple(Sample((("pool", pool),), row.units) for pool, row in rows)
        dropped = (Sample((), self._client.status.reports_dropped),)
        return [
            Family("tieline_client_attempts", "Attempts by pool and result class", True, attempts),
            Family("tieline_client_units", "Load served by pool, in the table's unit", True, units),
            Family("tieline_client_reports_dropped", "Reports given up", True, dropped),
        ]

    def _client_itself(self) -> list[Family]:
        status = self._client.status
        states = tuple(Sample((("state", one.value),), float(one is status.state)) for one in State)
        age = () if status.age_ms is None else (Sample((), status.age_ms / 1_000),)
        tokens = Sample((), self._client.explain()["retry_tokens"])
        held = ((Sample((("generation", status.generation),), 1.0)),) if status.generation else ()
        overlay = (Sample((), float(bool(status.overlay))),)
        return [
            Family("tieline_client_state", "1 for the state the client is in", False, states),
            Family("tieline_client_table_age_seconds", "Since the source was last heard", False, age),
            Family("tieline_client_generation", "1, labelled with the generation held", False, held),
            Family("tieline_client_overlay", "1 while an emergency overlay is honoured", False, overlay),
            Family("tieline_client_retry_tokens", "Retries that the budget allows now", False, (tokens,)),
        ]

    def _pools_now(self) -> list[Family]:
        rows = self._core.router.explain()
        weights = tuple(
            Sample((("origin", row["origin"]), ("pool", row["pool"])), row["weight_ppm"] / 1e6)
            for row in rows
        )
        outs = {row["pool"]: row["out"] for row in rows if row["out"]}
        out = tuple(Sample((("pool", pool), ("result", why)), 1.0) for pool, why in sorted(outs.items()))
        flights = self._core.flights
        busy = tuple(Sample((("pool", pool),), flights.count(pool)) for pool in flights.pools())
        return [
            Family("tieline_client_weight", "Share of an origin's requests", False, weights),
            Family("tieline_client_pool_out", "1 while this process keeps away, with why", False, out),
            Family("tieline_client_in_flight", "Attempts on their way", False, busy),
        ]
