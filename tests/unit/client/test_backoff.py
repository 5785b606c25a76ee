"""Waiting before the next try: it doubles, it ends somewhere, and success begins it anew."""

from tieline.backoff import Backoff


def test_waits_double_up_to_the_longest() -> None:
    """Without the random part each wait is twice the one before, and never longer than the longest."""
    backoff = Backoff(0.5, 3.0, chance=lambda: 1.0)
    assert [backoff.next_s() for _ in range(4)] == [0.5, 1.0, 2.0, 3.0]


def test_chance_takes_at_most_half_away() -> None:
    """The shortest wait is half of what is due."""
    assert Backoff(2.0, 8.0, chance=lambda: 0.0).next_s() == 1.0


def test_success_begins_anew() -> None:
    """After ``reset`` the next wait is the first one."""
    backoff = Backoff(0.5, 3.0, chance=lambda: 1.0)
    backoff.next_s()
    backoff.reset()
    assert backoff.next_s() == 0.5


def test_a_wait_is_at_least_what_the_other_side_asked_for() -> None:
    """Retry-After is never shortened; a longer wait of our own stays."""
    backoff = Backoff(2.0, 8.0, chance=lambda: 1.0)
    assert backoff.next_s(at_least_s=3.0) == 3.0
    assert backoff.next_s(at_least_s=3.0) == 4.0
