"""Whether the body of an answer with a good status is an answer at all."""

import gzip
import zlib

import pytest

from tieline.blame import Blame
from tieline.events import ResultClass
from tieline.providers.answers import status_of_error
from tieline.providers.whole import (
    DECOMPRESSED_MAX_BYTES,
    BrokenBodyError,
    decompressed,
    judge,
    must_be_json,
    must_have_body,
)

CHAT = b'{"id":"c","object":"chat.completion","choices":[{"message":{"content":"hi"}}],"usage":'


@pytest.mark.parametrize(
    ("method", "path", "status", "kind", "must"),
    [
        ("POST", "/chat/completions?x=1", 200, "application/json", True),
        ("POST", "/embeddings", 200, "text/html", True),
        ("POST", "/responses", 201, "", True),
        ("GET", "/models", 200, "text/plain", True),
        ("POST", "/chat/completions", 200, "text/event-stream", False),
        ("DELETE", "/responses/r", 204, "", False),
        ("HEAD", "/models", 200, "", False),
        ("GET", "/files/f/content", 200, "application/octet-stream", False),
        ("POST", "/audio/speech", 200, "audio/mpeg", False),
        ("POST", "/audio/transcriptions", 200, "text/plain", False),
        ("POST", "/audio/transcriptions", 200, "application/json", True),
        ("POST", "/audio/speech", 200, "text/html", True),
        ("POST", "/files", 200, "application/json", True),
        ("GET", "/files/f/content", 200, "application/json", False),
        ("POST", "/never/heard/of", 200, "text/html", False),
    ],
)
def test_which_answers_can_only_be_json(method: str, path: str, status: int, kind: str, must: bool) -> None:
    """By the path's API, and for audio and files by the type as well; sounds, the contents of files and
    unknown APIs are handed on as they are."""
    assert must_be_json(method, path, status, kind) is must


@pytest.mark.parametrize(
    "body",
    [
        CHAT + b'{"prompt_tokens":3,"completion_tokens":1}}',
        b'{"id":"r","object":"response","status":"completed","error":null,"output":[]}',
        b'{"id":"b","object":"batch","status":"failed","error":{"code":"x"}}',
        b'{"object":"list","data":[]}',
        b'{"object":"list","data":[],"error":{"code":"x"}}',
        b'[{"id":1}]',
        b"[]",
        b'"text"',
        CHAT + b"null}",
        b'{"id":7,"choices":[]}',
    ],
)
def test_what_is_an_answer(body: bytes) -> None:
    """An object that has an error among other fields is one, and so is an answer without content by
    default."""
    assert judge(body, is_creation=True, retry_empty=False).reading.result is ResultClass.OK


def test_an_answers_usage_and_id_are_read() -> None:
    """They are what reports and bound requests need."""
    judged = judge(CHAT + b'{"prompt_tokens":3,"completion_tokens":1}}', is_creation=True, retry_empty=True)
    assert (judged.usage, judged.answer_id) == ((3, 1), "c")


@pytest.mark.parametrize(
    "body", [b"", b" \n", b"<html></html>", CHAT, b'{"id":7,"choices":[{]}', b"[{]", b'{"a":1} x']
)
def test_what_is_no_answer_is_the_pools_failure(body: bytes) -> None:
    """Empty, no JSON, or JSON that breaks off."""
    reading = judge(body, is_creation=True, retry_empty=False).reading
    assert (reading.result, reading.blame) == (ResultClass.SERVER_ERROR, Blame.POOL)


@pytest.mark.parametrize(
    ("body", "result", "status"),
    [
        (b'{"error":{"code":"rate_limit_exceeded","message":"slow"}}', "throttled", 429),
        (b'{"error":{"code":503,"message":"overloaded"}}', "server_error", 503),
        (b'{"error":"it broke"}', "server_error", 500),
        (b'[{"error":{"status":"UNAVAILABLE"}}]', "server_error", 503),
        (b'{"type":"error","error":{"type":"overloaded_error"}}', "server_error", 529),
        (b'{"object":"error","message":"no","type":"invalid_request_error"}', "client_error", 400),
        (b'{"type":"error","code":"context_length_exceeded","message":"long"}', "client_error", 400),
    ],
)
def test_a_body_that_is_only_an_error_is_what_the_error_says(body: bytes, result: str, status: int) -> None:
    """It has the status that the error stands for, whatever the answer's own was."""
    judged = judge(body, is_creation=True, retry_empty=False)
    assert judged.reading.result == result
    assert status_of_error(judged.error) == status
    assert not judged.is_own_status


