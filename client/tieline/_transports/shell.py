"""What the shells of httpx2 and httpx share: a request without their classes, and how errors are told."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from tieline._http.messages import Ask, Headers
from tieline._request.reply import Reply

_PREFIX = "/v1/"

SendAsync = Callable[[Ask], Awaitable[Reply]]


def ask_of(method: str, path: bytes, headers: Headers, extensions: Mapping[str, Any], body: bytes) -> Ask:
    """A request as the driver wants it. ``named`` holds only the headers that routing may ask for: looking
    one up in a library's own headers costs more than copying these few."""
    timeout = extensions.get("timeout")
    read_s = timeout.get("read") if isinstance(timeout, dict) else None
    named = {
        name.lower().decode("latin-1"): value.decode("latin-1")
        for name, value in headers
        if name[:2] in (b"x-", b"X-")
    }
    return Ask(method, _behind_base(path.decode("ascii")), headers, body, named, read_s)


def _behind_base(path: str) -> str:
    """What follows the base URL, also where that is another than the client's own: whatever it is, its pools'
    take its place."""
    before, found, rest = path.partition(_PREFIX)
    return f"/{rest}" if found and "?" not in before else path
