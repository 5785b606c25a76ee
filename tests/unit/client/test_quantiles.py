"""The rank that a quantile is read at."""

import pytest

from tieline.quantiles import nearest_rank


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        ([], 0.5, None),
        ([7.0], 0.0, 7.0),
        ([7.0], 0.99, 7.0),
        ([2.0, 1.0], 0.5, 1.0),
        ([2.0, 1.0], 0.51, 2.0),
        ([3.0, 1.0, 2.0, 4.0], 0.5, 2.0),
        ([3.0, 1.0, 2.0], 0.5, 2.0),
        ([float(value) for value in range(100, 0, -1)], 0.99, 99.0),
        ([3.0, 1.0], 1.0, 3.0),
    ],
)
def test_a_quantile_is_the_smallest_value_that_enough_others_do_not_exceed(
    values: list[float], share: float, expected: float | None
) -> None:
    """Whatever the order the values come in, and None where there are none."""
    assert nearest_rank(values, share) == expected
