"""Which changes of a row wake the routing agent."""

from __future__ import annotations

import pytest

from streams.fold import fold
from streams.material import is_material
from streams.rows import Row
from tests.unit.streams.made import T0_MS, at, capacity, observation, report, statement
from tieline.events import (
    Capacity,
    Claim,
    Outcomes,
    PoolObservation,
    Report,
    ResultClass,
    Statement,
    stale_after_ms,
)


def rows(old: Report | Statement | Capacity, new: Report | Statement | Capacity) -> tuple[Row, Row]:
    """The rows of two events, a second apart."""
    first, second = fold(None, old, at(0), T0_MS), fold(None, new, at(1), T0_MS + 1_000)
    assert isinstance(first, Row)
    assert isinstance(second, Row)
    return first, second


def test_the_first_row_is_material() -> None:
    """A source that reports for the first time wakes."""
    assert is_material(None, rows(report(1), report(2))[1])


@pytest.mark.parametrize("ok", [1, 99])
def test_the_same_healthy_picture_is_not_material(ok: int) -> None:
    """A newer window in which the same pools still succeed wakes nobody, however many requests it counts."""
    assert not is_material(*rows(report(1, observation(ok=50)), report(2, observation(ok=ok))))


@pytest.mark.parametrize("kind", [kind for kind in ResultClass if kind not in ("ok", "client_error")])
def test_a_failure_class_appearing_or_vanishing_is_material(kind: ResultClass) -> None:
    """Any class that speaks of health, capacity or configuration wakes, as it comes and as it goes."""
    calm, failing = (
        report(1, observation(ok=9)),
        report(2, PoolObservation("azure/eu/a", Outcomes(**{"ok": 9, kind.value: 1}))),
    )
    assert is_material(*rows(calm, failing))
    assert is_material(*rows(failing, calm))
    assert is_material(*rows(failing, failing))


def test_callers_mistakes_wake_only_when_they_prevail() -> None:
    """One bad request is the caller's own; more of them than successes may be the pool's."""
    assert not is_material(*rows(report(1, observation(ok=9)), report(2, observation(ok=9, client_error=1))))
    assert is_material(*rows(report(1, observation(ok=9)), report(2, observation(ok=2, client_error=9))))


@pytest.mark.parametrize(
    "new",
    [
        (observation(ok=0),),
        (observation(ok=9), observation("azure/eu/b", ok=1)),
        (),
        (observation(ok=9, ejected=ResultClass.TIMEOUT),),
        (PoolObservation("azure/eu/a", observation(ok=9).outcomes, oldest_in_flight_ms=5_000),),
        (PoolObservation("azure/eu/a", observation(ok=9).outcomes, first_token_p99_ms=900.0),),
    ],
)
def test_other_changes_of_the_picture_are_material(new: tuple[PoolObservation, ...]) -> None:
    """No more success, pools that come or go, an ejection, a request that hangs, and slowness all wake."""
    assert is_material(*rows(report(1, observation(ok=9)), report(2, *new)))


def test_being_heard_again_is_material() -> None:
    """A source that reports again after it went stale wakes."""
    first, _ = rows(report(1, observation(ok=9)), report(2, observation(ok=9)))
    later_ms = T0_MS + stale_after_ms(1_000) + 1
    second = fold(None, report(2, observation(ok=9), end_ms=later_ms), at(1), later_ms)
    assert isinstance(second, Row)
    assert is_material(first, second)


def test_statements_wake_when_a_claim_changes() -> None:
    """The same claims again wake nobody."""
    claim = Claim("degraded", T0_MS + 60_000)
    assert not is_material(*rows(statement(1, claim), statement(2, claim)))
    assert is_material(*rows(statement(1, claim), statement(2)))


def test_capacity_wakes_on_limits_and_on_use_that_moves() -> None:
    """Any change of a limit wakes, and a change of the use by more than 5 %."""
    assert not is_material(*rows(capacity(1, 100.0, in_use=50.0), capacity(2, 100.0, in_use=51.0)))
    assert is_material(*rows(capacity(1, 100.0, in_use=50.0), capacity(2, 100.0, in_use=60.0)))
    assert is_material(*rows(capacity(1, 100.0), capacity(2, 99.9)))
