"""The latency model."""

import statistics

from lab.standins.config import Latency
from lab.standins.latency import timing

MODEL = Latency(first_token_ms=200, spread=0.3, load_growth=0.5, token_ms=10)


def draw(key: str, utilisation: float = 0.0, time_scale: float = 1.0) -> float:
    """One time to first token, in ms."""
    drawn = timing(MODEL, key, seed=7, utilisation=utilisation, time_scale=time_scale)
    return drawn.first_token_ms


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
    calm, busy = ([draw(str(index), used) for index in range(2_000)] for used in (0.0, 0.9))
    assert statistics.median(busy) > 4 * statistics.median(calm)
    assert max(busy) / statistics.median(busy) > max(calm) / statistics.median(calm)
    assert draw("a", 0.95) == draw("a", 50.0)


def test_time_scale_shortens_all_of_it() -> None:
    """A tenth of the time scale is a tenth of every time."""
    whole = timing(MODEL, "a", seed=7, utilisation=0.5)
    tenth = timing(MODEL, "a", seed=7, utilisation=0.5, time_scale=0.1)
    assert abs(tenth.first_token_ms - whole.first_token_ms / 10) < 1e-9
    assert abs(tenth.token_ms - whole.token_ms / 10) < 1e-9
