"""Whatever is found, in whatever order and after whatever time: what health promises of every pool."""

from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from controller.core.evidence.finding import Finding, Kind
from controller.core.evidence.health import (
    LEADS_TO,
    POSSIBLE,
    TRANSITIONS,
    Act,
    Conditions,
    advance,
    due_ms,
    ramp_share,
)
from controller.core.model.memory import PoolMemory
from controller.core.model.reasons import Reason, State
from tests.unit.controller.core.made import LIMITS, NOW_MS

BADLY = (Kind.BAD, Kind.FAULT)
STEP_MS = LIMITS.ramp_step_min_ms


class Moment(NamedTuple):
    """So long after the last one this is found, on evidence so old, in such a conditions."""

    after_ms: int
    kind: Kind
    age_ms: int
    fresh_capacity: bool
    wanted: bool


moments = st.builds(
    Moment,
    st.sampled_from([1, 1_000, 10_000, 29_999, 30_000, 31_000, 45_000, 300_000, 3_600_000]),
    st.sampled_from([*Kind, Kind.GOOD, Kind.GOOD, Kind.GOOD, Kind.BAD]),
    st.sampled_from([0, 500, 20_000, 60_000]),
    st.sampled_from([True, True, False]),
    st.sampled_from([False, False, False, True]),
)
histories = st.lists(moments, min_size=1, max_size=60)
REASONS = {Kind.BAD: Reason.CLIENTS_FAILING, Kind.FAULT: Reason.CONFIGURATION_AUTH, Kind.WEAK: Reason.SLOW}


class Change(NamedTuple):
    """The pool before and after one moment."""

    before: PoolMemory
    after: PoolMemory
    moment: Moment
    now_ms: int


def lived(history: list[Moment]) -> list[Change]:
    """A pool's life."""
    held, now_ms = PoolMemory(), NOW_MS
    changes = []
    for moment in history:
        now_ms += moment.after_ms
        reason = REASONS.get(moment.kind, Reason.SUCCEEDING)
        finding = Finding(moment.kind, reason, evidence_ms=now_ms - moment.age_ms)
        conditions = Conditions(now_ms, LIMITS, fresh_capacity=moment.fresh_capacity, wanted=moment.wanted)
        after = advance(held, finding, conditions)
        changes.append(Change(held, after, moment, now_ms))
        held = after
    return changes


def test_the_table_is_total_and_no_way_skips_the_ramp() -> None:
    """Every state answers every finding; down leads to recovering alone, and that to healthy by climbing."""
    assert set(TRANSITIONS) == {(state, kind) for state in State for kind in Kind}
    assert {after for before, after in POSSIBLE if before is State.DOWN} == {State.RECOVERING}
    ways_up = {act for (state, _), act in TRANSITIONS.items() if state is State.RECOVERING}
    assert {act for act in ways_up if State.HEALTHY in LEADS_TO.get(act, ())} == {Act.CLIMB}


@given(histories)
def test_only_possible_changes_happen(history: list[Moment]) -> None:
    """And where nothing changes, the memory is the very same object."""
    for before, after, _, _ in lived(history):
        assert after is before or after != before
        assert after.state is before.state or (before.state, after.state) in POSSIBLE


@given(histories)
def test_silence_takes_no_pool_down_and_raises_none_to_more(history: list[Moment]) -> None:
    """Silence never makes a pool down or degraded, and lets none up but onto the canary."""
    for before, after, moment, _ in lived(history):
        if moment.kind is Kind.SILENT and after.state is not before.state:
            ways = {(State.HEALTHY, State.UNKNOWN), (State.DEGRADED, State.UNKNOWN)}
            assert (before.state, after.state) in ways | {(State.DOWN, State.RECOVERING)}


@settings(max_examples=300)
@given(histories)
def test_the_hold_down_is_kept(history: list[Moment]) -> None:
    """30 s to 1 h from the newest bad evidence; only critical load that is shed ends it sooner."""
    for before, after, moment, now_ms in lived(history):
        if before.state is State.DOWN and after.state is not State.DOWN:
            assert now_ms >= before.hold_until_ms or moment.wanted
            assert (after.state, after.ramp_step) == (State.RECOVERING, 0)
        if after.state is State.DOWN and moment.kind in BADLY:
            newest_ms = max(after.down_since_ms, now_ms - moment.age_ms)
            assert after.hold_until_ms >= newest_ms + LIMITS.hold_down_min_ms
            assert after.hold_until_ms <= now_ms + LIMITS.hold_down_cap_ms
        if before.state is State.DOWN is after.state:
            assert after.hold_until_ms >= before.hold_until_ms


@settings(max_examples=300)
@given(histories)
def test_the_ramp_is_climbed_step_by_step(history: list[Moment]) -> None:
    """One step at a time, 30 s apart at least, each on fresh success and fresh capacity."""
    since_ms = 0
    for before, after, moment, now_ms in lived(history):
        if after.state is State.RECOVERING and before.state is not State.RECOVERING:
            since_ms = now_ms
            assert ramp_share(after, LIMITS) == LIMITS.ramp_steps[0]
        way = (before.state, after.state)
        higher = ramp_share(after, LIMITS) > ramp_share(before, LIMITS)
        if way == (State.RECOVERING, State.HEALTHY) or (way == (State.RECOVERING,) * 2 and higher):
            assert now_ms - since_ms >= STEP_MS
            assert moment.kind in (Kind.GOOD, Kind.WORD)
            assert moment.fresh_capacity
            assert now_ms - moment.age_ms > since_ms
            assert after.ramp_step <= before.ramp_step + 1
            if after.state is State.HEALTHY:
                assert before.ramp_step == len(LIMITS.ramp_steps) - 1
            since_ms = now_ms


@given(histories)
def test_what_is_due_by_time_comes_by_time(history: list[Moment]) -> None:
    """Until the instant that a pool names as due, good evidence of the same kind changes nothing more."""
    held = lived(history)[-1].after
    now_ms = max(NOW_MS, held.since_ms, held.ramp_since_ms, held.good_since_ms)
    due = due_ms(held, Conditions(now_ms, LIMITS))
    if due is not None and due > now_ms + 1:
        early = Conditions(due - 1, LIMITS)
        assert advance(held, Finding(Kind.GOOD, Reason.SUCCEEDING, evidence_ms=due - 1), early) is held
