"""What a person must look at: faults of sources, credentials and clocks, which are no evidence about pools.

An alarm stands for as long as the snapshot shows its cause. It is derived anew each time, so nothing has to
remember it or end it.
"""

from controller.core.capacity.stated import counts_until_ms
from controller.core.evidence.heard_sources import BLIND_AFTER_MS, Hearing, Reach, hear, read_row
from controller.core.model.memo import Memo
from controller.core.model.memory import Memory
from controller.core.model.reasons import CONFIGURATION_REASONS, Reason, State, Verdict
from controller.core.policy.thresholds import Thresholds
from controller.core.snapshot import Snapshot
from streams.demand import DOUBT_MS
from streams.rows import GAP_MAX_MS, Row
from tieline.events import STALE_AFTER_MIN_MS, Capacity, Report, Statement

SKIPPED_SHARE_MAX = 0.5


def alarms(snapshot: Snapshot, memory: Memory, now_ms: int, memo: Memo | None = None) -> tuple[Verdict, ...]:
    """All alarms that stand at ``now_ms``. ``memory`` is the memory after this decision.

    ``since_ms`` of an alarm is the instant of the record or state that shows it, or ``now_ms`` if only the
    snapshot as a whole does.
    """
    verdicts: list[Verdict] = []
    if not snapshot.office.clock_trusted:
        verdicts.append(Verdict("table", Reason.CLOCK_JUMPED, now_ms))
    verdicts += _faults_of_sources(snapshot, now_ms)
    verdicts += _silent_about_capacity(snapshot, now_ms)
    verdicts += _unreached_reporters(snapshot, now_ms, memo or Memo())
    verdicts += _faults_of_reading(snapshot, now_ms)
    verdicts += _doubted_clients(snapshot, now_ms)
    verdicts += _unheard_clients(memory, now_ms)
    verdicts += _refused_sources(snapshot, memory, now_ms, memo or Memo())
    for name, pool in memory.pools.items():
        if pool.carried_units_per_s:
            verdicts.append(
                Verdict(name, Reason.CAPACITY_CONTRADICTED, now_ms, value=pool.carried_units_per_s)
            )
        if _is_misconfigured(memory, name):
            verdicts.append(Verdict(name, pool.reason, pool.since_ms))
    return tuple(verdicts)


def _faults_of_sources(snapshot: Snapshot, now_ms: int) -> list[Verdict]:
    """Sources that two producers use, and sources whose clock is wrong or whose records come late.

    A source has one alarm of each kind, however many regions it speaks of: the worst of them.
    """
    thresholds = snapshot.policy.thresholds
    doubled: dict[str, int] = {}
    late: dict[str, Row] = {}
    for row in (*snapshot.reports, *snapshot.statements, *snapshot.capacities):
        source = row.event.source
        if row.duplicate and row.is_duplicated(now_ms):
            doubled[source] = max(doubled.get(source, 0), row.duplicate_ms)
        if abs(row.gap_ms) > GAP_MAX_MS and now_ms < _counts_until_ms(row, thresholds):
            late[source] = max(late.get(source, row), row, key=lambda candidate: abs(candidate.gap_ms))
    verdicts = [Verdict(source, Reason.DUPLICATE_SOURCE, at_ms) for source, at_ms in sorted(doubled.items())]
    for source, row in sorted(late.items()):
        gap_ms, limit_ms = float(row.gap_ms), float(GAP_MAX_MS)
        verdicts.append(Verdict(source, Reason.CLOCK_OR_DELAY, row.append_ms, value=gap_ms, limit=limit_ms))
    return verdicts


def _silent_about_capacity(snapshot: Snapshot, now_ms: int) -> list[Verdict]:
    """Sources whose last word on capacity is over: each with the number of pools that nobody else states."""
    thresholds, sources = snapshot.policy.thresholds, {source.id for source in snapshot.policy.sources}
    names = {pool.id for pool in snapshot.policy.pools}
    stated: set[str] = set()
    silent: dict[str, set[str]] = {}
    since: dict[str, int] = {}
    for row in snapshot.capacities:
        event, until_ms = row.event, counts_until_ms(row, thresholds)
        if not isinstance(event, Capacity) or event.source not in sources:
            continue
        pools = {pool.pool for pool in event.pools} & names
        if now_ms < until_ms:
            stated |= pools
        else:
            silent.setdefault(event.source, set()).update(pools)
            since[event.source] = min(until_ms, since.get(event.source, until_ms))
    return [
        Verdict(source, Reason.SOURCE_SILENT, since[source], value=float(len(pools - stated)))
        for source, pools in sorted(silent.items())
        if pools - stated
    ]


def _unreached_reporters(snapshot: Snapshot, now_ms: int, memo: Memo) -> list[Verdict]:
    """Reporters that decisions leave out, because nothing gets through to them on any provider.

    Probers are named. Clients are too many to name, so that alarm counts them.
    """
    thresholds = snapshot.policy.thresholds
    reach = Reach(snapshot.progress, thresholds, now_ms)
    hearings = hear(snapshot.reports, reach, thresholds, now_ms, memo)
    rows = zip(snapshot.reports, hearings, strict=True)
    sources = sorted({row.event.source for row, status in rows if status is Hearing.OWN_NETWORK})
    verdicts = [Verdict(source, Reason.REPORTER_OF_ITS_OWN, now_ms) for source in sources]
    seconds = [row.seconds[-1] for row in snapshot.demand if row.seconds]
    if clients := sum(second.excluded for second in seconds):
        latest_ms = max(second.second_ms for second in seconds if second.excluded)
        verdicts.append(Verdict("clients", Reason.REPORTER_OF_ITS_OWN, latest_ms, value=float(clients)))
    return verdicts


