"""Clients' outcomes at each pool, added up over all partitions and over the shortest time that tells.

The newest seconds, at least two of them, then as many as it takes to have enough requests, at most the
window: so a loaded pool is judged within two seconds and a quiet one on all there is.
"""

from itertools import groupby
from typing import NamedTuple

from controller.core.evidence.reporter_cap import capped_share, largest
from controller.core.model.memo import Memo
from controller.core.policy.thresholds import Thresholds
from streams.rows import DemandRow, PoolSum
from tieline.events import Outcomes


class Clients(NamedTuple):
    """Clients' attempts at one pool over ``span_ms``. ``requests`` are those that speak about health.

    ``failing`` counts reporters with failures and no success (``failing_configuration``,
    ``failing_client_error`` likewise); ``latest_ms`` starts the newest second. ``throttled_served`` is the
    most that was served in one second in which the pool also answered 429. ``capped_share`` is the failing
    share with no reporter counting for too much, None where that is the plain share. Of ``users`` that sent
    anything there, ``stuck`` wait for long and get nothing.
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
    client_error: int = 0
    failing_client_error: int = 0
    first_token_p50_ms: float | None = None
    users: int = 0
    stuck: int = 0
    capped_share: float | None = None

    @property
    def failing_share(self) -> float:
        """Failures that speak about health, of the attempts that do, each reporter capped."""
        if self.capped_share is not None:
            return self.capped_share
        return self.failures / self.requests if self.requests else 0.0

    @property
    def client_error_share(self) -> float:
        """Requests refused as the caller's own fault, of all that were answered or failed."""
        attempts = self.requests + self.client_error
        return self.client_error / attempts if attempts else 0.0


class Window(NamedTuple):
    """One partition's row and the first second of it that counts."""

    row: DemandRow
    from_ms: int


_Parts = list[tuple[int, PoolSum]]
_Counts = tuple[int, int, int, int]


class _KeptSums(NamedTuple):
    """The last sums, the windows that they are of, and by pool the seconds that they add up."""

    windows: tuple[Window, ...]
    limits: Thresholds
    parts: dict[str, _Parts]
    sums: dict[str, Clients]

    def answers(self, windows: tuple[Window, ...]) -> bool:
        """Whether these windows are the same rows from the same seconds on."""
        return len(windows) == len(self.windows) and all(
            old.row is new.row and old.from_ms == new.from_ms
            for old, new in zip(self.windows, windows, strict=True)
        )


def sum_clients(windows: tuple[Window, ...], limits: Thresholds, memo: Memo) -> dict[str, Clients]:
    """Pool -> what clients met there. A pool whose seconds are those of last time keeps the same sum."""
    kept = memo.last(_KeptSums)
    if kept is None or kept.limits is not limits:
        kept = _KeptSums((), limits, {}, {})
    elif kept.answers(windows):
        return kept.sums
    parts = _telling(windows, limits)
    sums = {
        pool: kept.sums[pool] if kept.parts.get(pool) == seconds else _add_up(seconds, limits)
        for pool, seconds in parts.items()
    }
    memo.keep(_KeptSums(windows, limits, parts, sums))
    return sums


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
    done: set[str] = set()
    for second_ms, group in groupby(seconds, key=lambda item: item[0]):
        fresh: list[_Parts] = []
        for _, pools in group:
            for seen in [one for one in pools if one.pool not in done]:
                if (parts := found.get(seen.pool)) is None:
                    parts = found[seen.pool] = []
                parts.append((second_ms, seen))
                fresh.append(parts)
        for parts in fresh:
            newest_ms, seen = parts[0]
            if newest_ms - second_ms + 1000 >= limits.window_min_ms and (
                seen.outcomes.ok >= limits.requests_min or _requests(parts) >= limits.requests_min
            ):
                done.add(seen.pool)
    return found


def _requests(parts: _Parts) -> int:
    """``Outcomes.health_attempts`` of all parts, written out because the property takes twice as long."""
    count = 0
    for _, seen in parts:
        out = seen.outcomes
        count += out.ok + out.server_error + out.timeout + out.connect + out.cut
    return count


def _add_up(parts: _Parts, limits: Thresholds) -> Clients:
    """The sum of one pool's seconds, newest first. Clients sit in one partition each, so the reporters of one
    second add up over partitions; over time the second with most of them counts."""
    ok = failures = throttled = auth = not_found = refused = in_flight = oldest_ms = users = stuck = 0
    units = served = 0.0
    p99_ms: float | None = None
    latest_ms = at_ms = parts[0][0]
    now, most = _Second(), (0, 0, 0, 0)
    for second_ms, seen in parts:
        if second_ms != at_ms:
            most, served = now.merged(most, served)
            now, at_ms = _Second(), second_ms
        out = seen.outcomes
        # ``out.health_failures`` written out: this runs for every second of every pool whenever clients
        # report, and with the property it takes a fifth longer.
        failed = out.server_error + out.timeout + out.connect + out.cut
        ok, failures, throttled = ok + out.ok, failures + failed, throttled + out.throttled
        auth, not_found, refused = auth + out.auth, not_found + out.not_found, refused + out.client_error
        units += seen.units
        if second_ms == latest_ms:
            in_flight, users, stuck = in_flight + seen.in_flight, users + seen.users, stuck + seen.stuck
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
            now.configuration += seen.failing.configuration_faults
        now.refused += seen.failing.client_error
    (reporters, failing, configuration, refusing), served = now.merged(most, served)
    named = largest(seen for _, seen in parts) if failures else []
    reporters = max(reporters, len(named))
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
        refused,
        min(refusing, reporters),
        _mean_p50_ms(parts),
        users,
        stuck,
        capped_share(named, ok + failures, failures, reporters, limits) if failures else None,
    )


def _mean_p50_ms(parts: _Parts) -> float | None:
    """Medians can't be merged exactly: their mean, weighted by successes."""
    weights = [(seen.first_token_p50_ms, seen.outcomes.ok) for _, seen in parts]
    whole = sum(ok for p50_ms, ok in weights if p50_ms is not None)
    return sum(p50_ms * ok for p50_ms, ok in weights if p50_ms is not None) / whole if whole else None


class _Second:
    """What is counted within one second before it is compared with the others."""

    __slots__ = ("configuration", "failing", "refused", "reporters", "throttled", "units")

    def __init__(self) -> None:
        self.reporters = self.failing = self.configuration = self.refused = self.throttled = 0
        self.units = 0.0

    def merged(self, most: _Counts, served: float) -> tuple[_Counts, float]:
        """The most of each count so far, and the most served in a second that also answered 429."""
        counts = (self.reporters, self.failing, self.configuration, self.refused)
        if counts != most:
            pairs = zip(most, counts, strict=True)
            most = tuple(max(old, new) for old, new in pairs)  # type: ignore[assignment]
        return most, max(served, self.units) if self.throttled else served


def _failing(seen: PoolSum, limits: Thresholds) -> int:
    """Reporters of which no attempt succeeded or, where a reporter's own counts are known, most failed."""
    return max(
        seen.failing.health_failures,
        sum(1 for share in seen.largest if _mostly_fails(share.outcomes, limits)),
    )


def _mostly_fails(out: Outcomes, limits: Thresholds) -> bool:
    failures = out.health_failures
    return failures > 0 and failures >= limits.failing_share_down * out.health_attempts
