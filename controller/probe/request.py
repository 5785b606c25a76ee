"""One probe: a real chat completion, on a connection of its own, read as the client library reads one."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import httpx2
import msgspec

from tieline.events import ResultClass
from tieline.providers import Header, auth_for, url_for
from tieline.providers.answers import (
    EVENT_STREAM,
    HTML,
    Topic,
    error_in_body,
    media_type,
    reading_of_error,
    reading_of_status,
)
from tieline.providers.streams import Phase, StreamReader, TokenCounts, read_whole
from tieline.providers.whole import comes_as_stream, judge, must_be_json
from tieline.table import Adapter

PATH: Final = "/chat/completions"
MESSAGES_PATH: Final = "/messages"
_MESSAGES_HEADERS: Final[list[Header]] = [(b"anthropic-version", b"2023-06-01")]
BODY_MAX_BYTES: Final = 64 * 1024
TOKEN_MAX_S: Final = 0.1  # a pool that needs longer for each token of a probe is too slow to be waited for
PROBE_ID_PREFIX: Final = "probe-"
LONG_TOKENS: Final = 32
REASONING_TOKENS: Final = 16
OTHER_LIMIT: Final = "max_completion_tokens"
_CHARACTERS_PER_TOKEN = 3  # fewer than any tokenizer needs for plain English, so that nothing costs more
_TEMPLATE_TOKENS = 8  # what chat templates put around one message


class ProbeKind(StrEnum):
    """What is asked for. A tiny probe asks for one token, a long one for ``LONG_TOKENS``, each as a stream or
    as a whole answer."""

    TINY_STREAM = "tiny stream"
    TINY_WHOLE = "tiny whole"
    LONG_STREAM = "long stream"
    LONG_WHOLE = "long whole"

    @property
    def is_stream(self) -> bool:
        return self in (ProbeKind.TINY_STREAM, ProbeKind.LONG_STREAM)

    @property
    def is_long(self) -> bool:
        return self in (ProbeKind.LONG_STREAM, ProbeKind.LONG_WHOLE)

    @property
    def tokens_max(self) -> int:
        """How many tokens the answer may have."""
        return LONG_TOKENS if self.is_long else 1

    @property
    def prompt(self) -> str:
        return "Count from one to fifty in words." if self.is_long else "ping"

    @property
    def tokens_expected(self) -> int:
        """The most that prompt and answer have in tokens, before a pool has said how it counts them."""
        return _TEMPLATE_TOKENS + -(-len(self.prompt) // _CHARACTERS_PER_TOKEN) + self.tokens_max


@dataclass(frozen=True, slots=True)
class ProbeTarget:
    """Where a probe of one model of one pool goes. ``model``: the pool's own name for it. ``credential``: the
    name of the pool's secret, "" for none. ``price_per_million_units``: what a probe costs, 0 if unknown.
    ``limit_field``: the parameter that limits the answer's tokens; reasoning models take no
    ``max_tokens``."""

    pool: str
    url: str
    adapter: Adapter
    model: str
    credential: str = ""
    price_per_million_units: float = 0.0
    limit_field: str = "max_tokens"

    @property
    def path(self) -> str:
        """What is asked, in the API that the pool speaks. One prompt and the limit of the answer read alike
        in both."""
        return MESSAGES_PATH if self.adapter == "anthropic" else PATH

    def request(
        self, probe_id: str, auth: Header | None, kind: ProbeKind = ProbeKind.TINY_STREAM
    ) -> tuple[str, list[Header], bytes]:
        """(URL, headers, body) of a probe; ``probe_id`` tells it from applications' requests."""
        url = url_for(self.adapter, self.url, path=self.path, model=self.model)
        headers = [
            (b"content-type", b"application/json"),
            (b"accept-encoding", b"identity"),
            (b"user-agent", b"tieline-probe"),
            (b"x-request-id", probe_id.encode("ascii")),
        ]
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [{"role": "user", "content": kind.prompt}],
            self.limit_field: self.tokens_max(kind),
            "stream": kind.is_stream,
        }
        headers += _MESSAGES_HEADERS if self.path == MESSAGES_PATH else []
        return url, headers if auth is None else [*headers, auth], msgspec.json.encode(body)

    def tokens_max(self, kind: ProbeKind) -> int:
        """How many tokens an answer may have. Reasoning models can't end an answer of one token."""
        return kind.tokens_max if self.limit_field == "max_tokens" else max(kind.tokens_max, REASONING_TOKENS)

    def auth(self, secret: str, *, is_token: bool) -> Header:
        """The header that carries the secret."""
        return auth_for(self.adapter, secret, is_token=is_token)


@dataclass(frozen=True, slots=True)
class ProbeEnd:
    """How a probe ended. ``first_token_ms`` and ``per_token_ms`` (the mean of the tokens after the first) are
    of streams; None: none came, or none that could be timed. ``usage``: token counts, where the answer names
    them. ``refuses_limit``: the model does not take ``max_tokens``, so the probe was the wrong one."""

    result: ResultClass
    first_token_ms: float | None = None
    per_token_ms: float | None = None
    usage: TokenCounts | None = None
    refuses_limit: bool = False


def whole_within_s(kind: ProbeKind, timeout_s: float) -> float:
    """How long a whole answer may take, and a stream after its first token, when a first token may take
    ``timeout_s``."""
    return timeout_s + kind.tokens_max * TOKEN_MAX_S


