"""Answers by what is in their bodies: sounds, and compressed ones."""

import gzip

import pytest

from tests.unit.client.exchanging import WHOLE, Answer, Bench, Does, answers, header
from tests.unit.client.made_tables import Time, part, router

A, B = "a/r/x", "b/r/x"


def bench(**pools: Does) -> Bench:
    """Pools ``a`` and ``b``; the first request goes to ``a``."""
    time = Time()
    return Bench(router(part({A: 700_000, B: 300_000}), time), time, **pools)


SOUND = [(b"content-type", b"audio/mpeg")]


def test_a_speech_without_a_sound_is_no_answer() -> None:
    """An empty body of any type is tried elsewhere; the first bytes of a sound are handed on with the
    rest."""
    tried = bench(a=lambda _: Answer(200, SOUND), b=lambda _: Answer(200, SOUND, b"ID3", b"more"))
    reply = tried.ask("/audio/speech", input="hi")
    assert [pool for pool, _ in tried.sent] == [A, B]
    assert reply.relay is not None
    assert (reply.relay.prefix, reply.relay.answer.read()) == (b"ID3", b"more")


def test_compressed_answers_are_judged() -> None:
    """An error in a compressed body is one, what it holds is learned, and its bytes are handed on as they
    came."""
    coded = gzip.compress(b'{"id":"resp_7","object":"response","usage":{"input_tokens":3,"output_tokens":4}}')
    tried = bench(
        a=answers(200, gzip.compress(b'{"error":{"code":"server_error"}}'), content_encoding="gzip"),
        b=answers(200, coded, content_encoding="gzip"),
    )
    reply = tried.ask("/responses", input="hi", store=True)
    assert [pool for pool, _ in tried.sent] == [A, B]
    assert (reply.body, header(reply, "content-encoding")) == (coded, "gzip")
    assert tried.holders.pools_of(["resp_7"]) == {"resp_7": B}


def test_a_compressed_refusal_says_what_it_means() -> None:
    """Its code counts as if it were not compressed: here the pool lacks the model."""
    body = gzip.compress(b'{"error":{"code":"model_not_found"}}')
    tried = bench(a=answers(400, body, content_encoding="gzip"), b=answers())
    assert tried.ask().status == 200
    assert [pool for pool, _ in tried.sent] == [A, B]


@pytest.mark.parametrize("body", [b"no gzip", gzip.compress(WHOLE, mtime=0)[:-9]])
def test_a_broken_compressed_answer_is_no_answer(body: bytes) -> None:
    """One that is not what it is said to be, or breaks off, is tried elsewhere."""
    tried = bench(a=answers(200, body, content_encoding="gzip"), b=answers())
    assert tried.ask().status == 200
    assert [pool for pool, _ in tried.sent] == [A, B]
