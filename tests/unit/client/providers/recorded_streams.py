"""Streams as providers and gateways send them, one for each protocol and fault, with what they mean."""

from typing import Any, NamedTuple

import msgspec

from tieline.events import ResultClass
from tieline.providers.streams import Phase

CHAT, RESPONSES, IMAGES = "/chat/completions", "/responses", "/images/generations"
TRANSCRIPTION, SPEECH, UNKNOWN = "/audio/transcriptions", "/audio/speech", "/unknown"
COMPLETIONS, EDITS = "/completions", "/images/edits"
DONE = b"data: [DONE]\n\n"
OK, CUT, THROTTLED = ResultClass.OK, ResultClass.CUT, ResultClass.THROTTLED
CLIENT_ERROR, SERVER_ERROR = ResultClass.CLIENT_ERROR, ResultClass.SERVER_ERROR


class Recorded(NamedTuple):
    """``body``: as it came, up to a clean end. ``result``: how it ended, as it counts for the pool.
    ``phase``: at its end. ``complete``: the caller has the whole answer."""

    path: str
    body: bytes
    result: ResultClass = OK
    phase: Phase = Phase.OUTPUT
    complete: bool = True
    answers: int = 1
    usage: tuple[int, int] | None = None


def event(value: Any, name: str = "") -> bytes:
    """One event with a JSON value."""
    return (f"event: {name}\n" if name else "").encode() + b"data: " + msgspec.json.encode(value) + b"\n\n"


def typed(kind: str, *, named: bool = False, **fields: Any) -> bytes:
    """One event with a type in its JSON, and in an ``event`` line where ``named``."""
    return event({"type": kind, **fields}, kind if named else "")


def chunk(delta: dict[str, Any], finish: str | None = None, index: int = 0, **fields: Any) -> bytes:
    """One chunk of a chat completion."""
    choice = {"index": index, "delta": delta, "finish_reason": finish}
    return event({"id": "c-1", "object": "chat.completion.chunk", "choices": [choice], **fields})


def failed(**error: Any) -> bytes:
    """The responses API says that the answer failed."""
    return typed("response.failed", response={"id": "r-1", "status": "failed", "error": error})


ROLE, WORD, STOP = chunk({"role": "assistant", "content": ""}), chunk({"content": "Grüße"}), chunk({}, "stop")
USAGE = event({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 5}})
OVERLOADED = event({"error": {"message": "overloaded", "code": 503}})
LIMITED = {"code": "rate_limit_exceeded", "message": "slow down"}
CREATED = typed("response.created", named=True, response={"id": "r-1", "status": "in_progress"})
TEXT = typed("response.output_text.delta", named=True, delta="Hi")
COMPLETED = typed(
    "response.completed", response={"id": "r-1", "usage": {"input_tokens": 3, "output_tokens": 4}}
)
PICTURE = typed("image_generation.completed", named=True, b64_json="AAAA", usage={"input_tokens": 2})

