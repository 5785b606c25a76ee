"""Drills in words, for people: the only place where what came of a drill becomes a sentence."""

from collections.abc import Mapping

from controller.core.model.drill import DrillCause, DrillMemory, DrillOutcome
from controller.core.model.words import duration

SECOND_MS = 1_000
#: Why a drill did not begin, ended early or failed. ``{about}`` and ``{value}`` are the cause's own.
CAUSES: Mapping[DrillCause, str] = {
    DrillCause.OTHER_DRILL: "another drill is not over yet",
    DrillCause.NO_LOAD: "its pools carry no load",
    DrillCause.WOULD_SHED: "{value:,.0f} units/s of {about} would be shed",
    DrillCause.WOULD_STAY: "{value:,.0f} units/s would find no place on other pools",
    DrillCause.SHED: "{value:,.0f} units/s of {about} are shed",
    DrillCause.POOL_ILL: "{about} is ill",
    DrillCause.THROTTLED: "{about} answers 429",
    DrillCause.FAILURES: "{value:.1%} of the requests fail, more than before",
    DrillCause.BLIND: "{about} is not read to its end, so newer evidence may lie there unseen",
    DrillCause.UNHEARD: "{value:.0%} of the sources are silent",
    DrillCause.NO_CLIENTS: "no client reports",
    DrillCause.NO_ROOM: "the other pools no longer have room, and load came back",
    DrillCause.NO_N_MINUS_1: "if {about} were lost as well, {value:,.0f} units/s of critical load would be "
    "shed",
    DrillCause.ORDER: "an order is in force: {about}",
    DrillCause.POLICY: "the policy changed",
    DrillCause.TAKEN_BACK: "it was taken back",
    DrillCause.NOT_EMPTIED: "its pools were not empty before it ended",
    DrillCause.TOO_SLOW: "it took longer than the objective",
}
OUTCOMES: Mapping[DrillOutcome, str] = {
    DrillOutcome.NONE: "runs",
    DrillOutcome.SUCCEEDED: "succeeded",
    DrillOutcome.FAILED: "failed",
    DrillOutcome.INTERRUPTED: "was interrupted",
    DrillOutcome.CAPACITY_CHECK_FAILED: "did not begin: its capacity check failed",
    DrillOutcome.NOT_STARTED: "did not begin",
}


def cause_words(drill: DrillMemory) -> str:
    """Why the drill did not begin, ended early or failed; empty where there is nothing to say."""
    return CAUSES[drill.cause].format(about=drill.about, value=drill.value) if drill.cause else ""


def outcome_words(drill: DrillMemory) -> str:
    """Such as ``drill gcp succeeded; its pools were empty after 3 s (objective 60 s)``."""
    text = f"drill {drill.scope} {OUTCOMES[drill.outcome]}"
    if cause := cause_words(drill):
        text += f": {cause}"
    return f"{text}; {recovery_words(drill)}" if drill.recovered_ms else text


def recovery_words(drill: DrillMemory) -> str:
    """Such as ``its pools were empty after 3 s (objective 60 s)``."""
    return f"its pools were empty after {_measured(drill.recovery_ms, drill.objective_s)}"


def return_words(drill: DrillMemory) -> str:
    """Such as ``after drill gcp the load was back after 41 s``, or that it was not within the time."""
    if not drill.returned_ms:
        after = duration(drill.over_ms - drill.ended_ms)
        return f"after drill {drill.scope} the load was not back within {after}"
    measure = _measured(drill.return_ms, drill.return_objective_s)
    return f"after drill {drill.scope} the load was back after {measure}"


def _measured(time_ms: int, objective_s: int) -> str:
    objective = f" (objective {duration(objective_s * SECOND_MS)})" if objective_s else ""
    return f"{duration(time_ms)}{objective}"
