"""Drills as entries: that one began, what came of it, and when the load was back. Pure.

That a drill runs is a condition: it begins with an entry, and the entry with which it ends says the outcome.
So a leader that takes over tells an end that it did not see itself. A drill that never began is no condition,
and neither is the return of the load: each is told by the step that finds it.
"""

from collections.abc import Iterator

from controller.core.drilling.words import cause_words, outcome_words, return_words
from controller.core.model.drill import DrillMemory, DrillOutcome, DrillPhase
from controller.core.model.words import duration
from controller.history.entries import REASON_MAX, DrillResult, Entry, Phase, Severity

SECOND_MS = 1_000


def drill_key(drill: DrillMemory) -> str:
    """The key of the condition that the drill runs."""
    return f"drill:{drill.id}"


def begun(drill: DrillMemory, at_ms: int) -> Entry:
    """The entry with which a running drill begins."""
    left = duration(max(drill.until_ms - at_ms, 0))
    return _entry(
        drill, min(drill.began_ms, at_ms), f"drill {drill.scope} begins, for {left}", phase="begins"
    )


def outcome_entry(drill: DrillMemory) -> Entry:
    """What came of a drill: the end of its condition, or of a drill that never began."""
    is_good = drill.outcome is DrillOutcome.SUCCEEDED
    return _entry(
        drill,
        drill.ended_ms,
        outcome_words(drill),
        phase="ends" if _has_moved(drill) else "",
        severity="info" if is_good else "warning",
    )


def drill_entries(before: tuple[DrillMemory, ...], after: tuple[DrillMemory, ...]) -> Iterator[Entry]:
    """What one step found of drills beside their conditions: that one never began, that the load is back."""
    phases = {drill.id: drill.phase for drill in before}
    for drill in after:
        if drill.phase is not DrillPhase.OVER or phases.get(drill.id) is DrillPhase.OVER:
            continue
        if not _has_moved(drill):
            yield outcome_entry(drill)
            continue
        objective_ms = drill.return_objective_s * SECOND_MS
        is_late = not drill.returned_ms or 0 < objective_ms < drill.return_ms
        yield _entry(drill, drill.over_ms, return_words(drill), severity="warning" if is_late else "info")


def _has_moved(drill: DrillMemory) -> bool:
    """Whether the drill began, so that load may have moved."""
    return drill.outcome not in (DrillOutcome.CAPACITY_CHECK_FAILED, DrillOutcome.NOT_STARTED)


def _entry(
    drill: DrillMemory, at_ms: int, text: str, *, phase: Phase = "", severity: Severity = "info"
) -> Entry:
    return Entry(
        at_ms,
        "drill",
        drill.scope,
        text=text,
        severity=severity,
        phase=phase,
        key=drill_key(drill),
        who=drill.actor,
        actors=(drill.actor,),
        why=(drill.reason[:REASON_MAX],),
        reasons=(f"drill_{drill.cause.value}",) if drill.cause else (),
        until_ms=drill.until_ms,
        drill=DrillResult(
            drill.id,
            drill.scope,
            drill.began_ms,
            outcome=drill.outcome.value,
            cause=cause_words(drill),
            recovery_ms=drill.recovery_ms,
            objective_s=drill.objective_s,
            ended_ms=drill.ended_ms,
            return_ms=drill.return_ms,
            return_objective_s=drill.return_objective_s,
        ),
    )
