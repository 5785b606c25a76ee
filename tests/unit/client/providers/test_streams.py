"""Streams: where real output begins, whether one came to its end, and how it ended."""

import pytest

from tests.unit.client.providers.recorded_streams import (
    CHAT,
    DONE,
    IMAGES,
    PICTURE,
    RESPONSES,
    ROLE,
    STOP,
    STREAMS,
    UNKNOWN,
    WORD,
    event,
    typed,
)
from tieline.events import ResultClass
from tieline.providers.streams import BYTES_MAX, CHUNKS_MAX, Phase, StreamReader, read_whole


@pytest.mark.parametrize("name", STREAMS)
def test_recorded_streams(name: str) -> None:
    """Each means what its row says: of what phase it is, whether it is complete, and how it counts."""
    row = STREAMS[name]
    reader = StreamReader(row.path, row.answers)
    reader.feed(row.body)
    result = reader.close(clean=True)
    assert reader.phase is row.phase
    assert reader.ended is row.complete
    assert reader.usage == row.usage
    # An error before any output is judged by itself; what comes after it has not been read.
    if row.phase is not Phase.ERROR:
        assert result is row.result


@pytest.mark.parametrize(
    "early",
    [
        ROLE,
        b": keep-alive\n\n",
        b"event: keepalive\ndata: {}\n\n",
        b'data: {"choices":[],"prompt_filter_results":[{}]}\n\n',
        b'data: {"choices":[{"delta":{},"content_filter_results":{}}]}\r\n\r\n',
    ],
)
def test_what_is_no_output_is_held_back(early: bytes) -> None:
    """Comments, role-only, empty and annotation chunks leave the request free to change its pool."""
    assert StreamReader(CHAT).feed(early * 3) is Phase.WAITING


@pytest.mark.parametrize(
    "kind",
    [
        "response.created",
        "response.queued",
        "response.in_progress",
        "response.output_item.added",
        "keepalive",
    ],
)
def test_an_announced_response_is_held_back(kind: str) -> None:
    """The responses API announces an answer before it begins."""
    assert StreamReader(RESPONSES).feed(typed(kind) + typed(kind, named=True)) is Phase.WAITING


@pytest.mark.parametrize(
    "output",
    [
        WORD,
        b'data: {"choices":[{"delta":{"tool_calls":[{"index":0}]}}]}\n\n',
        b'data: {"choices":[{"text":"Hi"}]}\n\n',
        b'data: {"choices":[{"delta":{"reasoning_content":"hm"}}]}\n\n',
        STOP,
        DONE,
    ],
)
def test_output_commits(output: bytes) -> None:
    """The first real output is handed on."""
    reader = StreamReader(CHAT)
    assert reader.feed(ROLE) is Phase.WAITING
    assert reader.feed(output) is Phase.OUTPUT


def test_what_is_unknown_commits() -> None:
    """What this library can't judge, the caller may understand."""
    assert StreamReader(UNKNOWN).feed(b"data: not JSON at all\n\n") is Phase.OUTPUT
    assert StreamReader(RESPONSES).feed(typed("response.new_thing.delta")) is Phase.OUTPUT
    assert StreamReader(CHAT).feed(b"data: [1]\n\n") is Phase.OUTPUT


def test_the_caps_commit() -> None:
    """After 64 chunks without output, or 256 KiB, the answer is handed on as it is; comments are no
    chunks."""
    reader = StreamReader(CHAT)
    assert reader.feed(b": x\n\n" * CHUNKS_MAX + ROLE * (CHUNKS_MAX - 1)) is Phase.WAITING
    assert reader.feed(ROLE) is Phase.OUTPUT
    assert StreamReader(CHAT).feed(b":" + b"x" * BYTES_MAX) is Phase.OUTPUT


@pytest.mark.parametrize(
    "error",
    [
        b'data: {"error":{"code":"x"}}\n\n',
        b'data: {"error":"overloaded"}\n\n',
        b'data: {"type":"error"}\n\n',
        b'data: {"object":"error","message":"no"}\n\n',
        b'event: error\ndata: {"message":"no"}\n\n',
        b"event: error\n\n",
        b'data: {"choices":[{"delta":{},"finish_reason":"error"}]}\n\n',
        b'data: {"choices":[{"delta":{},"error":{"code":502}}]}\n\n',
        b"data: {not JSON\n\n",
    ],
)
def test_an_error_before_output(error: bytes) -> None:
    """It is a failed attempt, not an answer, in whatever shape it comes."""
    assert StreamReader(CHAT).feed(ROLE + error) is Phase.ERROR


def test_what_nests_too_deeply_is_no_json() -> None:
    """No stream makes the reader raise."""
    deep = b"[" * 200_000
    assert StreamReader(CHAT).feed(b'data: {"choices":' + deep + b"\n\n") is Phase.ERROR
    assert StreamReader(RESPONSES).feed(b'data: {"type":"response.x","response":' + deep + b"\n\n")


def test_a_flat_error_is_read_like_a_nested_one() -> None:
    """The code of either is at hand."""
    nested, flat = StreamReader(RESPONSES), StreamReader(RESPONSES)
    nested.feed(event({"error": {"code": "rate_limit_exceeded"}}))
    flat.feed(typed("error", code="rate_limit_exceeded"))
    assert nested.error["code"] == flat.error["code"] == "rate_limit_exceeded"


def test_a_broken_body_is_a_cut_before_the_end_only() -> None:
    """A finish reason completes an answer together with a clean end of the body; [DONE] does by itself."""
    finished, done = StreamReader(CHAT), StreamReader(CHAT)
    finished.feed(WORD + STOP)
    done.feed(WORD + DONE)
    assert finished.close(clean=False) is ResultClass.CUT
    assert done.close(clean=False) is ResultClass.OK


def test_an_error_hides_no_truncation() -> None:
    """A body that breaks after a caller's own error counts as cut."""
    reader = StreamReader(CHAT)
    reader.feed(WORD + event({"error": {"code": "content_filter"}}))
    assert reader.close(clean=False) is ResultClass.CUT
    assert not reader.ended


def test_an_event_that_is_too_large_is_passed_over() -> None:
    """What it said is not known, so a clean end of the body completes the answer."""
    reader = StreamReader(IMAGES)
    reader.feed(b'data: {"type":"image_generation.completed","b64_json":"' + b"A" * 17_000_000)
    reader.feed(b'"}\n')
    reader.feed(b"\n")
    assert reader.close(clean=True) is ResultClass.OK
    large = StreamReader(IMAGES)
    large.feed(PICTURE.replace(b"AAAA", b"A" * 2_000_000))
    assert large.ended


def test_usage_is_found() -> None:
    """In a whole answer, under either API's names; in streams see the recorded ones."""
    assert read_whole(b'{"id":"r1","usage":{"input_tokens":3,"output_tokens":4}}') == ((3, 4), "r1")
    assert read_whole(b'{"usage":{"prompt_tokens":3}}') == ((3, 0), "")
    assert read_whole(b'{"usage":{"type":"duration","seconds":3}}') == (None, "")
    assert read_whole(b"not JSON") == (None, "")


def test_a_stream_of_several_images_ends_with_the_last() -> None:
    """Each of them has an event of its own that ends it."""
    last = b'data: {"type":"image_generation.completed","b64_json":"AA=="}\n\n'
    reader = StreamReader(IMAGES, 2)
    ends = []
    for _ in range(2):
        reader.feed(last)
        ends.append(reader.ended)
    assert ends == [False, True]
