"""What the evidence of one pool amounts to: the rules, and the finding that the first of them gives.

The rules are asked in order, worst first; the first that speaks is the finding. What is found for everybody
needs a quorum: three reporters, or half of those that exist; a single reporter needs a prober that agrees.
Without a quorum the finding stays with that reporter, and the pool is at most degraded.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple

from msgspec import Struct

from controller.core.evidence.gather import Evidence
from controller.core.evidence.heard_sources import Probe
from controller.core.model.reasons import Reason
from controller.core.policy.thresholds import Thresholds


class Kind(StrEnum):
    """What evidence says, worst first.

    WORD: a status page alone calls the pool ill. FAIR: between what degrades and what clears. REFUSED: what
    is answered is mostly refused as the callers' own fault, which says nothing about health. SILENT: nothing
    is known.
    """

    FAULT = "fault"
    BAD = "bad"
    WEAK = "weak"
    WORD = "word"
    FAIR = "fair"
    REFUSED = "refused"
    GOOD = "good"
    SILENT = "silent"


class Finding(Struct, frozen=True, gc=False):
    """One pool's evidence in one word. ``value`` (a share, a count of clients, or ms) exceeds ``limit``.

    ``success`` is the share of attempts that succeed, None without attempts. ``evidence_ms`` is the instant
    of the newest evidence, ``until_ms`` when the first of it goes stale.
    """

    kind: Kind
    reason: Reason
    value: float | None = None
    limit: float | None = None
    success: float | None = None
    evidence_ms: int = 0
    until_ms: int | None = None


SILENT = Finding(Kind.SILENT, Reason.NO_EVIDENCE)


class PoolContext(NamedTuple):
    """What else is known of a pool whose evidence is judged.

    ``refuses``: it refuses requests that its siblings serve to the same callers. ``refused_before``: it did
    so of late, and is not healthy again since. ``siblings_complete``: some pool completes requests.
    ``usual_p50_ms`` and ``usual_p99_ms``: its usual first tokens, 0 if unknown.
    """

    status_says_ill: bool = False
    siblings_complete: bool = True
    refuses: bool = False
    refused_before: bool = False
    usual_p50_ms: float = 0.0
    usual_p99_ms: float = 0.0


class Case(NamedTuple):
    """One pool's evidence, prepared for the rules.

    ``telling``: there are enough requests of clients. ``share``: the share of their attempts that fails.
    ``bad_probes`` and ``good_probes`` are those of undisputed sources, ``disputed_bad`` and ``disputed_good``
    those of disputed ones, which neither take a pool down nor overrule others. ``failing_part``: the largest
    share of a prober's requests that fails although the pool serves it; 0 for none.
    """

    evidence: Evidence
    thresholds: Thresholds
    bad_probes: int
    good_probes: int
    disputed_bad: int
    disputed_good: int
    telling: bool
    share: float
    failing_part: float
    context: PoolContext

    def has_quorum(self, failing: int, reporters: int) -> bool:
        """Whether so many of so many reporters speak for everybody."""
        # The window is short, so not all users of a quiet pool show in it: where others are heard elsewhere,
        # one alone is never half of all there are.
        elsewhere = min(self.evidence.clients_heard, self.thresholds.reporters_elsewhere_max)
        existing = max(reporters, elsewhere)
        if existing <= 1:
            return failing >= 1 and self.bad_probes >= 1
        return failing >= min(self.thresholds.reporters_min, (existing + 1) // 2)

    @property
    def lets_clients_in(self) -> bool:
        """Some client is served, and of all attempts of clients fewer than half are refused as unknown."""
        clients = self.evidence.clients
        if clients is None or not clients.ok:
            return False
        return clients.configuration_share < self.thresholds.failing_share_down

    @property
    def succeeds(self) -> bool:
        """Something gets through: a prober, or at least half of a telling number of clients' attempts."""
        return self.good_probes > 0 or (self.telling and self.share < self.thresholds.failing_share_down)


def case_of(evidence: Evidence, thresholds: Thresholds, context: PoolContext) -> Case:
    """The evidence with what all rules ask of it."""
    clients = evidence.clients
    bad = [probe for probe in evidence.probes if _fails(probe, thresholds)]
    good = [probe for probe in evidence.probes if probe.requests and not _fails(probe, thresholds)]
    disputed_bad = sum(1 for probe in bad if probe.disputed)
    disputed_good = sum(1 for probe in good if probe.disputed)
    return Case(
        evidence,
        thresholds,
        bad_probes=len(bad) - disputed_bad,
        good_probes=len(good) - disputed_good,
        disputed_bad=disputed_bad,
        disputed_good=disputed_good,
        telling=clients is not None and clients.requests >= thresholds.requests_min,
        share=clients.failing_share if clients else 0.0,
        failing_part=max((_failing_part(probe, thresholds) for probe in good), default=0.0),
        context=context,
    )


