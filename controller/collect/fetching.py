"""One request with all guards. It is the only place of the collectors that speaks HTTP or reads a file."""

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

import aiohttp

from controller.collect.addresses import (
    AddressRefusedError,
    CheckedResolver,
    check_address,
    literal,
    networks,
)
from controller.collect.bodies import ENCODINGS, Body, check_media_type
from controller.collect.collector import Collector, Page, Request, UnreadableError
from controller.process.retry_after import wait_asked_s

FILE = "file://"
REDIRECTS_MAX = 3
REDIRECTS = frozenset((301, 302, 303, 307, 308))
NOT_MODIFIED = 304
PORTS = {"http": 80, "https": 443}
REVALIDATE_AFTER_MS = 900_000  # for how long a server may go on saying that nothing has changed
CHUNK_BYTES = 64 * 1024
USER_AGENT = "tieline-collect"


class FetchError(Exception):
    """A request that gave no body. ``str()`` says why in one sentence; ``retry_after_s``: how long the server
    wants to be left alone; ``status``: that of the answer, 0 without one."""

    def __init__(self, why: str, retry_after_s: float = 0.0, status: int = 0) -> None:
        super().__init__(why)
        self.retry_after_s = retry_after_s
        self.status = status


FOLLOWING = "opc-next-page"  # of Oracle Cloud; other providers name the next page in the body


class KeptBody(NamedTuple):
    """A body that its server may confirm, by the validators that came with it (RFC 9110, 8.8)."""

    body: bytes
    etag: str
    last_modified: str
    fetched_ms: int
    following: str


class Fetcher:
    """Sends the requests of one collector. Use it in one event loop, and close it."""

    def __init__(self, collector: Collector) -> None:
        self._collector = collector
        self._allowed = networks(collector.addresses)
        hosts = (literal(urlsplit(url).hostname or "") for _, url in collector.urls())
        self._allowed += networks({str(host) for host in hosts if host is not None})
        context = ssl.create_default_context(cafile=collector.ca_file or None)
        connector = aiohttp.TCPConnector(
            resolver=CheckedResolver(self._allowed),
            use_dns_cache=False,
            force_close=True,
            ssl=context,
            socket_factory=self._socket,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),
        )
        self._bodies: dict[str, KeptBody] = {}

    async def close(self) -> None:
        """Ends all connections."""
        await self._session.close()

    async def fetch(self, request: Request, headers: Mapping[str, str], now_ms: int) -> Page:
        """The answer, or the last one if the server says that it has not changed.

        ``headers`` go to the request's own host only. Raises ``FetchError``, ``UnreadableError``.
        """
        async with _as_fetch_errors(self._collector.timeout_s):
            if request.url.startswith(FILE):
                max_bytes = self._collector.body_max_bytes
                return Page(await asyncio.to_thread(_read_file, request, max_bytes, now_ms))
            return await self._follow(request, headers, now_ms)

    async def lines(
        self, request: Request, headers: Mapping[str, str], within_s: float, *, now_ms: int
    ) -> AsyncGenerator[bytes]:
        """The lines of an answer while it comes, until its end. No redirect is followed.

        The lines together are bounded as a body is. Raises ``FetchError``, also if the answer has not ended
        after ``within_s``, and ``UnreadableError``.
        """
        async with _as_fetch_errors(within_s):
            self._checked(request.url)
            async with self._session.get(
                request.url,
                headers={
                    "Accept": ", ".join(request.accepts),
                    "Accept-Encoding": "identity",
                    "User-Agent": USER_AGENT,
                    **headers,
                },
                allow_redirects=False,
            ) as answer:
                self._check_head(answer, request, now_ms)
                size_bytes, rest = 0, b""
                async for chunk in answer.content.iter_any():
                    size_bytes += len(chunk)
                    if size_bytes > self._collector.body_max_bytes:
                        raise UnreadableError(f"more than {self._collector.body_max_bytes} bytes came")
                    *whole, rest = (rest + chunk).split(b"\n")
                    for line in whole:
                        yield line
                if rest:
                    raise UnreadableError("the last line was cut")

    async def _follow(self, request: Request, headers: Mapping[str, str], now_ms: int) -> Page:
        url = request.url
        for _ in range(REDIRECTS_MAX + 1):
            parts = self._checked(url)
            validators = self._validators(url, now_ms)
            own = headers if _origin(parts) == _origin(urlsplit(request.url)) else {}
            async with self._session.get(
                url,
                headers={
                    "Accept": ", ".join(request.accepts),
                    "Accept-Encoding": ENCODINGS,
                    "User-Agent": USER_AGENT,
                    **validators,
                    **own,
                },
                allow_redirects=False,
            ) as answer:
                if answer.status not in REDIRECTS:
                    return await self._body(
                        answer, request, url, has_validators=bool(validators), now_ms=now_ms
                    )
                url = self._redirected(url, answer.headers.get("Location", ""))
        raise FetchError(f"the answer redirects more than {REDIRECTS_MAX} times")

    def _validators(self, url: str, now_ms: int) -> dict[str, str]:
        last = self._bodies.get(url)
        if last is None or not 0 <= now_ms - last.fetched_ms < REVALIDATE_AFTER_MS:
            return {}
        headers = {"If-None-Match": last.etag, "If-Modified-Since": last.last_modified}
        return {name: value for name, value in headers.items() if value}

    async def _body(
        self,
        answer: aiohttp.ClientResponse,
        request: Request,
        url: str,
        *,
        has_validators: bool,
        now_ms: int,
    ) -> Page:
        if answer.status == NOT_MODIFIED and has_validators:
            return Page(self._bodies[url].body, self._bodies[url].following)
        self._check_head(answer, request, now_ms)
        body = Body(answer.headers.get("Content-Encoding", ""), self._collector.body_max_bytes)
        async for chunk in answer.content.iter_chunked(CHUNK_BYTES):
            body.feed(chunk)
        page = Page(body.end(), answer.headers.get(FOLLOWING, ""))
        etag, last_modified = answer.headers.get("ETag", ""), answer.headers.get("Last-Modified", "")
        self._bodies.pop(url, None)
        if (etag or last_modified) and len(self._bodies) < len(self._collector.requests()):
            self._bodies[url] = KeptBody(
                page.body, etag, last_modified, fetched_ms=now_ms, following=page.following
            )
        return page

    def _check_head(self, answer: aiohttp.ClientResponse, request: Request, now_ms: int) -> None:
        if answer.status != 200:
            wait_s = wait_asked_s(answer.headers.get("Retry-After", ""), now_ms)
            raise FetchError(f"HTTP {answer.status}", wait_s, status=answer.status)
        check_media_type(answer.headers.get("Content-Type", ""), request.accepts)

    def _checked(self, url: str) -> SplitResult:
        """The parts of a URL that may be asked. An address in it is checked here: no resolver sees it."""
        parts = urlsplit(url)
        if parts.scheme not in PORTS or not parts.hostname or parts.username or parts.password:
            raise FetchError("only http:// and https:// without user and password are fetched")
        if (address := literal(parts.hostname)) is not None:
            check_address(str(address), self._allowed)
        return parts

    def _redirected(self, url: str, location: str) -> str:
        target = urljoin(url, location)
        parts = urlsplit(target)
        host = parts.hostname or ""
        if host not in self._collector.redirect_hosts:
            raise FetchError(
                f"the answer redirects to {host[:100]!r}: name it under redirect_hosts if it is meant"
            )
        if urlsplit(url).scheme == "https" and parts.scheme != "https":
            raise FetchError("the answer redirects from https to another scheme")
        return target

    def _socket(self, address: Any) -> socket.socket:
        """The last look at an address, whoever resolved it. See aiohttp."""
        family, kind, protocol, _, place = address
        check_address(str(place[0]), self._allowed)
        connection = socket.socket(family=family, type=kind, proto=protocol)
        connection.setblocking(False)
        return connection


