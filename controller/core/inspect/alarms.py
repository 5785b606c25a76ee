"""What a person must look at: no evidence about pools, but faults of sources, credentials and clocks.

Alarms are standing: each is true of a snapshot, lasts while it is, and is derived anew every time.
"""

from controller.core.evidence.gather import Hearing, Reach, hearing
from controller.core.model.memo import Memo
from controller.core.model.memory import Memory
from controller.core.model.reasons import CONFIGURATION_REASONS, Reason, State, Verdict
from controller.core.policy.policy import Thresholds
from controller.core.snapshot import Snapshot
from streams.rows import GAP_MAX_MS, Row
from tieline.events import Capacity, Report, Statement


def alarms(snapshot: Snapshot, memory: Memory, now_ms: int, memo: Memo | None = None) -> tuple[Verdict, ...]:
    """All that are due now, ``memory`` being that after this decision. ``since_ms`` is the instant of the
    record, state or look that shows it."""
    found: list[Verdict] = []
    if not snapshot.office.clock_trusted:
        found.append(Verdict("table", Reason.CLOCK_JUMPED, now_ms))
    found += _of_rows(snapshot, now_ms)
    found += _of_their_own(snapshot, now_ms, memo or Memo())
    for name, pool in memory.pools.items():
        if pool.state is State.DOWN and pool.reason in CONFIGURATION_REASONS:
            found.append(Verdict(name, pool.reason, pool.since_ms))
    return tuple(found)


def _of_rows(snapshot: Snapshot, now_ms: int) -> list[Verdict]:
    """Faults that a source's records show; one of a kind for each source, the worst of its regions."""
    limits = snapshot.policy.thresholds
    doubled: dict[str, int] = {}
    late: dict[str, Row] = {}
    for row in (*snapshot.reports, *snapshot.statements, *snapshot.capacities):
        source = row.event.source
        if row.duplicate and row.is_duplicated(now_ms):
            doubled[source] = max(doubled.get(source, 0), row.duplicate_ms)
        if abs(row.gap_ms) > GAP_MAX_MS and now_ms < _counts_until_ms(row, limits):
            late[source] = max(late.get(source, row), row, key=lambda one: abs(one.gap_ms))
    found = [Verdict(source, Reason.DUPLICATE_SOURCE, at_ms) for source, at_ms in sorted(doubled.items())]
    for source, row in sorted(late.items()):
        gap = (float(row.gap_ms), float(GAP_MAX_MS))
        found.append(Verdict(source, Reason.CLOCK_OR_DELAY, row.append_ms, None, "", "", *gap))
    return found


def _of_their_own(snapshot: Snapshot, now_ms: int, memo: Memo) -> list[Verdict]:
    """Reporters that are left out because nothing gets through to them anywhere."""
    reach = Reach(snapshot.progress, now_ms)
    heard = hearing(snapshot.reports, reach, snapshot.policy.thresholds, now_ms, memo)
    named = zip(snapshot.reports, heard, strict=True)
    sources = sorted({row.event.source for row, how in named if how is Hearing.OF_ITS_OWN})
    out = [Verdict(source, Reason.REPORTER_OF_ITS_OWN, now_ms) for source in sources]
    seconds = [row.seconds[-1] for row in snapshot.demand if row.seconds]
    if clients := sum(second.excluded for second in seconds):
        latest_ms = max(second.second_ms for second in seconds if second.excluded)
        out.append(Verdict("clients", Reason.REPORTER_OF_ITS_OWN, latest_ms, value=float(clients)))
    return out


def _counts_until_ms(row: Row, limits: Thresholds) -> int:
    """How long what this record shows of its producer's clock is news."""
    match row.event:
        case Report() as report:
            return row.append_ms + limits.stale_after_ms(report.interval_ms)
        case Capacity() as capacity:
            return capacity.expires_ms
        case Statement() as statement:
            return max((claim.expires_ms for claim in statement.claims), default=0)
