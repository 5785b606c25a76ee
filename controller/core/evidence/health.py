"""Health of a pool as one table: (state, finding) -> what happens. Nothing else changes a state.

``tools/diagram.py`` draws it into docs/concepts.md.

Silence moves nothing: where it stands in the table, a pool keeps its state, or becomes unknown and keeps what
it carries. After `down` a pool is held down for clamp(outage, 30 s, 300 s) x 2^(relapses in the last hour),
at most 1 h, then climbs the ramp, each step at least 30 s and on success with fresh capacity. A relapse is to
go down again within an hour of the last hold-down's end.
"""

from enum import StrEnum
from typing import NamedTuple

from msgspec.structs import replace

from controller.core.evidence.finding import Finding, Kind
from controller.core.model.memory import PoolMemory
from controller.core.model.reasons import Reason, State
from controller.core.policy.thresholds import Thresholds

RELAPSES_KEPT = 12


class Act(StrEnum):
    """What the table tells to do."""

    STAY = "stay"
    HEAL = "heal"  # -> healthy
    CLEAR = "clear"  # -> healthy once good evidence has lasted
    DEGRADE = "degrade"
    FALL = "fall"  # -> down
    STILL_BAD = "still_bad"  # stays down, and the outage lasts on
    RISE = "rise"  # down -> recovering once the hold-down is over
    CLIMB = "climb"  # one ramp step, or the last one -> healthy
    FORGET = "forget"  # -> unknown


_S, _K, _A = State, Kind, Act

