"""Health of a pool as one table: (state, kind of finding) -> what happens. Nothing else changes a state.

Silence moves nothing: after it a pool keeps its state, or becomes unknown and keeps what it carries.

After an outage a pool stays down for a hold-down of clamp(outage, ``hold_down_min_ms``, ``hold_down_max_ms``)
x 2^relapses, at most ``hold_down_cap_ms``. A relapse is to go down again within ``relapse_window_ms`` of the
end of the last hold-down. Then the pool climbs the ramp: each step lasts at least ``ramp_step_min_ms``, and
the next needs evidence of success and fresh capacity.

``tools/diagram.py`` draws the table into docs/concepts.md.
"""

from enum import StrEnum
from typing import NamedTuple

from msgspec.structs import replace

from controller.core.evidence.finding import Finding, Kind
from controller.core.evidence.heard_sources import UNREAD_MS
from controller.core.model.memory import PoolMemory
from controller.core.model.reasons import Reason, State
from controller.core.policy.thresholds import Thresholds

REFUSING_STATES = (State.DEGRADED, State.DOWN)  # in them a fault of the model is remembered
RELAPSES_MAX = 12  # so many are remembered; fewer double the hold-down beyond its cap


class Act(StrEnum):
    """What happens to a pool. The state that it leads to stands beside it; the others keep the state."""

    STAY = "stay"
    HEAL = "heal"  # -> healthy
    CLEAR = "clear"  # -> healthy once good evidence has lasted
    DEGRADE = "degrade"  # -> degraded
    FALL = "fall"  # -> down
    STILL_BAD = "still_bad"  # the outage goes on
    RISE = "rise"  # -> recovering once the hold-down is over
    CLIMB = "climb"  # the next step of the ramp; after the last one -> healthy
    FORGET = "forget"  # -> unknown


_S, _K, _A = State, Kind, Act

TRANSITIONS: dict[tuple[State, Kind], Act] = {
    (_S.UNKNOWN, _K.GOOD): _A.HEAL,
    (_S.UNKNOWN, _K.FAIR): _A.HEAL,
    (_S.UNKNOWN, _K.REFUSED): _A.STAY,
    (_S.UNKNOWN, _K.WEAK): _A.DEGRADE,
    (_S.UNKNOWN, _K.WORD): _A.DEGRADE,
    (_S.UNKNOWN, _K.BAD): _A.FALL,
    (_S.UNKNOWN, _K.FAULT): _A.FALL,
    (_S.UNKNOWN, _K.SILENT): _A.STAY,
    (_S.HEALTHY, _K.GOOD): _A.STAY,
    (_S.HEALTHY, _K.FAIR): _A.STAY,
    (_S.HEALTHY, _K.REFUSED): _A.STAY,
    (_S.HEALTHY, _K.WEAK): _A.DEGRADE,
    (_S.HEALTHY, _K.WORD): _A.DEGRADE,
    (_S.HEALTHY, _K.BAD): _A.FALL,
    (_S.HEALTHY, _K.FAULT): _A.FALL,
    (_S.HEALTHY, _K.SILENT): _A.FORGET,
    (_S.DEGRADED, _K.GOOD): _A.CLEAR,
    (_S.DEGRADED, _K.FAIR): _A.STAY,
    (_S.DEGRADED, _K.REFUSED): _A.STAY,
    (_S.DEGRADED, _K.WEAK): _A.STAY,
    (_S.DEGRADED, _K.WORD): _A.STAY,
    (_S.DEGRADED, _K.BAD): _A.FALL,
    (_S.DEGRADED, _K.FAULT): _A.FALL,
    (_S.DEGRADED, _K.SILENT): _A.FORGET,
    (_S.DOWN, _K.GOOD): _A.RISE,
    (_S.DOWN, _K.FAIR): _A.RISE,
    (_S.DOWN, _K.REFUSED): _A.RISE,
    (_S.DOWN, _K.WEAK): _A.STILL_BAD,
    (_S.DOWN, _K.WORD): _A.RISE,
    (_S.DOWN, _K.BAD): _A.STILL_BAD,
    (_S.DOWN, _K.FAULT): _A.STILL_BAD,
    (_S.DOWN, _K.SILENT): _A.RISE,
    (_S.RECOVERING, _K.GOOD): _A.CLIMB,
    (_S.RECOVERING, _K.FAIR): _A.STAY,
    (_S.RECOVERING, _K.REFUSED): _A.STAY,
    (_S.RECOVERING, _K.WEAK): _A.STAY,
    (_S.RECOVERING, _K.WORD): _A.CLIMB,
    (_S.RECOVERING, _K.BAD): _A.FALL,
    (_S.RECOVERING, _K.FAULT): _A.FALL,
    (_S.RECOVERING, _K.SILENT): _A.STAY,
}


