"""What may not be moved back by choice, and for how long."""

from controller.core.assessment import assess
from controller.core.model.memory import Memory, Shift
from controller.core.model.reasons import Reason
from controller.core.moves.reversal import ReversalLimits
from controller.core.moves.unplaced import Move
from controller.core.policy.thresholds import Thresholds
from controller.core.snapshot import Office, Snapshot
from tests.unit.controller.core.made import NOW_MS, policy, pool, workload
from tieline.table import MILLION

LIMITS = Thresholds()
WHILE_MS = LIMITS.reversal_ms


def barred(memory: Memory, now_ms: int) -> ReversalLimits:
    """Under shipped thresholds."""
    return ReversalLimits(memory, LIMITS, now_ms)


def moved(memory: Memory, now_ms: int, to: int, reason: Reason, *, by_choice: bool) -> Memory:
    """One route's load goes from the other of two pools to this one."""
    before, now = {1 - to: MILLION}, {to: MILLION}
    move = Move(0, to, MILLION, reason, 1 - to) if by_choice else Move(0, 1 - to, MILLION, reason)
    shifts = barred(memory, now_ms).after([before], [now], [move], now_ms)
    return Memory("v", shifts=shifts)


def test_a_move_by_choice_is_not_undone_by_choice_for_a_while() -> None:
    """Neither does the receiver lose nor the giver gain; another route or pool is free."""
    memory = moved(Memory("v"), NOW_MS, 1, Reason.MERIT_ORDER, by_choice=True)
    for after_ms, free in ((0, False), (WHILE_MS - 1, False), (WHILE_MS, True)):
        now = barred(memory, NOW_MS + after_ms)
        assert now.floor(0, 1) == (0 if free else MILLION)
        assert now.ceiling(0, 0) == (MILLION if free else 0)
        assert now.ceiling(0, 1) == MILLION
        assert now.floor(0, 0) == 0
        assert now.floor(1, 1) == 0


def test_each_turn_doubles_the_while_up_to_an_hour() -> None:
    """Load that goes back and forth does so ever more rarely."""
    memory, now_ms = Memory("v"), NOW_MS
    for turn in range(8):
        memory = moved(memory, now_ms, turn % 2, Reason.MERIT_ORDER, by_choice=True)
        lasts_ms = min(WHILE_MS << turn, LIMITS.reversal_max_ms)
        assert barred(memory, now_ms + lasts_ms - 1).floor(0, turn % 2) == MILLION
        assert barred(memory, now_ms + lasts_ms).floor(0, turn % 2) == 0
        now_ms += lasts_ms


def test_what_was_moved_by_force_meanwhile_may_be_put_right() -> None:
    """The share rose by choice to 40 %, then by force to 70 %: by choice it may fall to the 40 % again."""
    moves = [Move(0, 1, 100_000, Reason.MERIT_ORDER, 0)]
    before, now = {0: 700_000, 1: 300_000}, {0: 600_000, 1: 400_000}
    shifts = barred(Memory("v"), NOW_MS).after([before], [now], moves, NOW_MS)
    assert barred(Memory("v", shifts=shifts), NOW_MS).floor(0, 1) == 400_000
    assert barred(Memory("v", shifts=shifts), NOW_MS).ceiling(0, 0) == 600_000


def test_after_a_rest_turns_are_forgotten() -> None:
    """Twice the while without a move, and the next one counts as the first."""
    memory = moved(Memory("v"), NOW_MS, 1, Reason.MERIT_ORDER, by_choice=True)
    memory = moved(memory, NOW_MS + 2 * WHILE_MS, 0, Reason.MERIT_ORDER, by_choice=True)
    assert {shift.turns for shift in memory.shifts} == {0}


def test_what_overload_forced_away_does_not_come_back_by_choice_at_once() -> None:
    """A limit that hovers at the load: off by force, and not back by choice a moment later. The receiver may
    still give: only the pool that was full is barred."""
    memory = moved(Memory("v"), NOW_MS, 1, Reason.OVERLOAD, by_choice=False)
    assert memory.shifts == (Shift(0, 0, rose=False, parts=0, at_ms=NOW_MS),)
    assert barred(memory, NOW_MS + 10_000).ceiling(0, 0) == 0
    assert barred(memory, NOW_MS + 10_000).floor(0, 1) == 0


def test_a_lost_pool_is_left_to_its_hold_down_and_ramp() -> None:
    """What an outage took away comes back as the ramp allows."""
    memory = moved(Memory("v"), NOW_MS, 1, Reason.POOL_LOST, by_choice=False)
    assert memory.shifts == ()


def test_numbers_of_another_policy_mean_nothing() -> None:
    """Routes and pools are numbered by the policy: under a new one nothing is remembered of them."""
    memory = moved(Memory("v"), NOW_MS, 1, Reason.MERIT_ORDER, by_choice=True)
    given = policy((pool("a/x"),), (workload("chat"),))
    snapshot = Snapshot(given, Office("one", 1, 1, NOW_MS, NOW_MS), memory=memory)
    assert assess(snapshot, NOW_MS).memory.shifts == ()
