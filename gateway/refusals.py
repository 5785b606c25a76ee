"""Answers that the gateway makes itself: errors in OpenAI's shape, and lists of models.

``x-should-retry`` tells an SDK whether another try makes sense: a caller that is over its limit may come
again after the wait that it is told, one without a token may not.
"""

import msgspec
from aiohttp import web
from multidict import CIMultiDict

from tieline.forwarding import Headers, Reply, failure

JSON = b"application/json"
OWNER = "tieline"


def refused(status: int, code: str, text: str, *, retry_after_ms: int | None = None) -> Reply:
    """An error of the gateway's own. ``retry_after_ms``: when the caller may come again, None for never."""
    headers: Headers = [(b"x-tieline-reason", code.encode())]
    if retry_after_ms is not None:
        headers.append((b"retry-after-ms", str(retry_after_ms).encode()))
        headers.append((b"retry-after", str(-(-retry_after_ms // 1_000)).encode()))
    reply = failure(status, text, code=f"tieline_{code}", headers=headers)
    if retry_after_ms is not None:
        reply.headers = [line for line in reply.headers if line[0] != b"x-should-retry"]
    return reply


def model_list(names: list[str]) -> Reply:
    """The models, as ``GET /v1/models`` answers them."""
    rows = [{"id": name, "object": "model", "created": 0, "owned_by": OWNER} for name in names]
    return Reply(200, [(b"content-type", JSON)], msgspec.json.encode({"object": "list", "data": rows}))


def response_of(reply: Reply) -> web.Response:
    """A whole reply as aiohttp sends it."""
    return web.Response(status=reply.status, headers=headers_of(reply), body=reply.body)


def headers_of(reply: Reply) -> "CIMultiDict[str]":
    """A reply's headers as aiohttp takes them. A name may come several times."""
    return CIMultiDict([(name.decode("latin-1"), value.decode("latin-1")) for name, value in reply.headers])