def slow_after_ms(context: PoolContext, thresholds: Thresholds) -> float:
    """From which median first token on the pool is slow; infinite while its usual one is unknown."""
    if not context.usual_p50_ms:
        return float("inf")
    return max(context.usual_p50_ms * thresholds.slow_factor, context.usual_p50_ms + thresholds.slow_min_ms)


def _fails(probe: Probe, thresholds: Thresholds) -> bool:
    """Whether the pool fails for this prober. Of few requests one that succeeds shows that a part of the pool
    serves: another model, or whole answers where streams fail."""
    if 0 < probe.failures < probe.requests < thresholds.requests_few_min:
        return False
    enough = probe.requests >= thresholds.probe_requests_min
    return enough and probe.failures >= thresholds.failing_share_down * probe.requests


def _failing_part(probe: Probe, thresholds: Thresholds) -> float:
    share = probe.failures / probe.requests
    return share if share >= thresholds.failing_share_degraded else 0.0


Answer = tuple[Kind, Reason, float | None, float | None]
"""Kind, reason, value and limit of a finding."""
Rule = Callable[[Case], Answer | None]


def _configuration(case: Case) -> Answer | None:
    """401, 403, or 404 on the model, for everybody.

    Probers that are refused say nothing about those who are let in: where clients or another prober succeed,
    the fault is that of the probers' own credentials.
    """
    clients, probes = case.evidence.clients, case.evidence.probes
    faults = clients.configuration_faults if clients else 0
    agreeing = sum(1 for probe in probes if probe.is_refused and not probe.disputed)
    auth = (clients.auth if clients else 0) + sum(probe.auth for probe in probes)
    reason = Reason.CONFIGURATION_AUTH if 2 * auth >= faults + agreeing else Reason.CONFIGURATION_NOT_FOUND
    limit = case.thresholds.failing_share_down
    if clients and faults and clients.configuration_share >= limit:
        failing, reporters = clients.failing_configuration, clients.reporters
        if agreeing if reporters <= 1 else case.has_quorum(failing, reporters):
            return Kind.FAULT, reason, clients.configuration_share, limit
    if agreeing >= 2 and not case.good_probes and not case.lets_clients_in:
        return Kind.FAULT, reason, 1.0, limit
    return None


def _clients_failing(case: Case) -> Answer | None:
    """Enough requests with a failing share, from enough clients."""
    clients, limit = case.evidence.clients, case.thresholds.failing_share_down
    if clients is None or not case.telling or case.share < limit:
        return None
    if not case.has_quorum(max(clients.failing, 1 if clients.reporters <= 1 else 0), clients.reporters):
        return None
    reason = Reason.CLIENTS_AND_PROBES_FAILING if case.bad_probes else Reason.CLIENTS_FAILING
    return Kind.BAD, reason, case.share, limit


def _two_sources_failing(case: Case) -> Answer | None:
    """A prober and clients fail, or two probers, and the pool answers nobody else."""
    clients, limit = case.evidence.clients, case.thresholds.failing_share_down
    few = clients is not None and clients.requests >= case.thresholds.requests_few_min
    if case.bad_probes and few and case.share >= limit:
        return Kind.BAD, Reason.CLIENTS_AND_PROBES_FAILING, case.share, limit
    if case.bad_probes >= 2 and not case.succeeds:
        return Kind.BAD, Reason.PROBES_FAILING, 1.0, limit
    return None


def _ejected(case: Case) -> Answer | None:
    """Enough clients have left the pool by themselves; what they no longer send can't fail."""
    gone, heard = case.evidence.ejected_by, case.evidence.clients_heard
    if not gone or (case.succeeds and gone < heard):
        return None
    heard = max(heard, gone)
    kind = Kind.BAD if case.has_quorum(gone, heard) else Kind.WEAK
    return kind, Reason.EJECTED_BY_CLIENTS, float(gone), float(heard)


