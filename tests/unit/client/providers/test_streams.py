"""Streams: where real output begins, and whether one came to its end."""

import pytest

from tieline.providers.streams import CHUNKS_MAX, Phase, StreamReader, read_whole

ROLE = b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}\n\n'
WORD = b'data: {"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":null}]}\n\n'
TOOL = b'data: {"choices":[{"delta":{"tool_calls":[{"index":0}]}}]}\n\n'
DONE = b"data: [DONE]\n\n"


@pytest.mark.parametrize(
    "early",
    [
        ROLE,
        b": keep-alive\n\n",
        b'data: {"choices":[],"prompt_filter_results":[{}]}\n\n',
        b'event: response.created\ndata: {"type":"response.created"}\n\n',
        b'data: {"choices":[{"delta":{},"content_filter_results":{}}]}\r\n\r\n',
    ],
)
def test_what_is_no_output_is_held_back(early: bytes) -> None:
    """Comments, role-only, empty and annotation chunks leave the request free to change its pool."""
    assert StreamReader().feed(early * 3) is Phase.WAITING


@pytest.mark.parametrize(
    "output",
    [
        WORD,
        TOOL,
        b'data: {"choices":[{"text":"Hi"}]}\n\n',
        b'data: {"choices":[{"delta":{"reasoning_content":"hm"}}]}\n\n',
        b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n',
        b'data: {"type":"response.output_text.delta","delta":"Hi"}\n\n',
        b"data: not JSON at all\n\n",
        DONE,
    ],
)
def test_output_commits(output: bytes) -> None:
    """The first real output, or anything this library can't judge, is handed on."""
    reader = StreamReader()
    assert reader.feed(ROLE) is Phase.WAITING
    assert reader.feed(output) is Phase.OUTPUT


def test_bytes_may_be_split_anywhere() -> None:
    """One byte at a time gives the same as all at once."""
    reader = StreamReader()
    for byte in ROLE + WORD + DONE:
        reader.feed(bytes([byte]))
    assert reader.phase is Phase.OUTPUT
    assert reader.ended


def test_the_caps_commit() -> None:
    """After 64 chunks without output, or 256 KiB, the answer is handed on as it is."""
    reader = StreamReader()
    assert reader.feed(b": x\n\n" * (CHUNKS_MAX - 1)) is Phase.WAITING
    assert reader.feed(b": x\n\n") is Phase.OUTPUT
    assert StreamReader().feed(b":" + b"x" * 256 * 1024) is Phase.OUTPUT


@pytest.mark.parametrize("event", [b'data: {"error":{"code":"x"}}\n\n', b'data: {"type":"error"}\n\n'])
def test_an_error_before_output(event: bytes) -> None:
    """It is a failed attempt, not an answer."""
    assert StreamReader().feed(ROLE + event) is Phase.ERROR


def test_an_end_is_said() -> None:
    """[DONE] at the start of a line, or the last event of the responses API; not the same text in an
    answer."""
    reader = StreamReader()
    reader.feed(b'data: {"choices":[{"delta":{"content":"data: [DONE]"}}]}\n\n')
    assert not reader.ended
    reader.feed(DONE)
    assert bool(reader.ended)
    other = StreamReader()
    other.feed(b"event: response.completed\ndata: {}\n\n")
    assert other.ended


def test_usage_is_found() -> None:
    """In the last chunk of a stream or in a whole answer, under either API's names."""
    reader = StreamReader()
    reader.feed(WORD)
    reader.feed(b'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":5}}\n\n' + DONE)
    assert reader.usage == (7, 5)
    assert read_whole(b'{"id":"r1","usage":{"input_tokens":3,"output_tokens":4}}') == ((3, 4), "r1")
    assert read_whole(b"not JSON") == (None, "")
