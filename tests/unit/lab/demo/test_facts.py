"""What a run ends with: lost requests, departures, reactions, contracts, stale tables."""

from typing import Any

import pytest

from controller.core.policy.policy import Policy
from controller.policy_file import load_policy
from lab.demo.facts import Facts, Fault, departure, facts, latencies, reactions_ms, stale
from lab.demo.records import (
    CallerNote,
    Calls,
    ClientStatus,
    PoolAttempt,
    RequestEnd,
    RequestStart,
    TableApplied,
    collect,
    encode,
    parse,
)
from lab.demo.report import report
from lab.standins.ledger import AttemptOutcome, LogLine
from tests.places import EXAMPLE_POLICY

EXAMPLE = EXAMPLE_POLICY
AZURE, GCP = "azure/swedencentral/gpt-4o", "gcp/europe-west4/gemini-pro"


@pytest.fixture(scope="module")
def policy() -> Policy:
    return load_policy(EXAMPLE)


def start(id_: str, workload: str = "chat", origin: str = "eu") -> RequestStart:
    return RequestStart(id_, 1_000, workload, origin=origin, stream=False, tokens=100)


def served(id_: str, pool: str, outcome: AttemptOutcome = "ok", status: int = 200) -> list[LogLine]:
    serial = f"s-{id_}-{pool}"
    return [
        LogLine("arrived", 1_010, serial, id_, pool, prompt_tokens=50, completion_tokens=50, admitted=True),
        LogLine("ended", 1_050, serial, id_, pool, outcome=outcome, status=status, tokens=100),
    ]


def counted(policy: Policy, calls: Calls, logs: list[LogLine], **more: Any) -> Facts:
    return facts(policy, calls, logs, faults=[], events_ms={}, generations=1, probes=("probe-",), **more)


def test_every_request_is_counted_once_and_what_has_no_answer_is_lost(policy: Policy) -> None:
    """Successes, sheds and errors on order aren't lost; failures, missing ends and unproven successes are,
    and what became of each is told."""
    calls = collect(
        [
            *(start(id_) for id_ in ("ok", "shed", "ordered", "failed", "vanished", "unproven")),
            RequestEnd("ok", 1_100, "ok", status=200),
            RequestEnd("shed", 1_100, "shed", status=429),
            RequestEnd("ordered", 1_100, "failed", status=400),
            RequestEnd("failed", 1_100, "failed", status=503, why="upstream connect error"),
            RequestEnd("unproven", 1_100, "ok", status=200),
        ]
    )
    result = counted(policy, calls, [*served("ok", AZURE), *served("ordered", AZURE, "fault", 400)])
    assert (result.sent, result.succeeded, result.ordered) == (6, 1, 1)
    assert result.shed == {"chat": 1, "api": 0, "batch": 0}
    assert result.lost == ("failed", "unproven", "vanished")
    assert [line.partition(") ")[2] for line in result.stories] == [
        "got 503 of no pool (0 ms, 0 attempts, sent 1 times): upstream connect error",
        "succeeded at a pool (0 ms, 0 attempts, sent 1 times), but no stand-in logged that it answered",
        "never ended",
    ]
    assert not result.passed


def test_a_contract_is_counted_where_the_request_arrived(policy: Policy) -> None:
    """The workload `api` is exclusive to azure, so a request of it at another provider is a breach."""
    calls = collect(
        [
            start("a", "api"),
            RequestEnd("a", 1_100, "ok", status=200),
            start("c"),
            RequestEnd("c", 1_100, "ok", status=200),
        ]
    )
    lawful = counted(policy, calls, [*served("a", AZURE), *served("c", GCP)])
    assert lawful.passed
    broken = counted(policy, calls, [*served("a", GCP), *served("c", GCP)])
    assert broken.broken_contracts == (f"api/eu reached {GCP} (1 times)",)
    assert not broken.passed


