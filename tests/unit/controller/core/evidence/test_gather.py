"""Evidence ages, but only while its partition is consumed to its end; sums tell as soon as they can."""

import pytest
from msgspec.structs import replace

from controller.core.evidence.client_sums import sum_clients
from controller.core.evidence.finding import PoolContext
from controller.core.evidence.gather import Evidence, gather
from controller.core.evidence.health import Conditions, advance
from controller.core.evidence.heard_sources import UNREAD_MS, Reach, hear
from controller.core.evidence.judge import judge
from controller.core.evidence.served_at_limit import Window
from controller.core.model.memo import Memo
from controller.core.model.memory import PoolMemory
from controller.core.model.reasons import State
from streams.rows import DemandRow, DemandSecond, Ejection, PoolSum, Position, Progress, ReporterShare, Row
from tests.unit.controller.core.made import LIMITS, NOW_MS
from tieline.events import Outcomes, PoolObservation, Report, ResultClass

POOL = "azure/eu/a"
TOPICS = ("reports", "demand")


def progress(*, behind: int = 0, age_ms: int = 0, partition: int = 0) -> tuple[Progress, ...]:
    """Both topics, read up to so many records before the end."""
    return tuple(
        Progress(f"tieline.{topic}", partition, 10 - behind, 10, NOW_MS - age_ms) for topic in TOPICS
    )


def report(age_ms: int, interval_ms: int = 2_000, source: str = "prober", **counts: int) -> Row:
    """What a prober saw so long ago."""
    at_ms = NOW_MS - age_ms
    seen = (PoolObservation(POOL, Outcomes(**(counts or {"ok": 1}))),)
    event = Report(source, "azure", "eu", "one", 1, at_ms - interval_ms, at_ms, interval_ms, seen)
    return Row(event, Position("reports", 0, 1), at_ms, at_ms)


def second(
    age_s: int, ok: int = 0, failures: int = 0, *, reporters: int = 4, failing: int = 0, **more: object
) -> DemandSecond:
    """One second of clients at the pool, so long ago."""
    outcomes = Outcomes(ok=ok, server_error=failures)
    said = PoolSum(POOL, outcomes, 10.0, reporters, Outcomes(server_error=failing), **more)  # type: ignore[arg-type]
    return DemandSecond(NOW_MS - age_s * 1000, reporters, (), (said,))


def row(*seconds: DemandSecond, partition: int = 0, ejections: tuple[Ejection, ...] = ()) -> DemandRow:
    """One partition."""
    return DemandRow(Position("demand", partition, 1), seconds, ejections)


def known(
    *,
    reports: tuple[Row, ...] = (),
    demand: tuple[DemandRow, ...] = (),
    at: tuple[Progress, ...] | None = None,
) -> Evidence | None:
    """What is known of the pool now."""
    memo, reach = Memo(), Reach(progress() if at is None else at, LIMITS, NOW_MS)
    hearings = hear(reports, reach, LIMITS, NOW_MS, memo)
    return gather(reports, hearings, demand, reach, LIMITS, NOW_MS, memo).get(POOL)


def test_the_policy_says_how_long_a_report_is_evidence() -> None:
    """Each of its three numbers counts instead of the contract's own."""
    thresholds = replace(LIMITS, stale_factor=2.0, stale_min_ms=3_000, stale_max_ms=9_000)
    assert [thresholds.stale_after_ms(interval_ms) for interval_ms in (1_000, 2_000, 9_000)] == [
        3_000,
        4_000,
        9_000,
    ]


def test_a_report_is_evidence_until_it_is_stale() -> None:
    """And not a millisecond longer."""
    fresh = known(reports=(report(14_999),))
    assert fresh is not None
    assert fresh.until_ms == NOW_MS + 1
    assert known(reports=(report(15_000),)) is None


@pytest.mark.parametrize("at", [progress(behind=1), progress(age_ms=5_001), ()])
def test_evidence_does_not_age_while_the_controller_lags(at: tuple[Progress, ...]) -> None:
    """Behind, or not heard of for long, or never: it blames itself, not the pools."""
    assert known(reports=(report(60_000),), at=at) is not None
    assert known(demand=(row(second(60, ok=50)),), at=at) is not None


@pytest.mark.parametrize("state", list(State))
def test_what_is_stale_changes_no_state_while_newer_evidence_may_lie_unread(state: State) -> None:
    """Of probers and of clients, good or bad: so nothing that was seen before an outage of Kafka moves load
    after it. Fresh evidence beside it counts."""
    at, memory = progress(behind=1), PoolMemory(state, hold_until_ms=NOW_MS - 1, down_since_ms=1)
    leaving = (Ejection("a", POOL, ResultClass.TIMEOUT, NOW_MS - 90_000, NOW_MS - 60_000),)
    for reports, demand in (
        ((report(60_000, server_error=9), report(60_000, source="other", server_error=9)), ()),
        ((report(60_000),), ()),
        ((), (row(second(60, failures=50, failing=4)),)),
        ((), (row(second(60, ok=50)),)),
        ((), (row(second(60, failures=50, failing=4), ejections=leaving),)),
    ):
        evidence = known(reports=reports, demand=demand, at=at)
        assert evidence is not None
        finding = judge(evidence, LIMITS, PoolContext())
        assert finding.evidence_ms == UNREAD_MS
        assert advance(memory, finding, Conditions(NOW_MS, LIMITS)) is memory
    both = known(reports=(report(60_000), report(1_000, source="other", server_error=9)), at=at)
    assert both is not None
    assert judge(both, LIMITS, PoolContext()).evidence_ms == NOW_MS - 1_000


