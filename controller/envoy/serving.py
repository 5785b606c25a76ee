"""`tieline envoy --listen`: Envoy's polls are answered here, over HTTP or HTTPS, to callers with a token.

The server is that of `tieline web`, with its bounds for what other machines may do.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import msgspec
from aiohttp import web
from msgspec import Struct

from controller.envoy.discovery import KINDS, WHOLE, Discovery, Poll
from controller.process.listening import Listen
from controller.web.admission import Bounds, Tokens
from controller.web.server import Server
from tieline.cancelling import end_all

# One Envoy has a connection, and at its start a request, for each pool and each lane.
BOUNDS = Bounds(connections_max=20_000, requests_per_s=20_000.0, burst=40_000.0, body_max_bytes=1024 * 1024)


class Node(Struct):
    """Which Envoy asks."""

    id: str = ""


class DiscoveryRequest(Struct):
    """What Envoy asks, as far as it is read here."""

    version_info: str = ""
    node: Node = msgspec.field(default_factory=Node)
    resource_names: list[str] = []


class Serving(NamedTuple):
    """Where polls are answered, and to whom."""

    listen: Listen
    tokens: Tokens

    @property
    def place(self) -> str:
        """For the log."""
        return f"{self.listen.host}:{self.listen.port}"


_decoder = msgspec.json.Decoder(DiscoveryRequest)


class DiscoveryEndpoint:
    """Answers polls with what ``discovery`` has. ``tokens``: those that are let in."""

    def __init__(self, discovery: Discovery, tokens: Tokens) -> None:
        self._discovery = discovery
        self.tokens = tokens
        self.counts: Counter[str] = Counter()

    def allowed(self, request: web.Request) -> bool:
        """Whether the caller shows a token that is valid now."""
        return self.tokens.allowed(request.headers.get("authorization", ""))

    def routes(self) -> list[web.AbstractRouteDef]:
        """One for each kind of resource."""
        return [web.post(f"/v3/discovery:{kind}", self._handler(kind)) for kind in KINDS]

    def _handler(self, kind: str) -> Any:
        async def handle(request: web.Request) -> web.Response:
            try:
                question = _decoder.decode(await request.read())
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise web.HTTPBadRequest(reason=f"the body is no DiscoveryRequest in JSON: {error}") from None
            names = [""] if kind in WHOLE else question.resource_names
            if len(names) != 1:
                raise web.HTTPBadRequest(reason=f"name one of the {kind} in resource_names, as Envoy does")
            offer = await self._discovery.answer(
                Poll((kind, names[0]), question.node.id, question.version_info)
            )
            if offer is None:
                return web.Response(status=304)
            return web.Response(body=offer.body, content_type="application/json")

        return handle


@asynccontextmanager
async def served(serving: Serving) -> AsyncIterator[Discovery]:
    """Answers polls as long as the context lasts. Raises SettingError."""
    discovery = Discovery()
    server = Server(serving.listen, DiscoveryEndpoint(discovery, serving.tokens), BOUNDS)
    async with server.listening():
        rereading = asyncio.create_task(serving.tokens.follow_file())
        try:
            yield discovery
        finally:
            await end_all([rereading])
