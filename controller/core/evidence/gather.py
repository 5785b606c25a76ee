"""All that is known of each pool: clients' outcomes of late, and the last word of each prober."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from controller.core.evidence.client_sums import ClientOutcomes, sum_clients
from controller.core.evidence.heard_sources import UNREAD_MS, Hearing, Probe, Reach, RowReading, read_row
from controller.core.evidence.served_at_limit import Window
from controller.core.evidence.telling_seconds import is_established
from controller.core.model.memo import Memo, changed_keys
from controller.core.policy.thresholds import Thresholds
from streams.rows import DemandRow, Row

SECONDS_HEARD = 3  # the newest seconds of a partition, of which the fullest counts its clients


class Evidence(Struct, frozen=True, gc=False):
    """All that is known of one pool's health.

    ``ejected_by`` of ``clients_heard`` clients have left it by themselves, and one of them last said so at
    ``ejected_ms``. ``until_ms``: when the first prober goes stale. ``clients_unread``: what clients said is
    older than it may count, and newer reports of theirs may lie unread.
    """

    clients: ClientOutcomes | None
    probes: tuple[Probe, ...] = ()
    ejected_by: int = 0
    clients_heard: int = 0
    ejected_ms: int = 0
    until_ms: int | None = None
    clients_unread: bool = False


class _PoolProbes(NamedTuple):
    """What probers say of one pool, and when the first of them goes stale."""

    probes: tuple[Probe, ...]
    until_ms: int | None


_NO_PROBES = _PoolProbes((), None)
_Ejections = dict[str, tuple[int, int]]


class _EvidenceBasis(NamedTuple):
    """What the evidence of all pools rests on; ``ejections``: how many clients left a pool, and when."""

    probes: dict[str, _PoolProbes]
    clients: dict[str, ClientOutcomes]
    ejections: _Ejections
    clients_heard: int
    unread: frozenset[str]  # pools of which clients' newest word is older than it may count

    def changed_pools(self, now: "_EvidenceBasis") -> set[str]:
        """The pools of which something else is known now, but for the number of clients."""
        ejections = {pool for pool, _ in self.ejections.items() ^ now.ejections.items()}
        ejections |= self.unread ^ now.unread
        return ejections | changed_keys(self.probes, now.probes) | changed_keys(self.clients, now.clients)

    def of(self, pool: str) -> Evidence:
        """The evidence of one pool."""
        probes, until_ms = self.probes.get(pool, _NO_PROBES)
        ejected_by, ejected_ms = self.ejections.get(pool, (0, 0))
        return Evidence(
            self.clients.get(pool),
            probes,
            ejected_by,
            clients_heard=self.clients_heard,
            ejected_ms=ejected_ms,
            until_ms=until_ms,
            clients_unread=pool in self.unread,
        )


class _LastEvidence(NamedTuple):
    """The last evidence, and what it rests on."""

    basis: _EvidenceBasis
    evidence: dict[str, Evidence]


def gather(
    reports: tuple[Row, ...],
    hearings: list[Hearing],
    demand: tuple[DemandRow, ...],
    reach: Reach,
    thresholds: Thresholds,
    now_ms: int,
    memo: Memo,
) -> dict[str, Evidence]:
    """Pool -> fresh evidence of it, by name. Pools of which nothing fresh is known are absent.

    Unchanged pools return the same object, so callers can skip them.
    """
    clients = sum_clients(_windows(demand, reach, thresholds, now_ms), thresholds, memo)
    basis = _EvidenceBasis(
        _probes(reports, hearings, thresholds, memo),
        clients,
        _ejections(demand, reach, thresholds, now_ms),
        clients_heard=_clients_heard(demand),
        unread=_unread(clients, now_ms - thresholds.stale_min_ms),
    )
    last = memo.last(_LastEvidence)
    if last is None or last.basis.clients_heard != basis.clients_heard:
        last = _LastEvidence(_EvidenceBasis({}, {}, {}, clients_heard=0, unread=frozenset()), {})
    changed = last.basis.changed_pools(basis)
    evidence = dict(last.evidence)
    for pool in changed:
        if pool in basis.probes or pool in basis.clients or pool in basis.ejections:
            evidence[pool] = basis.of(pool)
        else:
            evidence.pop(pool, None)
    if not changed <= last.evidence.keys():
        evidence = dict(sorted(evidence.items()))
    memo.keep(_LastEvidence(basis, evidence))
    return evidence


def _unread(clients: dict[str, ClientOutcomes], since_ms: int) -> frozenset[str]:
    """The pools of which clients said nothing since then. Their older word is left only where newer may lie
    unread (``_windows``)."""
    return frozenset(pool for pool, outcomes in clients.items() if outcomes.latest_ms + 1000 <= since_ms)


def _clients_heard(demand: tuple[DemandRow, ...]) -> int:
    """Clients in the fullest recent second, all partitions together, without those that are left out and,
    where there are others, without newcomers."""
    recent = [row.seconds[-SECONDS_HEARD:] for row in demand]
    alone = not any(is_established(second) for seconds in recent for second in seconds)
    return sum(
        max(
            (second.clients - second.excluded - (0 if alone else second.new_clients) for second in seconds),
            default=0,
        )
        for seconds in recent
    )


class _LastProbes(NamedTuple):
    """Row by row what it says and what is heard of its source; ``probes``: what that amounts to."""

    rows: tuple[Row, ...]
    readings: Sequence[RowReading]
    hearings: list[Hearing]
    probes: dict[str, _PoolProbes]


def _probes(
    reports: tuple[Row, ...], hearings: list[Hearing], thresholds: Thresholds, memo: Memo
) -> dict[str, _PoolProbes]:
    """Pool -> what probers say. If only a few rows are new, only the pools of these rows are looked at."""
    now = _LastProbes(reports, memo.each(read_row, reports, thresholds), hearings, probes={})
    last = memo.last(_LastProbes)
    if last is None or len(last.rows) != len(reports):
        probes = _probes_of(zip(now.readings, hearings, strict=True), None)
    else:
        probes = _renewed_probes(last, now)
    memo.keep(now._replace(probes=probes))
    return probes


def _renewed_probes(last: _LastProbes, now: _LastProbes) -> dict[str, _PoolProbes]:
    pairs = enumerate(zip(last.readings, now.readings, last.hearings, now.hearings, strict=True))
    changed = [
        index
        for index, (old, new, old_hearing, new_hearing) in pairs
        if old is not new or old_hearing is not new_hearing
    ]
    if not changed:
        return last.probes
    both = [(rows, index) for rows in (last, now) for index in changed]
    pools = {pool for rows, index in both for pool, _ in rows.readings[index].probes}
    places = {_place(rows.rows[index]) for rows, index in both}
    nearby = (
        (reading, hearing)
        for row, reading, hearing in zip(now.rows, now.readings, now.hearings, strict=True)
        if _place(row) in places
    )
    probes, renewed = dict(last.probes), _probes_of(nearby, pools)
    for pool in pools - renewed.keys():
        probes.pop(pool, None)
    return probes | renewed


def _place(row: Row) -> tuple[str, str]:
    return row.event.provider, row.event.region


def _probes_of(
    readings: Iterable[tuple[RowReading, Hearing]], pools: set[str] | None
) -> dict[str, _PoolProbes]:
    """What the readings say of these pools, of all if None."""
    probes: dict[str, list[Probe]] = {}
    until: dict[str, int] = {}
    for reading, hearing in readings:
        if hearing in (Hearing.SILENT, Hearing.OWN_NETWORK):
            continue
        for pool, probe in reading.probes:
            if pools is None or pool in pools:
                if hearing is Hearing.DISPUTED:
                    probe = replace(probe, disputed=True)
                elif hearing is Hearing.UNREAD:
                    probe = replace(probe, evidence_ms=UNREAD_MS)
                probes.setdefault(pool, []).append(probe)
                if hearing in (Hearing.FRESH, Hearing.DISPUTED):
                    until[pool] = min(until.get(pool, reading.until_ms), reading.until_ms)
    return {pool: _PoolProbes(tuple(words), until.get(pool)) for pool, words in probes.items()}


def _windows(
    demand: tuple[DemandRow, ...], reach: Reach, thresholds: Thresholds, now_ms: int
) -> tuple[Window, ...]:
    """From which second on each partition counts; partitions that have gone silent don't."""
    windows = []
    for row in demand:
        if not row.seconds:
            continue
        newest_ms = row.seconds[-1].second_ms
        ages = reach.is_current("demand", row.position.partition)
        if ages and newest_ms + 1000 + thresholds.stale_min_ms <= now_ms:
            continue
        from_ms = (max(now_ms, newest_ms) if ages else newest_ms) - thresholds.window_ms
        windows.append(Window(row, -(-from_ms // 1000) * 1000))
    return tuple(windows)


def _ejections(
    demand: tuple[DemandRow, ...], reach: Reach, thresholds: Thresholds, now_ms: int
) -> _Ejections:
    """Pool -> (how many clients have left it, when one of them last said so)."""
    ejections: _Ejections = {}
    for row in demand:
        if not row.ejections:
            continue
        ages = reach.is_current("demand", row.position.partition)
        for ejection in row.ejections:
            if ejection.until_ms > now_ms or not ages:
                count, last_ms = ejections.get(ejection.pool, (0, UNREAD_MS))
                told_ms = max(ejection.since_ms, ejection.until_ms - thresholds.stale_min_ms)
                told_ms = told_ms if ejection.until_ms > now_ms else UNREAD_MS
                ejections[ejection.pool] = (count + 1, max(last_ms, told_ms))
    return ejections
