"""What the rows say of each pool: clients' outcomes over the shortest telling time, each prober's word.

Evidence has an instant. It is fresh for max(15 s, 3 x interval), at most 15 min, and does not age while its
partition is not consumed to its end: a controller that lags blames itself, not the pools.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple

from controller.core.evidence.client_sums import Clients, Window, sum_clients
from controller.core.model.identity import differing
from controller.core.policy.policy import Thresholds
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


NOTHING = Evidence(None)


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
        said = _kept.get(id(row))
        if said is None or said.row is not row or said.limits is not limits:
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
    basis = _Basis(
        _probes(reports, heard, limits),
        sum_clients(_windows(demand, reach, limits, now_ms), limits),
        _ejections(demand, reach, limits, now_ms),
        clients_heard(demand),
    )
    pools = {*basis.probes, *basis.clients, *basis.ejected}
    again, found = pools, dict.fromkeys(sorted(pools), NOTHING)
    if _last and _last[0][0].heard == basis.heard:
        before, held = _last[0]
        again = before.differing(basis) & pools
        found = dict(held) if held.keys() == pools else {pool: held.get(pool, NOTHING) for pool in found}
    for pool in again:
        found[pool] = basis.of(pool)
    _last[:] = [(basis, found)]
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


_Probes = dict[str, tuple[tuple[Probe, ...], int | None]]  # with when the first of them goes stale
_NOTHING_SAID: tuple[tuple[Probe, ...], int | None] = ((), None)


class _Basis(NamedTuple):
    """What the evidence of all pools rests on."""

    probes: _Probes
    clients: dict[str, Clients]
    ejected: dict[str, tuple[int, int]]
    heard: int

    def differing(self, now: "_Basis") -> set[str]:
        """The pools of which something else is known now, but for the number of clients."""
        ejected = {pool for pool, _ in self.ejected.items() ^ now.ejected.items()}
        return ejected | differing(self.probes, now.probes) | differing(self.clients, now.clients)

    def of(self, pool: str) -> Evidence:
        said, until_ms = self.probes.get(pool, _NOTHING_SAID)
        gone, said_ms = self.ejected.get(pool, (0, 0))
        return Evidence(self.clients.get(pool), said, gone, self.heard, said_ms, until_ms)


class _Heard(NamedTuple):
    """All rows, what is heard of each, by which thresholds, and what probers so say."""

    rows: tuple[Row, ...]
    how: list[Hearing]
    limits: Thresholds
    probes: _Probes


_kept: dict[int, _Said] = {}
_last: list[tuple[_Basis, dict[str, Evidence]]] = []
_last_heard: list[_Heard] = []


def _said(row: Row, limits: Thresholds) -> _Said:
    """Kept by identity: unchanged rows are the same objects."""
    held = _kept.get(id(row))
    if held is not None and held.row is row and held.limits is limits:
        return held
    until_ms, probes, reached = row.evidence_ms, tuple[tuple[str, Probe], ...](), False
    if isinstance(row.event, Report):
        report = row.event
        until_ms += limits.stale_after_ms(report.interval_ms)
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
    failures = out.health_failures
    if answering and not out.ok:
        failures += out.client_error
    return Probe(source, out.ok + failures, failures, out.auth, out.not_found, evidence_ms)


def _probes(reports: tuple[Row, ...], heard: list[Hearing], limits: Thresholds) -> _Probes:
    """Pool -> (what probers say, when the first of them goes stale).

    Where the rows are those of last time but for a few, only the pools of these few are looked at again.
    """
    last = _last_heard[0] if _last_heard else None
    if last is None or last.limits is not limits or len(last.rows) != len(reports):
        probes = _probes_of(zip(reports, heard, strict=True), limits, None)
    else:
        probes = _renewed(last, reports, heard)
    _last_heard[:] = [_Heard(reports, heard, limits, probes)]
    return probes


def _renewed(last: _Heard, reports: tuple[Row, ...], heard: list[Hearing]) -> _Probes:
    pairs = enumerate(zip(last.rows, reports, last.how, heard, strict=True))
    changed = [index for index, (old, new, was, how) in pairs if old is not new or was is not how]
    if not changed:
        return last.probes
    rows = [one[index] for one in (last.rows, reports) for index in changed]
    again = {pool for row in rows for pool, _ in _said(row, last.limits).probes}
    places = {(row.event.provider, row.event.region) for row in rows}
    near = (
        (row, how)
        for row, how in zip(reports, heard, strict=True)
        if (row.event.provider, row.event.region) in places
    )
    probes, now = dict(last.probes), _probes_of(near, last.limits, again)
    for pool in again - now.keys():
        probes.pop(pool, None)
    return probes | now


def _probes_of(rows: Iterable[tuple[Row, Hearing]], limits: Thresholds, pools: set[str] | None) -> _Probes:
    """Of these pools, None for all."""
    said: dict[str, list[Probe]] = {}
    until: dict[str, int] = {}
    for row, how in rows:
        if how in (Hearing.SILENT, Hearing.OF_ITS_OWN):
            continue
        held = _said(row, limits)
        for pool, probe in held.probes:
            if pools is None or pool in pools:
                said.setdefault(pool, []).append(probe)
                if how is Hearing.FRESH:
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