TRANSITIONS: dict[tuple[State, Kind], Act] = {
    (_S.UNKNOWN, _K.GOOD): _A.HEAL,
    (_S.UNKNOWN, _K.FAIR): _A.HEAL,
    (_S.UNKNOWN, _K.WEAK): _A.DEGRADE,
    (_S.UNKNOWN, _K.WORD): _A.DEGRADE,
    (_S.UNKNOWN, _K.BAD): _A.FALL,
    (_S.UNKNOWN, _K.FAULT): _A.FALL,
    (_S.UNKNOWN, _K.SILENT): _A.STAY,
    (_S.HEALTHY, _K.GOOD): _A.STAY,
    (_S.HEALTHY, _K.FAIR): _A.STAY,
    (_S.HEALTHY, _K.WEAK): _A.DEGRADE,
    (_S.HEALTHY, _K.WORD): _A.DEGRADE,
    (_S.HEALTHY, _K.BAD): _A.FALL,
    (_S.HEALTHY, _K.FAULT): _A.FALL,
    (_S.HEALTHY, _K.SILENT): _A.FORGET,
    (_S.DEGRADED, _K.GOOD): _A.CLEAR,
    (_S.DEGRADED, _K.FAIR): _A.STAY,
    (_S.DEGRADED, _K.WEAK): _A.STAY,
    (_S.DEGRADED, _K.WORD): _A.STAY,
    (_S.DEGRADED, _K.BAD): _A.FALL,
    (_S.DEGRADED, _K.FAULT): _A.FALL,
    (_S.DEGRADED, _K.SILENT): _A.FORGET,
    (_S.DOWN, _K.GOOD): _A.RISE,
    (_S.DOWN, _K.FAIR): _A.RISE,
    (_S.DOWN, _K.WEAK): _A.STILL_BAD,
    (_S.DOWN, _K.WORD): _A.RISE,
    (_S.DOWN, _K.BAD): _A.STILL_BAD,
    (_S.DOWN, _K.FAULT): _A.STILL_BAD,
    (_S.DOWN, _K.SILENT): _A.RISE,
    (_S.RECOVERING, _K.GOOD): _A.CLIMB,
    (_S.RECOVERING, _K.FAIR): _A.STAY,
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
    """The table does not lead to this state from the one held: a fault of the program, never of its input."""


class Setting(NamedTuple):
    """What else the table's conditions ask. ``wanted``: critical demand is shed that this pool could serve.

    Evidence from before ``evidence_after_ms`` (the take-over) forces nothing. ``manual``: failback waits for
    an operator. ``vouched``: an operator calls the pool healthy, which ends the hold-down as well.
    """

    now_ms: int
    limits: Thresholds
    evidence_after_ms: int = 0
    fresh_capacity: bool = True
    wanted: bool = False
    manual: bool = False
    vouched: bool = False


def advance(held: PoolMemory, finding: Finding, setting: Setting) -> PoolMemory:
    """The pool's memory after this finding; the same object if nothing changed."""
    act = TRANSITIONS[held.state, finding.kind]
    if act in (Act.FALL, Act.DEGRADE, Act.STILL_BAD) and finding.evidence_ms <= setting.evidence_after_ms:
        return held
    match act:
        case Act.STAY:
            return _stay(held, finding)
        case Act.HEAL:
            return entered(held, State.HEALTHY, finding.reason, setting.now_ms)
        case Act.CLEAR:
            return _clear(held, finding, setting)
        case Act.DEGRADE:
            return entered(held, State.DEGRADED, finding.reason, setting.now_ms)
        case Act.FALL:
            return _fall(held, finding, setting)
        case Act.STILL_BAD:
            return _still_bad(held, finding, setting)
        case Act.RISE:
            return _rise(held, setting)
        case Act.CLIMB:
            return _climb(held, finding, setting)
        case Act.FORGET:
            return entered(held, State.UNKNOWN, Reason.STALE, setting.now_ms)


def is_settled(held: PoolMemory) -> bool:
    """Whether silence leaves the pool as it is, for ever: nothing to look up, nothing to wait for."""
    return held.state is State.UNKNOWN


def due_ms(held: PoolMemory, setting: Setting) -> int | None:
    """When this pool's state may change by time alone, or None."""
    match held.state:
        case State.DOWN:
            return held.hold_until_ms
        case State.RECOVERING:
            return held.ramp_since_ms + setting.limits.ramp_step_min_ms
        case State.DEGRADED if held.good_since_ms:
            return held.good_since_ms + setting.limits.clear_after_ms
        case _:
            return None


def ramp_share(held: PoolMemory, limits: Thresholds) -> float:
    """The part of its capacity that the pool may use at its step of the ramp."""
    if held.state is not State.RECOVERING:
        return 1.0
    return limits.ramp_steps[min(held.ramp_step, len(limits.ramp_steps) - 1)]


def entered(held: PoolMemory, state: State, reason: Reason, now_ms: int) -> PoolMemory:
    """The pool in its new state. Raises ``ImpossibleTransitionError`` where no finding leads there."""
    if (held.state, state) not in POSSIBLE:
        raise ImpossibleTransitionError(f"no finding leads from {held.state} to {state}")
    return replace(held, state=state, reason=reason, since_ms=now_ms, good_since_ms=0)


def _stay(held: PoolMemory, finding: Finding) -> PoolMemory:
    if held.state is State.DEGRADED and (held.good_since_ms or held.reason is not finding.reason):
        reason = finding.reason if finding.kind in (Kind.WEAK, Kind.WORD) else held.reason
        return replace(held, good_since_ms=0, reason=reason)
    return held


def _clear(held: PoolMemory, finding: Finding, setting: Setting) -> PoolMemory:
    if not held.good_since_ms:
        return replace(held, good_since_ms=setting.now_ms)
    if setting.now_ms - held.good_since_ms < setting.limits.clear_after_ms:
        return held
    return entered(held, State.HEALTHY, finding.reason, setting.now_ms)


def _fall(held: PoolMemory, finding: Finding, setting: Setting) -> PoolMemory:
    now_ms, limits = setting.now_ms, setting.limits
    since_ms = now_ms - limits.relapse_window_ms
    relapses = tuple(at for at in held.relapses_ms if at > since_ms)
    if held.hold_until_ms > since_ms and held.hold_until_ms:
        relapses = (*relapses, now_ms)[-RELAPSES_KEPT:]
    down = replace(
        entered(held, State.DOWN, finding.reason, now_ms),
        down_since_ms=now_ms,
        relapses_ms=relapses,
        ramp_step=0,
        ramp_since_ms=0,
    )
    return replace(down, hold_until_ms=_hold_until_ms(down, now_ms, limits))


def _still_bad(held: PoolMemory, finding: Finding, setting: Setting) -> PoolMemory:
    """The outage lasts until the newest bad evidence; the hold-down counts from there."""
    until_ms = _hold_until_ms(held, max(held.down_since_ms, finding.evidence_ms), setting.limits)
    reason = finding.reason if finding.kind is not Kind.WEAK else held.reason
    if until_ms <= held.hold_until_ms and reason is held.reason:
        return held
    return replace(held, hold_until_ms=max(until_ms, held.hold_until_ms), reason=reason)


def _hold_until_ms(held: PoolMemory, bad_until_ms: int, limits: Thresholds) -> int:
    outage_ms = bad_until_ms - held.down_since_ms
    hold_ms = min(max(outage_ms, limits.hold_down_min_ms), limits.hold_down_max_ms)
    return bad_until_ms + min(hold_ms << len(held.relapses_ms), limits.hold_down_cap_ms)


def _rise(held: PoolMemory, setting: Setting) -> PoolMemory:
    """The canary: the ramp's first step. At once while critical demand is shed that it could serve."""
    if setting.manual and not setting.vouched:
        over = setting.now_ms >= held.hold_until_ms
        waits = over and held.reason is not Reason.FAILBACK_MANUAL
        return replace(held, reason=Reason.FAILBACK_MANUAL) if waits else held
    if setting.now_ms < held.hold_until_ms and not (setting.wanted or setting.vouched):
        return held
    reason = Reason.OPERATOR_VERDICT if setting.vouched else Reason.HOLD_DOWN_OVER
    risen = entered(held, State.RECOVERING, reason, setting.now_ms)
    return replace(risen, ramp_step=0, ramp_since_ms=setting.now_ms)


def _climb(held: PoolMemory, finding: Finding, setting: Setting) -> PoolMemory:
    rested = setting.now_ms - held.ramp_since_ms >= setting.limits.ramp_step_min_ms
    shown = finding.evidence_ms > held.ramp_since_ms
    if not (rested and shown and setting.fresh_capacity):
        return held
    if held.ramp_step + 1 >= len(setting.limits.ramp_steps):
        return entered(held, State.HEALTHY, Reason.RAMP_DONE, setting.now_ms)
    return replace(held, reason=Reason.RAMP_STEP, ramp_step=held.ramp_step + 1, ramp_since_ms=setting.now_ms)
