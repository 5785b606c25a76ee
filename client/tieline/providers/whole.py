"""PURE. Whether the body of an answer with a good status is an answer at all.

A gateway in front of a pool may send 200 with an empty body, a page of HTML, half a JSON document, or nothing
but an error object. For APIs whose answers are JSON, and for audio and files where the answer is said to be
JSON or HTML, such a body is a failure of the pool, or what its error says, and is never handed on as a
success. Other bodies (sounds, the contents of files) and those of unknown paths are handed on as they are.

A compressed body is judged by what is in it, as far as that can be read here.

``choices: []`` and choices without any content are ambiguous: a model may have nothing to say. They are
judged only if the table's ``empty_answers`` says so.
"""

import zlib
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import Struct

from tieline.errors import UNDECODABLE
from tieline.providers.answers import (
    EMPTY_ANSWER,
    EVENT_STREAM,
    GOOD,
    HTML,
    JSON,
    NO_ERROR,
    UNHEALTHY,
    ProviderError,
    Reading,
    error_in,
    reading_of_error,
)
from tieline.providers.streams.usage import TokenCounts, token_counts

JSON_APIS = frozenset(
    {
        "assistants",
        "batches",
        "chat",
        "completions",
        "conversations",
        "embeddings",
        "fine_tuning",
        "images",
        "messages",
        "models",
        "moderations",
        "responses",
        "threads",
        "uploads",
        "vector_stores",
    }
)
# What these answer may be something else, as the caller asked: JSON only where the answer says so itself. A
# page of HTML it is never.
OFTEN_JSON_APIS = frozenset({"audio", "files"})
_OUTPUT_FIELDS = ("content", "refusal", "tool_calls", "function_call", "audio", "reasoning_content")
_NO_BODY = frozenset({204, 205})
_UNTYPED = ("", "text/plain", "application/octet-stream")
PATHS_KEPT = 1_024
DECOMPRESSED_MAX_BYTES = 4 * 1024 * 1024
_ENCODINGS = frozenset({"gzip", "x-gzip", "deflate"})


class BrokenBodyError(Exception):
    """A compressed body is not what it is said to be, or breaks off."""


class _Body(Struct):
    usage: Any = None
    usage_metadata: Any = msgspec.field(default=None, name="usageMetadata")
    id: Any = None
    error: Any = None
    object: Any = None
    type: Any = None
    status: Any = None
    choices: msgspec.Raw = msgspec.Raw(b"")


_decoder = msgspec.json.Decoder(_Body)


class Judged(Struct, frozen=True):
    """What a body is. ``text`` says what is wrong with one that is no answer; ``error`` is the one that it
    holds instead. ``is_own_status``: the answer's own status is kept, as it is an object that says itself
    that it failed. ``usage``, ``answer_id``: as far as it names them."""

    reading: Reading
    text: str = ""
    error: ProviderError = NO_ERROR
    is_own_status: bool = False
    usage: TokenCounts | None = None
    answer_id: str = ""


def must_be_json(method: str, path: str, status: int, kind: str) -> bool:
    """Whether the body of this answer can only be JSON. ``path``: what follows ``/v1``; ``kind``: the
    answer's media type, "" without one."""
    if method == "HEAD" or status in _NO_BODY or kind == EVENT_STREAM:
        return False
    api = _api_of(path)
    return api in JSON_APIS or (api in OFTEN_JSON_APIS and kind in (JSON, HTML))


def comes_as_stream(kind: str, *, asks_stream: bool, is_json: bool) -> bool:
    """Whether the body is read as a stream. SDKs read what they asked for as a stream, whatever type it is
    said to have. ``kind``: the answer's media type; ``is_json``: as ``must_be_json`` says."""
    return kind == EVENT_STREAM or (asks_stream and is_json and kind in _UNTYPED)


def must_have_body(method: str, path: str, status: int) -> bool:
    """Whether an answer without any body is none, whatever its type: one to a request that makes something
    (a speech, a transcription)."""
    return method == "POST" and status not in _NO_BODY and _api_of(path) in JSON_APIS | OFTEN_JSON_APIS


def decompressed(body: bytes, encoding: str | None) -> bytes | None:
    """A whole body without the compression that its Content-Encoding header names. None where that can't be
    told here: for other encodings than gzip and deflate, and for what is larger than 4 MiB then. Raises
    ``BrokenBodyError``."""
    if not body or encoding in (None, "identity"):
        return body
    if encoding.strip().lower() not in _ENCODINGS:
        return None
    for bits in (zlib.MAX_WBITS | 32, -zlib.MAX_WBITS):  # gzip or zlib by its head; what has no head
        reader = zlib.decompressobj(bits)
        try:
            text = reader.decompress(body, DECOMPRESSED_MAX_BYTES)
        except zlib.error:
            continue
        if reader.eof:
            return text
        if reader.unconsumed_tail or len(text) >= DECOMPRESSED_MAX_BYTES:
            return None
    raise BrokenBodyError


@lru_cache(PATHS_KEPT)
def _api_of(path: str) -> str:
    """The first part of the path; "" for the contents of a file, which may be anything."""
    api, *rest = path.partition("?")[0].strip("/").split("/")
    return "" if rest[-1:] == ["content"] else api


def judge(body: bytes, *, is_creation: bool, retry_empty: bool) -> Judged:
    """Read the body of an answer that must be JSON. ``is_creation``: the request made what the answer shows,
    so that its failure is this request's. ``retry_empty``: an answer without any content is to be tried
    again."""
    if not body.strip():
        return Judged(UNHEALTHY, "the answer is empty")
    try:
        answer = _decoder.decode(body)
    except msgspec.ValidationError:
        return _judge_other(body)
    except UNDECODABLE:
        return Judged(UNHEALTHY, "the answer is no JSON, or breaks off")
    failed = is_creation and answer.object == "response" and answer.status == "failed"
    if failed or _is_only_error(answer):
        value = answer.error if failed else msgspec.json.decode(body)
        error = error_in(value)
        return Judged(
            reading_of_error(error), error.message or "the answer is an error", error, is_own_status=failed
        )
    if retry_empty and _is_empty(answer):
        return Judged(EMPTY_ANSWER, "the answer has no content", is_own_status=True)
    answer_id = answer.id if isinstance(answer.id, str) else ""
    usage = token_counts(answer.usage or answer.usage_metadata)
    return Judged(GOOD, usage=usage, answer_id=answer_id)


def _judge_other(body: bytes) -> Judged:
    """JSON, but no object: a list of one error is Google's shape of an error."""
    try:
        value = msgspec.json.decode(body)
    except UNDECODABLE:
        return Judged(UNHEALTHY, "the answer is no JSON, or breaks off")
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict) and value[0].get("error"):
        error = error_in(value)
        return Judged(reading_of_error(error), error.message or "the answer is an error", error)
    return Judged(GOOD)


def _is_only_error(answer: _Body) -> bool:
    if answer.object == "error" or (answer.type == "error" and not bytes(answer.choices)):
        return True
    return bool(answer.error) and answer.object is None and not bytes(answer.choices)


def _is_empty(answer: _Body) -> bool:
    """Whether it has choices, and none of them says anything."""
    raw = bytes(answer.choices)
    if not raw:
        return False
    choices = msgspec.json.decode(raw)
    return isinstance(choices, list) and not any(_says_something(choice) for choice in choices)


def _says_something(choice: Any) -> bool:
    if not isinstance(choice, dict):
        return True
    message = choice.get("message")
    parts = [choice.get("text")]
    if isinstance(message, dict):
        parts += [message.get(name) for name in _OUTPUT_FIELDS]
    return any(parts)
