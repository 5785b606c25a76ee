"""PURE: answers of Anthropic's Messages API and of Gemini's own API, whole and as streams.

Sources: https://docs.anthropic.com/en/api/messages-streaming and
https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/inference
"""

from collections.abc import Iterator
from typing import Any

from lab.standins import wire
from lab.standins.streams import event, pieces
from lab.standins.wire import ModelRequest, encode

_STOPS = {"stop": "end_turn", "length": "max_tokens"}
_FINISHES = {"stop": "STOP", "length": "MAX_TOKENS"}


def message(request: ModelRequest, answer_id: str, _created_s: int) -> bytes:
    """A whole message."""
    text = wire.text(0, request.completion_tokens)
    body = _message(request, answer_id, answer_tokens=request.completion_tokens)
    body |= {"content": [{"type": "text", "text": text}], "stop_reason": _STOPS[request.finish_reason]}
    return encode(body)


class MessageStream:
    """A message in events, each of which has a line that names it."""

    def __init__(self, request: ModelRequest, answer_id: str, _created_s: int) -> None:
        self._request = request
        self._answer_id = answer_id

    def opening(self) -> bytes:
        """The empty message, with what the prompt has cost, and the empty block in it."""
        begun = _message(self._request, self._answer_id, answer_tokens=1)
        block = {"type": "text", "text": ""}
        return (
            _named("message_start", message=begun)
            + _named("content_block_start", index=0, content_block=block)
            + _named("ping")
        )

    def contents(self, chunk_tokens: int) -> Iterator[tuple[int, bytes]]:
        """See ``StreamWriter``."""
        for tokens, words in pieces(self._request, chunk_tokens):
            delta = {"type": "text_delta", "text": words}
            yield tokens, _named("content_block_delta", index=0, delta=delta)

    def ending(self) -> bytes:
        """Why it stopped, what the answer has cost, and the last event."""
        delta = {"stop_reason": _STOPS[self._request.finish_reason], "stop_sequence": None}
        usage = {"output_tokens": self._request.completion_tokens}
        return (
            _named("content_block_stop", index=0)
            + _named("message_delta", delta=delta, usage=usage)
            + _named("message_stop")
        )


def _message(request: ModelRequest, answer_id: str, *, answer_tokens: int) -> dict[str, Any]:
    usage = {"input_tokens": request.prompt_tokens, "output_tokens": answer_tokens}
    head = {"id": answer_id, "type": "message", "role": "assistant", "model": request.model}
    return {**head, "content": [], "stop_reason": None, "stop_sequence": None, "usage": usage}


def _named(kind: str, **fields: Any) -> bytes:
    return event({"type": kind, **fields}, name=kind)


def generated(request: ModelRequest, answer_id: str, _created_s: int) -> bytes:
    """A whole answer of Gemini's API."""
    text = wire.text(0, request.completion_tokens)
    finish = {"finishReason": _FINISHES[request.finish_reason]}
    return encode(_generated(request, answer_id, text, **finish))


class GeneratedStream:
    """The same in events, of which the last says why each candidate ends. None is the last by its name."""

    def __init__(self, request: ModelRequest, answer_id: str, _created_s: int) -> None:
        self._request = request
        self._answer_id = answer_id

    def opening(self) -> bytes:
        """What the prompt has cost, and no candidate."""
        usage = {"promptTokenCount": self._request.prompt_tokens}
        return event({"usageMetadata": usage, "responseId": self._answer_id})

    def contents(self, chunk_tokens: int) -> Iterator[tuple[int, bytes]]:
        """See ``StreamWriter``."""
        for tokens, words in pieces(self._request, chunk_tokens):
            yield tokens, event(_generated(self._request, self._answer_id, words))

    def ending(self) -> bytes:
        """The end of each candidate, and what all of it has cost."""
        finish = {"finishReason": _FINISHES[self._request.finish_reason]}
        return event(_generated(self._request, self._answer_id, "", **finish))


def _generated(request: ModelRequest, answer_id: str, text: str, **finish: str) -> dict[str, Any]:
    content = {"role": "model", "parts": [{"text": text}]}
    return {
        "candidates": [{"content": content, "index": index, **finish} for index in range(request.count)],
        "usageMetadata": {
            "promptTokenCount": request.prompt_tokens,
            "candidatesTokenCount": request.completion_tokens,
            "totalTokenCount": request.tokens,
        },
        "modelVersion": request.model,
        "responseId": answer_id,
    }
