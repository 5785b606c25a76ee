"""Forward requests of other programs through a client, as a gateway does, without any HTTP library between.

A request comes in as it was received: method, path, headers and a body that an ``Upload`` has taken in. What
goes out is a ``Reply``: whole, or with a ``ReplyBody`` that is read as the provider sends it. Which pool, how
many attempts and how long each may take is decided as for every other request of the client.

    upload = Upload(headers)
    async for piece in body:
        upload.add(piece)
    request = received("POST", "/chat/completions", headers, upload)
    reply = await Forwarder(client).send(request)

Tested in tests/unit/client/test_forwarding.py, and over sockets in tests/integration/test_gateway.py.
"""

from tieline._client import AsyncClient
from tieline._http.content import SpoolError
from tieline._http.messages import Headers, HttpRequest, StreamBrokenError
from tieline._request.relay import Relay
from tieline._request.reply import Reply, failure
from tieline._request.upload import Upload
from tieline._transports.shells import AsyncRelayedBody
from tieline.providers.streams import TokenCounts
from tieline.table import MILLION, ModelOffer

__all__ = [
    "Forwarder",
    "Headers",
    "HttpRequest",
    "Reply",
    "ReplyBody",
    "SpoolError",
    "StreamBrokenError",
    "TokenCounts",
    "Upload",
    "failure",
    "received",
    "usage_of",
]

_NAMED = (b"x-tieline-", b"x-request-id")


def received(
    method: str,
    path: str,
    headers: Headers,
    upload: Upload,
    *,
    origin: str = "",
    is_shed: bool | None = None,
) -> HttpRequest:
    """A request as it was received. ``path``: what follows ``/v1``, with its query. ``origin``: one of the
    client's ``origins``, which goes before the request's own header; "" leaves it to that. ``is_shed``:
    whether what the table sheds falls on it; None leaves that to the table's own sequence."""
    named = {
        name.lower().decode("latin-1"): value.decode("latin-1")
        for name, value in headers
        if name[:1] in b"xX" and name.lower().startswith(_NAMED)
    }
    if origin:
        named["x-tieline-origin"] = origin
    return HttpRequest(
        method, path, headers, body=upload.body, named=named, fields=upload.fields, is_shed=is_shed
    )


class Forwarder:
    """Forwards requests through a client that is running. ``processes``: how many share the work, each with a
    client of its own; together they take no more retries than one would."""

    def __init__(self, client: AsyncClient, *, processes: int = 1) -> None:
        self._core = client.core
        self._core.budget.divide(processes)

    async def send(self, request: HttpRequest) -> Reply:
        """The reply to one request; of a stream as soon as its first output is there. A failure is a reply
        too, in OpenAI's shape. Raises ClosedError before the client has started, and nothing else but
        cancellation, which leaves no connection to a provider behind."""
        return await self._core.send(request)

    def models(self, origin: str) -> dict[str, ModelOffer]:
        """The models that the table offers to requests of this origin, each by the offer of one of its
        pools. Empty without a table."""
        table = self._core.router.table
        part = table.parts.get(origin) if table is not None else None
        pools = part.pools if part is not None else ()
        return {offer.model: offer for info in pools for offer in info.models}

    def shed_share(self, origin: str) -> float:
        """The share of this origin's requests that the table sheds, from 0 to 1."""
        table = self._core.router.table
        part = table.parts.get(origin) if table is not None else None
        return part.route.split.shed / MILLION if part is not None else 0.0


class ReplyBody(AsyncRelayedBody):
    """The body of a reply that is still on its way. Iterating gives bytes as they come, and raises
    ``StreamBrokenError`` when the stream breaks, stalls or lacks its last event. Call ``aclose`` in any
    case."""

    @staticmethod
    def error_for(broken: StreamBrokenError) -> Exception:
        """A stream that breaks raises what it broke by."""
        return broken

    def __init__(self, relay: Relay) -> None:
        super().__init__(relay, _no_other)


async def _no_other(_request: HttpRequest) -> None:
    """A stream that broke is not begun anew here: its caller has seen a part of it."""


def usage_of(reply: Reply) -> TokenCounts | None:
    """The tokens (prompt, answer) that a reply names; of a stream, what has been named so far."""
    return reply.usage if reply.relay is None else reply.relay.usage
