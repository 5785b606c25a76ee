"""One probe: a real chat completion of one token, on a connection of its own."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import httpx2
import msgspec

from tieline.events import ResultClass
from tieline.providers import Header, auth_for, url_for
from tieline.providers.answers import EVENT_STREAM, media_type, reading_of_error, reading_of_status
from tieline.providers.streams import Phase, StreamReader
from tieline.table import Adapter

PATH: Final = "/chat/completions"
BODY_MAX_BYTES: Final = 64 * 1024
PROMPT: Final = "ping"
PROBE_ID_PREFIX: Final = "probe-"


@dataclass(frozen=True, slots=True)
class ProbeTarget:
    """Where a probe of one model of one pool goes. ``model``: the pool's own name for it. ``credential``: the
    name of the pool's secret, "" for none."""

    pool: str
    url: str
    adapter: Adapter
    model: str
    credential: str = ""

    def request(self, probe_id: str, auth: Header | None) -> tuple[str, list[Header], bytes]:
        """(URL, headers, body) of a probe; ``probe_id`` tells it from applications' requests."""
        url = url_for(self.adapter, self.url, path=PATH, model=self.model)
        headers = [
            (b"content-type", b"application/json"),
            (b"accept-encoding", b"identity"),
            (b"user-agent", b"tieline-probe"),
            (b"x-request-id", probe_id.encode("ascii")),
        ]
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [{"role": "user", "content": PROMPT}],
            "max_tokens": 1,
            "stream": True,
        }
        return url, headers if auth is None else [*headers, auth], msgspec.json.encode(body)

    def auth(self, secret: str, *, is_token: bool) -> Header:
        """The header that carries the secret."""
        return auth_for(self.adapter, secret, is_token=is_token)


@dataclass(frozen=True, slots=True)
class ProbeEnd:
    """How a probe ended. ``first_token_ms`` None: no token came, or none that could be timed."""

    result: ResultClass
    first_token_ms: float | None = None


async def probe(
    http: httpx2.AsyncClient,
    target: ProbeTarget,
    auth: Header | None,
    *,
    timeout_s: float,
    monotonic_ms: Callable[[], int],
) -> ProbeEnd:
    """Ask for one token. Ends within twice ``timeout_s``: once to the first token, once to the end."""
    reading = _Reading(monotonic_ms)
    url, headers, body = target.request(f"{PROBE_ID_PREFIX}{secrets.token_hex(8)}", auth)
    try:
        async with asyncio.timeout(timeout_s) as limit:
            async with http.stream("POST", url, headers=headers, content=body) as response:
                reading.is_answered = True
                result = await reading.of(response, limit, timeout_s)
        return ProbeEnd(result, reading.first_token_ms)
    except (TimeoutError, httpx2.TimeoutException):
        # Before the first token the pool is slow; after it the stream has stalled.
        return ProbeEnd(
            ResultClass.TIMEOUT if reading.first_token_ms is None else ResultClass.CUT, reading.first_token_ms
        )
    except httpx2.HTTPError:
        return ProbeEnd(
            ResultClass.CUT if reading.is_answered else ResultClass.CONNECT, reading.first_token_ms
        )


class _Reading:
    """The answer to one probe, read as the client library reads one."""

    def __init__(self, monotonic_ms: Callable[[], int]) -> None:
        self.is_answered = False  # the answer's head has come
        self.first_token_ms: float | None = None
        self._monotonic_ms = monotonic_ms
        self._began_ms = monotonic_ms()

    async def of(self, response: httpx2.Response, limit: asyncio.Timeout, timeout_s: float) -> ResultClass:
        """Reads to the end, the stream's last event or ``BODY_MAX_BYTES``; puts ``limit`` off at the first
        token."""
        result = reading_of_status(response.status_code, names_model=True).result
        if result is not ResultClass.OK:
            return result
        is_stream = media_type(response.headers.get("content-type")) == EVENT_STREAM
        reader, size = StreamReader(PATH), 0
        async for data in response.aiter_bytes():
            size += len(data)
            if size > BODY_MAX_BYTES:
                return ResultClass.CUT
            if not is_stream:
                continue
            phase = reader.feed(data)
            if phase is Phase.ERROR:
                return reading_of_error(reader.error).result
            if phase is Phase.OUTPUT and self.first_token_ms is None:
                self.first_token_ms = float(max(0, self._monotonic_ms() - self._began_ms))
                limit.reschedule(asyncio.get_running_loop().time() + timeout_s)
            if reader.ended:
                break
        return reader.close(clean=True) if is_stream else ResultClass.OK
