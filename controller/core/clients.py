"""Clients' outcomes at each pool, added up over all partitions and over the shortest time that tells.

The newest seconds, at least two of them, then as many as it takes to have enough requests, at most the
window: so a loaded pool is judged within two seconds and a quiet one on all there is.
"""

from itertools import groupby
from typing import NamedTuple

from controller.core.policy import Thresholds
from streams.rows import DemandRow, PoolSum
from tieline.events import Outcomes

SPAN_MIN_MS = 2_000
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


_Parts = list[tuple[int, PoolSum]]

_kept_sums: dict[tuple[tuple[int, int], ...], tuple[tuple[Window, ...], Thresholds, dict[str, Clients]]] = {}
_last: dict[str, tuple[_Parts, Clients]] = {}


def sum_clients(windows: tuple[Window, ...], limits: Thresholds) -> dict[str, Clients]:
    """Pool -> what clients met there. A pool whose seconds are those of last time keeps its very sum."""
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
    found: dict[str, Clients] = {}
    kept: dict[str, tuple[_Parts, Clients]] = {}
    for pool, parts in sorted(_telling(windows, limits).items()):
        held = _last.get(pool)
        if held is None or held[0] != parts:
            held = (parts, _add_up(parts, limits))
        kept[pool] = held
        found[pool] = held[1]
    _last.clear()
    _last.update(kept)
    return found


def _telling(windows: tuple[Window, ...], limits: Thresholds) -> dict[str, _Parts]:
    """Pool -> the newest seconds of all partitions, newest first, as many as it takes to tell."""
    seconds = sorted(
        (
            (second.second_ms, second.pools)
            for row, from_ms in windows
            for second in row.seconds
            if second.second_ms >= from_ms
        ),
        key=lambda item: -item[0],
    )
    found: dict[str, _Parts] = {}
    requests: dict[str, int] = {}
    done: set[str] = set()
    for second_ms, group in groupby(seconds, key=lambda item: item[0]):
        fresh: list[str] = []
        for _, pools in group:
            for seen in pools:
                pool = seen.pool
                if pool in done:
                    continue
                out = seen.outcomes
                count = out.ok + out.server_error + out.timeout + out.connect + out.cut
                held = found.get(pool)
                if held is None:
                    found[pool], requests[pool] = [(second_ms, seen)], count
                else:
                    held.append((second_ms, seen))
                    requests[pool] += count
                fresh.append(pool)
        for pool in fresh:
            spans = found[pool][0][0] - second_ms + 1000 >= SPAN_MIN_MS
            if spans and requests[pool] >= limits.requests_min:
                done.add(pool)
    return found


def _add_up(parts: _Parts, limits: Thresholds) -> Clients:
    """The sum of one pool's seconds, newest first. Clients sit in one partition each, so the reporters of one
    second add up over partitions; over time the second with most of them counts."""
    ok = failures = throttled = auth = not_found = in_flight = oldest_ms = 0
    units = served = 0.0
    p99_ms: float | None = None
    latest_ms = at_ms = parts[0][0]
    now, most = _Second(), (0, 0, 0)
    for second_ms, seen in parts:
        if second_ms != at_ms:
            most, served = now.merged(most, served)
            now, at_ms = _Second(), second_ms
        out = seen.outcomes
        failed = out.server_error + out.timeout + out.connect + out.cut
        ok, failures, throttled = ok + out.ok, failures + failed, throttled + out.throttled
        auth, not_found = auth + out.auth, not_found + out.not_found
        units += seen.units
        if second_ms == latest_ms:
            in_flight += seen.in_flight
        if seen.oldest_in_flight_ms > oldest_ms:
            oldest_ms = seen.oldest_in_flight_ms
        if seen.first_token_p99_ms is not None:
            p99_ms = max(p99_ms or 0.0, seen.first_token_p99_ms)
        now.reporters += seen.reporters
        now.units += seen.units
        now.throttled += out.throttled
        if failed:
            now.failing += _failing(seen, limits)
        if out.auth or out.not_found:
            now.configuration += seen.failing.auth + seen.failing.not_found
    (reporters, failing, configuration), served = now.merged(most, served)
    return Clients(
        ok + failures,
        failures,
        auth,
        not_found,
        ok,
        throttled,
        reporters,
        min(failing, reporters),
        min(configuration, reporters),
        in_flight,
        oldest_ms,
        p99_ms,
        units,
        latest_ms - at_ms + 1000,
        latest_ms,
        served,
    )


class _Second:
    """What is counted within one second before it is compared with the others."""

    __slots__ = ("configuration", "failing", "reporters", "throttled", "units")

    def __init__(self) -> None:
        self.reporters = self.failing = self.configuration = self.throttled = 0
        self.units = 0.0

    def merged(self, most: tuple[int, int, int], served: float) -> tuple[tuple[int, int, int], float]:
        """The most of each count so far, and the most served in a second that also answered 429."""
        counts = (self.reporters, self.failing, self.configuration)
        if counts != most:
            most = (max(most[0], counts[0]), max(most[1], counts[1]), max(most[2], counts[2]))
        return most, max(served, self.units) if self.throttled else served


def _failing(seen: PoolSum, limits: Thresholds) -> int:
    """Reporters of which no attempt succeeded or, where a reporter's own counts are known, most failed."""
    without = seen.failing
    count = without.server_error + without.timeout + without.connect + without.cut
    return max(count, sum(1 for share in seen.largest if _mostly_fails(share.outcomes, limits)))


def _mostly_fails(out: Outcomes, limits: Thresholds) -> bool:
    failures = out.server_error + out.timeout + out.connect + out.cut
    return failures > 0 and failures >= limits.failing_share_down * (out.ok + failures)
