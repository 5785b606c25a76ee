"""What the rows say of each pool: clients' outcomes over the shortest telling time, each prober's word.

Evidence has an instant. It is fresh for max(15 s, 3 x interval), at most 15 min, and does not age while its
partition is not consumed to its end: a controller that lags blames itself, not the pools.
"""

from typing import NamedTuple

from controller.core.clients import Clients, Window, sum_clients
from controller.core.policy import Thresholds
from streams.rows import DemandRow, Progress, Row
from tieline.events import PoolObservation, Report

PROGRESS_AGE_MAX_MS = 5_000
ROWS_KEPT = 4_096


class Probe(NamedTuple):
    """One prober's last window of one pool. ``requests`` are those that speak about health."""

    source: str
    requests: int
    failures: int
    auth: int
    not_found: int
    evidence_ms: int


class Evidence(NamedTuple):
    """All that is known of one pool's health. ``ejected_by`` of ``clients_heard`` clients have left it;
    ``ejected_ms`` is when one of them last said so. ``until_ms``: when the first prober goes stale.
    """

    clients: Clients | None
    probes: tuple[Probe, ...] = ()
    ejected_by: int = 0
    clients_heard: int = 0
    ejected_ms: int = 0
    until_ms: int | None = None


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
    clients = sum_clients(_windows(demand, reach, limits, now_ms), limits)
    ejected = _ejections(demand, reach, limits, now_ms)
    heard = clients_heard(demand)
    found: dict[str, Evidence] = {}
    for pool in sorted({*probes, *clients, *ejected}):
        said, until_ms = probes.get(pool, ((), None))
        count, said_ms = ejected.get(pool, (0, 0))
        found[pool] = Evidence(clients.get(pool), tuple(said), count, heard, said_ms, until_ms)
    return found


def clients_heard(demand: tuple[DemandRow, ...]) -> int:
    """Clients in the fullest recent second, all partitions together."""
    return sum(max((second.clients for second in row.seconds[-3:]), default=0) for row in demand)


_kept: dict[int, tuple[Row, tuple[tuple[str, Probe], ...]]] = {}


def _said(row: Row, report: Report) -> tuple[tuple[str, Probe], ...]:
    """What a row says of its pools. Kept by identity: unchanged rows are the same objects."""
    held = _kept.get(id(row))
    if held is not None and held[0] is row:
        return held[1]
    said = tuple((seen.pool, _probe(report.source, seen, row.evidence_ms)) for seen in report.pools)
    while len(_kept) >= ROWS_KEPT:
        _kept.pop(next(iter(_kept)))
    _kept[id(row)] = (row, said)
    return said


def _probe(source: str, seen: PoolObservation, evidence_ms: int) -> Probe:
    out = seen.outcomes
    failures = out.server_error + out.timeout + out.connect + out.cut
    return Probe(source, out.ok + failures, failures, out.auth, out.not_found, evidence_ms)


def _probes(
    reports: tuple[Row, ...], reach: Reach, limits: Thresholds, now_ms: int
) -> dict[str, tuple[list[Probe], int | None]]:
    found: dict[str, tuple[list[Probe], int | None]] = {}
    for row in reports:
        report = row.event
        if not isinstance(report, Report):
            continue
        until_ms: int | None = row.evidence_ms + stale_after_ms(report.interval_ms, limits)
        if until_ms is not None and until_ms <= now_ms:
            if reach.is_current("reports", row.position.partition):
                continue
            until_ms = None
        for pool, probe in _said(row, report):
            held = found.get(pool)
            if held is None:
                found[pool] = ([probe], until_ms)
            else:
                held[0].append(probe)
                times = [at for at in (held[1], until_ms) if at is not None]
                found[pool] = (held[0], min(times, default=None))
    return found


def _windows(
    demand: tuple[DemandRow, ...], reach: Reach, limits: Thresholds, now_ms: int
) -> tuple[Window, ...]:
    """Which seconds of each partition still count, in whole seconds."""
    found = []
    for row in demand:
        if not row.seconds:
            continue
        newest_ms = row.seconds[-1].second_ms
        ages = reach.is_current("demand", row.position.partition)
        if ages and newest_ms + 1000 + limits.stale_min_ms <= now_ms:
            continue
        from_ms = (max(now_ms, newest_ms) if ages else newest_ms) - limits.window_ms
        found.append(Window(row, -(-from_ms // 1000) * 1000))
    return tuple(found)


def _ejections(
    demand: tuple[DemandRow, ...], reach: Reach, limits: Thresholds, now_ms: int
) -> dict[str, tuple[int, int]]:
    """Pool -> (clients that have left it, when one last said so)."""
    found: dict[str, tuple[int, int]] = {}
    for row in demand:
        if not row.ejections:
            continue
        ages = reach.is_current("demand", row.position.partition)
        for ejection in row.ejections:
            if ejection.until_ms > now_ms or not ages:
                count, said_ms = found.get(ejection.pool, (0, 0))
                last_ms = max(ejection.since_ms, ejection.until_ms - limits.stale_min_ms)
                found[ejection.pool] = (count + 1, max(said_ms, last_ms))
    return found
