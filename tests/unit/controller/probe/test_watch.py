"""Probes become observations: nothing is counted twice in a round, and what hangs shows before it times
out."""

import pytest

from controller.probe.request import ProbeEnd
from controller.probe.watch import Watch, quantile_ms, without_repeats
from tieline.events import Outcomes, ResultClass

SERVED = ProbeEnd(ResultClass.OK, 25.0)


def test_a_probe_under_way_shows_before_its_time_out() -> None:
    """A hang is visible from the first report on, with its age."""
    watch = Watch("a/b/c")
    watch.begin(1_000)
    report = watch.observation(3_000)
    assert (report.in_flight, report.oldest_in_flight_ms, report.outcomes) == (1, 2_000, Outcomes())


def test_a_probe_counts_in_the_round_in_which_it_ends() -> None:
    """A second report of a round shows the same and what came since; the next round begins empty."""
    watch = Watch("a/b/c")
    numbers = [watch.begin(0), watch.begin(0)]
    assert watch.observation(10).outcomes == Outcomes()
    watch.end(numbers[0], SERVED, 15, units=9)
    first = watch.observation(20)
    assert (first.outcomes, first.first_token_p50_ms, first.units) == (Outcomes(ok=1), 25.0, 9.0)
    watch.end(numbers[1], ProbeEnd(ResultClass.TIMEOUT), 25)
    assert watch.observation(30).outcomes == Outcomes(ok=1, timeout=1)
    watch.begin_round()
    after = watch.observation(40)
    assert (after.outcomes, after.first_token_p50_ms, after.in_flight) == (Outcomes(), None, 0)


def test_the_last_round_counts_while_nothing_has_ended_in_this_one() -> None:
    """A pool that answers more slowly than it is asked is not unknown in between; after a while it is."""
    watch = Watch("a/b/c")
    watch.end(watch.begin(0), SERVED, 100)
    watch.begin_round()
    watch.begin(200)
    assert watch.observation(1_100, repeats_ms=1_000).outcomes == Outcomes(ok=1)
    assert watch.observation(1_101, repeats_ms=1_000).outcomes == Outcomes()
    watch.begin_round()
    assert watch.observation(1_100, repeats_ms=1_000).outcomes == Outcomes(ok=1)


def test_the_time_of_each_token_after_the_first_is_told() -> None:
    """As the median of the long streams of the round."""
    watch = Watch("a/b/c")
    watch.end(watch.begin(0), ProbeEnd(ResultClass.OK, 200.0, 12.5), 600)
    assert watch.observation(700).per_token_p50_ms == 12.5


@pytest.mark.parametrize(
    ("counts", "reported"),
    [
        ({"cut": 3}, {"cut": 3}),
        ({"cut": 3, "ok": 1}, {"cut": 1, "ok": 1}),
        ({"ok": 2, "cut": 2, "timeout": 1}, {"ok": 2, "cut": 1, "timeout": 0}),
        ({"ok": 6, "cut": 2, "timeout": 2}, {"ok": 6, "cut": 2, "timeout": 1}),
        ({"ok": 1, "throttled": 4}, {"ok": 1, "throttled": 4}),
    ],
)
def test_what_fails_alone_is_not_counted_as_often_as_it_is_asked(
    counts: dict[str, int], reported: dict[str, int]
) -> None:
    """Else a part that fails would look like a pool that fails; where nothing succeeds all of it counts."""
    assert without_repeats(counts) == reported


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
