"""The transition table: every entry, and the times it keeps."""

import pytest
from msgspec.structs import replace

from controller.core.evidence.finding import Finding, Kind
from controller.core.evidence.health import (
    TRANSITIONS,
    Act,
    Conditions,
    ImpossibleTransitionError,
    advance,
    due_ms,
    enter,
    ramp_share,
)
from controller.core.model.memory import PoolMemory
from controller.core.model.reasons import Reason, State
from tests.unit.controller.core.made import LIMITS, NOW_MS

SECOND_MS = 1_000
HOUR_MS = 3_600_000


def found(kind: Kind, at_ms: int = NOW_MS) -> Finding:
    """A finding of this kind on evidence of this instant."""
    return Finding(
        kind, Reason.SUCCEEDING if kind is Kind.GOOD else Reason.CLIENTS_FAILING, evidence_ms=at_ms
    )


def now(after_ms: int = 0, **more: object) -> Conditions:
    """So long after NOW_MS."""
    return Conditions(NOW_MS + after_ms, LIMITS, **more)  # type: ignore[arg-type]


def down(**more: object) -> PoolMemory:
    """Down since NOW_MS, held for 30 s."""
    held = PoolMemory(
        State.DOWN, Reason.CLIENTS_FAILING, NOW_MS, down_since_ms=NOW_MS, hold_until_ms=NOW_MS + 30_000
    )
    return replace(held, **more)


def recovering(step: int = 0, **more: object) -> PoolMemory:
    """On this step of the ramp since NOW_MS."""
    held = down(state=State.RECOVERING, reason=Reason.RAMP_STEP, ramp_step=step, ramp_since_ms=NOW_MS)
    return replace(held, **more)


def test_the_table_knows_every_state_and_finding() -> None:
    """Nothing that can be found leaves a state without an answer."""
    assert set(TRANSITIONS) == {(state, kind) for state in State for kind in Kind}


@pytest.mark.parametrize(
    ("state", "after"),
    [
        (State.DOWN, State.HEALTHY),
        (State.DOWN, State.DEGRADED),
        (State.DOWN, State.UNKNOWN),
        (State.RECOVERING, State.UNKNOWN),
        (State.RECOVERING, State.DEGRADED),
        (State.HEALTHY, State.RECOVERING),
        (State.UNKNOWN, State.RECOVERING),
    ],
)
def test_an_impossible_transition_raises_and_changes_nothing(state: State, after: State) -> None:
    """No way leads from down to full weight but up the ramp, and none onto the ramp but from down."""
    held = PoolMemory(state, since_ms=NOW_MS)
    with pytest.raises(ImpossibleTransitionError, match=f"from {state} to {after}"):
        enter(held, after, Reason.SUCCEEDING, NOW_MS + 1)
    assert held == PoolMemory(state, since_ms=NOW_MS)


@pytest.mark.parametrize("state", State)
def test_silence_never_worsens_what_a_pool_may_carry(state: State) -> None:
    """Silence keeps a state, forgets it (unknown carries on) or lets a hold-down end: it never takes down."""
    assert TRANSITIONS[state, Kind.SILENT] in (Act.STAY, Act.FORGET, Act.RISE)


@pytest.mark.parametrize("state", [State.HEALTHY, State.DEGRADED, State.UNKNOWN, State.RECOVERING])
@pytest.mark.parametrize("kind", [Kind.BAD, Kind.FAULT])
def test_bad_evidence_takes_any_pool_down(state: State, kind: Kind) -> None:
    """Down at once, held for 30 s at least."""
    after = advance(PoolMemory(state), found(kind), now())
    assert after.state is State.DOWN
    assert after.hold_until_ms == NOW_MS + 30_000


def test_a_status_page_keeps_no_pool_down() -> None:
    """Its word degrades a healthy pool; one that was down comes back all the same."""
    assert advance(PoolMemory(State.HEALTHY), found(Kind.WORD), now()).state is State.DEGRADED
    assert advance(down(), found(Kind.WORD), now(29_000)).state is State.DOWN
    assert advance(down(), found(Kind.WORD), now(30_000)).state is State.RECOVERING


