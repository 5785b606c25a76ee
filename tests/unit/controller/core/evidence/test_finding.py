"""What evidence amounts to, rule by rule."""

import pytest
from msgspec.structs import replace

from controller.core.evidence.finding import Finding, Kind, PoolContext
from controller.core.evidence.gather import Evidence
from controller.core.evidence.heard_sources import Probe
from controller.core.evidence.judge import judge
from controller.core.model.reasons import Reason
from tests.unit.controller.core.made import LIMITS, clients, probe, seen


def said(evidence: Evidence, *, status: bool = False, siblings: bool = True, **about: object) -> Finding:
    """The finding under shipped thresholds."""
    return judge(evidence, LIMITS, PoolContext(status, siblings, **about))  # type: ignore[arg-type]


def disputed(word: Probe) -> Probe:
    """The same of a source whose name two producers use."""
    return replace(word, disputed=True)


@pytest.mark.parametrize(
    ("ok", "failures", "kind"),
    [(20, 0, Kind.GOOD), (19, 1, Kind.GOOD), (37, 3, Kind.FAIR), (18, 2, Kind.WEAK), (11, 9, Kind.WEAK)],
)
def test_the_failing_share_grades_a_pool(ok: int, failures: int, kind: Kind) -> None:
    """Good up to 5 %, fair up to 10 %, weak from there on."""
    assert said(seen(clients(ok, failures))).kind is kind


def test_half_of_enough_requests_failing_is_bad() -> None:
    """20 requests, 10 of them failing for clients that got nothing else: down."""
    finding = said(seen(clients(10, 10, failing=3)))
    assert (finding.kind, finding.reason) == (Kind.BAD, Reason.CLIENTS_FAILING)
    assert (finding.value, finding.limit, finding.success) == (0.5, 0.5, 0.5)


def test_too_few_requests_tell_nothing_alone() -> None:
    """19 failing requests are less than the 20 that tell."""
    assert said(seen(clients(0, 19))).kind is Kind.SILENT


def test_throttling_is_no_health_failure() -> None:
    """429 speaks about capacity."""
    assert said(seen(clients(20, 0, throttled=500))).kind is Kind.GOOD


@pytest.mark.parametrize(("reporters", "failing", "kind"), [(10, 3, Kind.BAD), (10, 2, Kind.WEAK)])
def test_three_reporters_speak_for_everybody(reporters: int, failing: int, kind: Kind) -> None:
    """Two of ten may have a network of their own that is broken."""
    assert said(seen(clients(10, 30, reporters=reporters, failing=failing))).kind is kind


@pytest.mark.parametrize(
    ("reporters", "failing", "kind"), [(4, 2, Kind.BAD), (4, 1, Kind.WEAK), (2, 1, Kind.BAD)]
)
def test_or_half_of_them(reporters: int, failing: int, kind: Kind) -> None:
    """Where few exist, half of them are enough."""
    met = clients(10, 30, reporters=reporters, failing=failing)
    assert said(seen(met, clients_heard=reporters)).kind is kind


def test_of_a_quiet_pool_one_reporter_is_not_half() -> None:
    """Two show in the window, but more exist: what one of them meets may be its own network."""
    assert said(seen(clients(10, 30, reporters=2, failing=1), clients_heard=3)).kind is Kind.WEAK
    assert said(seen(clients(10, 30, reporters=2, failing=2), clients_heard=9)).kind is Kind.BAD


def test_a_single_reporter_needs_a_prober_that_agrees() -> None:
    """Else the finding stays with that process and the pool is only degraded."""
    alone = clients(0, 40, reporters=1, failing=1)
    assert said(seen(alone, clients_heard=1)).kind is Kind.WEAK
    assert said(seen(alone, probe(failures=1), clients_heard=1)).reason is Reason.CLIENTS_AND_PROBES_FAILING


def test_one_prober_alone_only_weakens_and_two_take_down() -> None:
    """Unless clients show that requests succeed: then one prober is taken to be ill itself."""
    assert said(seen(None, probe(failures=1))).reason is Reason.ONE_SOURCE_FAILING
    assert said(seen(None, probe(failures=1), probe("b", failures=1))).reason is Reason.PROBES_FAILING
    assert said(seen(clients(40), probe(failures=1))).kind is Kind.GOOD


