"""Anthropic's Messages API: where a stream begins to be output, how it ends, and what it cost."""

import json
from typing import Any

import pytest

from tieline._routing.route import Needs
from tieline._routing.slices import needs_of, offer_for
from tieline.events import ResultClass
from tieline.providers import auth_for, url_for
from tieline.providers.answers import reading_of_error
from tieline.providers.streams import Phase, StreamReader
from tieline.providers.whole import judge, must_be_json
from tieline.table import ModelOffer, PoolInfo

URL = "https://api.anthropic.com/v1"


def event(kind: str, **fields: Any) -> bytes:
    """One event as Anthropic sends it: its line and its type say the same."""
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


START = event(
    "message_start",
    message={"id": "msg_1", "type": "message", "usage": {"input_tokens": 25, "output_tokens": 1}},
)
BLOCK = event("content_block_start", index=0, content_block={"type": "text", "text": ""})
PING = event("ping")
DELTA = event("content_block_delta", index=0, delta={"type": "text_delta", "text": "Hello"})
LATE = event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 15})
STOP = event("message_stop")
OVERLOADED = event("error", error={"type": "overloaded_error", "message": "Overloaded"})


def test_a_stream_is_output_from_its_first_delta() -> None:
    """Until then the request may still change its pool."""
    reader = StreamReader("/messages")
    assert reader.feed(START + BLOCK + PING) is Phase.WAITING
    assert reader.feed(DELTA) is Phase.OUTPUT
    assert reader.answer_id == "msg_1"


def test_a_stream_ends_with_its_last_event_and_names_its_usage() -> None:
    """The prompt at the beginning, the answer at the end."""
    reader, ends = StreamReader("/messages"), []
    for piece in (START, BLOCK, DELTA, LATE, STOP):
        reader.feed(piece)
        ends.append(reader.ended)
    assert ends == [False, False, False, False, True]
    assert reader.close(clean=True) is ResultClass.OK
    assert reader.usage == (25, 15)


def test_a_stream_without_its_last_event_is_cut() -> None:
    """It never counts as whole."""
    reader = StreamReader("/messages")
    reader.feed(START + BLOCK + DELTA)
    assert reader.close(clean=True) is ResultClass.CUT


def test_an_error_before_any_output_is_a_failed_attempt() -> None:
    """Of the pool's health, so that another pool is tried."""
    reader = StreamReader("/messages")
    assert reader.feed(START + OVERLOADED) is Phase.ERROR
    assert reading_of_error(reader.error).elsewhere


def test_a_whole_answer_is_json_that_names_its_usage() -> None:
    """And an error with a good status is none."""
    assert must_be_json("POST", "/messages", 200, "application/json")
    answer = {
        "id": "msg_1",
        "type": "message",
        "content": [],
        "usage": {"input_tokens": 3, "output_tokens": 4},
    }
    judged = judge(json.dumps(answer).encode(), is_creation=True, retry_empty=False)
    assert (judged.reading.result, judged.usage, judged.answer_id) == (ResultClass.OK, (3, 4), "msg_1")
    error = b'{"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}'
    assert judge(error, is_creation=True, retry_empty=False).reading.result is not ResultClass.OK


@pytest.mark.parametrize(
    ("path", "pools"),
    [
        ("/messages", {"both", "own"}),
        ("/messages/count_tokens?beta=true", {"both", "own"}),
        ("/chat/completions", {"both", "own", "other"}),
        ("/threads/t/messages", {"both", "own", "other"}),
    ],
)
def test_only_models_with_the_feature_are_asked(path: str, pools: set[str]) -> None:
    """Whatever the adapter of their pool is."""
    infos = [
        PoolInfo("a/b/both", "eu", URL, models=(ModelOffer("m", "m", features=("messages",)),)),
        PoolInfo(
            "a/b/own", "eu", URL, adapter="anthropic", models=(ModelOffer("m", "m", features=("messages",)),)
        ),
        PoolInfo("a/b/other", "eu", URL, models=(ModelOffer("m", "m"),)),
    ]
    offered = {info.pool.split("/")[2] for info in infos if offer_for(info, "m", needs_of(path, None))}
    assert offered == pools


def test_what_the_caller_needs_stays() -> None:
    """The path only adds to it."""
    needs = needs_of("/messages", Needs(8_000, frozenset({"vision"})))
    assert needs == Needs(8_000, frozenset({"vision", "messages"}))
    assert needs_of("/embeddings", None) is None


def test_the_key_goes_where_anthropic_looks_for_it() -> None:
    """A token is a Bearer's, as everywhere."""
    assert url_for("anthropic", URL, path="/messages", model="m") == f"{URL}/messages"
    assert auth_for("anthropic", "key", is_token=False) == (b"x-api-key", b"key")
    assert auth_for("anthropic", "token", is_token=True) == (b"authorization", b"Bearer token")
