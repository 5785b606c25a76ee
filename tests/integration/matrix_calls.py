"""One request of each API, by the openai SDK and by plain HTTP clients, and what became of it in a word.

Imported by ``sdk_matrix`` alone, so it needs nothing but the client library, the SDK and an HTTP library.
"""

import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple

import openai

MODEL, TOKENS, PROMPT = "chat-large", 24, "Where does it flow?"
SOUND = ("a.wav", b"RIFF", "audio/wav")
PICTURE = ("a.png", b"PNG", "image/png")
LINES = ("a.jsonl", b"{}", "application/jsonl")
SPEECH: dict[str, Any] = {"voice": "alloy"}
_ASK: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": PROMPT}]}
_BATCH = {"input_file_id": "a", "endpoint": "/v1/chat/completions", "completion_window": "24h"}
_STREAM = {"stream": True}
_ERROR = re.compile(r'"error": ?\{|"type": ?"error"|"finish_reason": ?"error"|"response\.failed"')
# The SDK 2.x hands on what its HTTP library raises in a stream.
_FAILURES = (
    openai.OpenAIError,
    *(import_module(name).HTTPError for name in ("httpx2", "httpx") if find_spec(name) is not None),
)
# Until the caller gives up on requests that are not sent again blindly.
DEADLINE = {"x-tieline-deadline": "5"}
_BROKEN_NAMES = ("RemoteProtocolError", "ReadTimeout", "ReadError")


class Call(NamedTuple):
    """One request. ``column``: where its outcomes stand in outcomes.md. ``json`` is its body, or with
    ``file`` the other fields of its form. ``ends``: what the text of a complete answer contains, one of them.
    ``sdk``: how the SDK is asked for the same; None where it hides how a stream ended. ``marks``: further
    headers."""

    column: str
    path: str
    json: dict[str, Any]
    ends: tuple[str, ...]
    sdk: str | None = None
    file: tuple[str, tuple[str, bytes, str]] | None = None
    method: str = "POST"
    marks: tuple[tuple[str, str], ...] = ()

    @property
    def streamed(self) -> bool:
        """Whether it asks for a stream."""
        return "stream" in self.column

    @property
    def headers(self) -> dict[str, str]:
        """What the caller asks of the client library."""
        is_quick = self.column in ("text", "chat stream", "responses stream")
        return {**({} if is_quick else DEADLINE), **dict(self.marks)}

    def sdk_call(self, llm: Any) -> Any:
        """What the SDK returns for it: an answer with its headers, or what can be awaited for one."""
        place, _, verb = (self.sdk or "").rpartition(".")
        for name in place.split("."):
            llm = getattr(llm, name)
        files = {self.file[0]: self.file[1]} if self.file else {}
        return getattr(llm.with_raw_response, verb)(**self.json, **files, extra_headers=self.headers)