def test_a_loaded_pool_is_judged_within_two_seconds() -> None:
    """What was good before does not dilute what is bad now."""
    demand = row(second(4, ok=100), second(3, ok=100), second(2, failures=50), second(1, failures=50))
    seen = known(demand=(demand,))
    assert seen is not None
    assert seen.clients is not None
    assert (seen.clients.requests, seen.clients.failures, seen.clients.span_ms) == (100, 100, 2_000)


def test_a_quiet_pool_is_judged_on_the_whole_window() -> None:
    """Few requests need more time to tell, but no more than 10 s."""
    demand = row(second(11, ok=1000), *(second(age, ok=1) for age in range(9, 0, -1)))
    seen = known(demand=(demand,))
    assert seen is not None
    assert seen.clients is not None
    assert seen.clients.requests == 9


def test_partitions_add_up() -> None:
    """Clients are spread over partitions: requests and reporters of one second are summed."""
    both = (row(second(1, ok=10)), row(second(1, failures=10, failing=3), partition=1))
    at = (*progress(), *progress(partition=1))
    seen = known(demand=both, at=at)
    assert seen is not None
    assert seen.clients is not None
    assert (seen.clients.requests, seen.clients.reporters, seen.clients.failing) == (20, 8, 3)


def test_a_reporter_that_mostly_fails_counts_as_failing() -> None:
    """Some successes don't hide a pool that fails most of what each client sends."""
    mostly = tuple(ReporterShare(name, Outcomes(ok=2, timeout=6)) for name in ("a", "b", "c"))
    seen = known(demand=(row(second(1, ok=6, failures=18, largest=mostly)),))
    assert seen is not None
    assert seen.clients is not None
    assert seen.clients.failing == 3


def test_ejections_last_until_they_run_out() -> None:
    """A client that is not heard again is forgotten."""
    gone = Ejection("a", POOL, ResultClass.TIMEOUT, NOW_MS - 9_000, NOW_MS + 1)
    old = Ejection("b", POOL, ResultClass.TIMEOUT, NOW_MS - 99_000, NOW_MS)
    seen = known(demand=(row(second(1), ejections=(gone, old)),))
    assert seen is not None
    assert seen.ejected_by == 1


def test_newcomers_count_only_where_nobody_else_is_heard() -> None:
    """Neither what they saw nor their number counts beside a client that is known."""
    met = second(2, failures=40, reporters=4, failing=4)
    newcomers = replace(met, pools=(), newcomers=met.pools, new_clients=4)
    alone = known(demand=(row(newcomers),))
    assert alone is not None
    assert alone.clients is not None
    assert (alone.clients.failures, alone.clients_heard) == (40, 4)
    other = row(second(2, ok=30), partition=1)
    at = (*progress(), *progress(partition=1))
    together = known(demand=(row(newcomers), other), at=at)
    assert together is not None
    assert together.clients is not None
    assert (together.clients.failures, together.clients.ok, together.clients_heard) == (0, 30, 4)


def test_the_same_rows_are_summed_once() -> None:
    """Unchanged rows are the same objects, and their sum is kept; a new row is summed anew."""
    demand = row(second(1, ok=30))
    memo = Memo()
    windows = (Window(demand, NOW_MS - 10_000),)
    first = sum_clients(windows, LIMITS, memo)
    assert sum_clients(windows, LIMITS, memo) is first
    changed = (Window(row(second(1, ok=31)), NOW_MS - 10_000),)
    assert sum_clients(changed, LIMITS, memo)[POOL].ok == 31


@pytest.mark.parametrize(
    ("result", "counts", "fails"),
    [
        ("server_error", 20, 10),
        ("timeout", 20, 10),
        ("connect", 20, 10),
        ("cut", 20, 10),
        ("throttled", 10, 0),
        ("client_error", 10, 0),
        ("auth", 10, 0),
        ("not_found", 10, 0),
    ],
)
def test_four_classes_speak_about_health(result: str, counts: int, fails: int) -> None:
    """Beside successes only these make an attempt that counts; the others speak of something else."""
    outcomes = replace(Outcomes(ok=10), **{result: 10})
    demand = row(DemandSecond(NOW_MS - 1_000, 1, (), (PoolSum(POOL, outcomes, 10.0, 1, Outcomes()),)))
    seen = known(demand=(demand,))
    assert seen is not None
    assert seen.clients is not None
    assert (seen.clients.requests, seen.clients.failures) == (counts, fails)


@pytest.mark.parametrize(("used_up", "served"), [(9.1, 10.0), (9.0, 0.0), (0.0, 0.0)])
def test_a_second_is_near_the_limit_when_nearly_all_load_says_so(used_up: float, served: float) -> None:
    """Clients weighted by load say that less than a tenth is left; others' limits are not the pool's."""
    evidence = known(demand=(row(second(2, 20, used_up_units=used_up), second(1, 20)),))
    assert evidence is not None
    assert evidence.clients is not None
    assert evidence.clients.near_limit_served == served
