"""PURE, sans I/O. One HTTP/1.1 connection over h11: bytes in, answers out. Blocking and asynchronous sockets
are two thin rims around it. httpx2 and httpx speak HTTP/1.1 by h11 as well.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import SplitResult, urlsplit

import h11
from msgspec import Struct

from tieline._http.content import Content, Spliced, pieces_of
from tieline._http.failures import broken_off, invalid_request, no_http
from tieline._http.messages import Headers, WireError, find
from tieline._http.proxies import Proxy
from tieline.credentials import RequestToSign
from tieline.events import ResultClass

HEAD_MAX_BYTES = 100 * 1024
LARGE_BYTES = 64 * 1024
URLS_KEPT = 1_024
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
_KEEP_ALIVE_TIMEOUT = re.compile(rb"(?i)(?:^|[,;\s])timeout\s*=\s*\"?(\d{1,9})")
_PORTS = {"http": 80, "https": 443}


class Place(Struct, frozen=True):
    """A URL taken apart. ``key`` (scheme, host, port): requests to places of one key can share a
    connection."""

    key: tuple[str, str, int]
    target: bytes
    host_header: bytes

    @property
    def tls(self) -> bool:
        """Whether the connection is encrypted."""
        return self.key[0] == "https"


@lru_cache(URLS_KEPT)
def place_of(url: str) -> Place:
    """The URL taken apart. Raises ``WireError`` of class ``connect`` for one that no request can be sent to:
    the table is wrong there, not the caller, and another pool may be right."""
    try:
        parts = urlsplit(url)
        port, default = parts.port, _PORTS[parts.scheme]
        host = (parts.hostname or "").encode("idna").decode("ascii")
        target, netloc = _target(parts).encode("ascii"), f"[{host}]" if ":" in host else host
    except (ValueError, KeyError, UnicodeError) as error:
        raise WireError(ResultClass.CONNECT, f"the table's URL {url!r} can't be used: {error}") from None
    if not host:
        raise WireError(ResultClass.CONNECT, f"the table's URL {url!r} names no host")
    header = netloc if port in (None, default) else f"{netloc}:{port}"
    return Place((parts.scheme, host, port or default), target, header.encode("ascii"))


def _target(parts: SplitResult) -> str:
    path = parts.path or "/"
    return f"{path}?{parts.query}" if parts.query else path


def keep_alive_s(headers: Iterable[tuple[bytes, bytes]]) -> float | None:
    """For how long the server keeps an idle connection, by its header ``Keep-Alive: timeout=N``; None where
    it does not say."""
    for name, value in headers:
        if name[:1] not in b"kK" or name.lower() != b"keep-alive":
            continue
        if match := _KEEP_ALIVE_TIMEOUT.search(value):
            return float(match[1])
    return None


def to_sign(method: str, url: str, headers: Headers, body: Content) -> RequestToSign:
    """A request to this URL as a signer sees it. Raises ``WireError`` for a URL that no request can be sent
    to; so does reading its body where that is a file that can't be read."""
    place = place_of(url)
    return RequestToSign(
        method,
        place.target.decode("ascii"),
        place.host_header.decode("ascii"),
        content_type=find(headers, b"content-type") or "",
        body=pieces_of(body),
        body_bytes=len(body),
    )


class Http1:
    """One connection's state. ``receive`` what came (b"" at its end), then ask for ``head`` and ``body``.
    ``begun``: some of the answer has come. ``headed``: its head has come. ``keep_alive_s``: for how long the
    server keeps the connection for another request, where it says so. ``pool``: whose answer is awaited, for
    errors. ``proxy``: the other end is a proxy, which is asked for whole URLs."""

    __slots__ = ("_broken", "_closed", "_ended", "_h11", "begun", "headed", "keep_alive_s", "pool", "proxy")

    def __init__(self) -> None:
        self._h11 = h11.Connection(our_role=h11.CLIENT, max_incomplete_event_size=HEAD_MAX_BYTES)
        self.begun = False
        self.headed = False
        self.keep_alive_s: float | None = None
        self.pool = "the server"
        self.proxy: Proxy | None = None
        self._closed = False
        self._ended = False
        self._broken: WireError | None = None

    def request(self, method: str, place: Place, headers: Headers, body: Content) -> tuple[bytes, Content]:
        """The beginning of a request and the rest, b"" for none: a large body is not copied. Raises
        ``WireError`` of class ``client_error`` for headers that HTTP does not allow."""
        lines = [(b"host", place.host_header), *headers]
        if body or method in _WITH_BODY:
            lines.append((b"content-length", b"%d" % len(body)))
        target = place.target
        if self.proxy is not None:
            target = b"http://" + place.host_header + target
            lines += self.proxy.headers
        send = self._h11.send
        try:
            head = send(h11.Request(method=method, target=target, headers=lines)) or b""
            if body:
                self._h11.send_with_data_passthrough(h11.Data(data=body))  # type: ignore[arg-type]
            send(h11.EndOfMessage())
        except h11.LocalProtocolError:
            raise invalid_request(lines) from None
        if isinstance(body, Spliced) or len(body) > LARGE_BYTES:
            return head, body
        return head + body, b""

    def receive(self, data: bytes) -> None:
        """Bytes as they came; b"" when no more will come."""
        if data:
            self.begun = True
        else:
            self._closed = True
        self._h11.receive_data(data)

    def head(self) -> tuple[int, Headers] | None:
        """Status and headers, or None while more bytes are needed. Raises ``WireError`` of class
        ``connect``."""
        while True:
            event = self._next(ResultClass.CONNECT)
            if event is h11.NEED_DATA:
                return None
            if isinstance(event, h11.Response):
                self.headed = True
                headers = event.headers.raw_items()
                self.keep_alive_s = keep_alive_s(headers)
                return event.status_code, headers
            if not isinstance(event, h11.InformationalResponse):
                raise broken_off(self.pool, ResultClass.CONNECT)

    def body(self) -> bytes | None:
        """All of the body that has come since; b"" at its end, None while more bytes are needed. Raises
        ``WireError`` of class ``cut``, but not before what came whole was given."""
        if self._ended:
            return b""
        parts = []
        while self._broken is None:
            try:
                event = self._next(ResultClass.CUT)
            except WireError as error:
                self._broken = error
                break
            if isinstance(event, h11.Data):
                parts.append(event.data)
            elif event is h11.NEED_DATA:
                return b"".join(parts) if parts else None
            else:
                self._ended = True
                return b"".join(parts)
        if parts:
            return b"".join(parts)
        raise self._broken

    def reusable(self) -> bool:
        """Whether the connection can carry another request; makes it ready for one. A server that has sent
        more than it was asked for is not trusted with another."""
        state = self._h11
        if state.our_state is not h11.DONE or state.their_state is not h11.DONE or state.trailing_data[0]:
            return False
        state.start_next_cycle()
        self.begun = self.headed = self._ended = False
        return True

    def _next(self, failed_as: ResultClass) -> object:
        try:
            return self._h11.next_event()
        except h11.RemoteProtocolError:
            raise (broken_off if self._closed else no_http)(self.pool, failed_as) from None
