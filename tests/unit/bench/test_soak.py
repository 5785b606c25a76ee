"""What the soak calls growth."""

import pytest

from bench.soak import growth_per_minute


def test_growth_is_the_slope_of_the_last_four_fifths() -> None:
    """What happens while a process warms up is not growth; noise around a line leaves its slope."""
    warm = [float(1_000 * second) for second in range(20)]
    steady = [50.0 + second / 60 * 3 + (second % 2) for second in range(80)]
    assert growth_per_minute(warm + steady) == pytest.approx(3.0, abs=0.05)
    assert growth_per_minute([7.0] * 100) == 0


def test_a_slope_needs_samples() -> None:
    """One is none."""
    with pytest.raises(ValueError, match="too few"):
        growth_per_minute([1.0])