def test_a_few_failing_requests_agree_with_a_prober() -> None:
    """Two independent sources, each weak alone."""
    finding = said(seen(clients(0, 3, failing=1), probe(failures=1)))
    assert finding.reason is Reason.CLIENTS_AND_PROBES_FAILING


def test_ejections_count_like_reporters() -> None:
    """All clients that left: down. One of four while the others succeed: nothing."""
    assert said(seen(clients(40), ejected_by=4)).reason is Reason.EJECTED_BY_CLIENTS
    assert said(seen(clients(40), ejected_by=4)).kind is Kind.BAD
    assert said(seen(clients(40), ejected_by=1)).kind is Kind.GOOD
    assert said(seen(None, ejected_by=1)).kind is Kind.WEAK


def test_no_progress_needs_siblings_that_complete() -> None:
    """If nobody completes anything, it is not this pool."""
    stuck = seen(clients(0, 0, in_flight=9, oldest_in_flight_ms=10_001, users=4, stuck=2))
    assert said(stuck).reason is Reason.NO_PROGRESS
    assert said(stuck, siblings=False).kind is Kind.SILENT


@pytest.mark.parametrize(
    ("oldest_ms", "p99_ms", "kind"),
    [(10_000, 400, Kind.SILENT), (12_000, 4_000, Kind.SILENT), (12_001, 4_000, Kind.BAD)],
)
def test_no_progress_is_three_times_its_own_p99(oldest_ms: int, p99_ms: float, kind: Kind) -> None:
    """And never less than 10 s."""
    stuck = clients(0, 0, in_flight=9, oldest_in_flight_ms=oldest_ms, users=4, stuck=4)
    assert said(seen(stuck), usual_p99_ms=p99_ms).kind is kind


def test_a_status_page_alone_only_degrades() -> None:
    """It confirms, it does not detect."""
    assert said(seen(clients(40)), status=True).kind is Kind.WORD
    assert said(seen(None), status=True).kind is Kind.WORD


def test_configuration_faults_take_out_with_a_quorum() -> None:
    """401 for three reporters, or for one and a prober."""
    for_all = clients(0, 0, auth=30, failing_configuration=3)
    assert said(seen(for_all)).reason is Reason.CONFIGURATION_AUTH
    alone = clients(0, 0, auth=30, reporters=1, failing_configuration=1)
    assert said(seen(alone)).kind is Kind.SILENT
    assert said(seen(alone, probe(auth=1))).kind is Kind.FAULT
    missing = clients(0, 0, not_found=30, failing_configuration=3)
    assert said(seen(missing)).reason is Reason.CONFIGURATION_NOT_FOUND


def test_refused_probers_yield_to_whoever_is_let_in() -> None:
    """Their own credential may have expired, as a served client or another prober shows."""
    refused = (probe(auth=1), probe("b", auth=1))
    assert said(seen(None, *refused)).kind is Kind.FAULT
    assert said(seen(None, *refused, probe("c", ok=1))).kind is Kind.GOOD
    assert said(seen(clients(1), *refused)).kind is Kind.GOOD
    mostly_refused = clients(1, auth=1, failing_configuration=1, reporters=9)
    assert said(seen(mostly_refused, *refused)).kind is Kind.FAULT


def test_success_under_a_fault_of_configuration_counts_the_refused() -> None:
    """Of forty attempts ten succeed and thirty are refused: a quarter gets in."""
    finding = said(seen(clients(10, 0, auth=30, failing_configuration=3)))
    assert (finding.kind, finding.success) == (Kind.FAULT, 0.25)


