"""PURE: streamed answers, in the protocol of each API, and what can be wrong with them.

A stream has three parts: an ``opening`` that announces the answer, ``contents``, and an ``ending`` by which
its protocol says that it is complete. Faults leave one out, or put an error event into its place.
"""

from base64 import b64encode
from collections.abc import Iterator
from typing import Any, Literal, Protocol, TypeAlias, get_args

from lab.standins import wholes, wire
from lab.standins.wire import ModelRequest, encode

DONE = b"data: [DONE]\n\n"
Dialect: TypeAlias = Literal["no_done", "no_event_lines", "cr", "crlf"]
ErrorShape: TypeAlias = Literal[
    "nested", "flat", "finish_reason", "response.failed", "response.incomplete", "anthropic", "google"
]
DIALECTS: tuple[str, ...] = get_args(Dialect)
_FAILURE = "The server had an error while processing your request."


class StreamWriter(Protocol):
    """The server-sent events of one streamed answer."""

    def opening(self) -> bytes:
        """Events that carry no output yet."""
        ...

    def contents(self, chunk_tokens: int) -> Iterator[tuple[int, bytes]]:
        """The whole output, as pairs of the tokens in an event and the event."""
        ...

    def ending(self) -> bytes:
        """What completes the answer."""
        ...


class ChatStream:
    """Chat completions."""

    def __init__(self, request: ModelRequest, answer_id: str, created_s: int) -> None:
        self._request = request
        self._head = {
            "id": answer_id,
            "object": "chat.completion.chunk",
            "created": created_s,
            "model": request.model,
        }

    def opening(self) -> bytes:
        """The role of the speaker and no content."""
        return self._chunk({"role": "assistant", "content": ""}, None)

    def contents(self, chunk_tokens: int) -> Iterator[tuple[int, bytes]]:
        """See ``StreamWriter``."""
        for tokens, words in pieces(self._request, chunk_tokens):
            yield tokens, self._chunk({"content": words}, None)

    def ending(self) -> bytes:
        """The finish reason, the usage if the caller wants it, and ``[DONE]``."""
        last = self._chunk({}, self._request.finish_reason)
        if self._request.include_usage:
            last += event({**self._head, "choices": [], "usage": wire.usage(self._request)})
        return last + DONE

    def _chunk(self, delta: dict[str, str], finish_reason: str | None) -> bytes:
        choices = [
            {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
            for index in range(self._request.count)
        ]
        body: dict[str, Any] = {**self._head, "choices": choices}
        if self._request.include_usage:
            body["usage"] = None
        return event(body)


class CompletionStream:
    """Completions of the older API. They have no opening."""

    def __init__(self, request: ModelRequest, answer_id: str, created_s: int) -> None:
        self._request = request
        self._head = {
            "id": answer_id,
            "object": "text_completion",
            "created": created_s,
            "model": request.model,
        }

    def opening(self) -> bytes:
        """A comment, as gateways send to show that they live."""
        return b": processing\n\n"

    def contents(self, chunk_tokens: int) -> Iterator[tuple[int, bytes]]:
        """See ``StreamWriter``."""
        for tokens, words in pieces(self._request, chunk_tokens):
            yield tokens, self._chunk(words, None)

    def ending(self) -> bytes:
        """The finish reason and ``[DONE]``."""
        return self._chunk("", self._request.finish_reason) + DONE

    def _chunk(self, words: str, finish_reason: str | None) -> bytes:
        choice = {"index": 0, "text": words, "logprobs": None, "finish_reason": finish_reason}
        return event({**self._head, "choices": [choice]})


class ResponseStream:
    """The responses API: every event has a type, a number, and a line that names it."""

    def __init__(self, request: ModelRequest, answer_id: str, created_s: int) -> None:
        self._request = request
        self._answer_id = answer_id
        self._created_s = created_s
        self._number = 0
        self._place = {"item_id": f"msg_{answer_id}", "output_index": 0, "content_index": 0}

    def opening(self) -> bytes:
        """The response without output, and the empty message in it."""
        begun = self._object("in_progress")
        item = {**wholes.output_item(self._request, self._answer_id), "status": "in_progress", "content": []}
        part = {"type": "output_text", "text": "", "annotations": []}
        return b"".join(
            (
                self._event("response.created", response=begun),
                self._event("response.in_progress", response=begun),
                self._event("response.output_item.added", output_index=0, item=item),
                self._event("response.content_part.added", **self._place, part=part),
            )
        )

    def contents(self, chunk_tokens: int) -> Iterator[tuple[int, bytes]]:
        """See ``StreamWriter``."""
        for tokens, words in pieces(self._request, chunk_tokens):
            yield (
                tokens,
                self._event("response.output_text.delta", **self._place, delta=words, logprobs=[]),
            )

    def ending(self) -> bytes:
        """The message, and the response with it."""
        item = wholes.output_item(self._request, self._answer_id)
        done = self._event("response.output_item.done", output_index=0, item=item)
        return done + self._event("response.completed", response=self._object("completed"))

    def _object(self, status: str) -> dict[str, Any]:
        return wholes.response_object(self._request, self._answer_id, self._created_s, status=status)

    def _event(self, kind: str, **fields: Any) -> bytes:
        self._number += 1
        return event({"type": kind, "sequence_number": self._number - 1, **fields}, name=kind)


class ImageStream:
    """Pictures, each preceded by a blurred one. ``kind``: image_generation or image_edit."""

    def __init__(
        self, request: ModelRequest, _answer_id: str, created_s: int, *, kind: str = "image_generation"
    ) -> None:
        self._request = request
        self._kind = kind
        self._fields = {
            "created_at": created_s,
            "background": "opaque",
            "output_format": "png",
            "quality": "low",
            "size": "1024x1024",
        }

    def opening(self) -> bytes:
        """Nothing but a comment."""
        return b": processing\n\n"

    def contents(self, _chunk_tokens: int) -> Iterator[tuple[int, bytes]]:
        """Two blurred pictures."""
        for number in range(2):
            picture = {"b64_json": wholes.picture(0), "partial_image_index": number, **self._fields}
            kind = f"{self._kind}.partial_image"
            yield 1, event({"type": kind, **picture}, name=kind)

    def ending(self) -> bytes:
        """The finished pictures, and what they cost."""
        kind, usage = f"{self._kind}.completed", wire.usage_of_parts(self._request)
        finished = [
            event(
                {"type": kind, "b64_json": wholes.picture(number), "usage": usage, **self._fields}, name=kind
            )
            for number in range(self._request.count)
        ]
        return b"".join(finished)


class EditStream(ImageStream):
    """Pictures that were made from others."""

    def __init__(self, request: ModelRequest, answer_id: str, created_s: int) -> None:
        super().__init__(request, answer_id, created_s, kind="image_edit")


class TranscriptionStream:
    """The text of a sound, as it is understood."""

    def __init__(self, request: ModelRequest, _answer_id: str, _created_s: int) -> None:
        self._request = request

    def opening(self) -> bytes:
        """Nothing but a comment."""
        return b": processing\n\n"

    def contents(self, chunk_tokens: int) -> Iterator[tuple[int, bytes]]:
        """See ``StreamWriter``."""
        for tokens, words in pieces(self._request, chunk_tokens):
            yield tokens, event({"type": "transcript.text.delta", "delta": words})

    def ending(self) -> bytes:
        """The whole text."""
        words = wire.text(0, self._request.completion_tokens)
        usage = {"type": "tokens", **wire.usage_of_parts(self._request)}
        return event({"type": "transcript.text.done", "text": words, "usage": usage})


class SpeechStream:
    """The sound of a text, in base 64."""

    def __init__(self, request: ModelRequest, _answer_id: str, _created_s: int) -> None:
        self._request = request

    def opening(self) -> bytes:
        """Nothing but a comment."""
        return b": processing\n\n"

    def contents(self, chunk_tokens: int) -> Iterator[tuple[int, bytes]]:
        """See ``StreamWriter``."""
        for tokens, words in pieces(self._request, chunk_tokens):
            yield tokens, event({"type": "speech.audio.delta", "audio": b64encode(words.encode()).decode()})

    def ending(self) -> bytes:
        """What it cost."""
        return event({"type": "speech.audio.done", "usage": wire.usage_of_parts(self._request)})


def event(body: dict[str, Any], *, name: str = "") -> bytes:
    """One event; ``name`` is the value of its ``event`` line, "" for none."""
    line = f"event: {name}\n".encode() if name else b""
    return line + b"data: " + encode(body) + b"\n\n"


def in_dialect(events: bytes, dialect: str | None) -> bytes:
    """The same events as other servers write them: without ``[DONE]``, without ``event`` lines, or with other
    line ends."""
    match dialect:
        case "no_done":
            return events.replace(DONE, b"")
        case "no_event_lines":
            lines = events.split(b"\n")
            return b"\n".join(line for line in lines if not line.startswith(b"event: "))
        case "cr":
            return events.replace(b"\n", b"\r")
        case "crlf":
            return events.replace(b"\n", b"\r\n")
        case _:
            return events


def error_event(code: str, shape: ErrorShape = "nested") -> bytes:
    """An error in a stream whose status was 200, in one of the shapes in which providers send it. Of
    ``response.incomplete``, ``code`` is the reason."""
    match shape:
        case "nested":
            return b"data: " + wire.error_body(_FAILURE, code) + b"\n\n"
        case "flat":
            flat = {"type": "error", "code": code, "message": _FAILURE, "param": None, "sequence_number": 9}
            return event(flat, name="error")
        case "anthropic":
            return event({"type": "error", "error": {"type": code, "message": _FAILURE}}, name="error")
        case "google":
            return event({"error": {"code": 503, "message": _FAILURE, "status": code}})
        case "finish_reason":
            choice = {"index": 0, "delta": {}, "finish_reason": "error"}
            chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
            return event({**chunk, "choices": [choice]}) + DONE
        case "response.failed":
            failed = {"id": "resp_failed", "status": "failed", "error": {"code": code, "message": _FAILURE}}
            return event({"type": shape, "sequence_number": 9, "response": failed}, name=shape)
        case "response.incomplete":
            details = {"id": "resp_part", "status": "incomplete", "incomplete_details": {"reason": code}}
            return event({"type": shape, "sequence_number": 9, "response": details}, name=shape)


def pieces(request: ModelRequest, chunk_tokens: int) -> Iterator[tuple[int, str]]:
    """The text of an answer in pieces, as pairs of the tokens in a piece and its words."""
    for start in range(0, request.completion_tokens, chunk_tokens):
        end = min(start + chunk_tokens, request.completion_tokens)
        yield end - start, wire.text(start, end)
