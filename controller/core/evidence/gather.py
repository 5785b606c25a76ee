"""What the rows say of each pool: clients' outcomes over the shortest telling time, each prober's word.

Evidence has an instant. It is fresh for max(15 s, 3 x interval), at most 15 min, and does not age while its
partition is not consumed to its end: a controller that lags blames itself, not the pools.
"""

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import NamedTuple

from controller.core.evidence.client_sums import Clients, Window, sum_clients
from controller.core.model.memo import Memo, changed_keys
from controller.core.policy.thresholds import Thresholds
from streams.reporters import OWN_NETWORK_MIN, answers
from streams.rows import DemandRow, Progress, Row
from tieline.events import PoolObservation, Report


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

    def __init__(self, progress: tuple[Progress, ...], thresholds: Thresholds, now_ms: int) -> None:
        self._current = {
            (row.topic.rsplit(".", 1)[-1], row.partition): row.caught_up
            and now_ms - row.at_ms <= thresholds.progress_age_max_ms
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


def hearing(
    reports: tuple[Row, ...], reach: Reach, limits: Thresholds, now_ms: int, memo: Memo
) -> list[Hearing]:
    """One answer a row."""
    found = []
    failing: dict[str, set[str]] = {}
    readings = memo.each(_read, reports, limits)
    for row, reading in zip(reports, readings, strict=True):
        if now_ms < reading.until_ms:
            found.append(Hearing.FRESH)
        elif reach.is_current("reports", row.position.partition):
            found.append(Hearing.SILENT)
            continue
        else:
            found.append(Hearing.HELD)
        if reading.nothing_gets_through:
            failing.setdefault(row.event.source, set()).add(row.event.provider)
    for source in sorted(name for name, providers in failing.items() if len(providers) >= OWN_NETWORK_MIN):
        own = [index for index, row in enumerate(reports) if row.event.source == source]
        heard = [index for index in own if found[index] is not Hearing.SILENT]
        if not any(readings[index].reached for index in heard):
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
    memo: Memo,
) -> dict[str, Evidence]:
    """Pool -> fresh evidence of it. Pools of which nothing fresh is known are absent.

    Unchanged pools return the same object, so callers can skip them.
    """
    basis = _Basis(
        _probes(reports, heard, limits, memo),
        sum_clients(_windows(demand, reach, limits, now_ms), limits, memo),
        _ejections(demand, reach, limits, now_ms),
        clients_heard(demand),
    )
    pools = {*basis.probes, *basis.clients, *basis.ejected}
    again, evidence = pools, dict.fromkeys(sorted(pools), NOTHING)
    kept = memo.last(_Gathered)
    if kept is not None and kept.basis.heard == basis.heard:
        before = kept.evidence
        again = kept.basis.changed_pools(basis) & pools
        same_pools = before.keys() == pools
        evidence = dict(before) if same_pools else {pool: before.get(pool, NOTHING) for pool in evidence}
    for pool in again:
        evidence[pool] = basis.of(pool)
    memo.keep(_Gathered(basis, evidence))
    return evidence


def clients_heard(demand: tuple[DemandRow, ...]) -> int:
    """Clients in the fullest recent second, all partitions together, but for those that are left out."""
    return sum(max((s.clients - s.excluded for s in row.seconds[-3:]), default=0) for row in demand)


class _Reading(NamedTuple):
    """What a row says of its pools, and until when. ``reached``: some pool answered; else, and if any failed,
    ``nothing_gets_through``."""

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

    def changed_pools(self, now: "_Basis") -> set[str]:
        """The pools of which something else is known now, but for the number of clients."""
        ejected = {pool for pool, _ in self.ejected.items() ^ now.ejected.items()}
        return ejected | changed_keys(self.probes, now.probes) | changed_keys(self.clients, now.clients)

    def of(self, pool: str) -> Evidence:
        said, until_ms = self.probes.get(pool, _NOTHING_SAID)
        gone, said_ms = self.ejected.get(pool, (0, 0))
        return Evidence(self.clients.get(pool), said, gone, self.heard, said_ms, until_ms)


class _Gathered(NamedTuple):
    """The last evidence, and what it rests on."""

    basis: _Basis
    evidence: dict[str, Evidence]


class _Heard(NamedTuple):
    """Row by row what it says and what is heard of its source; ``probes``: what that amounts to."""

    rows: tuple[Row, ...]
    readings: Sequence[_Reading]
    how: list[Hearing]
    probes: _Probes


def _read(row: Row, limits: Thresholds) -> _Reading:
    until_ms, probes, reached = row.evidence_ms, tuple[tuple[str, Probe], ...](), False
    if isinstance(row.event, Report):
        report = row.event
        until_ms += limits.stale_after_ms(report.interval_ms)
        answering = sum(1 for seen in report.pools if seen.outcomes.ok)
        reached = any(answers(seen.outcomes) for seen in report.pools)
        probes = tuple(
            (seen.pool, _probe(report.source, seen, answering, row.evidence_ms)) for seen in report.pools
        )
    nothing = not reached and any(probe.failures + probe.auth + probe.not_found for _, probe in probes)
    return _Reading(until_ms, probes, reached, nothing)


def _probe(source: str, seen: PoolObservation, answering: int, evidence_ms: int) -> Probe:
    """``answering``: pools of this region that served this very prober. Its requests are always the same, so
    where a sibling serves them, one refused with 400 is no fault of the caller's."""
    out = seen.outcomes
    failures = out.health_failures
    if answering and not out.ok:
        failures += out.client_error
    return Probe(source, out.ok + failures, failures, out.auth, out.not_found, evidence_ms)


def _probes(reports: tuple[Row, ...], heard: list[Hearing], limits: Thresholds, memo: Memo) -> _Probes:
    """Pool -> (what probers say, when the first of them goes stale).

    Where the rows are those of last time but for a few, only the pools of these few are looked at again.
    """
    now = _Heard(reports, memo.each(_read, reports, limits), heard, {})
    last = memo.last(_Heard)
    if last is None or len(last.rows) != len(reports):
        probes = _probes_of(zip(now.readings, heard, strict=True), None)
    else:
        probes = _renewed(last, now)
    memo.keep(now._replace(probes=probes))
    return probes


def _renewed(last: _Heard, now: _Heard) -> _Probes:
    pairs = enumerate(zip(last.readings, now.readings, last.how, now.how, strict=True))
    changed = [index for index, (old, new, was, how) in pairs if old is not new or was is not how]
    if not changed:
        return last.probes
    again = {pool for heard in (last, now) for index in changed for pool, _ in heard.readings[index].probes}
    places = {_place(heard.rows[index]) for heard in (last, now) for index in changed}
    near = (
        (reading, how)
        for row, reading, how in zip(now.rows, now.readings, now.how, strict=True)
        if _place(row) in places
    )
    probes, renewed = dict(last.probes), _probes_of(near, again)
    for pool in again - renewed.keys():
        probes.pop(pool, None)
    return probes | renewed


def _place(row: Row) -> tuple[str, str]:
    return row.event.provider, row.event.region


def _probes_of(readings: Iterable[tuple[_Reading, Hearing]], pools: set[str] | None) -> _Probes:
    """Of these pools, None for all."""
    said: dict[str, list[Probe]] = {}
    until: dict[str, int] = {}
    for reading, how in readings:
        if how in (Hearing.SILENT, Hearing.OF_ITS_OWN):
            continue
        for pool, probe in reading.probes:
            if pools is None or pool in pools:
                said.setdefault(pool, []).append(probe)
                if how is Hearing.FRESH:
                    until[pool] = min(until.get(pool, reading.until_ms), reading.until_ms)
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
