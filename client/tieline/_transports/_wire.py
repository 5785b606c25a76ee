"""The one pool of connections, kept alive, HTTP/1.1, shared by all pools: an httpx2 transport behind
``Wire``."""

import contextlib
from collections.abc import AsyncIterator
from typing import cast

import httpx2

from tieline._transports._neutral import Headers, WireError
from tieline.events import ResultClass

KEEP_ALIVE_MAX = 512
KEEP_ALIVE_S = 30.0


class HttpxAnswer:
    """An answer whose body is still on the wire."""

    def __init__(self, response: httpx2.Response) -> None:
        self.status = response.status_code
        self.headers: Headers = response.headers.raw
        self._stream = cast(httpx2.AsyncByteStream, response.stream)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes, undecoded."""
        try:
            async for data in self._stream:
                yield data
        except httpx2.TransportError as error:
            raise WireError(ResultClass.CUT, _text(error)) from None

    async def close(self) -> None:
        """Back to the pool if it was read to its end, else closed."""
        with contextlib.suppress(httpx2.TransportError):
            await self._stream.aclose()


class HttpxWire:
    """Bounded by requests in flight per pool (``Flights``), not here: a limit shared by all would let one
    hung pool starve the others. No redirects, no retries of its own, no proxies from the environment."""

    def __init__(self) -> None:
        limits = httpx2.Limits(
            max_connections=None, max_keepalive_connections=KEEP_ALIVE_MAX, keepalive_expiry=KEEP_ALIVE_S
        )
        self._transport = httpx2.AsyncHTTPTransport(limits=limits, http2=False, retries=0)

    async def send(
        self, method: str, url: str, headers: Headers, body: bytes, *, connect_s: float
    ) -> HttpxAnswer:
        """Up to the answer's head. Raises ``WireError``: all that goes wrong before it is a failed
        connection."""
        request = httpx2.Request(
            method,
            url,
            headers=headers,
            content=body,
            extensions={"timeout": {"connect": connect_s, "read": None, "write": None, "pool": None}},
        )
        try:
            return HttpxAnswer(await self._transport.handle_async_request(request))
        except httpx2.TransportError as error:
            raise WireError(ResultClass.CONNECT, _text(error)) from None

    async def close(self) -> None:
        """Close every connection."""
        await self._transport.aclose()


def _text(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
