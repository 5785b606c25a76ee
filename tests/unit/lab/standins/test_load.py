"""How a pool behaves under load: whom it admits, and how long its answers take."""

import statistics

import pytest

from lab.standins.config import Latency
from lab.standins.load import RETRY_AFTER_MAX_MS, LoadMeter, TokenBucket, timing

MODEL = Latency(first_token_ms=200, spread=0.3, load_growth=0.5, token_ms=10)


def test_admits_the_burst_and_then_says_when() -> None:
    """A full bucket serves one second of tokens at once; the next request learns when it would be served."""
    bucket = TokenBucket(1_000, burst_s=1.0, now_ms=0)
    assert [bucket.take(400, 0), bucket.take(600, 0)] == [0.0, 0.0]
    assert bucket.take(250, 0) == pytest.approx(250.0)


def test_the_wait_it_names_is_long_enough() -> None:
    """A caller that comes back exactly after the wait is admitted."""
    bucket = TokenBucket(700, burst_s=1.0, now_ms=0)
    assert bucket.take(700, 0) == 0
    wait_ms = bucket.take(333, 100)
    assert bucket.take(333, 100 + wait_ms) == 0


def test_over_time_no_more_than_the_capacity() -> None:
    """Offered three times its capacity for a minute, a pool admits its capacity and one burst."""
    bucket = TokenBucket(1_000, burst_s=1.0, now_ms=0)
    admitted = sum(30 for now_ms in range(0, 60_000, 10) if bucket.take(30, now_ms) == 0)
    assert 60_000 <= admitted <= 61_000


def test_a_request_larger_than_the_burst_is_served_and_paid_for() -> None:
    """It is admitted when the bucket is full, and others wait until the debt is paid."""
    bucket = TokenBucket(100, burst_s=1.0, now_ms=0)
    assert bucket.take(500, 0) == 0
    assert bucket.take(1, 4_000) > 0
    assert bucket.take(1, 4_010) == 0


def test_a_smaller_capacity_bites_at_once() -> None:
    """Savings shrink to the new burst."""
    bucket = TokenBucket(1_000, burst_s=1.0, now_ms=0)
    bucket.change(100, now_ms=0)
    assert bucket.take(100, 0) == 0
    assert bucket.take(100, 500) == pytest.approx(500.0)


def test_no_capacity_refuses_everything() -> None:
    """With zero tokens/s nothing is admitted, and the wait is the longest one."""
    bucket = TokenBucket(0, burst_s=1.0, now_ms=0)
    assert bucket.take(1, 1e9) == RETRY_AFTER_MAX_MS


def test_time_that_goes_back_gives_nothing() -> None:
    """An earlier instant than the last one adds no tokens and takes none away."""
    bucket = TokenBucket(1_000, burst_s=1.0, now_ms=10_000)
    assert bucket.take(1_000, 10_000) == 0
    assert bucket.take(1, 5_000) > 0
    assert bucket.take(100, 10_100) == 0


def test_meter_settles_at_the_load() -> None:
    """Steady load is shown within five percent, and forgotten within a few seconds of its end."""
    meter = LoadMeter(0)
    for now_ms in range(0, 20_000, 10):
        meter.add(10, now_ms)
    assert meter.tokens_per_s(20_000) == pytest.approx(1_000, rel=0.05)
    assert meter.tokens_per_s(40_000) < 1


def draw(key: str, utilisation: float = 0.0) -> float:
    """One time to first token, in ms."""
    return timing(MODEL, key, seed=7, utilisation=utilisation).first_token_ms


def test_the_same_request_always_takes_as_long() -> None:
    """A draw depends on seed and id alone, and another seed draws otherwise."""
    assert draw("a") == draw("a") != draw("b")
    assert timing(MODEL, "a", seed=8, utilisation=0).first_token_ms != draw("a")


def test_median_and_spread_are_those_of_the_model() -> None:
    """Over many ids the median is the configured one and the logarithms spread by sigma."""
    draws = [draw(str(index)) for index in range(4_000)]
    assert abs(statistics.median(draws) / 200 - 1) < 0.03
    assert 1.25 < statistics.quantiles(draws, n=100)[83] / 200 < 1.45  # e^0.3 = 1.35, one sigma up


def test_load_makes_it_slower_and_wider_but_never_endless() -> None:
    """Median and spread grow with utilisation, up to 95 %."""
    calm, busy = ([draw(str(index), load) for index in range(2_000)] for load in (0.0, 0.9))
    assert statistics.median(busy) > 4 * statistics.median(calm)
    assert max(busy) / statistics.median(busy) > max(calm) / statistics.median(calm)
    assert draw("a", 0.95) == draw("a", 50.0)
