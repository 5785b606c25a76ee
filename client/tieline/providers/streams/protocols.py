"""PURE. What one event of a stream means, by the API whose path was asked.

A protocol is a row of ``_PROTOCOLS``; what it does not name is output. Errors are recognised in all of them
alike, in each shape that providers and gateways send:

    {"error": {"code": ...}}                                nested
    {"type": "error", "code": ...}, {"object": "error"}     flat
    event: error                                            by the name of the event
    {"choices": [{"finish_reason": "error"}]}               by a choice of a chat completion
    response.failed, and response.incomplete                by its reason: a content filter and a token limit
                                                            are the ends that the caller asked for
"""

from enum import Enum
from typing import Any, Final

import msgspec
from msgspec import Struct

from tieline.errors import UNDECODABLE
from tieline.providers.streams.candidates import finished_candidates, is_blocked, says_something
from tieline.providers.streams.events import ServerSentEvent

DONE: Final = b"[DONE]"
_FINISH_REASON = b'finish_reason"'
_NULLS = (b":null", b": null")
_EARLY_NAMES = frozenset(
    {"keepalive", "keep-alive", "keep_alive", "heartbeat", "ping", "message_start", "content_block_start"}
)
_EARLY_SUFFIXES = (".created", ".queued", ".in_progress", ".added")
_EXPECTED_ENDS = frozenset({"content_filter", "max_output_tokens", "max_tokens"})
_NO_JSON = {"code": "server_error", "message": "the stream has an event that is no JSON"}
_OUTPUT_FIELDS = (
    "content",
    "refusal",
    "reasoning_content",
    "reasoning",
    "reasoning_details",
    "tool_calls",
    "function_call",
    "audio",
    "images",
)


class Mark(Enum):
    """What an event is in its protocol."""

    EARLY = "early"  # no output yet
    OUTPUT = "output"
    ERROR = "error"
    LAST = "last"  # nothing that follows can change how the stream ended


class Judgement(Struct, frozen=True):
    """What one event means. ``error``: the provider's error, for ERROR, and for LAST where the stream ended
    by one. ``finished``: the choices of a chat completion that end with it. ``whole``: for LAST, the answer
    as JSON where the event repeats it. ``audio_ids``: of audio whose output begins here."""

    mark: Mark
    error: Any = None
    finished: tuple[int, ...] = ()
    usage: Any = None
    answer_id: str = ""
    whole: bytes = b""
    audio_ids: tuple[str, ...] = ()


class Protocol(Struct, frozen=True):
    """How the events of one API are read. ``words``: each event after the first output that says more than
    output contains one of them. ``last_types``: the types of the events that end an answer. ``by_choices``:
    its answers have choices that finish one by one instead; ``by_candidates``: as Gemini's API writes them.
    ``ends_with_body``: a clean end of the body is an
    end. ``needs_json``: an event that is no JSON is a fault."""

    words: tuple[bytes, ...]
    last_types: frozenset[str] = frozenset()
    by_choices: bool = False
    by_candidates: bool = False
    ends_with_body: bool = False
    needs_json: bool = True

    def matters(self, block: bytes) -> bool:
        """Whether this event may be more than output. That costs a tenth of judging it, and nearly every
        event of a stream is output alone."""
        if self.by_choices and not self.by_candidates:
            # Nearly every chunk has this field once, with null in it; then it is neither [DONE] nor the
            # chunk with the usage, which has no choices.
            start = block.find(_FINISH_REASON)
            if start >= 0:
                after = start + len(_FINISH_REASON)
                if not block.startswith(_NULLS, after) or block.find(_FINISH_REASON, after) >= 0:
                    return True
                return b"error" in block
        return any(word in block for word in self.words)

    def judge(self, event: ServerSentEvent) -> Judgement:
        """What the event means; never raises."""
        name = event.name.decode("utf-8", "replace")
        text = event.data.strip() if event.data is not None else b""
        if not text:
            return Judgement(Mark.ERROR if name == "error" else Mark.EARLY)
        if text == DONE:
            return Judgement(Mark.OUTPUT if self.last_types else Mark.LAST)
        try:
            chunk = _chunk_decoder.decode(text)
        except msgspec.ValidationError:
            return Judgement(Mark.OUTPUT)  # JSON, but no object: the caller may understand it
        except UNDECODABLE:
            error = _NO_JSON if self.needs_json else None
            return Judgement(Mark.ERROR if self.needs_json or name == "error" else Mark.OUTPUT, error)
        return self._judge_chunk(chunk, name, text)

    def _judge_chunk(self, chunk: "_Chunk", name: str, text: bytes) -> Judgement:
        if self.by_candidates:
            return _judge_candidates(chunk)
        kind = chunk.type if isinstance(chunk.type, str) else name
        response = _read_response(chunk.response or chunk.message)
        usage = chunk.usage or response.usage
        answer_id = next((each for each in (response.id, chunk.id) if isinstance(each, str)), "")
        finished, error = _finished(chunk.choices), _error_of(chunk, kind, response, text)
        if kind in self.last_types:
            mark = Mark.LAST
        elif error is not None:
            mark = Mark.ERROR
        elif chunk.choices is not None:
            mark = Mark.OUTPUT if finished or _has_output(chunk.choices) else Mark.EARLY
        elif self.by_choices and not kind:
            mark = Mark.EARLY
        else:
            mark = Mark.EARLY if _is_early(kind) else Mark.OUTPUT
        whole = bytes(chunk.response) if mark is Mark.LAST else b""
        return Judgement(
            mark,
            error,
            finished=finished,
            usage=usage,
            answer_id=answer_id,
            whole=whole,
            audio_ids=_audio_ids(chunk.choices) if b'"audio"' in text else (),
        )


