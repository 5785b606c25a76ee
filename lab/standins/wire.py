"""PURE: what every API of a stand-in shares: how a request is read, the text of answers, ids and errors.

The formats of the answers are in ``wholes`` and ``streams``; ``apis`` says which API has which.
"""

import re
from dataclasses import dataclass
from hashlib import blake2b
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

CHARACTERS_PER_TOKEN = 4
GEMINI_STREAM = ":streamGenerateContent"
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
# A field of a multipart form: its name, then its value up to the end of the line.
_FORM_FIELD = re.compile(rb'name="(\w+)"\r\n(?:[^\r\n]+\r\n)*\r\n([^\r\n]*)\r\n')
encode = msgspec.json.Encoder().encode
Limit = Annotated[int, Meta(ge=1)] | None


class _Message(Struct):
    role: str
    content: str | list[Any] | None = None


class _StreamOptions(Struct):
    include_usage: bool | None = None


class _GenerationConfig(Struct, rename="camel"):
    max_output_tokens: Limit = None
    candidate_count: Limit = None


class _Body(Struct):
    messages: Annotated[list[_Message], Meta(min_length=1, max_length=10_000)] | None = None
    prompt: Any = None
    input: Any = None
    input_file_id: str | None = None
    voice: Any = None
    model: str | None = None
    max_tokens: Limit = None
    max_completion_tokens: Limit = None
    max_output_tokens: Limit = None
    n: Limit = None
    stream: bool | None = None
    stream_format: str | None = None
    stream_options: _StreamOptions | None = None
    contents: Annotated[list[Any], Meta(min_length=1, max_length=10_000)] | None = None
    generation_config: _GenerationConfig | None = msgspec.field(default=None, name="generationConfig")


_decoder = msgspec.json.Decoder(_Body)


class BadRequestError(ValueError):
    """The caller's request can't be understood; the message says why."""


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """What a stand-in needs to know of a request. Token counts are estimates: four characters are a token.

    ``model`` is "" where the request names none. ``count``: how many choices, images or vectors it asks for.
    """

    model: str
    prompt_tokens: int
    completion_tokens: int
    finish_reason: str  # "length" when the caller's own limit cuts the answer, else "stop"
    stream: bool
    include_usage: bool
    count: int = 1

    @property
    def tokens(self) -> int:
        """Prompt and completion together."""
        return self.prompt_tokens + self.completion_tokens


def parse_request(
    body: bytes, path: str, *, required: str, needs_model: bool, tokens_default: int, tokens_max: int
) -> ModelRequest:
    """Reads a request. A model in a path with ``/deployments/NAME/`` or ``/models/NAME:verb`` takes
    precedence over the body's.

    ``required``: the field that a request of this API must have; "file" is that of a multipart form.
    ``tokens_default`` is the length of an answer whose length the caller doesn't limit, ``tokens_max`` that
    of the longest answer. Raises BadRequestError.
    """
    content = _read_form(body) if required == "file" else _read_json(body)
    if required != "file" and getattr(content, required) in (None, "", []):
        raise BadRequestError(f"Missing required parameter: '{required}'.")
    model = _model_in_path(path) or content.model or ""
    if needs_model and not model:
        raise BadRequestError("you must provide a model parameter")
    config = content.generation_config or _GenerationConfig()
    limits = (content.max_completion_tokens, content.max_output_tokens, content.max_tokens)
    limit = next((limit for limit in (*limits, config.max_output_tokens) if limit), None)
    completion_tokens = min(limit or tokens_default, tokens_max)
    vectors = len(content.input) if isinstance(content.input, list) else 1
    return ModelRequest(
        model=model,
        prompt_tokens=_prompt_tokens(content),
        completion_tokens=completion_tokens,
        finish_reason="length" if completion_tokens == limit else "stop",
        stream=bool(content.stream) or content.stream_format == "sse" or path.endswith(GEMINI_STREAM),
        include_usage=bool(content.stream_options and content.stream_options.include_usage),
        count=content.n or config.candidate_count or max(1, vectors),
    )


def _read_json(body: bytes) -> _Body:
    try:
        return _decoder.decode(body)
    except msgspec.MsgspecError as error:
        raise BadRequestError(f"We could not parse the JSON body of your request: {error}") from None


def _read_form(body: bytes) -> _Body:
    if b'name="file"' not in body and b'name="image' not in body:
        raise BadRequestError("Missing required parameter: 'file'.")
    fields = {name.decode(): value.decode("utf-8", "replace") for name, value in _FORM_FIELD.findall(body)}
    return _Body(model=fields.get("model"), stream=fields.get("stream") == "true")


def _model_in_path(path: str) -> str | None:
    """``/openai/deployments/gpt-4o/chat/completions`` -> ``gpt-4o``, ``/v1/models/flash:generateContent`` ->
    ``flash``; None for paths without any."""
    parts = path.split("/")
    if parts[-2:-1] == ["models"] and ":" in parts[-1]:
        return parts[-1].rpartition(":")[0]
    if "deployments" in parts[:-1]:
        return parts[parts.index("deployments") + 1] or None
    return None


def _prompt_tokens(content: _Body) -> int:
    messages = [message.content for message in content.messages or ()]
    texts = (messages, content.prompt, content.input, content.contents)
    characters = sum(map(_characters, texts))
    return max(1, -(-characters // CHARACTERS_PER_TOKEN))


def _characters(value: Any) -> int:
    """Of all texts in a prompt, however it nests them."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, list):
        return sum(_characters(item) for item in value)
    if isinstance(value, dict):
        return sum(_characters(value.get(name)) for name in ("text", "content", "parts"))
    return 0


def text(start: int, end: int) -> str:
    """Tokens ``start`` to ``end`` of the one text that every stand-in answers with."""
    return "".join(_WORDS[index % len(_WORDS)] for index in range(start, end))


def answer_id(prefix: str, request_id: str) -> str:
    """The id of an answer, as ``chatcmpl-...``. The same request always gets the same."""
    return prefix + blake2b(request_id.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()


def usage(request: ModelRequest) -> dict[str, int]:
    """Token counts as chat completions name them."""
    return {
        "prompt_tokens": request.prompt_tokens,
        "completion_tokens": request.completion_tokens,
        "total_tokens": request.tokens,
    }


def usage_of_parts(request: ModelRequest) -> dict[str, Any]:
    """Token counts as the newer APIs name them."""
    return {
        "input_tokens": request.prompt_tokens,
        "input_tokens_details": {"cached_tokens": 0, "text_tokens": request.prompt_tokens, "image_tokens": 0},
        "output_tokens": request.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": request.tokens,
    }


_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "invalid_request_error",
    413: "invalid_request_error",
    429: "rate_limit_error",
}


def error_body(message: str, code: str | None, *, status: int = 500, param: str | None = None) -> bytes:
    """An error in the form of OpenAI and of providers compatible with it."""
    kind = _ERROR_TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    return encode({"error": {"message": message, "type": kind, "param": param, "code": code}})
