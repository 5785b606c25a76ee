"""Requests that refer to what some pool holds, by what the pools answer."""

import pytest

import tieline
from tests.unit.client.exchanging import DONE, EVENTS, ROLE, Answer, Bench, Does, answers, streams
from tests.unit.client.made_tables import Time, part, router

A, B = "a/r/x", "b/r/x"
ERROR = b'{"error":{"message":"no","code":"x"}}'


def bench(**pools: Does) -> Bench:
    """Pools ``a`` and ``b``; the first request goes to ``a``."""
    time = Time()
    return Bench(router(part({A: 700_000, B: 300_000}), time), time, **pools)


def test_missing_state_says_nothing_about_a_pool() -> None:
    """A 404 for what a request refers to is the caller's, however many come: each pool is asked once and
    keeps its model."""
    tried = bench(a=answers(404, ERROR), b=answers(404, ERROR))
    for number in range(6):
        reply = tried.ask("/responses", previous_response_id=f"resp_{number}")
        assert (reply.status, reply.body, len(tried.sent)) == (404, ERROR, 2 * number + 2)
    assert tried.router.outs() == {}


@pytest.mark.parametrize(
    "missing", [answers(404, ERROR), answers(400, b'{"error":{"code":"previous_response_not_found"}}')]
)
def test_state_whose_holder_is_not_known_is_looked_for(missing: Does) -> None:
    """A pool that does not have it leads to another one, which is known to hold it from then on."""
    tried = bench(a=missing, b=answers())
    for _ in range(2):
        assert tried.ask("/responses", previous_response_id="resp_1").status == 200
    assert [pool for pool, _ in tried.sent] == [A, B, B]


def test_a_known_holder_is_the_only_one_asked() -> None:
    """What it says about what it holds is the answer."""
    tried = bench(a=answers(404, ERROR), b=answers())
    tried.holders.learn(["resp_1"], A)
    assert tried.ask("/responses", previous_response_id="resp_1").status == 404
    assert [pool for pool, _ in tried.sent] == [A]


def test_audio_of_a_stream_is_remembered() -> None:
    """By the id that its first output names."""
    audio = b'data: {"choices":[{"index":0,"delta":{"audio":{"id":"audio_1","data":"AA=="}}}]}\n\n'
    tried = bench(a=lambda _: Answer(200, EVENTS, ROLE, audio), b=streams(DONE))
    assert tried.ask("/chat/completions", stream=True).relay is not None
    assert tried.holders.pools_of(["audio_1"]) == {"audio_1": A}
    whole = bench(a=lambda _: Answer(200, EVENTS, ROLE, audio, DONE), b=streams(DONE))
    with tieline.options(stream_recovery="whole"):
        assert whole.ask("/chat/completions", stream=True).status == 200
    assert whole.holders.pools_of(["audio_1"]) == {"audio_1": A}