async def probe(
    http: httpx2.AsyncClient,
    target: ProbeTarget,
    auth: Header | None,
    kind: ProbeKind = ProbeKind.TINY_STREAM,
    *,
    timeout_s: float,
    monotonic_ms: Callable[[], int],
) -> ProbeEnd:
    """Send one probe, and read its answer to the end.

    ``timeout_s``: how long the first token of a stream may take, and each piece after it;
    ``whole_within_s`` bounds the rest.
    """
    reading = _Reading(
        kind,
        target.path,
        names_deployment=target.adapter == "azure_classic",
        monotonic_ms=monotonic_ms,
    )
    url, headers, body = target.request(f"{PROBE_ID_PREFIX}{secrets.token_hex(8)}", auth, kind)
    first_within_s = timeout_s if kind.is_stream else whole_within_s(kind, timeout_s)
    try:
        async with asyncio.timeout(first_within_s) as limit:
            async with http.stream("POST", url, headers=headers, content=body) as response:
                reading.is_answered = True
                result = await reading.of(response, limit, timeout_s)
    except (TimeoutError, httpx2.TimeoutException):
        # Before the first token the pool is slow; after it the stream has stalled.
        result = ResultClass.TIMEOUT if reading.first_token_ms is None else ResultClass.CUT
    except httpx2.HTTPError:
        result = ResultClass.CUT if reading.is_answered else ResultClass.CONNECT
    return ProbeEnd(
        result,
        reading.first_token_ms,
        reading.per_token_ms,
        usage=reading.usage,
        refuses_limit=reading.refuses_limit and target.limit_field != OTHER_LIMIT,
    )


class _Reading:
    """The answer to one probe. ``is_answered``: its head has come."""

    def __init__(
        self, kind: ProbeKind, path: str, *, names_deployment: bool, monotonic_ms: Callable[[], int]
    ) -> None:
        self.is_answered = False
        self.first_token_ms: float | None = None
        self.per_token_ms: float | None = None
        self.usage: TokenCounts | None = None
        self.refuses_limit = False
        self._kind = kind
        self._path = path
        self._names_deployment = names_deployment
        self._monotonic_ms = monotonic_ms
        self._began_ms = monotonic_ms()

    async def of(self, response: httpx2.Response, limit: asyncio.Timeout, timeout_s: float) -> ResultClass:
        """Reads to the end, the stream's last event or ``BODY_MAX_BYTES``; puts ``limit`` off at each piece
        from the first token on."""
        if response.status_code // 100 != 2:
            return await self._of_refusal(response)
        kind = media_type(response.headers.get("content-type"))
        is_json = must_be_json("POST", self._path, response.status_code, kind)
        if comes_as_stream(kind, asks_stream=self._kind.is_stream, is_json=is_json):
            return await self._of_stream(response, limit, timeout_s, is_event_stream=kind == EVENT_STREAM)
        body = await _body(response)
        if kind == HTML or body is None:
            return ResultClass.SERVER_ERROR if kind == HTML else ResultClass.CUT
        self.usage, _ = read_whole(body)
        return judge(body, is_creation=True, retry_empty=False).reading.result if is_json else ResultClass.OK

    async def _of_refusal(self, response: httpx2.Response) -> ResultClass:
        error = error_in_body(await _body(response) or b"")
        reading = reading_of_status(
            response.status_code, error, names_model=True, names_deployment=self._names_deployment
        )
        self.refuses_limit = reading.topic is Topic.PARAMETER and "max_tokens" in error.param + error.message
        return reading.result

    async def _of_stream(
        self, response: httpx2.Response, limit: asyncio.Timeout, timeout_s: float, *, is_event_stream: bool
    ) -> ResultClass:
        loop = asyncio.get_running_loop()
        reader, parts, size, end_s = StreamReader(self._path), [], 0, float("inf")
        async for data in response.aiter_bytes():
            parts.append(data)
            size += len(data)
            if size > BODY_MAX_BYTES:
                return ResultClass.CUT
            phase = reader.feed(data)
            if phase is Phase.ERROR:
                return reading_of_error(reader.error).result
            if phase is Phase.OUTPUT:
                if self.first_token_ms is None:
                    self.first_token_ms = float(max(0, self._monotonic_ms() - self._began_ms))
                    end_s = loop.time() + whole_within_s(self._kind, timeout_s)
                limit.reschedule(min(loop.time() + timeout_s, end_s))
            if reader.ended:
                break
        result = reader.close(clean=True)
        if reader.phase is Phase.WAITING and not is_event_stream:
            # It was a whole answer, which does not name its type.
            return judge(b"".join(parts), is_creation=True, retry_empty=False).reading.result
        self.usage = reader.usage
        self._time_tokens(reader)
        return result

    def _time_tokens(self, reader: StreamReader) -> None:
        """As the client library does, each event counts as a token where the stream does not name them."""
        tokens = reader.usage[1] if reader.usage is not None else reader.events
        if self.first_token_ms is not None and self._kind.is_long and tokens > 2:
            took_ms = self._monotonic_ms() - self._began_ms - self.first_token_ms
            self.per_token_ms = max(took_ms, 0.0) / (tokens - 1)


async def _body(response: httpx2.Response) -> bytes | None:
    """The whole body; None for one of more than ``BODY_MAX_BYTES``."""
    parts, size = [], 0
    async for data in response.aiter_bytes():
        parts.append(data)
        size += len(data)
        if size > BODY_MAX_BYTES:
            return None
    return b"".join(parts)