def test_a_disputed_prober_takes_nothing_down_and_overrules_nobody() -> None:
    """Two producers use its name: alone it degrades, and what it finds good only keeps from silence."""
    bad, good = probe("b", failures=1), probe("b", ok=1)
    assert said(seen(None, probe(failures=1), disputed(bad))).reason is Reason.ONE_SOURCE_FAILING
    assert said(seen(None, disputed(bad))).kind is Kind.WEAK
    few = clients(0, 3, failing=1)
    assert said(seen(few, bad)).kind is Kind.BAD
    assert said(seen(few, disputed(bad))).kind is Kind.WEAK
    assert said(seen(None, disputed(good))).kind is Kind.GOOD
    both = (probe(failures=1), probe("c", failures=1))
    assert said(seen(None, *both, good)).kind is Kind.WEAK
    assert said(seen(None, *both, disputed(good))).kind is Kind.BAD
    refused = (probe(auth=1), disputed(probe("b", auth=1)))
    assert said(seen(None, *refused)).kind is Kind.SILENT


def test_nothing_is_silence() -> None:
    """No evidence is no finding."""
    assert said(seen(None)).kind is Kind.SILENT


def test_two_probers_do_not_overrule_clients_that_are_served() -> None:
    """The probers' own network may be broken."""
    both = (probe(failures=1), probe("b", failures=1))
    assert said(seen(clients(40), *both)).kind is not Kind.BAD
    assert said(seen(clients(3), *both)).kind is Kind.BAD


def test_a_part_that_fails_for_probers_degrades_and_takes_nothing_down() -> None:
    """One model, streams or long answers: something of the pool serves, whatever several probers say."""
    part = (probe(ok=1, failures=1), probe("b", ok=1, failures=1))
    finding = said(seen(None, *part))
    assert (finding.kind, finding.reason, finding.value) == (Kind.WEAK, Reason.SOME_FAILING, 0.5)
    assert said(seen(clients(40), *part)).kind is Kind.GOOD
    assert said(seen(None, probe(ok=10, failures=1))).kind is Kind.GOOD
    assert said(seen(None, probe(ok=2, failures=1))).kind is Kind.WEAK


def test_half_of_many_probes_is_more_than_a_part() -> None:
    """A gateway that reports as a prober has enough requests to say that the pool fails."""
    many = (probe(ok=2, failures=2), probe("b", ok=1, failures=2))
    assert said(seen(None, *many)).reason is Reason.PROBES_FAILING


def test_a_part_that_serves_overrules_two_probers_for_which_nothing_does() -> None:
    """It shows that the pool answers."""
    probers = (probe(failures=1), probe("b", failures=1), probe("c", ok=1, failures=1))
    assert said(seen(None, *probers)).reason is Reason.ONE_SOURCE_FAILING


@pytest.mark.parametrize(("stuck", "kind"), [(1, Kind.WEAK), (2, Kind.BAD)])
def test_no_progress_needs_a_quorum(stuck: int, kind: Kind) -> None:
    """One of four that wait may have asked for something long."""
    waiting = clients(0, 0, in_flight=9, oldest_in_flight_ms=10_001, users=4, stuck=stuck)
    assert said(seen(waiting)).kind is kind


@pytest.mark.parametrize(
    ("ok", "refused", "failures", "kind"),
    [
        (0, 1, 0, Kind.REFUSED),
        (4, 5, 0, Kind.REFUSED),
        (5, 4, 0, Kind.GOOD),
        (20, 90, 0, Kind.GOOD),
        (4, 5, 1, Kind.REFUSED),
        (0, 9, 3, Kind.SILENT),
    ],
)
def test_400_answers_are_no_silence(ok: int, refused: int, failures: int, kind: Kind) -> None:
    """A pool that answers few requests, most of them with 400, is heard, though that says nothing of its
    health. Enough successes outweigh any number of 400 answers; failures that prevail say nothing yet."""
    finding = said(seen(clients(ok, failures, client_error=refused)))
    assert finding.kind is kind
    assert kind is not Kind.REFUSED or finding.reason is Reason.CALLERS_AT_FAULT


@pytest.mark.parametrize(("refused", "kind"), [(29, Kind.GOOD), (30, Kind.REFUSED)])
def test_a_pool_blamed_for_its_400_answers_succeeds_only_when_they_are_clearly_fewer(
    refused: int, kind: Kind
) -> None:
    """From 30 % on, halfway between what clears a sibling and what accuses a pool, they are not over."""
    evidence = seen(clients(100 - refused, client_error=refused))
    assert said(evidence, refused_before=True).kind is kind
    assert said(evidence).kind is Kind.GOOD