def _doubted_clients(snapshot: Snapshot, now_ms: int) -> list[Verdict]:
    """Clients whose reports are not credible, where that matters: beside all load that is reported."""
    seconds = [second for row in snapshot.demand for second in row.seconds[-2:-1]]
    flows = [flow for second in seconds for flow in second.flows]
    whole = sum(flow.offered_units - flow.doubtful_units for flow in flows)
    least = snapshot.policy.thresholds.reporter_share_max * whole
    return [
        Verdict(doubt.client, Reason.CLIENT_DOUBTED, doubt.at_ms, value=doubt.units_per_s)
        for row in snapshot.demand
        for doubt in row.doubts
        if now_ms - doubt.at_ms < DOUBT_MS and (doubt.units_per_s > least or doubt.strange or doubt.lies)
    ]


def _unheard_clients(memory: Memory, now_ms: int) -> list[Verdict]:
    """The load that is counted on although its clients have fallen silent."""
    units = sum(load.unheard - load.gone for load in memory.unheard)
    return [Verdict("clients", Reason.CLIENTS_UNHEARD, now_ms, value=units)] if units > 0 else []


def _refused_sources(snapshot: Snapshot, memory: Memory, now_ms: int, memo: Memo) -> list[Verdict]:
    """Probers that pools refuse which are not known to refuse others: each with the number of those pools."""
    thresholds = snapshot.policy.thresholds
    refused: dict[str, set[str]] = {}
    for row, reading in zip(snapshot.reports, memo.each(read_row, snapshot.reports, thresholds), strict=True):
        if now_ms < reading.until_ms:
            pools = {pool for pool, probe in reading.probes if probe.is_refused}
            refused.setdefault(row.event.source, set()).update(pools)
    if not any(refused.values()):
        return []
    to_clients = _refuse_clients(snapshot, now_ms)
    blamed = {
        source: sum(1 for pool in pools if pool not in to_clients and not _is_misconfigured(memory, pool))
        for source, pools in sorted(refused.items())
    }
    return [
        Verdict(source, Reason.SOURCE_REFUSED, now_ms, value=float(count))
        for source, count in blamed.items()
        if count
    ]


def _refuse_clients(snapshot: Snapshot, now_ms: int) -> set[str]:
    """Pools at which clients, too, were refused more often than served in the last second in which they
    tried. Before such a pool is taken out, or where the policy only observes, its prober is not to blame."""
    newest: dict[str, tuple[int, int]] = {}  # pool -> that second, and by how many the refusals prevail in it
    for row in snapshot.demand:
        for second in row.seconds:
            if now_ms - second.second_ms >= STALE_AFTER_MIN_MS:
                continue
            for pool in second.pools:
                refusals, ok = pool.outcomes.configuration_faults, pool.outcomes.ok
                at_ms, balance = newest.get(pool.pool, (0, 0))
                if refusals + ok and second.second_ms >= at_ms:
                    balance = balance if second.second_ms == at_ms else 0
                    newest[pool.pool] = (second.second_ms, balance + refusals - ok)
    return {pool for pool, (_, balance) in newest.items() if balance > 0}


def _is_misconfigured(memory: Memory, pool: str) -> bool:
    """Whether the pool is out for a fault of configuration, so that whoever it refuses is not to blame."""
    entry = memory.pools.get(pool)
    return entry is not None and entry.state is State.DOWN and entry.reason in CONFIGURATION_REASONS


def _faults_of_reading(snapshot: Snapshot, now_ms: int) -> list[Verdict]:
    """Partitions whose evidence the decisions may not see: nobody watches them, or they are not read to their
    end. Also those whose dead letters wait. What is in the way is named, if it is known."""
    verdicts = []
    for row in snapshot.progress:
        place = f"{row.topic}/{row.partition}"
        if now_ms - row.at_ms > BLIND_AFTER_MS:
            verdicts.append(Verdict(place, Reason.NOT_WATCHED, row.at_ms))
        elif row.behind_since_ms and now_ms - row.behind_since_ms > BLIND_AFTER_MS:
            behind = float(row.end_offset - row.next_offset)
            since_ms = row.behind_since_ms
            verdicts.append(Verdict(place, Reason.NOT_READ, since_ms, value=behind, because=row.trouble))
        if row.letters_waiting:
            letters = float(row.letters_waiting)
            verdicts.append(Verdict(place, Reason.LETTERS_WAIT, now_ms, value=letters, because=row.trouble))
    skipped: dict[str, float] = {}
    for row in snapshot.progress:
        skipped[row.topic] = max(row.stale_share, skipped.get(row.topic, 0.0))
    for topic, share in sorted(skipped.items()):
        if share > SKIPPED_SHARE_MAX:
            limit = SKIPPED_SHARE_MAX
            verdicts.append(Verdict(topic, Reason.REPORTS_SKIPPED, now_ms, value=share, limit=limit))
    return verdicts


def _counts_until_ms(row: Row, thresholds: Thresholds) -> int:
    """Until when the row's event counts. After that, what it showed of its producer's clock is old news."""
    match row.event:
        case Report() as report:
            return row.append_ms + thresholds.stale_after_ms(report.interval_ms)
        case Capacity():
            return counts_until_ms(row, thresholds)
        case Statement() as statement:
            return max((claim.expires_ms for claim in statement.claims), default=0)
