"""A controller's HTTP endpoint as a client sees it: one address, one token, every answer bounded in size and
time. A redirect is an error and never followed, as the token would go with it. docs/http-table.md describes
the other end.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from importlib.util import find_spec
from ipaddress import ip_address
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from tieline._http.connections import WireAnswer
from tieline._http.flights import Flight
from tieline._http.messages import Headers, WireError, find, retry_after_ms
from tieline._process import clock as _clock
from tieline.credentials import Credentials, MissingCredentialError, SecretSource
from tieline.errors import ConfigurationError, MissingExtraError
from tieline.events import ResultClass

if TYPE_CHECKING:
    from tieline._http.wire_async import AsyncWire

CREDENTIAL = "controller"
CONTROLLER_CONNECT_S = 2.0
ANSWER_S = 5.0
SHORT_BODY_MAX = 4 * 1024
RETRY_AFTER_MAX_S = 30.0
_MEANING = {
    401: "the token was refused",
    403: "the token was refused",
    404: "no such table, or no Tieline endpoint",
    429: "too many requests",
}


class EndpointError(Exception):
    """The endpoint was not reached, or refused. ``retry_after_s``: what it asked for, else 0. ``again``: the
    same request may succeed later."""

    def __init__(self, text: str, retry_after_s: float = 0.0, *, again: bool = True) -> None:
        super().__init__(text)
        self.retry_after_s = retry_after_s
        self.again = again


class EndpointAnswer(NamedTuple):
    """A whole answer of 200, 202 or 304."""

    status: int
    headers: Headers
    body: bytes


def check_url(url: str) -> str:
    """The address without a slash at its end. Raises ConfigurationError for one that can't be used."""
    try:
        parts = urlsplit(url)
        usable = parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable:
        raise ConfigurationError(f"source={url!r}: expected https://host:port")
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise ConfigurationError(
            "source: an address of a controller has no user, query or fragment; give the token by token="
        )
    return url.rstrip("/")


def is_plain(url: str) -> bool:
    """Whether a token would travel unencrypted over a network."""
    parts = urlsplit(url)
    if parts.scheme == "https" or parts.hostname == "localhost":
        return False
    try:
        return not ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return True


def http_engine() -> str:
    """The HTTP library that is installed, httpx2 before httpx. Raises MissingExtraError when none is."""
    for name in ("httpx2", "httpx"):
        if find_spec(name) is not None:
            return name
    raise MissingExtraError("httpx2", "httpx2")


