"""What the stand-ins' logs prove."""

from collections.abc import Iterable
from typing import Any

import msgspec
import pytest

from lab.standins import ledger
from lab.standins.ledger import CallerResult, LedgerError, LogLine

POOL = "azure/uksouth/a"


def arrival(serial: str, request_id: str, at_ms: int, tokens: int = 10, **more: Any) -> LogLine:
    """An arrival of ``tokens`` at POOL."""
    fields: dict[str, Any] = {"admitted": True, **more}
    return LogLine("arrived", at_ms, serial=serial, id=request_id, pool=POOL, prompt_tokens=tokens, **fields)


def end(serial: str, request_id: str, outcome: Any, status: int | None = 200) -> LogLine:
    """The end of that arrival."""
    return LogLine("ended", 9_999, serial=serial, id=request_id, pool=POOL, outcome=outcome, status=status)


def encoded(lines: Iterable[LogLine]) -> list[bytes]:
    """The lines as a log holds them."""
    return [msgspec.json.encode(line) + b"\n" for line in lines]


def test_an_arrival_without_an_end_was_in_flight() -> None:
    """Attempts are paired by serial, so that one id may be tried twice; what never ended is in flight."""
    lines = [arrival("r-2", "x", 20), arrival("r-1", "x", 10), end("r-1", "x", "fault", 503)]
    logged = ledger.attempts(lines)
    assert [(a.arrived_ms, a.outcome) for a in logged] == [(10, "fault"), (20, "in_flight")]


def test_a_torn_last_line_is_dropped_and_any_other_is_an_error() -> None:
    """A killed process may leave half a line, but only at the end."""
    whole = encoded([arrival("r-1", "x", 10)])
    assert len(ledger.parse([*whole, b'{"event":"ar'])) == 1
    with pytest.raises(LedgerError, match="Line 1"):
        ledger.parse([b'{"event":"ar\n', *whole])


def test_the_largest_overload_is_the_fullest_window() -> None:
    """Offered load includes refused requests, admitted load doesn't; the window's start is not part of it."""
    lines = [
        arrival("1", "a", 1_000, 500),
        arrival("2", "b", 1_999, 500),
        arrival("3", "c", 2_000, 1_000, admitted=False),
    ]
    logged, steps = ledger.attempts(lines), ((0, 1_000.0),)
    offered = ledger.largest_overload(logged, steps, POOL, 1_000, admitted_only=False)
    admitted = ledger.largest_overload(logged, steps, POOL, 1_000, admitted_only=True)
    assert offered is not None
    assert admitted is not None
    assert (offered.ratio, offered.tokens, offered.ends_ms) == (1.5, 1_500, 2_000)
    assert (admitted.ratio, admitted.ends_ms) == (1.0, 1_999)
    assert ledger.largest_overload(logged, steps, "other", 1_000, admitted_only=False) is None


def test_capacity_that_shrinks_inside_a_window_counts_by_the_time_it_held() -> None:
    """Half a window at 1,000 tokens/s and half at 500 can serve 750."""
    steps = ledger.capacities(
        [
            LogLine("capacity", 500, pool=POOL, tokens_per_s=500.0),
            LogLine("capacity", 0, pool=POOL, tokens_per_s=1_000.0),
        ]
    )[POOL]
    assert ledger.capacity_tokens(steps, 0, 1_000) == 750
    assert ledger.capacity_tokens(steps, -1_000, 0) == 1_000
    assert ledger.capacity_tokens(steps, 2_000, 3_000) == 500


def test_load_without_any_capacity_is_infinitely_too_much() -> None:
    """A pool cut to zero is overloaded by the first token."""
    logged = ledger.attempts([arrival("1", "a", 1_000, 1)])
    worst = ledger.largest_overload(logged, ((0, 0.0),), POOL, 1_000, admitted_only=False)
    assert worst is not None
    assert worst.ratio == float("inf")


def test_every_request_is_reconciled_once() -> None:
    """Lost is a request that neither succeeded, nor was shed, nor got a 4xx that a fault ordered."""
    lines = [
        arrival("1", "retried", 1), end("1", "retried", "fault", 503),
        arrival("2", "retried", 2), end("2", "retried", "ok"),
        arrival("3", "ordered", 3), end("3", "ordered", "fault", 400),
        arrival("4", "own-fault", 4), end("4", "own-fault", "client_error", 400),
        arrival("5", "cut", 5),
        arrival("6", "probe", 6), end("6", "probe", "ok"),
    ]  # fmt: skip
    callers = {
        "retried": CallerResult("ok", 200),
        "ordered": CallerResult("failed", 400),
        "own-fault": CallerResult("failed", 400),
        "cut": CallerResult("failed"),
        "shed": CallerResult("shed", 503),
        "imagined": CallerResult("ok", 200),
    }
    groups = ledger.reconcile(callers, ledger.attempts(lines))
    assert (groups.succeeded, groups.shed, groups.ordered) == (("retried",), ("shed",), ("ordered",))
    assert (groups.lost, groups.unproven) == (("cut", "own-fault"), ("imagined",))
    assert groups.strangers == ("probe",)