def _no_progress(case: Case) -> Answer | None:
    """Requests go in and none comes out, while sibling pools complete theirs."""
    clients = case.evidence.clients
    if clients is None or clients.ok or not case.context.siblings_complete:
        return None
    own_p99_ms = case.context.usual_p99_ms or clients.first_token_p99_ms or 0.0
    limit_ms = max(case.thresholds.no_progress_min_ms, case.thresholds.no_progress_factor * own_p99_ms)
    if clients.in_flight < case.thresholds.requests_few_min or clients.oldest_in_flight_ms <= limit_ms:
        return None
    kind = Kind.BAD if case.has_quorum(clients.stuck, clients.users) else Kind.WEAK
    return kind, Reason.NO_PROGRESS, float(clients.oldest_in_flight_ms), limit_ms


def _model_fault(case: Case) -> Answer | None:
    """400 and the like for requests that siblings serve to the same callers, for everybody."""
    clients = case.evidence.clients
    if clients is None or not case.context.refuses:
        return None
    kind = Kind.BAD if case.has_quorum(clients.failing_client_error, clients.reporters) else Kind.WEAK
    return kind, Reason.MODEL_FAULT, clients.client_error_share, case.thresholds.client_error_share


def _some_failing(case: Case) -> Answer | None:
    if case.telling and case.share >= case.thresholds.failing_share_degraded:
        return Kind.WEAK, Reason.SOME_FAILING, case.share, case.thresholds.failing_share_degraded
    return None


def _slow(case: Case) -> Answer | None:
    """It answers, but takes far longer than usual."""
    clients = case.evidence.clients
    limit_ms = slow_after_ms(case.context, case.thresholds)
    p50_ms = clients.first_token_p50_ms if clients else None
    if p50_ms is None or not case.telling or p50_ms <= limit_ms:
        return None
    return Kind.WEAK, Reason.SLOW, p50_ms, limit_ms


def _one_prober_failing(case: Case) -> Answer | None:
    """One prober alone may be ill itself: degraded, unless clients show that requests succeed."""
    bad = case.bad_probes or case.disputed_bad
    if bad and not (case.telling and case.share <= case.thresholds.failing_share_clear):
        return Kind.WEAK, Reason.ONE_SOURCE_FAILING, 1.0, case.thresholds.failing_share_down
    return None


def _part_failing_for_probers(case: Case) -> Answer | None:
    """A part of the pool fails for a prober and another succeeds: degraded, unless clients succeed."""
    limit = case.thresholds.failing_share_degraded
    if case.failing_part and not (case.telling and case.share <= case.thresholds.failing_share_clear):
        return Kind.WEAK, Reason.SOME_FAILING, case.failing_part, limit
    return None


def _status_statement(case: Case) -> Answer | None:
    """A status page confirms and does not detect: alone it only degrades, and keeps nothing down."""
    return (Kind.WORD, Reason.STATUS_STATEMENT, None, None) if case.context.status_says_ill else None


def _between(case: Case) -> Answer | None:
    if case.telling and case.share > case.thresholds.failing_share_clear:
        return Kind.FAIR, Reason.SOME_FAILING, case.share, case.thresholds.failing_share_clear
    return None


def _still_refusing(case: Case) -> Answer | None:
    """A pool that was at fault for its 400 answers has them still, though too few to compare or to blame it.

    It is no success until they are clearly fewer than what took the pool out. Nobody else is compared, as
    little load is left there.
    """
    clients, limit = case.evidence.clients, case.thresholds.client_error_still
    if clients is None or not case.context.refused_before or clients.client_error_share < limit:
        return None
    return Kind.REFUSED, Reason.MODEL_FAULT, clients.client_error_share, limit


def _succeeding(case: Case) -> Answer | None:
    clients = case.evidence.clients
    few = clients is not None and clients.ok > clients.client_error and clients.failures == 0
    if case.telling or few or case.good_probes or case.disputed_good:
        return Kind.GOOD, Reason.SUCCEEDING, case.share if clients else None, None
    return None


def _callers_at_fault(case: Case) -> Answer | None:
    """Clients are answered, and most of the answers are 400: the pool is heard, though not of its health."""
    clients = case.evidence.clients
    if clients is None or not clients.client_error or case.share >= case.thresholds.failing_share_down:
        return None
    limit = case.thresholds.client_error_share
    return Kind.REFUSED, Reason.CALLERS_AT_FAULT, clients.client_error_share, limit


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
    _part_failing_for_probers,
    _status_statement,
    _between,
    _still_refusing,
    _succeeding,
    _callers_at_fault,
)