def _calls() -> Iterator[Call]:
    sized = {**_ASK, "max_tokens": TOKENS}
    yield Call("text", "/chat/completions", sized, ('"choices"',), "chat.completions.create")
    words = {"model": MODEL, "prompt": PROMPT, "max_tokens": TOKENS}
    yield Call("text", "/completions", words, ('"choices"',), "completions.create")
    asked = {"model": MODEL, "input": PROMPT, "max_output_tokens": TOKENS}
    yield Call("text", "/responses", asked, ('"output"',), "responses.create")
    text = {"model": MODEL, "input": PROMPT}
    yield Call("text", "/embeddings", text, ('"embedding"',), "embeddings.create")
    yield Call("text", "/moderations", text, ('"flagged"',), "moderations.create")

    finished = ("[DONE]", '"finish_reason":"length"')
    yield Call("chat stream", "/chat/completions", {**sized, **_STREAM}, finished, "chat.completions.create")
    yield Call("chat stream", "/completions", {**words, **_STREAM}, finished, "completions.create")
    done = ('"response.completed"',)
    yield Call("responses stream", "/responses", {**asked, **_STREAM}, done, "responses.create")

    drawing = {"model": MODEL, "prompt": PROMPT}
    yield Call("costly", "/images/generations", drawing, ('"b64_json"',), "images.generate")
    edit = ("image", PICTURE)
    yield Call("costly", "/images/edits", drawing, ('"b64_json"',), "images.edit", edit)
    heard, transcribe, sound = {"model": MODEL}, "audio.transcriptions.create", ("file", SOUND)
    yield Call("costly", "/audio/transcriptions", heard, ('"text"',), transcribe, sound)
    spoken = {**text, **SPEECH}
    yield Call("sound", "/audio/speech", spoken, ("ID3",), "audio.speech.create")

    drawn = ("image_generation.completed",)
    yield Call("media stream", "/images/generations", {**drawing, **_STREAM}, drawn, "images.generate")
    edited = ("image_edit.completed",)
    yield Call("media stream", "/images/edits", {**drawing, **_STREAM}, edited, "images.edit", edit)
    understood = ("transcript.text.done",)
    yield Call("media stream", "/audio/transcriptions", {**heard, **_STREAM}, understood, transcribe, sound)
    yield Call("media stream", "/audio/speech", {**spoken, "stream_format": "sse"}, ("speech.audio.done",))

    upload = ("file", LINES)
    yield Call("keep", "/files", {"purpose": "batch"}, ('"id"',), "files.create", upload)
    yield Call("look up", "/models", {}, ('"data"',), "models.list", method="GET")


CALLS = tuple(_calls())


BROKEN, TIMED_OUT = "broken", "timed out"


def outcome(result: str, headers: Any) -> str:
    """``result`` ("" for a complete answer) with the pool and the number of attempts that led to it."""
    pool = "faulty" if headers.get("x-tieline-pool", "").startswith("azure/") else "other"
    return f"{result} {pool} {headers.get('x-tieline-attempts', '-')}".strip()


class Driver(NamedTuple):
    """What makes a call: the SDK or a plain client of ``library``, asynchronous or not."""

    library: str
    is_sdk: bool
    is_async: bool

    @property
    def name(self) -> str:
        """As ``sdk async``, ``httpx2 sync``."""
        return f"{'sdk' if self.is_sdk else self.library} {'async' if self.is_async else 'sync'}"

    @asynccontextmanager
    async def opened(self, client: Any) -> AsyncIterator[Callable[[Call], Any]]:
        """What makes calls asynchronously, one after another over the same connections."""
        http = client.http_client(library=self.library, base_url=client.base_url)
        async with http:
            if not self.is_sdk:
                yield lambda call: raw_async(http, call)
                return
            yield lambda call: sdk_async(_sdk(openai.AsyncOpenAI, client, http, call), call)

    @contextmanager
    def opened_sync(self, client: Any) -> Iterator[Callable[[Call], str]]:
        """The same without asyncio."""
        with client.http_client(library=self.library, base_url=client.base_url) as http:
            if not self.is_sdk:
                yield lambda call: raw_sync(http, call)
                return
            yield lambda call: sdk_sync(_sdk(openai.OpenAI, client, http, call), call)


def _sdk(kind: Any, client: Any, http: Any, call: Call) -> Any:
    """With the retries that it makes by default; without them, as the README asks for it, for speech: the
    SDK reads it as a whole, and after a body that breaks it asks again whatever it was told."""
    options: dict[str, Any] = {"max_retries": 0} if call.column == "sound" else {}
    return kind(api_key="unused", base_url=client.base_url, http_client=http, **options)


def _is_broken(failure: BaseException) -> bool:
    """Whether this says that a stream broke."""
    return isinstance(failure, openai.APIConnectionError) or type(failure).__name__ in _BROKEN_NAMES


