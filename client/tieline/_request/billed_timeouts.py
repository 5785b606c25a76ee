"""PURE. Requests that timed out for their callers while a pool may have been working on them, and billing
them.

Such a request ends in the time-out of the caller's HTTP library. The openai SDK sends it again then, up to
twice by default, and numbers those resends in ``x-stainless-retry-count``. Each would order the same thing
once more, so a resend of what is remembered here ends in the same time-out, and no pool sees it. A request
without that header, or with 0 in it, is a new order of the caller's own: it is served, and forgotten here.

A resend is known by its caller and its content. The SDK sends it from the task or thread of the first time,
so that one of many callers who ask for the same is not taken for another. The content is a digest of method,
path and body. It is computed for a request only if the same caller has lost one of the same size and path,
since digests of large bodies cost milliseconds. The latest 1,000 are remembered, for ten minutes.
"""

from collections import OrderedDict
from collections.abc import Iterator
from hashlib import blake2b
from typing import NamedTuple

from tieline._http.content import PIECE_BYTES, Spool
from tieline._http.messages import HttpRequest, WireError, find
from tieline._request.form import boundary_of

REMEMBERED_MS = 600_000
REMEMBERED_MAX = 1_000
_COUNT_HEADER = b"x-stainless-retry-count"


class Shape(NamedTuple):
    """What can be compared of two requests without reading their bodies."""

    caller: int
    method: str
    path: str
    body_bytes: int


class BilledTimeouts:
    """Not thread-safe: its user has a lock. Times are monotonic milliseconds."""

    def __init__(self) -> None:
        self._entries: OrderedDict[Shape, tuple[bytes, int]] = OrderedDict()  # -> digest, until when

    @property
    def is_empty(self) -> bool:
        """Whether nothing is remembered, so that nothing need be asked."""
        return not self._entries

    def remember(self, shape: Shape, digest: bytes, now_ms: int) -> None:
        """A request has timed out that may be billed. A caller has one under way at a time, so of each shape
        the latest counts."""
        self._entries[shape] = digest, now_ms + REMEMBERED_MS
        self._entries.move_to_end(shape)
        if len(self._entries) > REMEMBERED_MAX:
            self._entries.popitem(last=False)

    def may_have(self, shape: Shape, now_ms: int) -> bool:
        """Whether a request of this shape may be remembered, so that its digest is worth its time."""
        while self._entries and next(iter(self._entries.values()))[1] <= now_ms:
            self._entries.popitem(last=False)
        return shape in self._entries

    def refuses(self, shape: Shape, digest: bytes, *, is_resend: bool) -> bool:
        """Whether this request must not be sent, as it is a resend of one that is remembered. A new order of
        the same is forgotten."""
        entry = self._entries.get(shape)
        if entry is None or entry[0] != digest:
            return False
        if not is_resend:
            del self._entries[shape]
        return is_resend


def shape_of(request: HttpRequest, caller: int) -> Shape:
    """``caller``: identifies the task or thread that makes the request."""
    return Shape(caller, request.method, request.path, body_bytes=len(request.body))


def is_resend(request: HttpRequest) -> bool:
    """Whether the openai SDK says that it has sent this request before."""
    count = find(request.headers, _COUNT_HEADER) or ""
    return count.isascii() and count.isdigit() and count.strip("0") != ""


def digest_of(request: HttpRequest) -> bytes:
    """The digest of method, path and body. The boundary of a form is left out, since HTTP libraries draw a
    new one each time. A body that can't be read counts only with what could be."""
    digest = blake2b(f"{request.method} {request.path}\n".encode(), digest_size=16)
    boundary = boundary_of(find(request.headers, b"content-type") or "")
    overlap_bytes = len(boundary) - 1 if boundary else 0
    rest = b""
    try:
        for piece in _pieces(request.body):
            rest = (rest + piece).replace(boundary, b"") if boundary else piece
            end = max(0, len(rest) - overlap_bytes)
            digest.update(rest[:end])
            rest = rest[end:]
    except WireError:
        pass  # an attempt that sends the body says why
    digest.update(rest)
    return digest.digest()


def _pieces(body: bytes | Spool) -> Iterator[bytes]:
    if isinstance(body, bytes):
        yield body
        return
    for start in range(0, len(body), PIECE_BYTES):
        yield body.read(start, min(PIECE_BYTES, len(body) - start))