def test_residency_is_a_contract_too(policy: Policy) -> None:
    """A European request that reached America broke residency, whichever provider served it."""
    pool = "azure/eastus2/gpt-4o"
    calls = collect([start("c"), RequestEnd("c", 1_100, "ok", status=200)])
    assert counted(policy, calls, served("c", pool)).broken_contracts == (
        f"chat/eu reached {pool} (1 times)",
    )


def test_probes_are_no_callers_requests(policy: Policy) -> None:
    """The prober reaches every pool, and its requests are not counted."""
    calls = collect([start("c"), RequestEnd("c", 1_100, "ok", status=200)])
    result = counted(policy, calls, [*served("c", GCP), *served("probe-1", AZURE)])
    assert (result.sent, result.passed) == (1, True)


def test_the_last_request_to_a_fault_counts_while_it_lasts() -> None:
    """Requests before the fault and after its end don't count; those long after its start count apart."""
    times = (900, 1_000, 1_900, 40_000, 60_000)
    calls = collect(PoolAttempt(at_ms, AZURE) for at_ms in times)
    result = departure(Fault("hang", (AZURE,), 1_000, until_ms=50_000), calls)
    assert (result.last_ms, result.later) == (900, 1)
    assert departure(Fault("hang", (GCP,), 1_000), calls).last_ms is None


def test_reactions_count_urgent_generations_that_rest_on_an_event() -> None:
    """A generation that isn't urgent, or that rests on no event, is no reaction."""
    calls = collect(
        [
            TableApplied(1_020, "chat", generation="l:0:2", urgent=True),
            TableApplied(1_050, "api", generation="l:0:2", urgent=True),
            TableApplied(1_500, "api", generation="l:0:3", urgent=False),
            TableApplied(1_600, "api", generation="l:0:4", urgent=True),
        ]
    )
    assert reactions_ms(calls, {"l:0:2": 1_000, "l:0:3": 1_000}) == [20, 50]
    assert latencies([]) is None
    result = latencies([5.0, 1.0, 9.0])
    assert result is not None
    assert (result.count, result.p50_ms, result.p99_ms) == (3, 5.0, 9.0)


def test_a_stale_table_fails_the_run_unless_it_had_to_be(policy: Policy) -> None:
    """Only while the stack is stopped on purpose may clients report a stale table."""
    calls = collect([ClientStatus(5_000, "chat", "stale"), ClientStatus(9_000, "chat", "live")])
    assert stale(calls, ()) == ("chat: stale",)
    assert stale(calls, [(4_000, 6_000)]) == ()
    assert not counted(policy, calls, []).passed


def test_an_empty_table_fails_the_run(policy: Policy) -> None:
    """A request for which the client had no table fails the run also as an empty table."""
    calls = collect([start("c"), RequestEnd("c", 1_100, "failed", status=503, why="no_table")])
    assert stale(calls, ()) == ("chat: no_table",)


def test_notes_read_back_as_written_and_half_a_line_is_left_out() -> None:
    """A killed caller leaves whole lines and at most half a line at the end."""
    lines: list[CallerNote] = [
        start("a"),
        RequestEnd("a", 1, "ok", status=200),
        PoolAttempt(2, AZURE),
        ClientStatus(3, "chat", "live"),
    ]
    data = b"".join(encode(line) for line in lines)
    assert parse(data + b'{"event":"beg') == lines


def test_the_report_ends_with_the_verdict(policy: Policy) -> None:
    """The last line says whether every promise was kept, also those that a drill looked at."""
    calls = collect([start("c"), RequestEnd("c", 1_100, "ok", status=200)])
    passed = counted(policy, calls, served("c", GCP))
    assert report(passed, [])[-1] == "passed"
    drilled = report(passed, [], failures=["the take-over changed weights"])
    assert drilled[-3:] == ["not as promised: the take-over changed weights", "", "FAILED"]
    failed = report(counted(policy, collect([start("c")]), []), [])
    assert failed[-1] == "FAILED"
    assert "lost: c (chat/eu, whole answer) never ended" in failed
