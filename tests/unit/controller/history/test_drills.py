"""Drills in the history: that one runs is a condition, which ends with the outcome."""

from msgspec.structs import replace

from controller.core.model.drill import DrillCause, DrillMemory, DrillOutcome, DrillPhase
from controller.history.conditions import changes, standing_conditions
from controller.history.drills import drill_entries
from controller.history.entries import Selection
from tests.unit.controller.history.recorded import NOW_MS, observation, order

RUNNING = DrillMemory(
    "o1", "azure", "kim", reason="practice", began_ms=NOW_MS, until_ms=NOW_MS + 600_000, objective_s=60
)
ENDED = replace(
    RUNNING,
    phase=DrillPhase.RETURNING,
    recovered_ms=NOW_MS + 3_000,
    ended_ms=NOW_MS + 600_000,
    outcome=DrillOutcome.SUCCEEDED,
)
BACK = replace(
    ENDED, phase=DrillPhase.OVER, returned_ms=ENDED.ended_ms + 41_000, over_ms=ENDED.ended_ms + 41_000
)


def test_a_drill_begins_once_and_ends_with_its_outcome() -> None:
    """Its order is no entry of its own, neither when it begins nor shortly before its end."""
    at_order = observation(order("drill", "azure", minutes=10))._replace(drills=(RUNNING,))
    standing = standing_conditions(at_order, {})
    (begun,) = changes({}, standing, NOW_MS)
    assert (begun.kind, begun.phase, begun.about, begun.who) == ("drill", "begins", "azure", "kim")
    assert begun.text == "drill azure begins, for 10 min"
    late = at_order._replace(at_ms=NOW_MS + 590_000)
    assert changes(standing, standing_conditions(late, standing), late.at_ms) == []
    after = standing_conditions(observation(at_ms=ENDED.ended_ms)._replace(drills=(ENDED,)), standing)
    (ended,) = changes(standing, after, ENDED.ended_ms, (ENDED,))
    assert (ended.key, ended.phase, ended.severity) == (begun.key, "ends", "info")
    assert ended.text == "drill azure succeeded; its pools were empty after 3 s (objective 60 s)"
    assert ended.drill is not None
    assert (ended.drill.outcome, ended.drill.recovery_ms, ended.drill.objective_s) == ("succeeded", 3_000, 60)


def test_a_drill_that_never_began_is_told_once() -> None:
    """By the step that found why."""
    refused = replace(
        RUNNING,
        phase=DrillPhase.OVER,
        ended_ms=NOW_MS,
        over_ms=NOW_MS,
        outcome=DrillOutcome.CAPACITY_CHECK_FAILED,
        cause=DrillCause.WOULD_SHED,
        about="batch",
        value=200.0,
    )
    (entry,) = drill_entries((), (refused,))
    assert (entry.phase, entry.severity, entry.reasons) == ("", "warning", ("drill_would_shed",))
    assert entry.text == (
        "drill azure did not begin: its capacity check failed: 200 units/s of batch would be shed"
    )
    assert list(drill_entries((refused,), (refused,))) == []
    assert standing_conditions(observation()._replace(drills=(refused,)), {}) == {}
    assert Selection(kinds=("drill",)).takes(entry)


def test_the_return_is_told_with_its_time() -> None:
    """As a warning where it came late or never."""
    (entry,) = drill_entries((ENDED,), (BACK,))
    assert (entry.text, entry.severity) == ("after drill azure the load was back after 41 s", "info")
    late = replace(BACK, return_objective_s=30)
    (entry,) = drill_entries((ENDED,), (late,))
    assert entry.severity == "warning"
    never = replace(BACK, returned_ms=0, over_ms=ENDED.ended_ms + 900_000)
    (entry,) = drill_entries((ENDED,), (never,))
    assert entry.text == "after drill azure the load was not back within 15 min"
