"""PURE. Requests and answers without any HTTP library's classes: what exchanges, wires and shells agree on.

Three words, each for one thing: a *request* comes from the caller, an *answer* from a pool, and a *reply*
(tieline._request.reply) goes to the caller.
"""

from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Protocol

from msgspec import Struct

from tieline.events import ResultClass

if TYPE_CHECKING:
    from tieline._http.content import Spool
    from tieline._request.form import Field

Headers = list[tuple[bytes, bytes]]
RETRY_AFTER_MAX_MS = 300_000

# Made anew by each connection, in either direction (RFC 9110, section 7.6.1, and the body's length).
_HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"content-length",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authentication-info",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
# The caller's own, and none of a provider's business: another host, and secrets that are not the pool's. A
# cookie is one of them: the caller's HTTP library knows one host for all providers, and would send what one
# of them set to the next. Bodies are sent at once, so nothing waits for what ``expect`` asks for.
_DROPPED_FROM_REQUEST = _HOP_BY_HOP | {
    b"api-key",
    b"authorization",
    b"cookie",
    b"expect",
    b"host",
    b"x-api-key",
    b"x-goog-api-key",
}
_DROPPED_FROM_STREAM = _DROPPED_FROM_REQUEST | {b"accept-encoding"}
_DROPPED_FROM_ANSWER = _HOP_BY_HOP | {b"set-cookie"}
_NAMES_NO_HEADER = (b"keep-alive", b"close")
_REQUEST_ID = frozenset({"x-request-id"})
_NO_NAMES: frozenset[bytes] = frozenset()


class WireError(Exception):
    """A connection failed. ``result``: the class of the failure."""

    def __init__(self, result: ResultClass, text: str) -> None:
        super().__init__(text)
        self.result = result


class StreamBrokenError(Exception):
    """A stream broke after its first output. ``idle``: it did not break, it stalled."""

    def __init__(self, text: str, *, idle: bool = False) -> None:
        super().__init__(text)
        self.idle = idle


class HttpRequest(Struct, frozen=True):
    """A caller's request. ``path`` is what follows the base URL, query included. ``named``: ``x-request-id``
    and the headers that begin with ``x-tieline-``, by lower-case name. ``timeout_s``: the read time-out that
    the caller has declared to its HTTP client. ``left``: pools that were left because a stream for this
    request broke there. ``fields``: the text fields of a form that was read while it came. ``is_shed``:
    whether what the table sheds falls on this request, where its sender shares that out among callers; None
    where the table's own sequence decides."""

    method: str
    path: str
    headers: Headers
    body: "bytes | Spool"
    named: Mapping[str, str]
    timeout_s: float | None = None
    left: tuple[str, ...] = ()
    fields: "Mapping[str, Field] | None" = None
    is_shed: bool | None = None


class Answer(Protocol):
    """A pool's answer whose body has not been read. ``read`` gives bytes, b"" at their end, or something to
    await for them: its wire and its runner agree on that. It raises ``WireError``."""

    status: int
    headers: Headers
    read: Callable[[], Any]

    def close(self) -> None:
        """Let go of the connection. May be called again."""
        ...


def request_headers(
    request: HttpRequest, request_id: str, auth: tuple[bytes, bytes] | None, *, stream: bool
) -> Headers:
    """The caller's headers as they go to a provider, with ``auth`` in place of the caller's own secret."""
    # A stream is read here, so it must come uncompressed.
    headers = _without(_DROPPED_FROM_STREAM if stream else _DROPPED_FROM_REQUEST, request.headers)
    if request.named.keys() - _REQUEST_ID:
        headers = [header for header in headers if not header[0].lower().startswith(b"x-tieline-")]
    if stream:
        headers.append((b"accept-encoding", b"identity"))
    if "x-request-id" not in request.named:
        headers.append((b"x-request-id", request_id.encode("latin-1", "replace")))
    if auth is not None:
        headers.append(auth)
    return headers


def reply_headers(headers: Headers) -> Headers:
    """A pool's headers as they go to the caller."""
    return _without(_DROPPED_FROM_ANSWER, headers)


def _without(dropped: frozenset[bytes], headers: Headers) -> Headers:
    """The headers but for those of the ``dropped`` lower-case names, and those that belong to one connection
    because its ``Connection`` header names them."""
    names = [name.lower() for name, _ in headers]
    if b"connection" in names:
        dropped |= _named_by_connection(headers)
    return [header for name, header in zip(names, headers, strict=True) if name not in dropped]


def _named_by_connection(headers: Headers) -> frozenset[bytes]:
    """Lower-case names of the headers that a ``Connection`` header names."""
    values = [value for name, value in headers if name.lower() == b"connection"]
    if all(value in _NAMES_NO_HEADER for value in values):
        return _NO_NAMES
    return frozenset(name.strip().lower() for value in values for name in value.split(b","))


def find(headers: Headers, name: bytes) -> str | None:
    """The value of the first header of that lower-case name; None without one."""
    for header_name, value in headers:
        if header_name.lower() == name:
            return value.decode("latin-1")
    return None


def retry_after_ms(headers: Headers, now_epoch_ms: int) -> int | None:
    """How long to wait: by ``retry-after-ms``, else by ``retry-after`` in seconds or as a date (RFC 9110,
    section 10.2.3); at most 300 s. None when neither is there or makes sense."""
    wait_ms: float | None = None
    if (text := find(headers, b"retry-after-ms")) is not None:
        wait_ms = _number(text)
    if wait_ms is None and (text := find(headers, b"retry-after")) is not None:
        seconds = _number(text)
        wait_ms = seconds * 1_000 if seconds is not None else _until_date_ms(text, now_epoch_ms)
    return None if wait_ms is None else int(min(max(wait_ms, 0), RETRY_AFTER_MAX_MS))


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if value == value else None  # not a number


def _until_date_ms(text: str, now_epoch_ms: int) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp() * 1_000 - now_epoch_ms
    except (ValueError, TypeError, OverflowError):
        return None
