"""What is usual is learnt while a pool is well, and follows slowly."""

import pytest
from msgspec.structs import replace

from controller.core.evidence.baseline import remember_usual
from controller.core.model.memory import PoolMemory
from controller.core.model.reasons import Reason, State
from tests.unit.controller.core.made import LIMITS, NOW_MS, clients

KNOWN = PoolMemory(State.HEALTHY, usual_p50_ms=200.0, usual_p99_ms=400.0, usual_ms=NOW_MS)
LATER_MS = NOW_MS + LIMITS.usual_period_ms


def test_the_first_telling_window_of_a_healthy_pool_is_usual() -> None:
    """Few requests, or an ill pool, teach nothing."""
    met = clients(20, first_token_p50_ms=150.0)
    learnt = remember_usual(PoolMemory(State.HEALTHY), met, LIMITS, NOW_MS)
    assert (learnt.usual_p50_ms, learnt.usual_p99_ms, learnt.usual_ms) == (150.0, 400.0, NOW_MS)
    for held, seen in (
        (PoolMemory(State.DEGRADED), met),
        (PoolMemory(State.HEALTHY), clients(19, first_token_p50_ms=150.0)),
        (PoolMemory(State.HEALTHY), clients(20)),
        (PoolMemory(State.HEALTHY), None),
    ):
        assert remember_usual(held, seen, LIMITS, NOW_MS) is held


@pytest.mark.parametrize(
    ("p50_ms", "usual_ms"), [(300.0, 200.0), (301.0, 220.0), (9_000.0, 220.0), (134.0, 200.0), (133.0, 160.0)]
)
def test_it_follows_only_what_is_far_off_and_a_little_at_a_time(p50_ms: float, usual_ms: float) -> None:
    """Within half as much again nothing changes, so that noise costs no publication; then a tenth up, a fifth
    down."""
    now = remember_usual(KNOWN, clients(20, first_token_p50_ms=p50_ms), LIMITS, LATER_MS)
    assert now.usual_p50_ms == pytest.approx(usual_ms)


def test_it_changes_once_in_ten_minutes_and_not_while_the_pool_is_ill() -> None:
    """But a pool that is slow for hours is at last as usual."""
    met = clients(20, first_token_p50_ms=900.0)
    assert remember_usual(KNOWN, met, LIMITS, LATER_MS - 1) is KNOWN
    failing = replace(KNOWN, state=State.DEGRADED, reason=Reason.SOME_FAILING)
    assert remember_usual(failing, met, LIMITS, LATER_MS) is failing
    slow = replace(KNOWN, state=State.DEGRADED, reason=Reason.SLOW)
    assert remember_usual(slow, met, LIMITS, LATER_MS).usual_p50_ms == pytest.approx(220.0)
