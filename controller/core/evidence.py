"""What the rows say of each pool: clients' outcomes over the shortest telling time, each prober's word.

Evidence has an instant. It is fresh for max(15 s, 3 x interval), at most 15 min, and does not age while its
partition is not consumed to its end: a controller that lags blames itself, not the pools.
"""

from enum import StrEnum
from typing import NamedTuple

from controller.core.clients import Clients, Window, sum_clients
from controller.core.policy import Thresholds
from streams.reporters import OWN_NETWORK_MIN, answers
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


class Hearing(StrEnum):
    """What is heard of a source in a region: fresh, silent for too long, or not to be blamed for silence.

    OF_ITS_OWN: it is heard, but nothing gets through to it on any provider; so its own network is ill, and
    what it says of pools is left out.
    """

    FRESH = "fresh"
    SILENT = "silent"
    HELD = "held"
    OF_ITS_OWN = "of_its_own"


def hearing(reports: tuple[Row, ...], reach: Reach, limits: Thresholds, now_ms: int) -> list[Hearing]:
    """One answer a row."""
    found = []
    failing: dict[str, set[str]] = {}
    for row in reports:
        said = _said(row, limits)
        if now_ms < said.until_ms:
            found.append(Hearing.FRESH)
        elif reach.is_current("reports", row.position.partition):
            found.append(Hearing.SILENT)
            continue
        else:
            found.append(Hearing.HELD)
        if said.nothing_gets_through:
            failing.setdefault(row.event.source, set()).add(row.event.provider)
    for source in sorted(name for name, providers in failing.items() if len(providers) >= OWN_NETWORK_MIN):
        own = [index for index, row in enumerate(reports) if row.event.source == source]
        heard = [index for index in own if found[index] is not Hearing.SILENT]
        if not any(_said(reports[index], limits).reached for index in heard):
            for index in heard:
                found[index] = Hearing.OF_ITS_OWN
    return found


def gather(
    reports: tuple[Row, ...],
    heard: list[Hearing],
    demand: tuple[DemandRow, ...],
    reach: Reach,
    limits: Thresholds,
    now_ms: int,
) -> dict[str, Evidence]:
    """Pool -> fresh evidence of it. Pools of which nothing fresh is known are absent.

    A pool of which nothing new is known keeps the very evidence it had: who reads it need look no further.
    """
    probes = _probes(reports, heard, limits)
    clients = sum_clients(_windows(demand, reach, limits, now_ms), limits)
    ejected = _ejections(demand, reach, limits, now_ms)
    count = clients_heard(demand)
    found: dict[str, Evidence] = {}
    for pool in sorted({*probes, *clients, *ejected}):
        said, until_ms = probes.get(pool, _NOTHING_SAID)
        gone, said_ms = ejected.get(pool, (0, 0))
        seen, held = clients.get(pool), _last.get(pool)
        if (
            held is None
            or held.clients is not seen
            or held.probes is not said
            or held.until_ms != until_ms
            or held.clients_heard != count
            or held.ejected_by != gone
            or held.ejected_ms != said_ms
        ):
            held = Evidence(seen, said, gone, count, said_ms, until_ms)
        found[pool] = held
    _last.clear()
    _last.update(found)
    return found


def clients_heard(demand: tuple[DemandRow, ...]) -> int:
    """Clients in the fullest recent second, all partitions together, but for those that are left out."""
    return sum(max((s.clients - s.excluded for s in row.seconds[-3:]), default=0) for row in demand)


class _Said(NamedTuple):
    """What a row says of its pools, and until when. ``reached``: some pool answered; else, and if any failed,
    ``nothing_gets_through``."""

    row: Row
    limits: Thresholds
    until_ms: int
    probes: tuple[tuple[str, Probe], ...]
    reached: bool
    nothing_gets_through: bool


class _Heard(NamedTuple):
    """A row, what is heard of it, and the thresholds by which."""

    row: Row
    how: Hearing
    limits: Thresholds

    def said(self) -> _Said:
        return _said(self.row, self.limits)

    def differs(self, other: "_Heard") -> bool:
        same = self.row is other.row and self.how is other.how and self.limits is other.limits
        return not same


_Probes = dict[str, tuple[tuple[Probe, ...], int | None]]
_NOTHING_SAID: tuple[tuple[Probe, ...], int | None] = ((), None)
_kept: dict[int, _Said] = {}
_last: dict[str, Evidence] = {}
_last_rows: list[_Heard] = []
_last_probes: _Probes = {}


def _said(row: Row, limits: Thresholds) -> _Said:
    """Kept by identity: unchanged rows are the same objects."""
    held = _kept.get(id(row))
    if held is not None and held.row is row and held.limits is limits:
        return held
    until_ms, probes, reached = row.evidence_ms, tuple[tuple[str, Probe], ...](), False
    if isinstance(row.event, Report):
        report = row.event
        until_ms += stale_after_ms(report.interval_ms, limits)
        answering = sum(1 for seen in report.pools if seen.outcomes.ok)
        reached = any(answers(seen.outcomes) for seen in report.pools)
        probes = tuple(
            (seen.pool, _probe(report.source, seen, answering, row.evidence_ms)) for seen in report.pools
        )
    while len(_kept) >= ROWS_KEPT:
        _kept.pop(next(iter(_kept)))
    nothing = not reached and any(probe.failures + probe.auth + probe.not_found for _, probe in probes)
    held = _kept[id(row)] = _Said(row, limits, until_ms, probes, reached, nothing)
    return held


def _probe(source: str, seen: PoolObservation, answering: int, evidence_ms: int) -> Probe:
    """``answering``: pools of this region that served this very prober. Its requests are always the same, so
    where a sibling serves them, one refused with 400 is no fault of the caller's."""
    out = seen.outcomes
    failures = out.server_error + out.timeout + out.connect + out.cut
    if answering and not out.ok:
        failures += out.client_error
    return Probe(source, out.ok + failures, failures, out.auth, out.not_found, evidence_ms)


def _probes(reports: tuple[Row, ...], heard: list[Hearing], limits: Thresholds) -> _Probes:
    """Pool -> (what probers say, when the first of them goes stale).

    Where the rows are those of last time but for a few, only the pools of these few are looked at again.
    """
    rows = [_Heard(row, how, limits) for row, how in zip(reports, heard, strict=True)]
    if len(rows) != len(_last_rows):
        _last_probes.clear()
        _last_probes.update(_probes_of(rows, None))
    elif changed := [(old, new) for old, new in zip(_last_rows, rows, strict=True) if new.differs(old)]:
        again = {pool for pair in changed for one in pair for pool, _ in one.said().probes}
        for pool in again:
            _last_probes.pop(pool, None)
        _last_probes.update(_probes_of(rows, again))
    _last_rows[:] = rows
    return dict(_last_probes)


def _probes_of(rows: list[_Heard], pools: set[str] | None) -> _Probes:
    """Of these pools, None for all."""
    places = None if pools is None else {pool.rsplit("/", 1)[0] for pool in pools}
    said: dict[str, list[Probe]] = {}
    until: dict[str, int] = {}
    for one in rows:
        event = one.row.event
        if one.how in (Hearing.SILENT, Hearing.OF_ITS_OWN) or (
            places is not None and f"{event.provider}/{event.region}" not in places
        ):
            continue
        held = one.said()
        for pool, probe in held.probes:
            if pools is None or pool in pools:
                said.setdefault(pool, []).append(probe)
                if one.how is Hearing.FRESH:
                    until[pool] = min(until.get(pool, held.until_ms), held.until_ms)
    return {pool: (tuple(probes), until.get(pool)) for pool, probes in said.items()}


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