class Endpoint:
    """Requests to one controller. Opens its connections when it is first used; ``close`` lets go of them."""

    def __init__(self, url: str, token: SecretSource | None) -> None:
        self.url = check_url(url)
        self._has_token = token is not None
        sources = {CREDENTIAL: token} if token is not None else None
        self._credentials = Credentials(sources, _clock.monotonic_ms)
        self._wire: AsyncWire | None = None

    async def get(self, path: str, headers: Headers, *, max_bytes: int) -> EndpointAnswer:
        """A whole answer. Raises ``EndpointError``."""
        return await self._whole("GET", path, headers, b"", max_bytes)

    async def post(self, path: str, body: bytes, content_type: str) -> None:
        """Returns when the endpoint has taken it. Raises ``EndpointError``."""
        headers = [(b"content-type", content_type.encode())]
        await self._whole("POST", path, headers, body, SHORT_BODY_MAX)

    async def lines(self, path: str, *, silent_s: float, line_max: int) -> AsyncIterator[bytes]:
        """The lines of an answer that goes on, at most ``line_max`` bytes each. Raises ``EndpointError``,
        also when nothing came for ``silent_s``; its end without an error is the endpoint's own."""
        flight = _flight(self.url)
        answer = await self._begin("GET", path, [(b"accept", b"text/event-stream")], b"", flight)
        rest = b""
        try:
            while True:
                flight.due_ms = _clock.monotonic_ms() + round(silent_s * 1_000)
                chunk = await answer.read()
                if not chunk:
                    return
                *whole, rest = (rest + chunk).split(b"\n")
                if len(rest) > line_max:
                    raise EndpointError(f"{self.url}: a line longer than {line_max} bytes")
                for line in whole:
                    yield line.rstrip(b"\r")
        except WireError as error:
            silent = error.result is ResultClass.TIMEOUT
            text = f"silent for {silent_s:g} s" if silent else str(error)
            raise EndpointError(f"{self.url}: {text}") from None
        finally:
            answer.close()

    async def close(self) -> None:
        """Close every connection."""
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.close()

    async def _whole(
        self, method: str, path: str, headers: Headers, body: bytes, max_bytes: int
    ) -> EndpointAnswer:
        try:
            async with asyncio.timeout(ANSWER_S):
                answer = await self._begin(method, path, headers, body, _flight(self.url))
                try:
                    return EndpointAnswer(answer.status, answer.headers, await self._read(answer, max_bytes))
                finally:
                    answer.close()
        except TimeoutError:
            raise EndpointError(f"{self.url}: no answer within {ANSWER_S:g} s") from None
        except WireError as error:
            raise EndpointError(f"{self.url}: {error}") from None

    async def _begin(
        self, method: str, path: str, headers: Headers, body: bytes, flight: Flight
    ) -> WireAnswer:
        """An answer of 200, 202 or 304 whose body has not been read."""
        if self._wire is None:
            from tieline._http.wire_async import AsyncWire

            self._wire = AsyncWire()
        try:
            token = await self._token()
            auth = [(b"authorization", b"Bearer " + token.encode("latin-1"))] if token else []
            async with asyncio.timeout(ANSWER_S):
                answer = await self._wire.open(
                    method,
                    self.url + path,
                    [*headers, *auth],
                    body,
                    flight=flight,
                    connect_s=CONTROLLER_CONNECT_S,
                )
        except TimeoutError:
            raise EndpointError(f"{self.url}: no answer within {ANSWER_S:g} s") from None
        except WireError as error:
            raise EndpointError(f"{self.url}: {error}") from None
        if answer.status in (200, 202, 304):
            return answer
        try:
            raise await self._refused(answer, token)
        finally:
            answer.close()

    async def _token(self) -> str:
        try:
            token = (await self._credentials.get(CREDENTIAL)).value
        except MissingCredentialError as error:
            if self._has_token:
                raise EndpointError(f"{self.url}: {error}") from None
            return ""  # the endpoint may need no token; one that does refuses with 401
        assert isinstance(token, str)
        return token

    async def _refused(self, answer: WireAnswer, token: str) -> EndpointError:
        if answer.status in (401, 403):
            self._credentials.forget(CREDENTIAL, token)
        meaning = _MEANING.get(answer.status, "a redirect" if 300 <= answer.status < 400 else "refused")
        with contextlib.suppress(WireError, EndpointError, TimeoutError):
            async with asyncio.timeout(ANSWER_S):
                body = await self._read(answer, SHORT_BODY_MAX)
            if (find(answer.headers, b"content-type") or "").startswith("text/plain"):
                meaning = body.decode("utf-8", "replace").strip()[:300] or meaning
        wait_ms = retry_after_ms(answer.headers, _clock.now_ms()) or 0
        text = f"{self.url}: HTTP {answer.status}: {meaning}"
        again = answer.status == 429 or answer.status >= 500
        return EndpointError(text, min(wait_ms / 1_000, RETRY_AFTER_MAX_S), again=again)

    async def _read(self, answer: WireAnswer, max_bytes: int) -> bytes:
        parts, size = [], 0
        while data := await answer.read():
            size += len(data)
            if size > max_bytes:
                raise EndpointError(f"{self.url}: an answer of more than {max_bytes} bytes")
            parts.append(data)
        return b"".join(parts)


def _flight(url: str) -> Flight:
    """A flight with the time for an answer's head; whoever waits for more sets its time anew."""
    flight = Flight(url, _clock.monotonic_ms())
    flight.due_ms += round(ANSWER_S * 1_000)
    return flight
