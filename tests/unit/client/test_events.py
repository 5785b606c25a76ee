"""What the contract itself computes: sums of outcomes, and how long a report counts."""

import pytest

from tieline.events import CONFIGURATION_FAULTS, HEALTH_FAILURES, Outcomes, ResultClass, stale_after_ms


@pytest.mark.parametrize("result", list(ResultClass))
def test_each_class_speaks_of_health_configuration_or_neither(result: ResultClass) -> None:
    """The sums of ``Outcomes`` count exactly the classes that the contract's two sets name, and a success is
    an attempt that speaks about health."""
    outcomes = Outcomes(**{result.value: 3})
    assert outcomes.health_failures == (3 if result in HEALTH_FAILURES else 0)
    assert outcomes.configuration_faults == (3 if result in CONFIGURATION_FAULTS else 0)
    assert outcomes.health_attempts == (3 if result in HEALTH_FAILURES or result is ResultClass.OK else 0)


@pytest.mark.parametrize(
    ("interval_ms", "expected_ms"),
    [
        (100, 15_000),
        (1_000, 15_000),
        (5_001, 15_003),
        (10_000, 30_000),
        (300_001, 900_000),
        (900_000, 900_000),
    ],
)
def test_a_report_counts_for_three_intervals_within_bounds(interval_ms: int, expected_ms: int) -> None:
    """At least 15 s, at most 15 min."""
    assert stale_after_ms(interval_ms) == expected_ms


def test_other_numbers_may_be_stated_for_staleness() -> None:
    """The bounds hold whatever the number of intervals, which need not be whole."""
    assert stale_after_ms(1_000, intervals=2.5, at_least_ms=1_000, at_most_ms=9_000) == 2_500
    assert stale_after_ms(1_000, intervals=2.5, at_least_ms=3_000, at_most_ms=9_000) == 3_000
    assert stale_after_ms(9_000, intervals=2.5, at_least_ms=3_000, at_most_ms=9_000) == 9_000
