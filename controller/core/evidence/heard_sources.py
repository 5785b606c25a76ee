"""Which sources are heard: fresh, silent, or not to be blamed, and what each row of a prober says.

A silent source is missed only if its partition was read to the end. A source to which nothing gets through on
any provider speaks of its own network (streams/demand.py), so what it says of pools is left out.
"""

from enum import StrEnum
from typing import NamedTuple

from msgspec import Struct

from controller.core.model.memo import Memo
from controller.core.policy.compiled import CompiledPolicy
from controller.core.policy.thresholds import Thresholds
from streams.demand import OWN_NETWORK_MIN, answers
from streams.rows import Progress, Row
from tieline.events import PoolObservation, Report

UNREAD_MS = -1  # the instant of evidence that is stale, though newer evidence may lie unread
BLIND_AFTER_MS = 15_000  # the shortest time after which evidence is stale


class Hearing(StrEnum):
    """What is heard of a source in a region.

    UNREAD: its last report is stale, but the controller has not read the partition to its end, so newer ones
    may be there. OWN_NETWORK: it is heard, but nothing gets through to it on any provider. DISPUTED: two
    producers use its name of late, or a new one does and the last may still be heard: it speaks for nobody.
    """

    FRESH = "fresh"
    SILENT = "silent"
    UNREAD = "unread"
    OWN_NETWORK = "own_network"
    DISPUTED = "disputed"


class Probe(Struct, frozen=True, gc=False):
    """One prober's last window of one pool. ``requests`` are those that speak about health. ``disputed``: two
    producers use the prober's name, so its word alone counts neither for the pool nor against it."""

    source: str
    requests: int
    failures: int
    auth: int
    not_found: int
    evidence_ms: int
    disputed: bool = False

    @property
    def is_refused(self) -> bool:
        """Whether more of its requests were refused for its credentials or the model than say anything."""
        return self.auth + self.not_found > self.requests


class RowReading(NamedTuple):
    """What a row says of its pools, and until when that is fresh.

    ``reached``: some pool answered. ``nothing_gets_through``: none did, and some failed.
    """

    until_ms: int
    probes: tuple[tuple[str, Probe], ...]
    reached: bool
    nothing_gets_through: bool


class Reach:
    """How far each partition was read, for the question whether silence on it counts."""

    def __init__(self, progress: tuple[Progress, ...], thresholds: Thresholds, now_ms: int) -> None:
        self._current = {
            (row.topic.rsplit(".", 1)[-1], row.partition): row.caught_up
            and now_ms - row.at_ms <= thresholds.progress_age_max_ms
            for row in progress
        }

    def is_current(self, topic: str, partition: int) -> bool:
        """Whether all that the partition held a moment ago was read. ``topic`` without its prefix."""
        return self._current.get((topic, partition), False)


def hear(
    reports: tuple[Row, ...], reach: Reach, thresholds: Thresholds, now_ms: int, memo: Memo
) -> list[Hearing]:
    """What is heard of each row's source, row by row."""
    hearings = []
    failing: dict[str, set[str]] = {}
    readings = memo.each(read_row, reports, thresholds)
    for row, reading in zip(reports, readings, strict=True):
        if now_ms < reading.until_ms:
            is_disputed = now_ms < row.settled_ms or _is_disputed(row, thresholds, now_ms)
            hearings.append(Hearing.DISPUTED if is_disputed else Hearing.FRESH)
        elif reach.is_current("reports", row.position.partition):
            hearings.append(Hearing.SILENT)
            continue
        else:
            hearings.append(Hearing.UNREAD)
        if reading.nothing_gets_through:
            failing.setdefault(row.event.source, set()).add(row.event.provider)
    for source in sorted(name for name, providers in failing.items() if len(providers) >= OWN_NETWORK_MIN):
        own = [index for index, row in enumerate(reports) if row.event.source == source]
        loud = [index for index in own if hearings[index] is not Hearing.SILENT]
        if not any(readings[index].reached for index in loud):
            for index in loud:
                hearings[index] = Hearing.OWN_NETWORK
    return hearings


def _is_disputed(row: Row, thresholds: Thresholds, now_ms: int) -> bool:
    """Whether the last sign of two producers is no older than a report of this source counts."""
    if not row.duplicate:
        return False
    interval_ms = row.event.interval_ms if isinstance(row.event, Report) else 0
    return now_ms - row.duplicate_ms < thresholds.stale_after_ms(interval_ms)


def unheard_share(compiled: CompiledPolicy, reports: tuple[Row, ...], hearings: list[Hearing]) -> float:
    """The share of (source, region) pairs that have gone silent; 0 if they lie in too few providers.

    Only silence counts here, never a report of failure. Sources and regions that the policy no longer names
    are not missed: their last rows stay in the tables and would freeze moves by choice for ever.
    """
    if Hearing.SILENT not in hearings:
        return 0.0
    sources = {source.id for source in compiled.policy.sources}
    places = {pool.rsplit("/", 1)[0] for pool in compiled.pools}
    silent: list[str] = []
    expected = 0
    for row, hearing in zip(reports, hearings, strict=True):
        event = row.event
        if event.source in sources and f"{event.provider}/{event.region}" in places:
            expected += 1
            if hearing is Hearing.SILENT:
                silent.append(event.provider)
    providers_min = compiled.policy.thresholds.unheard_providers_min
    return len(silent) / expected if len(set(silent)) >= providers_min else 0.0


def read_row(row: Row, thresholds: Thresholds) -> RowReading:
    """What one row says, whoever is heard."""
    if not isinstance(row.event, Report):
        return RowReading(row.evidence_ms, (), reached=False, nothing_gets_through=False)
    report = row.event
    answering = sum(1 for observation in report.pools if observation.outcomes.ok)
    reached = any(answers(observation.outcomes) for observation in report.pools)
    probes = tuple(
        (observation.pool, _probe(report.source, observation, answering, row.evidence_ms))
        for observation in report.pools
    )
    failing = any(probe.failures + probe.auth + probe.not_found for _, probe in probes)
    return RowReading(
        row.evidence_ms + thresholds.stale_after_ms(report.interval_ms),
        probes,
        reached=reached,
        nothing_gets_through=failing and not reached,
    )


def _probe(source: str, observation: PoolObservation, answering: int, evidence_ms: int) -> Probe:
    """``answering``: pools of this region that served this very prober. Its requests are always the same, so
    where a sibling serves them, one refused with 400 is no fault of the caller's."""
    outcomes = observation.outcomes
    failures = outcomes.health_failures
    if answering and not outcomes.ok:
        failures += outcomes.client_error
    return Probe(
        source,
        outcomes.ok + failures,
        failures,
        auth=outcomes.auth,
        not_found=outcomes.not_found,
        evidence_ms=evidence_ms,
    )
