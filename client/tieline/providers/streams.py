"""PURE. The body of an answer: where a stream's real output begins, whether it came to its end, and what the
answer cost.

A stream is read as server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html).
Comments, chunks that carry only a role, annotations or nothing, and the events by which OpenAI's responses
API announces an answer are no output yet. The last event is ``data: [DONE]`` of chat completions, or
``response.completed``, ``.incomplete`` or ``.failed`` of the responses API.
"""

import re
from enum import Enum
from typing import Any

import msgspec
from msgspec import Struct

CHUNKS_MAX = 64
BYTES_MAX = 256 * 1024
_TAIL_BYTES = 48  # longer than any last event's first line: one may come in two pieces
_BOUNDARY = re.compile(rb"\r?\n\r?\n")
_LAST_EVENT = re.compile(rb"(?:^|\n)(?:data: ?\[DONE\]|event: ?response\.(?:completed|incomplete|failed)\b)")
_EARLY_TYPES = frozenset(
    {
        "response.created",
        "response.queued",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "ping",
    }
)
_OUTPUT_FIELDS = (
    "content",
    "refusal",
    "reasoning_content",
    "reasoning",
    "tool_calls",
    "function_call",
    "audio",
)

TokenCounts = tuple[int, int]  # of the prompt, of the answer


class _Usage(Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None


class _Choice(Struct):
    delta: dict[str, Any] | None = None
    text: str | None = None
    finish_reason: str | None = None


class _Response(Struct):
    id: str | None = None


class _Event(Struct):
    choices: list[_Choice] = []
    type: str | None = None
    error: Any = None
    usage: _Usage | None = None
    id: str | None = None
    response: _Response | None = None


class _WholeAnswer(Struct):
    usage: _Usage | None = None
    id: str | None = None


_event_decoder = msgspec.json.Decoder(_Event)
_whole_decoder = msgspec.json.Decoder(_WholeAnswer)


class Phase(Enum):
    """What a stream has shown so far."""

    WAITING = "waiting"
    OUTPUT = "output"
    ERROR = "error"  # an error event before any output


class StreamReader:
    """Reads one stream's bytes in whatever pieces they come; never raises.

    ``phase``: WAITING until the first output or error. ``error``: the value of an error event's ``error``
    field, in phase ERROR. ``ended``: the last event has come. ``events``: how many have come, the last and
    comments included. ``usage``: token counts, once an event names them. ``answer_id``: the id by which a
    later request may refer to the answer, "" without one.
    """

    def __init__(self) -> None:
        self.phase = Phase.WAITING
        self.error: Any = None
        self.ended = False
        self.events = 0
        self.usage: TokenCounts | None = None
        self.answer_id = ""
        self._pending = b""
        self._waiting_bytes = 0
        self._tail = b""

    def feed(self, data: bytes) -> Phase:
        """Take the next bytes; gives the phase after them.

        A stream without output for 64 events or 256 KiB counts as output from there: a reader that holds the
        answer back until then must not hold it back, nor keep it in memory, for ever.
        """
        window = self._tail + data
        self._tail = window[-_TAIL_BYTES:]
        # The two plain searches come first because nearly every piece has neither, and a regular expression
        # costs more than all else that is done with one.
        if not self.ended and (b"[DONE]" in window or b"response." in window) and _LAST_EVENT.search(window):
            self.ended = True
        if self.phase is Phase.WAITING:
            self._read_early(data)
        else:
            self.events += data.count(b"data:")
            if b'"usage"' in data:
                self._find_usage(data)
        return self.phase

    def _read_early(self, data: bytes) -> None:
        self._waiting_bytes += len(data)
        *events, self._pending = _BOUNDARY.split(self._pending + data)
        for event in events:
            self.events += 1
            if self.phase is Phase.WAITING:
                self._judge(event)
        if self.phase is Phase.WAITING and (
            self.ended or self.events >= CHUNKS_MAX or self._waiting_bytes >= BYTES_MAX
        ):
            self.phase = Phase.OUTPUT

    def _judge(self, event: bytes) -> None:
        text = _data_of(event)
        if text is None:
            if b"event: error" in event:
                self.phase = Phase.ERROR
            return
        if text.strip() == b"[DONE]":
            self.phase = Phase.OUTPUT
            return
        try:
            chunk = _event_decoder.decode(text)
        except msgspec.MsgspecError:
            self.phase = Phase.OUTPUT  # whatever this is, the caller may understand it
            return
        self._note_usage(chunk.usage)
        self.answer_id = self.answer_id or (chunk.response.id if chunk.response else chunk.id) or ""
        if chunk.error or chunk.type == "error":
            self.phase, self.error = Phase.ERROR, chunk.error
        elif _is_output(chunk):
            self.phase = Phase.OUTPUT

    def _find_usage(self, data: bytes) -> None:
        for event in _BOUNDARY.split(data):
            if b'"usage"' in event and (text := _data_of(event)) is not None:
                try:
                    self._note_usage(_event_decoder.decode(text).usage)
                except msgspec.MsgspecError:
                    continue

    def _note_usage(self, usage: _Usage | None) -> None:
        self.usage = _token_counts(usage) or self.usage


def read_whole(body: bytes) -> tuple[TokenCounts | None, str]:
    """(token counts, the answer's id) of an answer that is no stream; None and "" for what it does not name
    or can't be read."""
    try:
        answer = _whole_decoder.decode(body)
    except msgspec.MsgspecError:
        return None, ""
    return _token_counts(answer.usage), answer.id or ""


def _token_counts(usage: _Usage | None) -> TokenCounts | None:
    """Chat completions and the responses API name the same two counts differently."""
    if usage is None:
        return None
    prompt = usage.prompt_tokens if usage.prompt_tokens is not None else usage.input_tokens
    completion = usage.completion_tokens if usage.completion_tokens is not None else usage.output_tokens
    return None if prompt is None else (prompt, completion or 0)


def _is_output(chunk: _Event) -> bool:
    if chunk.type is not None:
        return chunk.type not in _EARLY_TYPES
    for choice in chunk.choices:
        delta = choice.delta or {}
        if choice.text or choice.finish_reason or any(delta.get(name) for name in _OUTPUT_FIELDS):
            return True
    return False


def _data_of(event: bytes) -> bytes | None:
    """The event's data, its lines joined; None for a comment or an event without any."""
    lines = [line[5:].removeprefix(b" ") for line in event.splitlines() if line.startswith(b"data:")]
    return b"\n".join(lines) if lines else None
