"""Probes become observations: nothing is counted twice, and what hangs shows before it times out."""

import pytest

from controller.probe.watch import Watch, quantile_ms
from tieline.events import Outcomes, ResultClass


def test_a_probe_under_way_shows_before_its_time_out() -> None:
    """A hang is visible from the first window on, with its age."""
    watch = Watch("a/b/c")
    watch.begin(1_000)
    seen = watch.observation(3_000)
    assert (seen.in_flight, seen.oldest_in_flight_ms, seen.outcomes) == (1, 2_000, Outcomes())


def test_a_probe_counts_in_the_window_in_which_it_ends() -> None:
    """Each end is told once; the next window begins empty."""
    watch = Watch("a/b/c")
    number = watch.begin(0)
    assert watch.observation(10).outcomes == Outcomes()
    watch.end(number, ResultClass.OK, first_token_ms=25.0, units=1)
    seen = watch.observation(20)
    assert (seen.outcomes, seen.first_token_p50_ms, seen.units) == (Outcomes(ok=1), 25.0, 1.0)
    after = watch.observation(30)
    assert (after.outcomes, after.first_token_p50_ms, after.in_flight) == (Outcomes(), None, 0)


def test_a_probe_given_up_accuses_nobody() -> None:
    """A prober that stops has learnt nothing about the pool."""
    watch = Watch("a/b/c")
    watch.forget(watch.begin(0))
    assert watch.observation(99).outcomes == Outcomes()


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [([], 0.5, None), ([7.0], 0.99, 7.0), ([3.0, 1.0, 2.0, 4.0], 0.5, 2.0), ([1.0, 9e9], 0.99, 3_600_000.0)],
)
def test_quantiles_are_values_seen(values: list[float], share: float, expected: float | None) -> None:
    """Nearest rank, and never beyond what the contract carries."""
    assert quantile_ms(values, share) == expected