async def sdk_async(llm: Any, call: Call) -> str:
    """One call of the asynchronous SDK."""
    raw, parts = None, []
    try:
        raw = await call.sdk_call(llm)
        answer: Any = raw.parse()
        if not call.streamed:
            return outcome("", raw.headers)
        async for part in answer:
            parts.append(part)  # noqa: PERF401 (what came before a failure counts)
    except _FAILURES as failure:
        return _of_failure(failure, parts, raw)
    return _of_parts(parts, raw)


def sdk_sync(llm: Any, call: Call) -> str:
    """The same without asyncio."""
    raw, parts = None, []
    try:
        raw = call.sdk_call(llm)
        answer: Any = raw.parse()
        if not call.streamed:
            return outcome("", raw.headers)
        for part in answer:
            parts.append(part)  # noqa: PERF402 (what came before a failure counts)
    except _FAILURES as failure:
        return _of_failure(failure, parts, raw)
    return _of_parts(parts, raw)


def _of_parts(parts: list[Any], raw: Any) -> str:
    if not parts:
        return outcome("nothing", raw.headers)
    reasons = {choice.finish_reason for part in parts for choice in getattr(part, "choices", None) or ()}
    kind = "response.failed" if "error" in reasons else getattr(parts[-1], "type", "")
    results = {"response.failed": "error", "response.incomplete": "incomplete"}
    return outcome(results.get(kind, ""), raw.headers)


def _of_failure(failure: Exception, parts: list[Any], raw: Any) -> str:
    """The SDK 2.x hands on an error event of the responses API, and then finds no end."""
    if isinstance(failure, openai.APIStatusError):
        return outcome(str(failure.status_code), failure.response.headers)
    if raw is None and isinstance(failure, openai.APITimeoutError):
        return TIMED_OUT
    headers = raw.headers if raw is not None else {}
    if any(getattr(part, "type", "") == "error" for part in parts):
        return outcome("error", headers)
    if _is_broken(failure):
        return BROKEN if raw is None else outcome(BROKEN, headers)
    return outcome("error" if isinstance(failure, openai.APIError) else repr(failure), headers)


async def raw_async(http: Any, call: Call) -> str:
    """A plain asynchronous client."""
    text = b""
    answer: Any = None
    try:
        async with http.stream(call.method, call.path, **_content(call)) as answer:
            async for piece in answer.aiter_bytes():
                text += piece
    except _FAILURES as failure:
        if type(failure).__name__ == "ReadTimeout" and (answer is None or not call.streamed):
            return TIMED_OUT
        return judged(call, answer, text, broken=_is_broken(failure))
    return judged(call, answer, text)


def raw_sync(http: Any, call: Call) -> str:
    """The same without asyncio."""
    text = b""
    answer: Any = None
    try:
        with http.stream(call.method, call.path, **_content(call)) as answer:
            for piece in answer.iter_bytes():
                text += piece
    except _FAILURES as failure:
        if type(failure).__name__ == "ReadTimeout" and (answer is None or not call.streamed):
            return TIMED_OUT
        return judged(call, answer, text, broken=_is_broken(failure))
    return judged(call, answer, text)


def _content(call: Call) -> dict[str, Any]:
    if call.method == "GET":
        return {"headers": call.headers}
    if call.file is None:
        return {"json": call.json, "headers": call.headers}
    fields = {name: "true" if value is True else value for name, value in call.json.items()}
    return {"data": fields, "files": {call.file[0]: call.file[1]}, "headers": call.headers}


def judged(call: Call, answer: Any, body: bytes, *, broken: bool = False) -> str:
    """What a plain client was given. What follows an error in a stream is not looked at."""
    if answer.status_code != 200:
        return outcome(str(answer.status_code), answer.headers)
    text = body.decode("utf-8", "replace")
    if call.streamed and _ERROR.search(text):
        return outcome("error", answer.headers)
    if broken:
        return outcome(BROKEN, answer.headers) if call.streamed else BROKEN
    if any(end in text for end in call.ends):
        return outcome("", answer.headers)
    return outcome("incomplete" if "response.incomplete" in text else "nothing", answer.headers)
