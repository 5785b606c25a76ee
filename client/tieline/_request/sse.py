"""PURE. An answer's stream of server-sent events: when real output begins, how it ended, what it cost.

Until the first real output a request may still change its pool, so comments, chunks that carry only a role or
annotations, and ``response.created`` are held back. An end without the protocol's own last event is a cut.
"""

import re
from enum import Enum
from typing import Any

import msgspec
from msgspec import Struct

CHUNKS_MAX = 64
BYTES_MAX = 256 * 1024
_TAIL_BYTES = 48
_BOUNDARY = re.compile(rb"\r?\n\r?\n")
_LAST = re.compile(rb"(?:^|\n)(?:data: ?\[DONE\]|event: ?response\.(?:completed|incomplete|failed)\b)")
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
_SPOKEN = ("content", "refusal", "reasoning_content", "reasoning", "tool_calls", "function_call", "audio")


class _Usage(Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None


class _Choice(Struct):
    delta: dict[str, Any] | None = None
    text: str | None = None
    finish_reason: str | None = None


class _State(Struct):
    id: str | None = None


class _Event(Struct):
    choices: list[_Choice] = []
    type: str | None = None
    error: Any = None
    usage: _Usage | None = None
    id: str | None = None
    response: _State | None = None


_decode = msgspec.json.Decoder(_Event)


class Begin(Enum):
    """What the stream has shown so far."""

    WAITING = "waiting"
    OUTPUT = "output"
    ERROR = "error"  # an error event before any output


class StreamReader:
    """Fed with the body's bytes as they come."""

    def __init__(self) -> None:
        self.begin = Begin.WAITING
        self.error: Any = None
        self.ended = False  # the protocol's own last event was seen
        self.events = 0
        self.usage: tuple[int, int] | None = None  # prompt and completion tokens
        self.state = ""  # the id of the answer, by which a later request may refer to it
        self._pending = b""
        self._held_bytes = 0
        self._tail = b""

    def feed(self, data: bytes) -> Begin:
        """Take the next bytes; says whether the answer may be handed on from here."""
        seen = self._tail + data
        self._tail = seen[-_TAIL_BYTES:]
        if not self.ended and (b"[DONE]" in seen or b"response." in seen) and _LAST.search(seen) is not None:
            self.ended = True
        if self.begin is Begin.WAITING:
            self._look(data)
        else:
            self.events += data.count(b"data:")
            if b'"usage"' in data:
                self._find_usage(data)
        return self.begin

    def _look(self, data: bytes) -> None:
        self._held_bytes += len(data)
        *events, self._pending = _BOUNDARY.split(self._pending + data)
        for event in events:
            self.events += 1
            if self.begin is Begin.WAITING:
                self._judge(event)
        if self.begin is Begin.WAITING and (
            self.ended or self.events >= CHUNKS_MAX or self._held_bytes >= BYTES_MAX
        ):
            self.begin = Begin.OUTPUT

    def _judge(self, event: bytes) -> None:
        text = _data_of(event)
        if text is None:
            if b"event: error" in event:
                self.begin = Begin.ERROR
            return
        if text.strip() == b"[DONE]":
            self.begin = Begin.OUTPUT
            return
        try:
            chunk = _decode.decode(text)
        except msgspec.MsgspecError:
            self.begin = Begin.OUTPUT  # not ours to understand: hand it on
            return
        self._note_usage(chunk.usage)
        self.state = self.state or (chunk.response.id if chunk.response else chunk.id) or ""
        if chunk.error or chunk.type == "error":
            self.begin, self.error = Begin.ERROR, chunk.error
        elif _is_output(chunk):
            self.begin = Begin.OUTPUT

    def _find_usage(self, data: bytes) -> None:
        for event in _BOUNDARY.split(data):
            if b'"usage"' in event and (text := _data_of(event)) is not None:
                try:
                    self._note_usage(_decode.decode(text).usage)
                except msgspec.MsgspecError:
                    continue

    def _note_usage(self, usage: _Usage | None) -> None:
        self.usage = _tokens(usage) or self.usage


class _Whole(Struct):
    usage: _Usage | None = None
    id: str | None = None


_decode_whole = msgspec.json.Decoder(_Whole)


def whole_of(body: bytes) -> tuple[tuple[int, int] | None, str]:
    """(prompt and completion tokens, if it names them; its id, if it has one) of a whole answer."""
    try:
        whole = _decode_whole.decode(body)
    except msgspec.MsgspecError:
        return None, ""
    return _tokens(whole.usage), whole.id or ""


def _tokens(usage: _Usage | None) -> tuple[int, int] | None:
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
        if choice.text or choice.finish_reason or any(delta.get(name) for name in _SPOKEN):
            return True
    return False


def _data_of(event: bytes) -> bytes | None:
    lines = [line[5:].removeprefix(b" ") for line in event.splitlines() if line.startswith(b"data:")]
    return b"\n".join(lines) if lines else None
