"""What is usual for a pool and model, and when a wait is a hang."""

import pytest

from tieline._health.usual import HANG_FACTOR, SAMPLES_FEW, SAMPLES_MIN, Usual

POOL, MODEL = "a/r/x", "chat-large"


def learnt(count: int, first_token_ms: float = 100.0) -> Usual:
    """What is usual after so many streams."""
    usual = Usual()
    for _ in range(count):
        usual.learn(POOL, MODEL, first_token_ms=first_token_ms, whole_ms=None)
    return usual


def test_nothing_is_usual_before_twenty_answers() -> None:
    """0 stands for what is not known; other models and whole answers have their own times."""
    assert learnt(SAMPLES_MIN - 1).first_token_ms(POOL, MODEL) == 0
    usual = learnt(SAMPLES_MIN)
    assert usual.first_token_ms(POOL, MODEL) == pytest.approx(100.0)
    assert usual.first_token_ms(POOL, "other") == usual.whole_ms(POOL, MODEL) == 0


def test_slow_answers_raise_it_at_once() -> None:
    """One answer of ten seconds counts for half of the difference; quick ones lower it slowly."""
    usual = learnt(SAMPLES_MIN)
    usual.learn(POOL, MODEL, first_token_ms=10_100.0, whole_ms=None)
    assert usual.first_token_ms(POOL, MODEL) == pytest.approx(5_100.0)
    usual.learn(POOL, MODEL, first_token_ms=100.0, whole_ms=None)
    assert usual.first_token_ms(POOL, MODEL) == pytest.approx(5_050.0)


def test_three_times_as_long_is_a_hang() -> None:
    """Five answers are enough to tell; with fewer nobody can, nor of the other kind of answer."""
    assert not learnt(SAMPLES_FEW - 1).is_hang(POOL, MODEL, 10**6, is_stream=True)
    usual = learnt(SAMPLES_FEW)
    assert usual.is_hang(POOL, MODEL, HANG_FACTOR * 100, is_stream=True)
    assert not usual.is_hang(POOL, MODEL, HANG_FACTOR * 100 - 1, is_stream=True)
    assert not usual.is_hang(POOL, MODEL, 10**6, is_stream=False)