LEADS_TO: dict[Act, tuple[State, ...]] = {
    _A.HEAL: (_S.HEALTHY,),
    _A.CLEAR: (_S.HEALTHY,),
    _A.DEGRADE: (_S.DEGRADED,),
    _A.FALL: (_S.DOWN,),
    _A.RISE: (_S.RECOVERING,),
    _A.CLIMB: (_S.HEALTHY,),
    _A.FORGET: (_S.UNKNOWN,),
}
POSSIBLE = frozenset(
    (state, after) for (state, _), act in TRANSITIONS.items() for after in LEADS_TO.get(act, ())
)


class ImpossibleTransitionError(ValueError):
    """No finding leads from one state to the other: a fault of the program, never of its input."""


class Conditions(NamedTuple):
    """What else decides what happens to a pool.

    Evidence from before ``evidence_after_ms``, the take-over, forces nothing. ``wanted``: the pool could
    serve critical demand that is shed. ``manual``: its failback waits for an operator. ``vouched``: an
    operator calls it healthy, which also ends the hold-down.
    """

    now_ms: int
    thresholds: Thresholds
    evidence_after_ms: int = 0
    fresh_capacity: bool = True
    wanted: bool = False
    manual: bool = False
    vouched: bool = False


def advance(memory: PoolMemory, finding: Finding, conditions: Conditions) -> PoolMemory:
    """The pool's memory after this finding; the same object if nothing changed."""
    after = _after(memory, finding, conditions)
    if finding.reason is Reason.MODEL_FAULT and not after.refused and after.state in REFUSING_STATES:
        return replace(after, refused=True)
    return after


def _after(memory: PoolMemory, finding: Finding, conditions: Conditions) -> PoolMemory:
    if finding.evidence_ms == UNREAD_MS:
        # What is stale moves nothing, and counts as no silence while newer evidence may lie unread.
        return memory
    act = TRANSITIONS[memory.state, finding.kind]
    if act in (Act.FALL, Act.DEGRADE, Act.STILL_BAD) and finding.evidence_ms <= conditions.evidence_after_ms:
        return memory
    match act:
        case Act.STAY:
            return _stay(memory, finding)
        case Act.HEAL:
            return enter(memory, State.HEALTHY, finding.reason, conditions.now_ms)
        case Act.CLEAR:
            return _clear(memory, finding, conditions)
        case Act.DEGRADE:
            return enter(memory, State.DEGRADED, finding.reason, conditions.now_ms)
        case Act.FALL:
            return _fall(memory, finding, conditions)
        case Act.STILL_BAD:
            return _still_bad(memory, finding, conditions)
        case Act.RISE:
            return _rise(memory, conditions)
        case Act.CLIMB:
            return _climb(memory, finding, conditions)
        case Act.FORGET:
            return enter(memory, State.UNKNOWN, Reason.STALE, conditions.now_ms)


def is_settled(memory: PoolMemory) -> bool:
    """Whether a pool without evidence stays as it is for ever, so that nobody needs to look at it."""
    return memory.state is State.UNKNOWN


def due_ms(memory: PoolMemory, conditions: Conditions) -> int | None:
    """When this pool's state may next change by time alone; None if it can't."""
    match memory.state:
        case State.DOWN:
            return memory.hold_until_ms
        case State.RECOVERING:
            return memory.ramp_since_ms + conditions.thresholds.ramp_step_min_ms
        case State.DEGRADED if memory.good_since_ms:
            return memory.good_since_ms + conditions.thresholds.clear_after_ms
        case _:
            return None


def ramp_share(memory: PoolMemory, thresholds: Thresholds) -> float:
    """The share of its capacity that may be used at the pool's step of the ramp."""
    if memory.state is not State.RECOVERING:
        return 1.0
    return thresholds.ramp_steps[min(memory.ramp_step, len(thresholds.ramp_steps) - 1)]


