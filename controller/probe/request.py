"""One probe: a real chat completion of one token, on a connection of its own."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Final

import httpx2
import msgspec

from controller.probe.watch import result_of
from tieline.events import ResultClass
from tieline.table import Adapter

BODY_MAX_BYTES: Final = 64 * 1024
AZURE_CLASSIC_VERSION: Final = "2024-10-21"
PROMPT: Final = "ping"
PROBE_ID_PREFIX: Final = "probe-"
_DONE: Final = b"[DONE]"


@dataclass(frozen=True, slots=True)
class Target:
    """Where a probe of one model of one pool goes. ``secret`` is never logged, and not in ``repr``."""

    pool: str
    url: str
    adapter: Adapter
    model: str
    secret: str = ""

    def __repr__(self) -> str:
        return f"Target({self.pool}, {self.model})"

    def request(self, probe_id: str) -> tuple[str, dict[str, str], bytes]:
        """(url, headers, body) of a probe; ``probe_id`` tells it from applications' requests."""
        base = self.url.rstrip("/")
        body: dict[str, Any] = {
            "messages": [{"role": "user", "content": PROMPT}],
            "max_tokens": 1,
            "stream": True,
        }
        headers = {
            "content-type": "application/json",
            "user-agent": "tieline-probe",
            "x-request-id": probe_id,
        }
        if self.adapter == "azure_classic":
            url = (
                f"{base}/openai/deployments/{self.model}/chat/completions?api-version={AZURE_CLASSIC_VERSION}"
            )
            secret = {"api-key": self.secret}
        else:
            url, body["model"] = f"{base}/chat/completions", self.model
            secret = {"authorization": f"Bearer {self.secret}"}
        return url, {**headers, **(secret if self.secret else {})}, msgspec.json.encode(body)


@dataclass(frozen=True, slots=True)
class Answer:
    """How a probe ended. ``first_token_ms`` None: no token came."""

    result: ResultClass
    first_token_ms: float | None = None


async def probe(
    http: httpx2.AsyncClient, target: Target, *, timeout_s: float, monotonic_ms: Callable[[], int]
) -> Answer:
    """Ask for one token. Ends within twice ``timeout_s``: once to the first token, once to the end."""
    began_ms = monotonic_ms()
    url, headers, body = target.request(f"{PROBE_ID_PREFIX}{secrets.token_hex(8)}")
    first_token_ms: float | None = None
    try:
        async with asyncio.timeout(timeout_s) as limit:
            async with http.stream("POST", url, headers=headers, content=body) as response:
                if response.status_code != 200:
                    return Answer(result_of(response.status_code))
                async for kind in _events(response):
                    if first_token_ms is None:
                        first_token_ms = float(max(0, monotonic_ms() - began_ms))
                        limit.reschedule(asyncio.get_running_loop().time() + timeout_s)
                    if kind == "done":
                        return Answer(ResultClass.OK, first_token_ms)
                    if kind == "error":
                        return Answer(ResultClass.SERVER_ERROR)
        return Answer(ResultClass.CUT, first_token_ms)
    except (TimeoutError, httpx2.TimeoutException):
        return Answer(ResultClass.TIMEOUT if first_token_ms is None else ResultClass.CUT, first_token_ms)
    except httpx2.HTTPError:
        return Answer(ResultClass.CONNECT if first_token_ms is None else ResultClass.CUT, first_token_ms)


async def _events(response: httpx2.Response) -> AsyncIterator[str]:
    """``token``, ``done`` or ``error`` for each server-sent event that says one; ends with the stream."""
    read, rest = 0, b""
    async for block in response.aiter_raw():
        read += len(block)
        if read > BODY_MAX_BYTES:
            return
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            if line.startswith(b"data:") and (kind := _kind(line[5:].strip())):
                yield kind


def _kind(data: bytes) -> str:
    if data == _DONE:
        return "done"
    try:
        event = msgspec.json.decode(data)
    except msgspec.DecodeError:
        return "error"
    if not isinstance(event, dict) or "error" in event:
        return "error"
    choices = event.get("choices") or [{}]
    delta = choices[0].get("delta") or {}
    return "token" if delta.get("content") or choices[0].get("finish_reason") else ""
