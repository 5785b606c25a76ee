"""The retry budget: 10 % of requests and 3 a second, over 10 s; and the pace of what was dropped."""

from tieline._routing.budget import Pace, RetryBudget

NOW = 7_000_000


def test_a_quiet_process_may_retry_thirty_times() -> None:
    """Without requests, 3 retries a second over 10 s are there at once, and no more."""
    budget = RetryBudget()
    assert sum(budget.take(NOW) for _ in range(100)) == 30


def test_requests_earn_a_tenth() -> None:
    """200 requests earn 20 retries more."""
    budget = RetryBudget()
    for _ in range(200):
        budget.request(NOW)
    assert sum(budget.take(NOW) for _ in range(100)) == 50


def test_tokens_come_back_after_ten_seconds() -> None:
    """What was spent is forgotten when its second leaves the window."""
    budget = RetryBudget()
    assert sum(budget.take(NOW) for _ in range(30)) == 30
    assert not budget.take(NOW + 9_000)
    assert budget.take(NOW + 10_000)


def test_what_was_dropped_is_let_out_at_a_pace() -> None:
    """A pool that serves 40 a second takes 13 more a second: one second's worth at once, then one by one."""
    pace = Pace(lambda _pool, _now_ms: 40.0)
    waits = [pace.reserve("a/r/x", NOW, 30_000) for _ in range(26)]
    assert waits.count(0) == 14
    assert waits[13:] == [round(1_000 / 13 * turn) for turn in range(13)]
    assert pace.reserve("b/r/x", NOW, 30_000) == 0
    assert pace.reserve("a/r/x", NOW + 60_000, 30_000) == 0


def test_a_wait_too_long_is_not_reserved() -> None:
    """A request that can't wait so long takes no place."""
    pace = Pace(lambda _pool, _now_ms: 0.0)
    while pace.reserve("a/r/x", NOW, 500) is not None:
        pass
    assert pace.reserve("a/r/x", NOW, 500) is None
    assert pace.reserve("a/r/x", NOW, 1_000) == 667