def enter(memory: PoolMemory, state: State, reason: Reason, now_ms: int) -> PoolMemory:
    """The pool in its new state. Raises ``ImpossibleTransitionError`` if no finding leads there."""
    if (memory.state, state) not in POSSIBLE:
        raise ImpossibleTransitionError(f"no finding leads from {memory.state} to {state}")
    refused = memory.refused and state is not State.HEALTHY
    return replace(memory, state=state, reason=reason, since_ms=now_ms, good_since_ms=0, refused=refused)


def _stay(memory: PoolMemory, finding: Finding) -> PoolMemory:
    if memory.state is not State.DEGRADED:
        return memory
    reason = finding.reason if finding.kind in (Kind.WEAK, Kind.WORD) else memory.reason
    if not memory.good_since_ms and memory.reason is reason:
        return memory
    return replace(memory, good_since_ms=0, reason=reason)


def _clear(memory: PoolMemory, finding: Finding, conditions: Conditions) -> PoolMemory:
    if not memory.good_since_ms:
        return replace(memory, good_since_ms=conditions.now_ms)
    if conditions.now_ms - memory.good_since_ms < conditions.thresholds.clear_after_ms:
        return memory
    return enter(memory, State.HEALTHY, finding.reason, conditions.now_ms)


def _fall(memory: PoolMemory, finding: Finding, conditions: Conditions) -> PoolMemory:
    now_ms, thresholds = conditions.now_ms, conditions.thresholds
    since_ms = now_ms - thresholds.relapse_window_ms
    relapses = tuple(at for at in memory.relapses_ms if at > since_ms)
    if memory.hold_until_ms > since_ms and memory.hold_until_ms:
        relapses = (*relapses, now_ms)[-RELAPSES_MAX:]
    down = replace(
        enter(memory, State.DOWN, finding.reason, now_ms),
        down_since_ms=now_ms,
        relapses_ms=relapses,
        ramp_step=0,
        ramp_since_ms=0,
    )
    return replace(down, hold_until_ms=_hold_until_ms(down, now_ms, thresholds))


def _still_bad(memory: PoolMemory, finding: Finding, conditions: Conditions) -> PoolMemory:
    """The outage lasts until the newest bad evidence, and the hold-down counts from there."""
    until_ms = _hold_until_ms(memory, max(memory.down_since_ms, finding.evidence_ms), conditions.thresholds)
    reason = finding.reason if finding.kind is not Kind.WEAK else memory.reason
    if until_ms <= memory.hold_until_ms and reason is memory.reason:
        return memory
    return replace(memory, hold_until_ms=max(until_ms, memory.hold_until_ms), reason=reason)


def _hold_until_ms(memory: PoolMemory, bad_until_ms: int, thresholds: Thresholds) -> int:
    outage_ms = bad_until_ms - memory.down_since_ms
    hold_ms = min(max(outage_ms, thresholds.hold_down_min_ms), thresholds.hold_down_max_ms)
    return bad_until_ms + min(hold_ms << len(memory.relapses_ms), thresholds.hold_down_cap_ms)


def _rise(memory: PoolMemory, conditions: Conditions) -> PoolMemory:
    """The first step of the ramp; before the hold-down is over if critical demand is shed meanwhile."""
    if conditions.manual and not conditions.vouched:
        over = conditions.now_ms >= memory.hold_until_ms
        waits = over and memory.reason is not Reason.FAILBACK_MANUAL
        return replace(memory, reason=Reason.FAILBACK_MANUAL) if waits else memory
    if conditions.now_ms < memory.hold_until_ms and not (conditions.wanted or conditions.vouched):
        return memory
    reason = Reason.OPERATOR_VERDICT if conditions.vouched else Reason.HOLD_DOWN_OVER
    risen = enter(memory, State.RECOVERING, reason, conditions.now_ms)
    return replace(risen, ramp_step=0, ramp_since_ms=conditions.now_ms)


def _climb(memory: PoolMemory, finding: Finding, conditions: Conditions) -> PoolMemory:
    has_rested = conditions.now_ms - memory.ramp_since_ms >= conditions.thresholds.ramp_step_min_ms
    has_succeeded = finding.evidence_ms > memory.ramp_since_ms
    if not (has_rested and has_succeeded and conditions.fresh_capacity):
        return memory
    if memory.ramp_step + 1 >= len(conditions.thresholds.ramp_steps):
        return enter(memory, State.HEALTHY, Reason.RAMP_DONE, conditions.now_ms)
    step = memory.ramp_step + 1
    return replace(memory, reason=Reason.RAMP_STEP, ramp_step=step, ramp_since_ms=conditions.now_ms)
