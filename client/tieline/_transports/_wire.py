"""The one pool of connections, kept alive, HTTP/1.1, shared by all pools.

httpcore2, the engine under httpx2, without httpx2's own requests and responses around it: building a second
pair of those for each attempt would cost more than all the routing. Where only httpx is installed, httpcore,
which has the same shape.
"""

import contextlib
from collections.abc import AsyncIterator
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, cast

from tieline._transports._neutral import Headers, WireError
from tieline.events import ResultClass

if TYPE_CHECKING:
    import httpcore2
    import httpx2
else:
    _generation = "2" if find_spec("httpx2") is not None else ""
    httpcore2, httpx2 = import_module(f"httpcore{_generation}"), import_module(f"httpx{_generation}")

KEEP_ALIVE_MAX = 512
KEEP_ALIVE_S = 30.0
URLS_KEPT = 1_024
_FAILURES = (
    httpcore2.NetworkError,
    httpcore2.ProtocolError,
    httpcore2.TimeoutException,
    httpcore2.UnsupportedProtocol,
)


class CoreAnswer:
    """An answer whose body is still on the wire."""

    def __init__(self, response: httpcore2.Response) -> None:
        self.status = response.status
        self.headers: Headers = response.headers
        self._response = response

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes, undecoded."""
        try:
            async for data in cast(AsyncIterator[bytes], self._response.stream):
                yield data
        except _FAILURES as error:
            raise WireError(ResultClass.CUT, _text(error)) from None

    async def close(self) -> None:
        """Back to the pool if it was read to its end, else closed."""
        with contextlib.suppress(*_FAILURES):
            await self._response.aclose()


class CoreWire:
    """Bounded by requests in flight per pool (``Flights``), not here: a limit shared by all would let one
    hung pool starve the others. No redirects, no retries of its own, no proxies from the environment.
    """

    def __init__(self) -> None:
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=httpx2.create_ssl_context(),
            max_connections=None,
            max_keepalive_connections=KEEP_ALIVE_MAX,
            keepalive_expiry=KEEP_ALIVE_S,
            http2=False,
            retries=0,
        )

    async def send(
        self, method: str, url: str, headers: Headers, body: bytes, *, connect_s: float
    ) -> CoreAnswer:
        """Up to the answer's head. Raises ``WireError``: all that goes wrong before it is a failed
        connection."""
        try:
            place, host = _place(url)
            request = httpcore2.Request(
                method,
                place,
                headers=[(b"host", host), *headers, (b"content-length", b"%d" % len(body))],
                content=body,
                extensions={"timeout": {"connect": connect_s}},
            )
            return CoreAnswer(await self._pool.handle_async_request(request))
        except _FAILURES as error:
            raise WireError(ResultClass.CONNECT, _text(error)) from None

    async def close(self) -> None:
        """Close every connection."""
        await self._pool.aclose()


@lru_cache(URLS_KEPT)
def _place(url: str) -> tuple[httpcore2.URL, bytes]:
    """The URL taken apart, and the Host header it gives."""
    parsed = httpx2.URL(url)
    place = httpcore2.URL(
        scheme=parsed.raw_scheme, host=parsed.raw_host, port=parsed.port, target=parsed.raw_path
    )
    return place, parsed.netloc


def _text(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
