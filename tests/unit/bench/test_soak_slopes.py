"""What a soak of the whole installation says about thirty days."""

import pytest

from bench._soak_slopes import (
    Sample,
    cases_of,
    in_thirty_days,
    left_behind,
    memory_limits_mib,
    slope_of,
    topic_limit_mib,
)
from tieline.topics import Topics


def samples(*values: float, cycle_of: int = 1) -> list[Sample]:
    """One a minute, at rest; a cycle has ``cycle_of`` of them."""
    return [Sample(i / 60, value, i // cycle_of, at_rest=True) for i, value in enumerate(values)]


def test_a_single_peak_does_not_bend_the_slope() -> None:
    """The median of slopes follows the many cycles, not the one that is far off."""
    steady = [100.0 + minute for minute in range(20)]
    assert slope_of(samples(*steady)).per_hour == pytest.approx(60.0)
    peak = slope_of(samples(*steady[:10], 5_000.0, *steady[11:]))
    assert peak.per_hour == pytest.approx(60.0, rel=0.01)
    assert peak.growth_per_hour == peak.per_hour


def test_what_goes_up_and_down_does_not_grow() -> None:
    """A slope that chance may have made is none, or in 30 days it would be thousands of connections."""
    waves = slope_of(samples(29, 31, 30, 29, 32, 30, 29, 31, 31, 30))
    assert waves.growth_per_hour == 0
    assert in_thirty_days(samples(29, 31, 30, 29, 32, 30, 29, 31, 31, 30)) == 30


def test_a_cycle_counts_once() -> None:
    """By its median, however many samples it has: those of one cycle resemble each other."""
    with pytest.raises(ValueError, match="too few"):
        slope_of(samples(*range(20), cycle_of=10))
    assert slope_of(samples(1, 9, 2, 3, 3, 3, 5, 4, 0, cycle_of=3)).per_hour == pytest.approx(20.0)


def test_a_projection_goes_on_for_thirty_days_from_the_last_cycle() -> None:
    """The level at the end, and 720 times the growth of an hour."""
    rising = [100.0 + minute / 60 for minute in range(31)]
    assert in_thirty_days(samples(*rising)) == pytest.approx(100.5 + 720)
    assert in_thirty_days(samples(*[7.0] * 10)) == 7


def test_what_the_last_cycle_has_more_than_the_first_was_left_behind() -> None:
    """The medians of the first and the last cycle are compared, not single samples."""
    assert left_behind(samples(10.0, 10.0, 12.0, 90.0, 14.0, 14.0, cycle_of=2)) == 4
    assert left_behind(samples(10.0, 12.0, cycle_of=2)) == 0


def test_the_limits_of_memory_are_those_of_the_chart() -> None:
    """One statement of the rule: what Kubernetes enforces is what the soak is held against."""
    limits = memory_limits_mib()
    assert limits["controller"] == 512
    assert limits["web"] == 256
    assert limits["prober"] == limits["collect"] == limits["notify"] == 192


def test_a_topic_may_take_its_bytes_and_a_segment_for_each_partition() -> None:
    """Kafka deletes whole segments only, and never the one it writes to."""
    topics = Topics("x")
    assert topic_limit_mib(topics.reports) == 4 * (2_048 + 64)
    assert topic_limit_mib(topics.routes) == 1_024


def test_growth_beyond_a_limit_is_not_met_and_incidents_do_not_count() -> None:
    """Only samples at rest are judged: one beside an incident is as high as it likes."""
    rising = [100.0 + minute for minute in range(30)]
    busy = Sample(0.9, 10_000.0, 3, at_rest=False)
    series = {
        ("web", "memory"): samples(*rising),
        ("notify", "memory"): [*samples(*[90.0] * 30), busy],
        ("x.controllers", "topic"): samples(*[minute / 60 for minute in range(30)]),
    }
    met = {case.name: case.met for case in cases_of(series, "x")}
    assert met["web: memory, in 30 days"] is False
    assert met["notify: memory, in 30 days"] is True
    assert met["x.controllers: topic, as long as it is kept"] is True


def test_a_topic_that_kafka_may_shorten_takes_its_bytes_and_no_more() -> None:
    """No promise needs decisions for all of their 30 days; one that a promise needs must fit."""
    fast = samples(*[30.0 * minute for minute in range(30)])
    cases = cases_of({("x.decisions", "topic"): fast, ("x.commands", "topic"): fast}, "x")
    values = {case.name: round(case.samples[0], 1) for case in cases}
    limit = 8 * 1_024 + 129
    assert values["x.decisions: topic, as long as it is kept"] == limit
    assert values["x.decisions: topic, kept for"] == round(limit / 1_800 / 24, 1)
    assert [case.name for case in cases if not case.met] == ["x.commands: topic, as long as it is kept"]
