"""The text format of Prometheus, as servers and as enemies write it."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Gauge, Histogram, generate_latest

from controller.collect.capacity.exposition import (
    SAMPLES_MAX,
    buckets,
    grown,
    quantile_bound,
    samples,
    total,
)
from controller.collect.collector import UnreadableError


def test_what_the_official_library_writes_is_read() -> None:
    """With labels in which every special character stands, and histograms."""
    registry = CollectorRegistry()
    gauge = Gauge("load", "with } and { and\nline", ["name"], registry=registry)
    gauge.labels('a "quoted\\" {one}\n').set(3)
    histogram = Histogram("late_seconds", "help", buckets=(0.1, 1.0), registry=registry)
    for value in (0.05, 0.5, 5.0):
        histogram.observe(value)
    found = samples(generate_latest(registry), ("load", "late_seconds_bucket"))
    assert (found[0].value, found[0].labels) == (3.0, {"name": 'a "quoted\\" {one}\n'})
    assert buckets(found, "late_seconds") == {0.1: 1.0, 1.0: 2.0, math.inf: 3.0}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>\nall is well\n</html>\n",
        b"other 1\n",
        b"load 12",  # cut: it may have been 1234
        b'load{engine="0" 12\n',
        b"load\n",
        b"load twelve\n",
        b"load{\xff} 1\n",
        b"load 1\n" * (SAMPLES_MAX + 1),
        b'load{a="' + b"x" * 20_000 + b'"} 1\n',
        b"loads 1\nload_total 1\n",
    ],
)
def test_what_is_no_such_text_is_refused(body: bytes) -> None:
    """Also when it has none of the metrics, or was cut."""
    with pytest.raises(UnreadableError):
        samples(body, ("load",))


def test_numbers_that_are_none_are_left_out() -> None:
    """NaN, infinities, and what DCGM writes for a figure that it does not have."""
    text = b"load 1\nload NaN\nload +Inf\nload 9223372036854775794\nload 2.5 1700000000000\n"
    assert [sample.value for sample in samples(text, ("load",))] == [1.0, 2.5]


def test_labels_choose_and_all_that_match_are_added() -> None:
    """As of several engines behind one address."""
    found = samples(b'load{e="0",k="a"} 1\nload{e="1",k="a"} 2\nload{e="0",k="b"} 4\n', ("load",))
    assert (total(found, "load", {"k": "a"}), total(found, "load", {}), total(found, "none", {})) == (
        3.0,
        7.0,
        None,
    )


def test_a_histogram_that_was_reset_has_not_grown() -> None:
    """After a restart its counts say nothing about the time between."""
    assert grown({1.0: 5.0, math.inf: 7.0}, {1.0: 2.0, math.inf: 3.0}) == {1.0: 3.0, math.inf: 4.0}
    assert grown({1.0: 1.0, math.inf: 9.0}, {1.0: 2.0, math.inf: 3.0}) is None
    assert grown({1.0: 5.0}, {2.0: 5.0}) is None


@given(st.lists(st.floats(0, 20), min_size=1), st.floats(0.01, 1))
def test_a_quantile_is_never_above_its_bound(values: list[float], share: float) -> None:
    """And it lies above the bucket below."""
    bounds = [1.0, 2.0, 5.0, 10.0, math.inf]
    counts = {bound: float(sum(value <= bound for value in values)) for bound in bounds}
    bound = quantile_bound(counts, share)
    assert bound is not None
    below = max((entry for entry in bounds if entry < bound), default=-1.0)
    exact = sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
    assert below < exact <= bound


def test_no_observations_have_no_quantile() -> None:
    """Neither has a histogram without buckets."""
    assert quantile_bound({1.0: 0.0, math.inf: 0.0}, 0.5) is None
    assert quantile_bound({}, 0.5) is None
