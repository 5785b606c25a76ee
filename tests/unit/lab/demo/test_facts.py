"""What a run ends with: lost, departures, reactions, contracts, staleness."""

from typing import Any

import pytest

from controller.core.policy.policy import Policy
from controller.policy_file import load_policy
from lab.demo.facts import Facts, Fault, departure, facts, latencies, reactions_ms, stale
from lab.demo.records import (
    AppliedLine,
    Began,
    CallerLine,
    Calls,
    Ended,
    StatusLine,
    Tried,
    collect,
    encode,
    parse,
)
from lab.demo.words import report
from lab.standins.ledger import Line, Seen
from tests.places import EXAMPLE_POLICY

EXAMPLE = EXAMPLE_POLICY
AZURE, GCP = "azure/swedencentral/gpt-4o", "gcp/europe-west4/gemini-pro"


@pytest.fixture(scope="module")
def policy() -> Policy:
    return load_policy(EXAMPLE)


def began(id_: str, workload: str = "chat", origin: str = "eu") -> Began:
    return Began(id_, 1_000, workload, origin, False, 100)


def served(id_: str, pool: str, outcome: Seen = "ok", status: int = 200) -> list[Line]:
    serial = f"s-{id_}-{pool}"
    return [
        Line("arrived", 1_010, serial, id_, pool, prompt_tokens=50, completion_tokens=50, admitted=True),
        Line("ended", 1_050, serial, id_, pool, outcome=outcome, status=status, tokens=100),
    ]


def counted(policy: Policy, calls: Calls, logs: list[Line], **more: Any) -> Facts:
    return facts(policy, calls, logs, [], events_ms={}, generations=1, probes=("probe-",), **more)


def test_every_request_is_counted_once_and_what_has_no_answer_is_lost(policy: Policy) -> None:
    """Successes, sheds and told errors are none; a failure, a missing end and an unproven success are."""
    calls = collect(
        [
            *(began(id_) for id_ in ("ok", "shed", "told", "failed", "vanished", "unproven")),
            Ended("ok", 1_100, "ok", 200),
            Ended("shed", 1_100, "shed", 429),
            Ended("told", 1_100, "failed", 400),
            Ended("failed", 1_100, "failed", 503),
            Ended("unproven", 1_100, "ok", 200),
        ]
    )
    found = counted(policy, calls, [*served("ok", AZURE), *served("told", AZURE, "fault", 400)])
    assert (found.sent, found.succeeded, found.told) == (6, 1, 1)
    assert found.shed == {"chat": 1, "api": 0, "batch": 0}
    assert found.lost == ("failed", "unproven", "vanished")
    assert not found.passed


def test_a_contract_is_counted_where_the_request_arrived(policy: Policy) -> None:
    """The workload `api` is exclusive to azure: a request of it that reached another is a breach."""
    calls = collect(
        [began("a", "api"), Ended("a", 1_100, "ok", 200), began("c"), Ended("c", 1_100, "ok", 200)]
    )
    lawful = counted(policy, calls, [*served("a", AZURE), *served("c", GCP)])
    assert lawful.passed
    broken = counted(policy, calls, [*served("a", GCP), *served("c", GCP)])
    assert broken.broken_contracts == (f"api/eu reached {GCP} (1 times)",)
    assert not broken.passed


def test_residency_is_a_contract_too(policy: Policy) -> None:
    """A European request that reached America broke residency, whoever served it."""
    pool = "azure/eastus2/gpt-4o"
    calls = collect([began("c"), Ended("c", 1_100, "ok", 200)])
    assert counted(policy, calls, served("c", pool)).broken_contracts == (
        f"chat/eu reached {pool} (1 times)",
    )


def test_probes_are_no_callers_requests(policy: Policy) -> None:
    """The prober reaches every pool, and neither wins nor loses anything."""
    calls = collect([began("c"), Ended("c", 1_100, "ok", 200)])
    found = counted(policy, calls, [*served("c", GCP), *served("probe-1", AZURE)])
    assert (found.sent, found.passed) == (1, True)


def test_the_last_request_to_a_fault_counts_while_it_lasts() -> None:
    """Before the fault and after its end requests may go there; long after it they are single tries."""
    times = (900, 1_000, 1_900, 40_000, 60_000)
    calls = collect(Tried(at_ms, "", AZURE) for at_ms in times)
    found = departure(Fault("hang", (AZURE,), 1_000, until_ms=50_000), calls)
    assert (found.last_ms, found.later) == (900, 1)
    assert departure(Fault("hang", (GCP,), 1_000), calls).last_ms is None


def test_reactions_count_urgent_generations_that_rest_on_an_event() -> None:
    """Neither a generation that nobody hurried for nor one without an event is a reaction."""
    calls = collect(
        [
            AppliedLine(1_020, "chat", "l:0:2", True),
            AppliedLine(1_050, "api", "l:0:2", True),
            AppliedLine(1_500, "api", "l:0:3", False),
            AppliedLine(1_600, "api", "l:0:4", True),
        ]
    )
    assert reactions_ms(calls, {"l:0:2": 1_000, "l:0:3": 1_000}) == [20, 50]
    assert latencies([]) is None
    found = latencies([5.0, 1.0, 9.0])
    assert found is not None
    assert (found.count, found.p50_ms, found.p99_ms) == (3, 5.0, 9.0)


def test_a_stale_table_fails_the_run_unless_it_had_to_be(policy: Policy) -> None:
    """A stack stopped on purpose excuses what clients say meanwhile, and only then."""
    calls = collect([StatusLine(5_000, "chat", "stale"), StatusLine(9_000, "chat", "live")])
    assert stale(calls, ()) == ("chat: stale",)
    assert stale(calls, [(4_000, 6_000)]) == ()
    assert not counted(policy, calls, []).passed


def test_an_empty_table_fails_the_run(policy: Policy) -> None:
    """A request that met no table at all is not merely lost."""
    calls = collect([began("c"), Ended("c", 1_100, "failed", 503, why="no_table")])
    assert stale(calls, ()) == ("chat: no_table",)


def test_notes_read_back_as_written_and_half_a_line_is_left_out() -> None:
    """A caller that was killed leaves whole lines and at most half a one."""
    lines: list[CallerLine] = [
        began("a"),
        Ended("a", 1, "ok", 200),
        Tried(2, "", AZURE),
        StatusLine(3, "chat", "live"),
    ]
    data = b"".join(encode(line) for line in lines)
    assert parse(data + b'{"event":"beg') == lines


def test_the_report_ends_with_the_verdict(policy: Policy) -> None:
    """Whoever reads only the last line knows."""
    calls = collect([began("c"), Ended("c", 1_100, "ok", 200)])
    assert report(counted(policy, calls, served("c", GCP)), [])[-1] == "passed"
    failed = report(counted(policy, collect([began("c")]), []), [])
    assert failed[-1] == "FAILED"
    assert "lost: c" in failed
