"""A clock that jumps, or that the brokers contradict, is not believed."""

import pytest

from controller.process.clock import ClockWatch, apart_ms

WALL_MS = 1_800_000_000_000


def looked(*steps: tuple[int, int, int]) -> ClockWatch:
    """A watch after looks at (wall clock after WALL_MS, steady clock, distance from the brokers)."""
    watch = ClockWatch()
    for wall_ms, steady_ms, brokers_ms in steps:
        watch = watch.look(WALL_MS + wall_ms, steady_ms, brokers_ms)
    return watch


def test_a_clock_that_keeps_pace_is_trusted() -> None:
    """Both clocks went on by about the same time, however long that was."""
    assert looked((0, 5_000, 0), (60_999, 65_000, 0)).trusted


@pytest.mark.parametrize("jump_ms", [1_001, -1_001, 3_600_000])
def test_a_jump_is_distrusted_for_thirty_seconds(jump_ms: int) -> None:
    """Forward or backward: nobody knows which of the two times was right."""
    jumped = looked((0, 5_000, 0), (1_000 + jump_ms, 6_000, 0))
    assert not jumped.trusted
    assert not jumped.look(WALL_MS + jump_ms + 30_999, 35_999).trusted
    assert jumped.look(WALL_MS + jump_ms + 31_000, 36_000).trusted


@pytest.mark.parametrize("brokers_ms", [5_001, -5_001])
def test_a_clock_far_from_the_brokers_is_distrusted_while_it_lasts(brokers_ms: int) -> None:
    """Even from the start, and though it keeps pace: evidence would look older or younger than it is."""
    apart = looked((0, 5_000, brokers_ms), (1_000, 6_000, brokers_ms))
    assert not apart.trusted
    assert apart.look(WALL_MS + 2_000, 7_000, 5_000).trusted


@pytest.mark.parametrize(
    ("append_ms", "apart"), [(100, 0), (150, 0), (200, 0), (99, 1), (201, -1), (40_200, -40_000)]
)
def test_the_way_to_the_broker_counts_for_neither_side(append_ms: int, apart: int) -> None:
    """Sent at 100, acknowledged at 200: a broker's time between the two agrees."""
    assert apart_ms(100, append_ms, 200) == apart