STREAMS = {
    "chat": Recorded(CHAT, ROLE + WORD + STOP + USAGE + DONE, usage=(7, 5)),
    "chat without [DONE]": Recorded(CHAT, ROLE + WORD + STOP + USAGE, usage=(7, 5)),
    "chat with CRLF": Recorded(CHAT, (ROLE + WORD + STOP + DONE).replace(b"\n", b"\r\n")),
    "chat with CR": Recorded(CHAT, (ROLE + WORD + STOP + DONE).replace(b"\n", b"\r")),
    "chat with a byte order mark": Recorded(CHAT, b"\xef\xbb\xbf" + WORD + DONE),
    "chat with data over several lines": Recorded(
        CHAT, ROLE + b'data: {"choices":[{"index":0,\ndata:"delta":{"content":"x"}}]}\n\n' + DONE
    ),
    "chat whose last event lacks its empty line": Recorded(CHAT, ROLE + WORD + DONE.rstrip()),
    "chat after keep-alives": Recorded(CHAT, b": ping\n\n" * 100 + b"event: ping\n\n" + WORD + DONE),
    "chat after filter results": Recorded(
        CHAT, event({"choices": [], "prompt_filter_results": [{}]}) + WORD + STOP + DONE
    ),
    "chat with spaces in its JSON": Recorded(CHAT, WORD + STOP.replace(b'":', b'" : ')),
    "chat with bytes after its end": Recorded(CHAT, WORD + DONE + OVERLOADED + b"data: {"),
    "chat of two choices": Recorded(
        CHAT, WORD + chunk({"content": "b"}, index=1) + STOP + chunk({}, "length", index=1), answers=2
    ),
    "chat of two choices, one unfinished": Recorded(
        CHAT, WORD + chunk({"content": "b"}, index=1) + STOP, result=CUT, complete=False, answers=2
    ),
    "chat without an end": Recorded(CHAT, ROLE + WORD, result=CUT, complete=False),
    "chat that quotes an end": Recorded(
        CHAT, chunk({"content": "data: [DONE]\n\ndata: [DONE]"}), result=CUT, complete=False
    ),
    "chat cut inside an event": Recorded(CHAT, WORD + STOP[:-9], result=CUT, complete=False),
    "chat with an error, then its end": Recorded(CHAT, WORD + OVERLOADED + DONE, result=CUT),
    "chat with an error and no end": Recorded(CHAT, WORD + OVERLOADED, result=CUT, complete=False),
    "chat with an error, then more": Recorded(
        CHAT, WORD + OVERLOADED + WORD + WORD, result=CUT, complete=False
    ),
    "chat that finishes with an error": Recorded(CHAT, WORD + chunk({}, "error"), result=CUT),
    "chat that is limited": Recorded(CHAT, WORD + event({"error": LIMITED}) + DONE, result=THROTTLED),
    "chat that is filtered": Recorded(
        CHAT, WORD + event({"error": {"code": "content_filter"}}) + DONE, result=CLIENT_ERROR
    ),
    "chat with an error first": Recorded(
        CHAT, ROLE + OVERLOADED + DONE, result=SERVER_ERROR, phase=Phase.ERROR
    ),
    "chat with a flat error first": Recorded(
        CHAT, event({"type": "error", **LIMITED}) + DONE, result=THROTTLED, phase=Phase.ERROR
    ),
    "chat with an error by its name": Recorded(
        CHAT, event({"message": "no"}, "error"), result=SERVER_ERROR, phase=Phase.ERROR, complete=False
    ),
    "chat that is no JSON": Recorded(
        CHAT, b"data: <html>\n\n", result=SERVER_ERROR, phase=Phase.ERROR, complete=False
    ),
    "chat that is empty": Recorded(CHAT, b"", result=CUT, phase=Phase.WAITING, complete=False),
    "completions": Recorded(
        COMPLETIONS, event({"choices": [{"index": 0, "text": "a", "finish_reason": "length"}]})
    ),
    "responses": Recorded(RESPONSES, CREATED + TEXT + COMPLETED, usage=(3, 4)),
    "responses with event lines": Recorded(
        RESPONSES, CREATED + TEXT + event({"type": "response.completed"}, "response.completed")
    ),
    "responses that run into a limit": Recorded(
        RESPONSES,
        TEXT + typed("response.incomplete", response={"incomplete_details": {"reason": "max_output_tokens"}}),
    ),
    "responses that are incomplete for another reason": Recorded(
        RESPONSES,
        TEXT + typed("response.incomplete", response={"incomplete_details": {"reason": "crash"}}),
        result=CUT,
    ),
    "responses that fail late": Recorded(RESPONSES, CREATED + TEXT + failed(code="server_error"), result=CUT),
    "responses that fail first": Recorded(
        RESPONSES, CREATED + failed(code="server_error"), result=SERVER_ERROR, phase=Phase.ERROR
    ),
    "responses that are limited first": Recorded(
        RESPONSES, CREATED + failed(**LIMITED), result=THROTTLED, phase=Phase.ERROR
    ),
    "responses with a flat error": Recorded(
        RESPONSES, CREATED + TEXT + typed("error", code="server_error"), result=CUT, complete=False
    ),
    "responses without an end": Recorded(RESPONSES, CREATED + TEXT, result=CUT, complete=False),
    "images": Recorded(
        IMAGES, typed("image_generation.partial_image", b64_json="AA") + PICTURE, usage=(2, 0)
    ),
    "images, two of them": Recorded(IMAGES, PICTURE + PICTURE, answers=2, usage=(2, 0)),
    "images without an end": Recorded(
        IMAGES, typed("image_generation.partial_image", b64_json="AA"), result=CUT, complete=False
    ),
    "edited images": Recorded(EDITS, typed("image_edit.completed", b64_json="AA")),
    "transcription": Recorded(
        TRANSCRIPTION,
        typed("transcript.text.delta", delta="I")
        + typed("transcript.text.done", text="I", usage={"type": "tokens", "input_tokens": 9}),
        usage=(9, 0),
    ),
    "transcription without an end": Recorded(
        TRANSCRIPTION, typed("transcript.text.delta", delta="I"), result=CUT, complete=False
    ),
    "speech": Recorded(SPEECH, typed("speech.audio.delta", audio="AA") + typed("speech.audio.done")),
    "speech without an end": Recorded(
        SPEECH, typed("speech.audio.delta", audio="AA"), result=CUT, complete=False
    ),
    "an unknown protocol": Recorded(UNKNOWN, event({"text": "a"}) + b"data: plain\n\n"),
    "an unknown protocol with an error": Recorded(UNKNOWN, event({"text": "a"}) + OVERLOADED, result=CUT),
}