def test_evidence_from_before_the_take_over_forces_nothing() -> None:
    """A new leader does not act on what its predecessor has seen."""
    held = PoolMemory(State.HEALTHY)
    assert advance(held, found(Kind.BAD, NOW_MS - 1), now(evidence_after_ms=NOW_MS)) is held
    assert advance(held, found(Kind.BAD, NOW_MS + 1), now(evidence_after_ms=NOW_MS)).state is State.DOWN


def test_degraded_ends_only_after_good_evidence_has_lasted() -> None:
    """Ten seconds of good evidence without a break; what lies between good and ill starts them anew."""
    held = advance(PoolMemory(State.DEGRADED), found(Kind.GOOD), now())
    assert held.state is State.DEGRADED
    assert advance(held, found(Kind.GOOD), now(9_999)).state is State.DEGRADED
    assert advance(held, found(Kind.GOOD), now(10_000)).state is State.HEALTHY
    broken = advance(held, found(Kind.FAIR), now(5_000))
    again = advance(broken, found(Kind.GOOD), now(11_000))
    assert again.state is State.DEGRADED


@pytest.mark.parametrize(
    ("outage_s", "relapses", "held_s"),
    [(1, 0, 30), (120, 0, 120), (900, 0, 300), (1, 1, 60), (1, 2, 120), (900, 2, 1200), (900, 9, 3600)],
)
def test_hold_down_follows_the_outage_and_its_relapses(outage_s: int, relapses: int, held_s: int) -> None:
    """clamp(outage, 30 s, 300 s) x 2^relapses, at most 1 h, counted from the last bad evidence."""
    held = down(relapses_ms=(NOW_MS,) * relapses, hold_until_ms=0)
    last_bad_ms = NOW_MS + outage_s * SECOND_MS
    after = advance(held, found(Kind.BAD, last_bad_ms), now(outage_s * SECOND_MS))
    assert after.hold_until_ms == last_bad_ms + held_s * SECOND_MS


def test_a_relapse_counts_within_the_hour_only() -> None:
    """Down again within an hour of the last hold-down's end doubles the next; later that is forgotten."""
    soon = advance(recovering(), found(Kind.BAD, NOW_MS + 60_000), now(60_000))
    assert soon.relapses_ms == (NOW_MS + 60_000,)
    assert soon.hold_until_ms == NOW_MS + 60_000 + 60_000
    late_ms = HOUR_MS + 30_000
    late = advance(recovering(), found(Kind.BAD, NOW_MS + late_ms), now(late_ms))
    assert late.relapses_ms == ()


def test_a_false_recovery_of_a_long_outage_is_a_relapse() -> None:
    """Though it went down hours ago: what counts is when its last hold-down ended."""
    long = recovering(down_since_ms=NOW_MS - 4 * HOUR_MS, hold_until_ms=NOW_MS - 60_000)
    again = advance(long, found(Kind.BAD, NOW_MS + 1_000), now(1_000))
    assert again.relapses_ms == (NOW_MS + 1_000,)
    assert again.hold_until_ms == NOW_MS + 1_000 + 60_000


@pytest.mark.parametrize("kind", [Kind.GOOD, Kind.FAIR, Kind.SILENT])
def test_the_canary_starts_when_the_hold_down_is_over(kind: Kind) -> None:
    """Not a millisecond before, unless critical load that it could serve is being shed."""
    assert advance(down(), found(kind), now(29_999)).state is State.DOWN
    assert advance(down(), found(kind), now(30_000)).state is State.RECOVERING
    assert advance(down(), found(kind), now(1_000, wanted=True)).state is State.RECOVERING


def test_manual_failback_waits_for_an_operator() -> None:
    """The pool stays down, whatever is found, until an operator lets it return or calls it healthy."""
    held = advance(down(), found(Kind.GOOD), now(30_000, manual=True))
    assert (held.state, held.reason) == (State.DOWN, Reason.FAILBACK_MANUAL)
    assert advance(held, found(Kind.GOOD), now(90_000, manual=True)) is held
    assert advance(held, found(Kind.GOOD), now(90_000)).state is State.RECOVERING
    assert advance(held, found(Kind.GOOD), now(90_000, manual=True, vouched=True)).state is State.RECOVERING


