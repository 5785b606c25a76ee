"""Requests and replies without any HTTP library's classes: what the driver and the shells agree on."""

from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Protocol

from msgspec import Struct

from tieline.events import ResultClass

Headers = list[tuple[bytes, bytes]]
RETRY_AFTER_MAX_MS = 300_000

# Hop by hop, made anew per attempt, or ours: none of these reaches a provider.
_DROPPED = frozenset(
    {
        b"host",
        b"content-length",
        b"transfer-encoding",
        b"connection",
        b"keep-alive",
        b"authorization",
        b"api-key",
        b"proxy-authorization",
    }
)
_DROPPED_FROM_REPLY = frozenset({b"transfer-encoding", b"connection", b"keep-alive", b"content-length"})


class WireError(Exception):
    """The connection failed: ``result`` says how, as seen before the answer's head."""

    def __init__(self, result: ResultClass, text: str) -> None:
        super().__init__(text)
        self.result = result


class StreamBrokenError(Exception):
    """A stream broke after its first output. ``idle``: it did not break, it stopped."""

    def __init__(self, text: str, *, idle: bool = False) -> None:
        super().__init__(text)
        self.idle = idle


class Ask(Struct, frozen=True):
    """A caller's request. ``path`` is what follows the base URL, query included."""

    method: str
    path: str
    headers: Headers
    body: bytes
    named: Mapping[str, str]  # the same headers, by lower-case name
    timeout_s: float | None = None


class Answer(Protocol):
    """A pool's answer whose body has not been read. ``read`` gives bytes, b"" at their end, or something to
    await for them: its wire and its runner agree on that. It raises ``WireError``."""

    status: int
    headers: Headers
    read: Callable[[], Any]

    def close(self) -> None:
        """Let go of the connection."""
        ...


def request_headers(ask: Ask, request_id: str, auth: tuple[bytes, bytes] | None, *, stream: bool) -> Headers:
    """The caller's headers as they go to a provider."""
    kept = [
        (name, value)
        for name, value in ask.headers
        if (low := name.lower()) not in _DROPPED and not low.startswith(b"x-tieline-")
    ]
    if stream:  # a stream is read here, so it must come as it is
        kept = [(name, value) for name, value in kept if name.lower() != b"accept-encoding"]
        kept.append((b"accept-encoding", b"identity"))
    if "x-request-id" not in ask.named:
        kept.append((b"x-request-id", request_id.encode("latin-1", "replace")))
    if auth is not None:
        kept.append(auth)
    return kept


def reply_headers(headers: Headers) -> Headers:
    """A pool's headers as they go to the caller."""
    return [(name, value) for name, value in headers if name.lower() not in _DROPPED_FROM_REPLY]


def find(headers: Headers, name: bytes) -> str | None:
    """The first header of that lower-case name."""
    for given, value in headers:
        if given.lower() == name:
            return value.decode("latin-1")
    return None


def retry_after_ms(headers: Headers, now_epoch_ms: int) -> int | None:
    """``retry-after-ms`` first, then ``retry-after`` in seconds or as a date; at most 300 s."""
    found: float | None = None
    if (text := find(headers, b"retry-after-ms")) is not None:
        found = _number(text)
    if found is None and (text := find(headers, b"retry-after")) is not None:
        seconds = _number(text)
        found = seconds * 1_000 if seconds is not None else _date_ms(text, now_epoch_ms)
    return None if found is None else int(min(max(found, 0), RETRY_AFTER_MAX_MS))


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if value == value else None  # NaN


def _date_ms(text: str, now_epoch_ms: int) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp() * 1_000 - now_epoch_ms
    except (ValueError, TypeError, OverflowError):
        return None
