"""Evidence of one pool -> one finding: what it says, how bad, and on what it rests.

The rules are asked in order, worst first; the first that speaks is the finding. Quorum: what is found for
everybody needs three reporters, or half of those that exist; a single reporter needs a prober that agrees.
Without it the finding stays with that process, and the pool is at most degraded.
"""

from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import NamedTuple

from controller.core.evidence.gather import Evidence, Probe
from controller.core.model.memo import Memo, changed_keys
from controller.core.model.memory import PoolMemory
from controller.core.model.reasons import Reason
from controller.core.policy.thresholds import Thresholds


class Kind(StrEnum):
    """What evidence says, worst first. WORD: ill by a status page's word alone. FAIR lies between what
    degrades and what clears; SILENT: nothing."""

    FAULT = "fault"
    BAD = "bad"
    WEAK = "weak"
    WORD = "word"
    FAIR = "fair"
    GOOD = "good"
    SILENT = "silent"


class Finding(NamedTuple):
    """``value`` (a share, a count of clients, or ms) was held against ``limit``.

    ``success`` is the share of attempts that succeed, None without attempts; ``evidence_ms`` the instant of
    the newest evidence and ``until_ms`` when the first of it goes stale.
    """

    kind: Kind
    reason: Reason
    value: float | None = None
    limit: float | None = None
    success: float | None = None
    evidence_ms: int = 0
    until_ms: int | None = None


class About(NamedTuple):
    """What else is known of a pool whose evidence is judged.

    ``refuses``: it refuses requests that its siblings serve to the same callers. ``usual_p50_ms``,
    ``usual_p99_ms``: what its first tokens use to take, 0 if unknown.
    """

    status_says_ill: bool = False
    siblings_complete: bool = True
    refuses: bool = False
    usual_p50_ms: float = 0.0
    usual_p99_ms: float = 0.0


