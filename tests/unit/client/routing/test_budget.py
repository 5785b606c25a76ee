"""The retry budget: 10 % of requests and 3 a second, over 10 s; and the pace of what was dropped."""

from tieline._routing.budget import GROWTH_MAX, GROWTH_MIN, Pace, RetryBudget

NOW = 7_000_000
B = "b/r/x"


def idle() -> Pace:
    """Of pools that serve nothing else."""
    return Pace(lambda _pool, _now_ms: 0.0)


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


def waits(pace: Pace, count: int, *, wait_max_ms: int = 30_000) -> int:
    """How many of so many requests have to wait; the others have room at once."""
    turns = [pace.reserve(B, NOW, wait_max_ms) for _ in range(count)]
    return sum(turn is None or turn.wait_ms > 0 for turn in turns)


def test_ten_go_at_once_to_a_pool_at_rest() -> None:
    """A pool that nobody has left for takes ten; each other pool has a line of its own."""
    pace = idle()
    assert waits(pace, 26) == 16
    turn = pace.reserve("c/r/x", NOW, 30_000)
    assert turn is not None
    assert turn.wait_ms == 0


def test_the_line_moves_with_what_the_pool_serves() -> None:
    """A pool that serves 80 a second takes 3 + 20 more a second."""
    pace = Pace(lambda _pool, _now_ms: 80.0)
    waits(pace, 10)
    turn = pace.reserve(B, NOW, 30_000)
    assert turn is not None
    assert pace.look(turn, NOW + 42) > 0
    assert pace.look(turn, NOW + 44) == 0


def test_each_answer_makes_room_for_two() -> None:
    """An idle pool that answers takes over a burst in slow start, without any time passing."""
    pace = idle()
    turns = [pace.reserve(B, NOW, 30_000) for _ in range(30)]
    for _ in range(10):
        pace.answered(B, NOW)
    assert [pace.look(turn, NOW) for turn in turns if turn is not None] == [0] * 30


def test_a_pool_at_its_limit_makes_room_for_less() -> None:
    """A 429 or a time-out halves the room that an answer makes, once in 200 ms, down to a quarter of a
    request; answers bring it back."""
    pace = idle()
    waits(pace, 10)
    for step in range(9):
        pace.full(B, NOW + step)
    pace.answered(B, NOW + 9)
    pace.answered(B, NOW + 9)
    assert waits(pace, 3) == 1
    for step in range(9):
        pace.full(B, NOW + 200 * step)
    line = pace._lines[B]
    assert line.growth == GROWTH_MIN
    for _ in range(100):
        pace.answered(B, NOW + 2_000)
    assert line.growth == GROWTH_MAX


def test_a_wait_too_long_is_not_reserved() -> None:
    """A request that can't wait so long takes no place. Of a pool at its limit only the steady rate is
    expected, of another one that its answers make room."""
    pace = idle()
    waits(pace, 10)
    pace.full(B, NOW)
    assert pace.reserve(B, NOW, 333) is None
    assert pace.reserve(B, NOW, 334) is not None
    assert pace.reserve(B, NOW, 500) is None
    hopeful = idle()
    waits(hopeful, 10)
    assert hopeful.reserve(B, NOW, 333) is not None


def test_places_far_behind_look_rarely() -> None:
    """A long line costs little: the next looks every 20 ms, the thousandth every half second."""
    pace = idle()
    turns = [turn for _ in range(1_010) if (turn := pace.reserve(B, NOW, 30_000)) is not None]
    assert [turns[10].wait_ms, turns[-1].wait_ms] == [21, 520]