def _read_file(request: Request, max_bytes: int, now_ms: int) -> bytes:
    """The bytes of a file that the settings name. No redirect leads here."""
    path = Path(unquote(request.url.removeprefix(FILE)))
    with path.open("rb") as stream:
        age_s = now_ms / 1_000 - os.fstat(stream.fileno()).st_mtime
        if age_s > request.age_max_s:
            raise UnreadableError(f"the file was not written for {age_s:.0f} s")
        body = stream.read(max_bytes + 1)
    if len(body) > max_bytes:
        raise UnreadableError(f"the file has more than {max_bytes} bytes")
    return body


@asynccontextmanager
async def _as_fetch_errors(within_s: float) -> AsyncIterator[None]:
    """Ends what is inside after a time, and makes ``FetchError`` of what may go wrong there."""
    try:
        async with asyncio.timeout(within_s):
            yield
    except TimeoutError:
        raise FetchError(f"no whole answer within {within_s:g} s") from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        if isinstance(error, UnreadableError):
            raise
        raise FetchError(_words(error)) from None


def is_same_place(url: str, other: str) -> bool:
    """Whether both are of one scheme, host and port, so that what is secret may be sent to either."""
    return _origin(urlsplit(url)) == _origin(urlsplit(other))


def _origin(parts: SplitResult) -> tuple[str, str, int]:
    return parts.scheme, parts.hostname or "", parts.port or PORTS.get(parts.scheme, 0)


def _words(error: Exception) -> str:
    """Why a request failed. Errors of connections name the address; the others are named by their class."""
    inner = getattr(error, "os_error", None)
    for cause in (error, inner):
        if isinstance(cause, AddressRefusedError):
            return str(cause)
    return str(inner or error)[:300] or type(error).__name__
