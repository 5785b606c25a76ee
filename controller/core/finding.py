"""Evidence of one pool -> one finding: what it says, how bad, and on what it rests.

The rules are asked in order, worst first; the first that speaks is the finding. Quorum: what is found for
everybody needs three reporters, or half of those that exist; a single reporter needs a prober that agrees.
Without it the finding stays with that process, and the pool is at most degraded.
"""

from collections.abc import Callable, Container
from enum import StrEnum
from typing import NamedTuple

from controller.core.clients import Clients
from controller.core.evidence import Evidence, Probe
from controller.core.policy import Thresholds
from controller.core.reasons import Reason


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


class Case(NamedTuple):
    """One pool's evidence, prepared for the rules."""

    seen: Evidence
    limits: Thresholds
    bad_probes: int
    good_probes: int
    telling: bool  # enough requests of clients
    share: float  # of clients' attempts that fail
    status_says_ill: bool
    siblings_complete: bool

    def quorum(self, failing: int, reporters: int) -> bool:
        """Whether so many of so many reporters speak for everybody."""
        if reporters <= 1:
            return failing >= 1 and self.bad_probes >= 1
        return failing >= min(self.limits.reporters_min, (reporters + 1) // 2)

    @property
    def succeeds(self) -> bool:
        """Something gets through: a prober, or at least half of a telling number of clients' attempts."""
        return self.good_probes > 0 or (self.telling and self.share < self.limits.failing_share_down)


Said = tuple[Kind, Reason, float | None, float | None]
Rule = Callable[[Case], Said | None]

SILENT = Finding(Kind.SILENT, Reason.NO_EVIDENCE)


_last: dict[str, tuple[Evidence, Finding]] = {}
_last_case: list[object] = []


def judge_all(
    evidence: dict[str, Evidence],
    limits: Thresholds,
    known: Container[str],
    ill: set[str],
    *,
    siblings_complete: bool,
) -> dict[str, Finding]:
    """Every known pool's finding; ``ill`` are those that a status page speaks against.

    A pool whose evidence is the very same object as last time keeps its finding.
    """
    case: list[object] = [limits, ill, siblings_complete]
    before = _last if case == _last_case else {}
    judged: dict[str, tuple[Evidence, Finding]] = {}
    for pool, seen in evidence.items():
        if pool not in known:
            continue
        held = before.get(pool)
        if held is not None and held[0] is seen:
            judged[pool] = held
        else:
            said = judge(seen, limits, status_says_ill=pool in ill, siblings_complete=siblings_complete)
            judged[pool] = (seen, said)
    _last_case[:] = case
    found = {pool: finding for pool, (_, finding) in judged.items()}
    _last.clear()
    _last.update(judged)
    return found


def judge(seen: Evidence, limits: Thresholds, *, status_says_ill: bool, siblings_complete: bool) -> Finding:
    """The finding that all evidence of a pool amounts to."""
    if not status_says_ill and (good := _plainly_good(seen, limits)):
        return good
    case = _case(seen, limits, status_says_ill, siblings_complete)
    for rule in RULES:
        if said := rule(case):
            return Finding(*said, success_share(seen), newest_ms(seen), seen.until_ms)
    return SILENT


def _plainly_good(seen: Evidence, limits: Thresholds) -> Finding | None:
    """The usual case, without asking every rule: enough requests, and nothing fails anywhere."""
    clients = seen.clients
    if clients is None or clients.failures or clients.auth or clients.not_found or seen.ejected_by:
        return None
    if clients.requests < limits.requests_min or any(p.failures + p.auth + p.not_found for p in seen.probes):
        return None
    return Finding(Kind.GOOD, Reason.SUCCEEDING, 0.0, None, 1.0, newest_ms(seen), seen.until_ms)


def success_share(seen: Evidence) -> float | None:
    """The share of attempts at a pool that succeed, None without attempts."""
    clients = seen.clients
    requests, failures = (clients.requests, clients.failures) if clients else (0, 0)
    if not requests:
        requests = sum(probe.requests for probe in seen.probes)
        failures = sum(probe.failures for probe in seen.probes)
    return 1.0 - failures / requests if requests else None


def newest_ms(seen: Evidence) -> int:
    """The instant of the newest evidence."""
    newest = seen.clients.latest_ms + 1000 if seen.clients else 0
    return max([newest, seen.ejected_ms, *(probe.evidence_ms for probe in seen.probes)])


def _case(seen: Evidence, limits: Thresholds, status_says_ill: bool, siblings_complete: bool) -> Case:
    clients = seen.clients
    bad = sum(1 for probe in seen.probes if _failing(probe, limits))
    good = sum(1 for probe in seen.probes if probe.requests and not _failing(probe, limits))
    telling = clients is not None and clients.requests >= limits.requests_min
    share = clients.failing_share if clients else 0.0
    return Case(seen, limits, bad, good, telling, share, status_says_ill, siblings_complete)


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
    if clients is None or clients.ok or not case.siblings_complete:
        return None
    limit_ms = _stuck_after_ms(clients, case.limits)
    if clients.in_flight < case.limits.requests_few_min or clients.oldest_in_flight_ms <= limit_ms:
        return None
    several = max(clients.reporters, case.seen.clients_heard) > 1
    kind = Kind.BAD if several or case.bad_probes else Kind.WEAK
    return kind, Reason.NO_PROGRESS, float(clients.oldest_in_flight_ms), limit_ms


def _stuck_after_ms(clients: Clients, limits: Thresholds) -> float:
    return max(limits.no_progress_min_ms, limits.no_progress_factor * (clients.first_token_p99_ms or 0.0))


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
    return (Kind.WORD, Reason.STATUS_STATEMENT, None, None) if case.status_says_ill else None


def _between(case: Case) -> Said | None:
    if case.telling and case.share > case.limits.failing_share_clear:
        return Kind.FAIR, Reason.SOME_FAILING, case.share, case.limits.failing_share_clear
    return None


def _succeeding(case: Case) -> Said | None:
    clients = case.seen.clients
    few = clients is not None and clients.ok > 0 and clients.failures == 0
    if case.telling or few or case.good_probes:
        return Kind.GOOD, Reason.SUCCEEDING, case.share if clients else None, None
    return None


RULES: tuple[Rule, ...] = (
    _configuration,
    _clients_failing,
    _two_sources_failing,
    _ejected,
    _no_progress,
    _some_failing,
    _one_prober_failing,
    _status_statement,
    _between,
    _succeeding,
)