def test_a_response_that_failed_is_read_as_its_error() -> None:
    """Only where this request was to make it: to look up one that failed is a success."""
    body = b'{"id":"r","object":"response","status":"failed","error":{"code":"server_error"}}'
    made = judge(body, is_creation=True, retry_empty=False)
    assert (made.reading.result, made.is_own_status) == (ResultClass.SERVER_ERROR, True)
    assert judge(body, is_creation=False, retry_empty=False).reading.result is ResultClass.OK


@pytest.mark.parametrize(
    ("choices", "is_empty"),
    [
        ("[]", True),
        ('[{"message":{"content":null},"finish_reason":"stop"}]', True),
        ('[{"message":{"content":""}},{"text":""}]', True),
        ('[{"message":{"content":null,"tool_calls":[{"id":"t"}]}}]', False),
        ('[{"message":{"content":null,"refusal":"no"}}]', False),
        ('[{"message":{"content":null}},{"message":{"content":"x"}}]', False),
        ('[{"text":"x"}]', False),
        ("[7]", False),
        ("{}", False),
    ],
)
def test_an_answer_without_content_is_tried_again_where_that_is_asked_for(
    choices: str, is_empty: bool
) -> None:
    """It leaves no mark on the pool, and its own status is kept."""
    judged = judge(f'{{"id":"c","choices":{choices}}}'.encode(), is_creation=True, retry_empty=True)
    assert judged.reading.again is is_empty
    assert judged.is_own_status is is_empty
    assert judged.reading.blame is (Blame.MOMENT if is_empty else Blame.NOBODY)


RAW_DEFLATE = zlib.compress(b"{}")[2:-4]


@pytest.mark.parametrize(
    ("body", "encoding", "whole"),
    [
        (b"{}", None, b"{}"),
        (b"{}", "identity", b"{}"),
        (b"", "gzip", b""),
        (gzip.compress(b"{}", mtime=0), "gzip", b"{}"),
        (gzip.compress(b"{}", mtime=0), "X-Gzip ", b"{}"),
        (zlib.compress(b"{}"), "deflate", b"{}"),
        (RAW_DEFLATE, "deflate", b"{}"),
        (b"?", "br", None),
        (b"?", "gzip, br", None),
        (gzip.compress(bytes(DECOMPRESSED_MAX_BYTES + 1), mtime=0), "gzip", None),
    ],
)
def test_compression_is_undone(body: bytes, encoding: str | None, whole: bytes | None) -> None:
    """Gzip and deflate in each of their forms, up to 4 MiB; of others nothing is said."""
    assert decompressed(body, encoding) == whole


@pytest.mark.parametrize("body", [b"?", gzip.compress(b"{}", mtime=0)[:-1], zlib.compress(b"x" * 99)[:-5]])
def test_a_broken_compression_is_told(body: bytes) -> None:
    """Whatever is missing of it."""
    with pytest.raises(BrokenBodyError):
        decompressed(body, "gzip")


@pytest.mark.parametrize(
    ("method", "path", "status", "must"),
    [
        ("POST", "/audio/speech", 200, True),
        ("POST", "/chat/completions", 200, True),
        ("POST", "/audio/speech", 204, False),
        ("GET", "/files/f/content", 200, False),
        ("POST", "/own/thing", 200, False),
    ],
)
def test_which_answers_must_have_a_body(method: str, path: str, status: int, must: bool) -> None:
    """Those to requests that make something, by the APIs that are known."""
    assert must_have_body(method, path, status) is must
