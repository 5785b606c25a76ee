"""PURE: the wire format of OpenAI's chat completions, from the bytes of a request to those of an answer."""

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

CHARACTERS_PER_TOKEN = 4
DONE = b"data: [DONE]\n\n"
_WORDS = (
    " power",
    " flows",
    " along",
    " the",
    " tie",
    " line",
    " to",
    " where",
    " it",
    " is",
    " needed",
    ";",
)
_encode = msgspec.json.Encoder().encode


class _Message(Struct):
    role: str
    content: str | list[Any] | None = None


class _StreamOptions(Struct):
    include_usage: bool | None = None


class _Body(Struct):
    messages: Annotated[list[_Message], Meta(min_length=1, max_length=10_000)]
    model: str | None = None
    max_tokens: Annotated[int, Meta(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Meta(ge=1)] | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None


_decoder = msgspec.json.Decoder(_Body)


class BadRequestError(ValueError):
    """The caller's request can't be understood; the message says why."""


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """What a stand-in needs to know of a request. Token counts are estimates: four characters are a token."""

    model: str
    prompt_tokens: int
    completion_tokens: int
    finish_reason: str  # "length" when the caller's own limit cuts the answer, else "stop"
    stream: bool
    include_usage: bool

    @property
    def tokens(self) -> int:
        """Prompt and completion together."""
        return self.prompt_tokens + self.completion_tokens


def parse_chat(body: bytes, path: str, *, tokens_default: int, tokens_max: int) -> ChatRequest:
    """Reads a request. A model in a path with ``/deployments/NAME/`` takes precedence over the body's.

    ``tokens_default`` is the length of an answer whose length the caller doesn't limit, ``tokens_max`` that
    of the longest answer. Raises BadRequestError.
    """
    try:
        content = _decoder.decode(body)
    except msgspec.MsgspecError as error:
        raise BadRequestError(f"We could not parse the JSON body of your request: {error}") from None
    model = _model_in_path(path) or content.model
    if not model:
        raise BadRequestError("you must provide a model parameter")
    limit = content.max_completion_tokens or content.max_tokens
    completion_tokens = min(limit or tokens_default, tokens_max)
    return ChatRequest(
        model=model,
        prompt_tokens=_prompt_tokens(content.messages),
        completion_tokens=completion_tokens,
        finish_reason="length" if completion_tokens == limit else "stop",
        stream=bool(content.stream),
        include_usage=bool(content.stream_options and content.stream_options.include_usage),
    )


def _model_in_path(path: str) -> str | None:
    """``/openai/deployments/gpt-4o/chat/completions`` -> ``gpt-4o``; None for paths without a deployment."""
    parts = path.split("/")
    if "deployments" in parts[:-1]:
        return parts[parts.index("deployments") + 1] or None
    return None


def _prompt_tokens(messages: list[_Message]) -> int:
    characters = 0
    for message in messages:
        if isinstance(message.content, str):
            characters += len(message.content)
        else:
            parts = message.content or []
            characters += sum(len(str(part.get("text", ""))) for part in parts if isinstance(part, dict))
    return max(1, -(-characters // CHARACTERS_PER_TOKEN))


def text(start: int, end: int) -> str:
    """Tokens ``start`` to ``end`` of the one text that every stand-in answers with."""
    return "".join(_WORDS[index % len(_WORDS)] for index in range(start, end))


def completion_id(request_id: str) -> str:
    """The id of an answer. The same request always gets the same."""
    return "chatcmpl-" + blake2b(request_id.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()


def completion(chat: ChatRequest, answer_id: str, created_s: int) -> bytes:
    """The whole answer of a request that doesn't stream."""
    message = {"role": "assistant", "content": text(0, chat.completion_tokens), "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": chat.finish_reason}
    return _encode(
        {
            "id": answer_id,
            "object": "chat.completion",
            "created": created_s,
            "model": chat.model,
            "choices": [choice],
            "usage": _usage(chat),
        }
    )


def _usage(chat: ChatRequest) -> dict[str, int]:
    return {
        "prompt_tokens": chat.prompt_tokens,
        "completion_tokens": chat.completion_tokens,
        "total_tokens": chat.tokens,
    }


class StreamWriter:
    """The server-sent events of one streamed answer."""

    def __init__(self, chat: ChatRequest, answer_id: str, created_s: int) -> None:
        self._chat = chat
        self._head = {
            "id": answer_id,
            "object": "chat.completion.chunk",
            "created": created_s,
            "model": chat.model,
        }

    def role(self) -> bytes:
        """The first chunk: the role of the speaker and no content."""
        return self._chunk({"role": "assistant", "content": ""}, None)

    def contents(self, chunk_tokens: int) -> Iterator[tuple[int, bytes]]:
        """The content of the whole answer, as pairs of the tokens in a chunk and the chunk's event."""
        for start in range(0, self._chat.completion_tokens, chunk_tokens):
            end = min(start + chunk_tokens, self._chat.completion_tokens)
            yield end - start, self._chunk({"content": text(start, end)}, None)

    def ending(self) -> bytes:
        """The finish reason and, if the caller wants it, the usage. Only ``[DONE]`` comes after it."""
        last = self._chunk({}, self._chat.finish_reason)
        if self._chat.include_usage:
            last += _event({**self._head, "choices": [], "usage": _usage(self._chat)})
        return last

    def _chunk(self, delta: dict[str, str], finish_reason: str | None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        body: dict[str, Any] = {**self._head, "choices": [choice]}
        if self._chat.include_usage:
            body["usage"] = None
        return _event(body)


def _event(body: dict[str, Any]) -> bytes:
    return b"data: " + _encode(body) + b"\n\n"


def error_event(code: str) -> bytes:
    """An error event in a stream whose status was 200."""
    return b"data: " + error_body("The server had an error while processing your request.", code) + b"\n\n"


_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    404: "invalid_request_error",
    413: "invalid_request_error",
    429: "rate_limit_error",
}


def error_body(message: str, code: str | None, *, status: int = 500, param: str | None = None) -> bytes:
    """An error in the form of OpenAI and of providers compatible with it."""
    kind = _ERROR_TYPES.get(status, "server_error")
    return _encode({"error": {"message": message, "type": kind, "param": param, "code": code}})
