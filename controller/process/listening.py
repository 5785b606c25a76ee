"""How many connections a port takes, and for how long one may stay there without a request.

Whoever opens connections and says nothing, or dictates a request a byte a minute, would hold descriptors
until none is left for Kafka and Redis. So a connection that makes no whole request within some seconds is
ended, and beyond the most that may be open at once the next one is closed as soon as it is there. A
connection that has made a request is the HTTP server's own affair: it ends one that is idle. Used by
`controller.web.server`, for callers and hooks, and by `monitor`. Tested in
tests/unit/controller/process/test_listening.py, and over sockets in tests/integration/test_web_bounds.py.
"""

import asyncio
from collections.abc import Callable

from aiohttp import web

REFUSED = "connections refused"
NO_REQUEST = "connections ended: no request"


class ConnectionGate:
    """Makes the protocols of a listening socket. ``count`` is told of each connection that is turned away,
    as ``REFUSED`` or ``NO_REQUEST``."""

    def __init__(
        self,
        server: web.Server,
        *,
        connections_max: int,
        first_request_within_s: float,
        count: Callable[[str], None],
    ) -> None:
        self._server = server
        self._connections_max = connections_max
        self._first_request_within_s = first_request_within_s
        self._count = count
        self._mute: dict[int, asyncio.TimerHandle] = {}  # connections that have made no request yet

    def connect(self) -> asyncio.BaseProtocol:
        """The protocol of a new connection."""
        # A connection in its TLS handshake is mute, and not yet among those of the server.
        open_now = {*self._mute, *map(id, self._server.connections)}
        if len(open_now) >= self._connections_max:
            self._count(REFUSED)
            return _Refusal()
        handler = self._server()
        # The timer keeps the handler alive, so that nothing else gets its id while it is a key here.
        loop = asyncio.get_running_loop()
        self._mute[id(handler)] = loop.call_later(self._first_request_within_s, self._end_mute, handler)
        return handler

    def note_request(self, request: web.Request) -> None:
        """A connection has made a request. Middleware calls it for each."""
        if (timer := self._mute.pop(id(request.protocol), None)) is not None:
            timer.cancel()

    def _end_mute(self, handler: web.RequestHandler) -> None:
        del self._mute[id(handler)]
        if handler.transport is not None:
            self._count(NO_REQUEST)
            handler.transport.abort()


class _Refusal(asyncio.Protocol):
    """Closes a connection at once, because there are too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.abort()
