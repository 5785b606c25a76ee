"""One request of a calling application, sent until its answer is whole.

An application that gets half an answer sends the request again, because the client library never joins two
answers. It repeats nothing else: retries before the first token are the library's own.
"""

from __future__ import annotations

from typing import Any

import httpx2
import msgspec
from msgspec import Struct

import tieline
from controller.process import clock
from lab.demo.records import RequestEnd, RequestStart

SENDINGS_MAX = 5
ERROR_BYTES_MAX = 2_000
WHY_CHARACTERS_MAX = 300


class OutgoingRequest(Struct, frozen=True):
    """A request as its application noted it, and what goes over the wire."""

    start: RequestStart
    url: str
    body: bytes
    deadline_s: float

    @property
    def headers(self) -> dict[str, str]:
        """The application's own id, origin and deadline, for the client library."""
        return {
            "content-type": "application/json",
            "x-request-id": self.start.id,
            "x-tieline-origin": self.start.origin,
            "x-tieline-deadline": f"{self.deadline_s:g}",
        }


async def send_until_whole(http: httpx2.AsyncClient, request: OutgoingRequest) -> RequestEnd:
    """Sends the request, and again when the answer breaks off, five times at most."""
    why = ""
    for sending in range(1, SENDINGS_MAX + 1):
        try:
            return await _send(http, request, sending)
        except httpx2.TransportError as error:
            why = f"{type(error).__name__}: {error}"[:WHY_CHARACTERS_MAX]
    return RequestEnd(request.start.id, clock.now_ms(), "failed", sendings=SENDINGS_MAX, why=why)


async def _send(http: httpx2.AsyncClient, request: OutgoingRequest, sending: int) -> RequestEnd:
    """Sends the request once and reads the answer to its end. Raises TransportError when it breaks off."""
    first_token_ms: int | None = None
    error_body = b""
    async with http.stream("POST", request.url, headers=request.headers, content=request.body) as answer:
        async for block in answer.aiter_raw():
            if first_token_ms is None:
                first_token_ms = clock.now_ms() - request.start.at_ms
            if answer.status_code != 200 and len(error_body) < ERROR_BYTES_MAX:
                error_body += block
    headers = answer.headers
    is_ok = answer.status_code == 200
    pool = headers.get("x-tieline-pool", "")
    reason = headers.get("x-tieline-reason", "")
    is_shed = reason == tieline.Reason.SHED and not pool
    reasons = f"{reason} {headers.get('x-tieline-gave-up', '')}".strip()
    return RequestEnd(
        id=request.start.id,
        at_ms=clock.now_ms(),
        outcome="ok" if is_ok else "shed" if is_shed else "failed",
        status=answer.status_code,
        pool=pool,
        attempts=int(headers.get("x-tieline-attempts", 0)),
        sendings=sending,
        took_ms=clock.now_ms() - request.start.at_ms,
        first_token_ms=first_token_ms,
        generation=headers.get("x-tieline-generation", ""),
        why="" if is_ok else _why(reasons, error_body),
    )


def _why(reasons: str, error_body: bytes) -> str:
    """The client library's reasons, and the message of the error that it returned, or the beginning of what
    is no error of the API."""
    try:
        error: Any = msgspec.json.decode(error_body)
        message = error["error"]["message"]
    except (msgspec.DecodeError, KeyError, TypeError):
        text = " ".join(error_body.decode("utf-8", "replace").split())
        return f"{reasons} {text}".strip()[:WHY_CHARACTERS_MAX]
    return reasons if reasons == "no_table" else f"{reasons}: {message}"[:WHY_CHARACTERS_MAX]