class Case(NamedTuple):
    """One pool's evidence, prepared for the rules."""

    seen: Evidence
    limits: Thresholds
    bad_probes: int
    good_probes: int
    telling: bool  # enough requests of clients
    share: float  # of clients' attempts that fail
    about: About

    def quorum(self, failing: int, reporters: int) -> bool:
        """Whether so many of so many reporters speak for everybody.

        The window is short, so of a quiet pool's users not all show in it: where others are heard elsewhere,
        one alone is never half of all there are.
        """
        existing = max(reporters, min(self.seen.clients_heard, self.limits.reporters_elsewhere_max))
        if existing <= 1:
            return failing >= 1 and self.bad_probes >= 1
        return failing >= min(self.limits.reporters_min, (existing + 1) // 2)

    @property
    def succeeds(self) -> bool:
        """Something gets through: a prober, or at least half of a telling number of clients' attempts."""
        return self.good_probes > 0 or (self.telling and self.share < self.limits.failing_share_down)


Said = tuple[Kind, Reason, float | None, float | None]
Rule = Callable[[Case], Said | None]

SILENT = Finding(Kind.SILENT, Reason.NO_EVIDENCE)


class _Judged(NamedTuple):
    """The last answer, and what it was the answer to; ``shared`` is what all pools have in common."""

    shared: tuple[Thresholds, set[str], set[str], bool]
    evidence: dict[str, Evidence]
    memory: dict[str, PoolMemory]
    findings: dict[str, Finding]


def judge_all(
    evidence: dict[str, Evidence],
    limits: Thresholds,
    memory: dict[str, PoolMemory],
    ill: set[str],
    refusing: set[str],
    memo: Memo,
    *,
    siblings_complete: bool,
) -> dict[str, Finding]:
    """The finding of every pool that is remembered; ``ill`` are those that a status page speaks against,
    ``refusing`` those that refuse what their siblings serve.

    A pool whose evidence and memory are the same objects as last time keeps its finding.
    """
    shared = (limits, ill, refusing, siblings_complete)
    findings: dict[str, Finding] = {}
    again: Iterable[str] = evidence
    kept = memo.last(_Judged)
    if kept is not None and kept.shared == shared:
        findings = kept.findings
        again = changed_keys(kept.evidence, evidence) | changed_keys(kept.memory, memory)
    findings = dict(findings) if again else findings
    for pool in again:
        seen, held = evidence.get(pool), memory.get(pool)
        if seen is None or held is None:
            findings.pop(pool, None)
            continue
        usual = (held.usual_p50_ms, held.usual_p99_ms)
        about = About(pool in ill, siblings_complete, pool in refusing, *usual)
        findings[pool] = judge(seen, limits, about)
    memo.keep(_Judged(shared, evidence, memory, findings))
    return findings


def judge(seen: Evidence, limits: Thresholds, about: About) -> Finding:
    """The finding that all evidence of a pool amounts to."""
    if not about.status_says_ill and not about.refuses and (good := _plainly_good(seen, limits, about)):
        return good
    case = _case(seen, limits, about)
    for rule in RULES:
        if said := rule(case):
            return Finding(*said, success_share(seen), newest_ms(seen), seen.until_ms)
    return SILENT


def _plainly_good(seen: Evidence, limits: Thresholds, about: About) -> Finding | None:
    """The usual case, without asking every rule: enough requests, and nothing fails anywhere."""
    clients = seen.clients
    if clients is None or clients.failures or clients.auth or clients.not_found or seen.ejected_by:
        return None
    if clients.requests < limits.requests_min or any(p.failures + p.auth + p.not_found for p in seen.probes):
        return None
    if clients.first_token_p50_ms is not None and clients.first_token_p50_ms > slow_after_ms(about, limits):
        return None
    return Finding(Kind.GOOD, Reason.SUCCEEDING, 0.0, None, 1.0, newest_ms(seen), seen.until_ms)


def success_share(seen: Evidence) -> float | None:
    """The share of attempts at a pool that succeed, None without attempts."""
    clients = seen.clients
    if clients and clients.requests:
        return 1.0 - clients.failing_share
    requests = sum(probe.requests for probe in seen.probes)
    failures = sum(probe.failures for probe in seen.probes)
    return 1.0 - failures / requests if requests else None


def newest_ms(seen: Evidence) -> int:
    """The instant of the newest evidence."""
    newest = seen.clients.latest_ms + 1000 if seen.clients else 0
    return max([newest, seen.ejected_ms, *(probe.evidence_ms for probe in seen.probes)])


def _case(seen: Evidence, limits: Thresholds, about: About) -> Case:
    clients = seen.clients
    bad = sum(1 for probe in seen.probes if _failing(probe, limits))
    good = sum(1 for probe in seen.probes if probe.requests and not _failing(probe, limits))
    telling = clients is not None and clients.requests >= limits.requests_min
    share = clients.failing_share if clients else 0.0
    return Case(seen, limits, bad, good, telling, share, about)


def _failing(probe: Probe, limits: Thresholds) -> bool:
    enough = probe.requests >= limits.probe_requests_min
    return enough and probe.failures >= limits.failing_share_down * probe.requests


def _configuration(case: Case) -> Said | None:
    """401, 403, or 404 on the model, for everybody."""
    clients = case.seen.clients
    faults = clients.auth + clients.not_found if clients else 0
    agreeing = sum(1 for probe in case.seen.probes if probe.auth + probe.not_found > probe.requests)
    auth = (clients.auth if clients else 0) + sum(probe.auth for probe in case.seen.probes)
    reason = Reason.CONFIGURATION_AUTH if 2 * auth >= faults + agreeing else Reason.CONFIGURATION_NOT_FOUND
    if clients and faults and faults >= case.limits.failing_share_down * (faults + clients.requests):
        alone = clients.reporters <= 1
        failing, reporters = clients.failing_configuration, clients.reporters
        if agreeing if alone else case.quorum(failing, reporters):
            return Kind.FAULT, reason, faults / (faults + clients.requests), case.limits.failing_share_down
    if agreeing >= 2:
        return Kind.FAULT, reason, 1.0, case.limits.failing_share_down
    return None


def _clients_failing(case: Case) -> Said | None:
    """Enough requests with a failing share, from enough clients."""
    clients = case.seen.clients
    if clients is None or not case.telling or case.share < case.limits.failing_share_down:
        return None
    if not case.quorum(max(clients.failing, 1 if clients.reporters <= 1 else 0), clients.reporters):
        return None
    reason = Reason.CLIENTS_AND_PROBES_FAILING if case.bad_probes else Reason.CLIENTS_FAILING
    return Kind.BAD, reason, case.share, case.limits.failing_share_down


def _two_sources_failing(case: Case) -> Said | None:
    """A prober and clients, or two probers, and none to whom the pool still answers."""
    clients = case.seen.clients
    few = clients is not None and clients.requests >= case.limits.requests_few_min
    if case.bad_probes and few and case.share >= case.limits.failing_share_down:
        return Kind.BAD, Reason.CLIENTS_AND_PROBES_FAILING, case.share, case.limits.failing_share_down
    if case.bad_probes >= 2 and not case.succeeds:
        return Kind.BAD, Reason.PROBES_FAILING, 1.0, case.limits.failing_share_down
    return None


def _ejected(case: Case) -> Said | None:
    """Enough clients have left the pool by themselves; those that left send it nothing to fail."""
    gone, heard = case.seen.ejected_by, case.seen.clients_heard
    if not gone or (case.succeeds and gone < heard):
        return None
    heard = max(heard, gone)
    kind = Kind.BAD if case.quorum(gone, heard) else Kind.WEAK
    return kind, Reason.EJECTED_BY_CLIENTS, float(gone), float(heard)


def _no_progress(case: Case) -> Said | None:
    """Requests go in and none comes out, while sibling pools complete theirs."""
    clients = case.seen.clients
    if clients is None or clients.ok or not case.about.siblings_complete:
        return None
    own_p99_ms = case.about.usual_p99_ms or clients.first_token_p99_ms or 0.0
    limit_ms = max(case.limits.no_progress_min_ms, case.limits.no_progress_factor * own_p99_ms)
    if clients.in_flight < case.limits.requests_few_min or clients.oldest_in_flight_ms <= limit_ms:
        return None
    kind = Kind.BAD if case.quorum(clients.stuck, clients.users) else Kind.WEAK
    return kind, Reason.NO_PROGRESS, float(clients.oldest_in_flight_ms), limit_ms


def _model_fault(case: Case) -> Said | None:
    """400 and the like for requests that siblings serve to the same callers, for everybody."""
    clients = case.seen.clients
    if clients is None or not case.about.refuses:
        return None
    kind = Kind.BAD if case.quorum(clients.failing_client_error, clients.reporters) else Kind.WEAK
    return kind, Reason.MODEL_FAULT, clients.client_error_share, case.limits.client_error_share


def _slow(case: Case) -> Said | None:
    """It answers, but takes far longer than it uses to."""
    clients = case.seen.clients
    limit_ms = slow_after_ms(case.about, case.limits)
    p50_ms = clients.first_token_p50_ms if clients else None
    if p50_ms is None or not case.telling or p50_ms <= limit_ms:
        return None
    return Kind.WEAK, Reason.SLOW, p50_ms, limit_ms


def slow_after_ms(about: About, limits: Thresholds) -> float:
    """From what median first token on a pool is slow; without end while nobody knows what it uses to take."""
    if not about.usual_p50_ms:
        return float("inf")
    return max(about.usual_p50_ms * limits.slow_factor, about.usual_p50_ms + limits.slow_min_ms)


def _some_failing(case: Case) -> Said | None:
    if case.telling and case.share >= case.limits.failing_share_degraded:
        return Kind.WEAK, Reason.SOME_FAILING, case.share, case.limits.failing_share_degraded
    return None


def _one_prober_failing(case: Case) -> Said | None:
    """One prober alone may be ill itself: degraded, unless clients show that requests succeed."""
    if case.bad_probes and not (case.telling and case.share <= case.limits.failing_share_clear):
        return Kind.WEAK, Reason.ONE_SOURCE_FAILING, 1.0, case.limits.failing_share_down
    return None


def _status_statement(case: Case) -> Said | None:
    """A status page confirms, it does not detect: alone it only degrades, and keeps nothing down."""
    return (Kind.WORD, Reason.STATUS_STATEMENT, None, None) if case.about.status_says_ill else None


def _between(case: Case) -> Said | None:
    if case.telling and case.share > case.limits.failing_share_clear:
        return Kind.FAIR, Reason.SOME_FAILING, case.share, case.limits.failing_share_clear
    return None


def _succeeding(case: Case) -> Said | None:
    clients = case.seen.clients
    few = clients is not None and clients.ok > clients.client_error and clients.failures == 0
    if case.telling or few or case.good_probes:
        return Kind.GOOD, Reason.SUCCEEDING, case.share if clients else None, None
    return None


RULES: tuple[Rule, ...] = (
    _configuration,
    _clients_failing,
    _two_sources_failing,
    _ejected,
    _no_progress,
    _model_fault,
    _some_failing,
    _slow,
    _one_prober_failing,
    _status_statement,
    _between,
    _succeeding,
)
