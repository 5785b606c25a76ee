"""PURE: the OpenAI chat-completions wire format, from request bytes to the bytes of an answer."""

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
class Ask:
    """One request, as far as a stand-in cares. Token counts are estimates at four characters a token."""

    model: str
    prompt_tokens: int
    completion_tokens: int
    finish_reason: str  # "length" when the caller's own limit ends the answer, else "stop"
    stream: bool
    include_usage: bool

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


def parse_ask(body: bytes, path: str, *, tokens_default: int, tokens_max: int) -> Ask:
    """Read a request; the model in a ``/deployments/NAME/`` path goes before the body's.

    Raises BadRequestError.
    """
    try:
        read = _decoder.decode(body)
    except msgspec.MsgspecError as error:
        raise BadRequestError(f"We could not parse the JSON body of your request: {error}") from None
    model = model_in_path(path) or read.model
    if not model:
        raise BadRequestError("you must provide a model parameter")
    wanted = read.max_completion_tokens or read.max_tokens
    completion_tokens = min(wanted or tokens_default, tokens_max)
    return Ask(
        model=model,
        prompt_tokens=_prompt_tokens(read.messages),
        completion_tokens=completion_tokens,
        finish_reason="length" if completion_tokens == wanted else "stop",
        stream=bool(read.stream),
        include_usage=bool(read.stream_options and read.stream_options.include_usage),
    )


def model_in_path(path: str) -> str | None:
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
    """Tokens ``start`` to ``end`` of the answer every stand-in gives."""
    return "".join(_WORDS[index % len(_WORDS)] for index in range(start, end))


def completion_id(request_id: str) -> str:
    """The id of the answer to a request: the same for the same request."""
    return "chatcmpl-" + blake2b(request_id.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()


def completion(ask: Ask, answer_id: str, created_s: int) -> bytes:
    """The whole answer of a request that doesn't stream."""
    message = {"role": "assistant", "content": text(0, ask.completion_tokens), "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": ask.finish_reason}
    return _encode(
        {
            "id": answer_id,
            "object": "chat.completion",
            "created": created_s,
            "model": ask.model,
            "choices": [choice],
            "usage": _usage(ask),
        }
    )


def _usage(ask: Ask) -> dict[str, int]:
    return {
        "prompt_tokens": ask.prompt_tokens,
        "completion_tokens": ask.completion_tokens,
        "total_tokens": ask.tokens,
    }


class StreamWriter:
    """The server-sent events of one streamed answer."""

    def __init__(self, ask: Ask, answer_id: str, created_s: int) -> None:
        self._ask = ask
        self._head = {
            "id": answer_id,
            "object": "chat.completion.chunk",
            "created": created_s,
            "model": ask.model,
        }

    def role(self) -> bytes:
        """The first chunk: who speaks, and nothing said yet."""
        return self._chunk({"role": "assistant", "content": ""}, None)

    def contents(self, chunk_tokens: int) -> Iterator[tuple[int, bytes]]:
        """(tokens in the chunk, its event) for the whole answer."""
        for start in range(0, self._ask.completion_tokens, chunk_tokens):
            end = min(start + chunk_tokens, self._ask.completion_tokens)
            yield end - start, self._chunk({"content": text(start, end)}, None)

    def ending(self) -> bytes:
        """Finish reason and, if asked for, usage: all that comes before ``[DONE]``."""
        last = self._chunk({}, self._ask.finish_reason)
        if self._ask.include_usage:
            last += _event({**self._head, "choices": [], "usage": _usage(self._ask)})
        return last

    def _chunk(self, delta: dict[str, str], finish_reason: str | None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        body: dict[str, Any] = {**self._head, "choices": [choice]}
        if self._ask.include_usage:
            body["usage"] = None
        return _event(body)


def _event(body: dict[str, Any]) -> bytes:
    return b"data: " + _encode(body) + b"\n\n"


def error_event(code: str) -> bytes:
    """An error inside a stream that began with 200."""
    return b"data: " + error_body("The server had an error while processing your request.", code) + b"\n\n"


_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    404: "invalid_request_error",
    413: "invalid_request_error",
    429: "rate_limit_error",
}


def error_body(message: str, code: str | None, *, status: int = 500, param: str | None = None) -> bytes:
    """An error the way OpenAI and those compatible with it word it."""
    kind = _ERROR_TYPES.get(status, "server_error")
    return _encode({"error": {"message": message, "type": kind, "param": param, "code": code}})
