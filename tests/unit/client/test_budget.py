"""The retry budget: 10 % of requests and 3 a second, over 10 s."""

from tieline._budget import RetryBudget

NOW = 7_000_000


def test_a_quiet_process_may_retry_thirty_times() -> None:
    """Without requests, 3 a second over 10 s are there at once, and no more."""
    budget = RetryBudget()
    assert sum(budget.take(NOW) for _ in range(100)) == 30


def test_requests_earn_a_tenth() -> None:
    """200 requests earn 20 more."""
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
