"""What the rows say of each pool: clients' outcomes over the shortest telling time, each prober's word.

Evidence has an instant. It is fresh for max(15 s, 3 x interval), at most 15 min, and does not age while its
partition is not consumed to its end: a controller that lags blames itself, not the pools.
"""

from typing import NamedTuple

from controller.core.policy import Thresholds
from streams.rows import DemandRow, PoolSum, Progress, Row
from tieline.events import Outcomes, PoolObservation, Report

PROGRESS_AGE_MAX_MS = 5_000
SPAN_MIN_MS = 2_000
ROWS_KEPT = 256


class Clients(NamedTuple):
    """Clients' attempts at one pool over ``span_ms``. ``requests`` are those that speak about health.

    ``failing`` counts reporters with failures and no success; ``latest_ms`` starts the newest second.
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

    @property
    def failing_share(self) -> float:
        """Failures that speak about health, of the attempts that do."""
        return self.failures / self.requests if self.requests else 0.0


class Probe(NamedTuple):
    """One prober's last window of one pool. ``until_ms``: when it goes stale, None while it can't age."""

    source: str
    requests: int
    failures: int
    auth: int
    not_found: int
    evidence_ms: int
    until_ms: int | None


class Evidence(NamedTuple):
    """All that is known of one pool's health. ``ejected_by`` of ``clients_heard`` clients have left it;
    ``ejected_ms`` is when one of them last said so."""

    clients: Clients | None
    probes: tuple[Probe, ...]
    ejected_by: int
    clients_heard: int
    ejected_ms: int = 0


class Reach:
    """How far each partition is consumed, for the question whether silence on it may age."""

    def __init__(self, progress: tuple[Progress, ...], now_ms: int) -> None:
        self._current = {
            (row.topic.rsplit(".", 1)[-1], row.partition): row.caught_up
            and now_ms - row.at_ms <= PROGRESS_AGE_MAX_MS
            for row in progress
        }

    def is_current(self, topic: str, partition: int) -> bool:
        """Whether all that the partition held a moment ago has been taken in."""
        return self._current.get((topic, partition), False)


def stale_after_ms(interval_ms: int, limits: Thresholds) -> int:
    """How long evidence of this interval stays fresh."""
    return min(max(limits.stale_min_ms, round(limits.stale_factor * interval_ms)), limits.stale_max_ms)


def gather(
    reports: tuple[Row, ...], demand: tuple[DemandRow, ...], reach: Reach, limits: Thresholds, now_ms: int
) -> dict[str, Evidence]:
    """Pool -> fresh evidence of it. Pools of which nothing fresh is known are absent."""
    probes = _probes(reports, reach, limits, now_ms)
    clients = _clients(demand, reach, limits, now_ms)
    heard = clients_heard(demand)
    ejected = _ejections(demand, reach, heard, limits, now_ms)
    return {
        pool: Evidence(clients.get(pool), tuple(probes.get(pool, ())), *ejected.get(pool, (0, heard, 0)))
        for pool in sorted({*probes, *clients, *ejected})
    }


def clients_heard(demand: tuple[DemandRow, ...]) -> int:
    """Clients in the fullest recent second, all partitions together."""
    return sum(max((second.clients for second in row.seconds[-3:]), default=0) for row in demand)


def _probes(
    reports: tuple[Row, ...], reach: Reach, limits: Thresholds, now_ms: int
) -> dict[str, list[Probe]]:
    found: dict[str, list[Probe]] = {}
    for row in reports:
        report = row.event
        if not isinstance(report, Report):
            continue
        until_ms: int | None = row.evidence_ms + stale_after_ms(report.interval_ms, limits)
        if until_ms is not None and until_ms <= now_ms:
            if reach.is_current("reports", row.position.partition):
                continue
            until_ms = None
        for seen in report.pools:
            found.setdefault(seen.pool, []).append(_probe(report.source, seen, row.evidence_ms, until_ms))
    return found


def _probe(source: str, seen: PoolObservation, evidence_ms: int, until_ms: int | None) -> Probe:
    out = seen.outcomes
    failures = out.server_error + out.timeout + out.connect + out.cut
    return Probe(source, out.ok + failures, failures, out.auth, out.not_found, evidence_ms, until_ms)


def _ejections(
    demand: tuple[DemandRow, ...], reach: Reach, heard: int, limits: Thresholds, now_ms: int
) -> dict[str, tuple[int, int, int]]:
    """Pool -> (clients that have left it, clients heard, when one last said so)."""
    found: dict[str, tuple[int, int, int]] = {}
    for row in demand:
        ages = reach.is_current("demand", row.position.partition)
        for ejection in row.ejections:
            if ejection.until_ms > now_ms or not ages:
                count, _, said_ms = found.get(ejection.pool, (0, heard, 0))
                last_ms = max(ejection.since_ms, ejection.until_ms - limits.stale_min_ms)
                found[ejection.pool] = (count + 1, heard, max(said_ms, last_ms))
    return found


_Seconds = list[tuple[int, PoolSum]]
_kept: dict[int, tuple[DemandRow, dict[str, _Seconds]]] = {}


def _by_pool(row: DemandRow) -> dict[str, _Seconds]:
    """Pool -> its seconds, newest first. Kept by identity: unchanged rows are the same objects."""
    held = _kept.get(id(row))
    if held is not None and held[0] is row:
        return held[1]
    found: dict[str, _Seconds] = {}
    for second in reversed(row.seconds):
        for seen in second.pools:
            found.setdefault(seen.pool, []).append((second.second_ms, seen))
    while len(_kept) >= ROWS_KEPT:
        _kept.pop(next(iter(_kept)))
    _kept[id(row)] = (row, found)
    return found


def _clients(
    demand: tuple[DemandRow, ...], reach: Reach, limits: Thresholds, now_ms: int
) -> dict[str, Clients]:
    merged: dict[str, _Seconds] = {}
    for row in demand:
        if not row.seconds:
            continue
        newest_ms = row.seconds[-1].second_ms
        ages = reach.is_current("demand", row.position.partition)
        if ages and newest_ms + 1000 + limits.stale_min_ms <= now_ms:
            continue
        from_ms = (max(now_ms, newest_ms) if ages else newest_ms) - limits.window_ms
        for pool, seconds in _by_pool(row).items():
            fresh = [item for item in seconds if item[0] >= from_ms]
            if fresh:
                merged[pool] = merged[pool] + fresh if pool in merged else fresh
    several = len(demand) > 1
    return {pool: _add_up(seconds, limits, several) for pool, seconds in merged.items()}


def _add_up(seconds: _Seconds, limits: Thresholds, several: bool) -> Clients:
    """The newest seconds, as few as tell: at least two, then until there are enough requests."""
    if several:
        seconds.sort(key=lambda item: (-item[0], item[1].pool))
    latest_ms = seconds[0][0]
    ok = throttled = failures = auth = not_found = in_flight = oldest = 0
    units = 0.0
    p99: float | None = None
    reporters: dict[int, list[int]] = {}
    at_ms = latest_ms
    for second_ms, seen in seconds:
        if second_ms != at_ms:
            if latest_ms - at_ms + 1000 >= SPAN_MIN_MS and ok + failures >= limits.requests_min:
                break
            at_ms = second_ms
        out = seen.outcomes
        ok += out.ok
        failures += out.server_error + out.timeout + out.connect + out.cut
        throttled += out.throttled
        auth += out.auth
        not_found += out.not_found
        units += seen.units
        oldest = max(oldest, seen.oldest_in_flight_ms)
        in_flight = in_flight + seen.in_flight if second_ms == latest_ms else in_flight
        if seen.first_token_p99_ms is not None:
            p99 = max(p99 or 0.0, seen.first_token_p99_ms)
        _count_reporters(reporters.setdefault(second_ms, [0, 0, 0]), seen, limits)
    most = [max(column) for column in zip(*reporters.values(), strict=True)]
    return Clients(
        ok + failures,
        failures,
        auth,
        not_found,
        ok,
        throttled,
        most[0],
        min(most[1], most[0]),
        min(most[2], most[0]),
        in_flight,
        oldest,
        p99,
        units,
        latest_ms - at_ms + 1000,
        latest_ms,
    )


def _count_reporters(into: list[int], seen: PoolSum, limits: Thresholds) -> None:
    """Clients sit in one partition each, so reporters of one second add up over partitions.

    One fails if none of its attempts succeeded or, where its own counts are known, if most failed.
    """
    failing = seen.failing
    into[0] += seen.reporters
    into[2] += failing.auth + failing.not_found
    without_success = failing.server_error + failing.timeout + failing.connect + failing.cut
    out = seen.outcomes
    if out.server_error + out.timeout + out.connect + out.cut:
        mostly = sum(1 for share in seen.largest if _mostly_fails(share.outcomes, limits))
        without_success = max(without_success, mostly)
    into[1] += without_success


def _mostly_fails(out: Outcomes, limits: Thresholds) -> bool:
    failures = out.server_error + out.timeout + out.connect + out.cut
    return failures > 0 and failures >= limits.failing_share_down * (out.ok + failures)
