"""Clients' outcomes at each pool, added up over all partitions and over the shortest time that tells.

The newest seconds, at least two of them, then as many as it takes to have enough requests, at most the
window: so a loaded pool is judged within two seconds and a quiet one on all there is.
"""

from typing import NamedTuple

from controller.core.policy import Thresholds
from streams.rows import DemandRow, PoolSum
from tieline.events import Outcomes

SPAN_MIN_MS = 2_000
ROWS_KEPT = 256
SUMS_KEPT = 4


class Clients(NamedTuple):
    """Clients' attempts at one pool over ``span_ms``. ``requests`` are those that speak about health.

    ``failing`` counts reporters with failures and no success; ``latest_ms`` starts the newest second.
    ``throttled_served`` is the most that was served in one second in which the pool also answered 429.
    """

    requests: int
    failures: int
    auth: int
    not_found: int
    ok: int
    throttled: int
    reporters: int
    failing: int
    failing_configuration: int
    in_flight: int
    oldest_in_flight_ms: int
    first_token_p99_ms: float | None
    units: float
    span_ms: int
    latest_ms: int
    throttled_served: float = 0.0

    @property
    def failing_share(self) -> float:
        """Failures that speak about health, of the attempts that do."""
        return self.failures / self.requests if self.requests else 0.0


class Window(NamedTuple):
    """One partition's row and the first second of it that counts."""

    row: DemandRow
    from_ms: int


class _Seconds:
    """A row's seconds by start; the pools of a second are indexed when first asked for."""

    def __init__(self, row: DemandRow) -> None:
        self.row = row
        self.starts = tuple(second.second_ms for second in row.seconds)
        self._place = {second.second_ms: second for second in row.seconds}
        self._pools: dict[int, dict[str, PoolSum]] = {}

    def pools(self, second_ms: int) -> dict[str, PoolSum]:
        found = self._pools.get(second_ms)
        if found is None:
            second = self._place.get(second_ms)
            found = {seen.pool: seen for seen in second.pools} if second is not None else {}
            self._pools[second_ms] = found
        return found


_kept_rows: dict[int, _Seconds] = {}
_kept_sums: dict[tuple[tuple[int, int], ...], tuple[tuple[Window, ...], Thresholds, dict[str, Clients]]] = {}


def sum_clients(windows: tuple[Window, ...], limits: Thresholds) -> dict[str, Clients]:
    """Pool -> what clients met there. The last sums are kept by their rows' identity, rows being values."""
    key = tuple((id(window.row), window.from_ms) for window in windows)
    held = _kept_sums.get(key)
    if held is not None and held[1] is limits:
        return held[2]
    found = _sum(windows, limits)
    while len(_kept_sums) >= SUMS_KEPT:
        _kept_sums.pop(next(iter(_kept_sums)))
    _kept_sums[key] = (windows, limits, found)
    return found


def _sum(windows: tuple[Window, ...], limits: Thresholds) -> dict[str, Clients]:
    parts = [(_seconds(window.row), window.from_ms) for window in windows]
    starts = sorted({at for part, from_ms in parts for at in part.starts if at >= from_ms}, reverse=True)
    open_sums: dict[str, _Sum] = {}
    done: set[str] = set()
    for second_ms in starts:
        for part, from_ms in parts:
            if second_ms < from_ms:
                continue
            for pool, seen in part.pools(second_ms).items():
                if pool in done:
                    continue
                tally = open_sums.get(pool)
                if tally is None:
                    tally = open_sums[pool] = _Sum(second_ms)
                elif tally.tells_before(second_ms, limits):
                    done.add(pool)
                    continue
                tally.add(second_ms, seen, limits)
    return {pool: open_sums[pool].result() for pool in sorted(open_sums)}


def _seconds(row: DemandRow) -> _Seconds:
    held = _kept_rows.get(id(row))
    if held is not None and held.row is row:
        return held
    while len(_kept_rows) >= ROWS_KEPT:
        _kept_rows.pop(next(iter(_kept_rows)))
    held = _kept_rows[id(row)] = _Seconds(row)
    return held


class _Sum:
    """One pool's sum while seconds are added, newest first."""

    def __init__(self, latest_ms: int) -> None:
        self._latest_ms = self._at_ms = latest_ms
        self._ok = self._failures = self._throttled = self._auth = self._not_found = 0
        self._in_flight = self._oldest_ms = 0
        self._units = self._units_now = self._served = 0.0
        self._throttled_now = 0
        self._p99_ms: float | None = None
        self._reporters = self._failing = self._failing_configuration = 0
        self._most = (0, 0, 0)

    def tells_before(self, second_ms: int, limits: Thresholds) -> bool:
        """Whether what was added is enough, so that an older second need not be looked at."""
        if second_ms == self._at_ms:
            return False
        enough = self._ok + self._failures >= limits.requests_min
        return enough and self._latest_ms - self._at_ms + 1000 >= SPAN_MIN_MS

    def add(self, second_ms: int, seen: PoolSum, limits: Thresholds) -> None:
        """One partition's second. Clients sit in one partition each, so their counts add up within it."""
        if second_ms != self._at_ms:
            self._close()
            self._at_ms = second_ms
        out = seen.outcomes
        failures = out.server_error + out.timeout + out.connect + out.cut
        self._ok += out.ok
        self._failures += failures
        self._throttled += out.throttled
        self._throttled_now += out.throttled
        self._units_now += seen.units
        self._auth += out.auth
        self._not_found += out.not_found
        self._units += seen.units
        if second_ms == self._latest_ms:
            self._in_flight += seen.in_flight
        self._oldest_ms = max(self._oldest_ms, seen.oldest_in_flight_ms)
        if seen.first_token_p99_ms is not None:
            self._p99_ms = max(self._p99_ms or 0.0, seen.first_token_p99_ms)
        self._reporters += seen.reporters
        if failures:
            self._failing += _failing(seen, limits)
        if out.auth or out.not_found:
            self._failing_configuration += seen.failing.auth + seen.failing.not_found

    def result(self) -> Clients:
        """The sum so far."""
        self._close()
        reporters, failing, configuration = self._most
        return Clients(
            self._ok + self._failures,
            self._failures,
            self._auth,
            self._not_found,
            self._ok,
            self._throttled,
            reporters,
            min(failing, reporters),
            min(configuration, reporters),
            self._in_flight,
            self._oldest_ms,
            self._p99_ms,
            self._units,
            self._latest_ms - self._at_ms + 1000,
            self._latest_ms,
            self._served,
        )

    def _close(self) -> None:
        now = (self._reporters, self._failing, self._failing_configuration)
        self._most = (
            max(self._most[0], now[0]),
            max(self._most[1], now[1]),
            max(self._most[2], now[2]),
        )
        self._reporters = self._failing = self._failing_configuration = 0
        if self._throttled_now:
            self._served = max(self._served, self._units_now)
        self._throttled_now, self._units_now = 0, 0.0


def _failing(seen: PoolSum, limits: Thresholds) -> int:
    """Reporters of which no attempt succeeded or, where a reporter's own counts are known, most failed."""
    without = seen.failing
    count = without.server_error + without.timeout + without.connect + without.cut
    return max(count, sum(1 for share in seen.largest if _mostly_fails(share.outcomes, limits)))


def _mostly_fails(out: Outcomes, limits: Thresholds) -> bool:
    failures = out.server_error + out.timeout + out.connect + out.cut
    return failures > 0 and failures >= limits.failing_share_down * (out.ok + failures)