def _judge_candidates(chunk: "_Chunk") -> Judgement:
    finished = finished_candidates(chunk.candidates)
    if chunk.error:
        mark = Mark.ERROR
    elif is_blocked(chunk.prompt_feedback):
        mark = Mark.LAST
    else:
        mark = Mark.OUTPUT if finished or says_something(chunk.candidates) else Mark.EARLY
    return Judgement(mark, chunk.error or None, finished=finished, usage=chunk.usage_metadata)


_CHAT = Protocol((b"error", DONE, b'_tokens"'), by_choices=True)
_RESPONSES = Protocol(
    (b"error", b"complete", b"failed", b"cancelled"),
    frozenset({"response.completed", "response.incomplete", "response.failed", "response.cancelled"}),
)
_IMAGES = Protocol(
    (b"error", b".completed"), frozenset({"image_generation.completed", "image_edit.completed"})
)
_TRANSCRIPTION = Protocol((b"error", b".done"), frozenset({"transcript.text.done"}))
_SPEECH = Protocol((b"error", b".done"), frozenset({"speech.audio.done"}))
_MESSAGES = Protocol((b"error", b"message_stop", b'_tokens"'), frozenset({"message_stop"}))
_GEMINI = Protocol((b"error", b"finishReason", b"blockReason"), by_choices=True, by_candidates=True)
UNKNOWN: Final = Protocol((b"error", DONE, b'_tokens"'), ends_with_body=True, needs_json=False)

_PROTOCOLS: Final[tuple[tuple[str, Protocol], ...]] = (
    ("/completions", _CHAT),  # and /chat/completions
    ("/responses", _RESPONSES),
    ("/images/generations", _IMAGES),
    ("/images/edits", _IMAGES),
    ("/audio/transcriptions", _TRANSCRIPTION),
    ("/audio/translations", _TRANSCRIPTION),
    ("/audio/speech", _SPEECH),
    ("/messages", _MESSAGES),
    (":streamGenerateContent", _GEMINI),
)


def protocol_of(path: str) -> Protocol:
    """The protocol that answers of this path follow; ``UNKNOWN`` for a path that none names."""
    path = path.partition("?")[0].rstrip("/")
    return next((protocol for end, protocol in _PROTOCOLS if path.endswith(end)), UNKNOWN)


class _Chunk(Struct):
    """The fields of an event that this library reads; of any type, as what a provider sends is not
    checked."""

    type: Any = None
    object: Any = None
    error: Any = None
    choices: Any = None
    usage: Any = None
    id: Any = None
    response: msgspec.Raw = msgspec.Raw(b"")
    message: msgspec.Raw = msgspec.Raw(b"")
    candidates: Any = None
    prompt_feedback: Any = msgspec.field(default=None, name="promptFeedback")
    usage_metadata: Any = msgspec.field(default=None, name="usageMetadata")


class _Response(Struct):
    """The fields of the object in an event of the responses API, and of Anthropic's ``message_start``. It
    holds the whole answer, which is not read."""

    id: Any = None
    error: Any = None
    usage: Any = None
    incomplete_details: Any = None


_chunk_decoder = msgspec.json.Decoder(_Chunk)
_response_decoder = msgspec.json.Decoder(_Response)
_NO_RESPONSE = _Response()


def _read_response(raw: msgspec.Raw) -> _Response:
    try:
        return _response_decoder.decode(raw) if raw else _NO_RESPONSE
    except UNDECODABLE:
        return _NO_RESPONSE


def _error_of(chunk: _Chunk, kind: str, response: _Response, text: bytes) -> Any:
    """The provider's error in this event; None without one."""
    if chunk.error:
        return chunk.error
    if kind == "error" or chunk.object == "error":
        return msgspec.json.decode(text)
    if kind == "response.failed":
        return response.error or {"code": "server_error", "message": "the response failed"}
    if kind == "response.incomplete":
        details = response.incomplete_details
        reason = details.get("reason") if isinstance(details, dict) else None
        if reason and reason not in _EXPECTED_ENDS:
            return {"code": str(reason), "message": f"the response is incomplete: {reason}"}
    return next((error for choice in _choices(chunk.choices) if (error := _error_in(choice))), None)


def _error_in(choice: dict[str, Any]) -> Any:
    if choice.get("error"):
        return choice["error"]
    if choice.get("finish_reason") == "error":
        return {"code": "server_error", "message": "a choice finished with an error"}
    return None


def _choices(choices: Any) -> list[dict[str, Any]]:
    return [choice for choice in choices if isinstance(choice, dict)] if isinstance(choices, list) else []


def _audio_ids(choices: Any) -> tuple[str, ...]:
    """The ids of audio by which later messages may refer to it."""
    deltas = (choice.get("delta") for choice in _choices(choices))
    audios = (delta.get("audio") for delta in deltas if isinstance(delta, dict))
    ids = (audio.get("id") for audio in audios if isinstance(audio, dict))
    return tuple(each for each in ids if isinstance(each, str) and each)


def _finished(choices: Any) -> tuple[int, ...]:
    """The indexes of the choices that finish here."""
    ends = [choice for choice in _choices(choices) if choice.get("finish_reason")]
    return tuple(index if isinstance(index := choice.get("index"), int) else 0 for choice in ends)


def _has_output(choices: Any) -> bool:
    for choice in _choices(choices):
        delta = choice.get("delta")
        delta = delta if isinstance(delta, dict) else {}
        if choice.get("text") or any(delta.get(name) for name in _OUTPUT_FIELDS):
            return True
    return False


def _is_early(kind: str) -> bool:
    return kind in _EARLY_NAMES or kind.endswith(_EARLY_SUFFIXES)
