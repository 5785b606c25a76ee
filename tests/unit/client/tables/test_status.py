"""The client's state, derived from when its source answered."""

from tieline._tables.status import State, StateTracker


def test_the_state_follows_the_source() -> None:
    """initializing or last_good until the source answers, live while it answered within the limit, stale
    after it, and off at the end."""
    tracker = StateTracker(0)

    def state(now_ms: int, *, has_table: bool = True) -> State:
        return tracker.state(now_ms, has_table=has_table, stale_after_ms=10_000)[0]

    assert state(0) is State.OFF
    tracker.started(1)
    assert state(1, has_table=False) is State.INITIALIZING
    assert state(1) is State.LAST_GOOD
    tracker.heard(5)
    assert state(10_004) is State.LIVE
    assert state(10_005) is State.STALE
    assert tracker.state(10_105, has_table=True, stale_after_ms=10_000) == (State.STALE, 100)
    tracker.stopped(20_000)
    assert state(20_000) is State.OFF