def test_an_operators_word_ends_the_hold_down_at_the_canary() -> None:
    """It spares the wait and nothing of the ramp."""
    risen = advance(down(), found(Kind.GOOD), now(1_000, vouched=True))
    assert (risen.state, risen.reason, risen.ramp_step) == (State.RECOVERING, Reason.OPERATOR_VERDICT, 0)
    assert advance(risen, found(Kind.GOOD, NOW_MS + 2_000), now(2_000, vouched=True)).ramp_step == 0


def test_each_ramp_step_needs_time_success_and_fresh_capacity() -> None:
    """1, 10, 25, 50, 100 %, at least 30 s each, on evidence newer than the step itself."""
    good = found(Kind.GOOD, NOW_MS + 29_000)
    assert advance(recovering(), good, now(29_999)).ramp_step == 0
    assert advance(recovering(), good, now(30_000)).ramp_step == 1
    assert advance(recovering(), good, now(30_000, fresh_capacity=False)).ramp_step == 0
    assert advance(recovering(), found(Kind.GOOD, NOW_MS), now(30_000)).ramp_step == 0
    assert advance(recovering(), found(Kind.SILENT), now(90_000)).ramp_step == 0
    assert [ramp_share(recovering(step), LIMITS) for step in range(5)] == [0.01, 0.1, 0.25, 0.5, 1.0]
    assert advance(recovering(4), good, now(30_000)).state is State.HEALTHY


def test_what_falls_due_by_time_alone_is_known() -> None:
    """The agent need not poll: hold-downs and ramp steps name their instant."""
    assert due_ms(down(), now()) == NOW_MS + 30_000
    assert due_ms(recovering(), now()) == NOW_MS + 30_000
    assert due_ms(PoolMemory(State.HEALTHY), now()) is None


def test_nothing_new_is_the_same_object() -> None:
    """An unchanged pool costs no new memory and no publication."""
    held = PoolMemory(State.HEALTHY, Reason.SUCCEEDING, NOW_MS)
    assert advance(held, found(Kind.GOOD), now(1_000)) is held


def test_a_relapse_an_hour_ago_is_forgotten_at_the_next() -> None:
    """Of two earlier relapses one is older than the hour: the hold-down is doubled once for each of the
    others, not for that one."""
    held = replace(recovering(), relapses_ms=(NOW_MS + 60_000 - HOUR_MS, NOW_MS - 1))
    after = advance(held, found(Kind.BAD, NOW_MS + 60_000), now(60_000))
    assert after.relapses_ms == (NOW_MS - 1, NOW_MS + 60_000)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (State.UNKNOWN, State.UNKNOWN),
        (State.HEALTHY, State.HEALTHY),
        (State.DEGRADED, State.DEGRADED),
        (State.RECOVERING, State.RECOVERING),
    ],
)
def test_400_answers_leave_a_pool_as_it_is(before: State, after: State) -> None:
    """They are the callers' own fault: they neither make a pool unknown nor let it climb."""
    held = PoolMemory(before, since_ms=NOW_MS)
    assert advance(held, found(Kind.REFUSED, NOW_MS + HOUR_MS), now(HOUR_MS)).state is after


def test_a_fault_of_the_model_is_remembered_until_the_pool_is_healthy() -> None:
    """Through its hold-down and its ramp, so that its 400 answers are looked at more strictly meanwhile."""
    blamed = Finding(Kind.BAD, Reason.MODEL_FAULT, evidence_ms=NOW_MS)
    fallen = advance(PoolMemory(State.HEALTHY), blamed, now())
    risen = advance(fallen, found(Kind.SILENT), now(30_000))
    assert (fallen.state, risen.state) == (State.DOWN, State.RECOVERING)
    assert fallen.refused
    assert risen.refused
    last = replace(risen, ramp_step=len(LIMITS.ramp_steps) - 1)
    healed = advance(last, found(Kind.GOOD, NOW_MS + 60_000), now(60_000))
    assert healed.state is State.HEALTHY
    assert not healed.refused


def test_a_degraded_pool_of_which_nothing_new_is_found_is_the_same_object() -> None:
    """What is remembered does not grow old by findings that change nothing."""
    held = PoolMemory(State.DEGRADED, Reason.SLOW, NOW_MS)
    assert advance(held, found(Kind.FAIR), now(1_000)) is held
