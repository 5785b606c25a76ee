"""The socket of a worker and the HTTP server on it: aiohttp's own, without its applications and routes, which
the gateway has no use for and which would cost a fifth of a request's time."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from controller.process.errors import SettingError
from controller.process.listening import ConnectionGate, Listen, tls_context

FIRST_REQUEST_WITHIN_S = 10.0
IDLE_S = 75.0  # longer than load balancers keep a connection, so that they end it first
BACKLOG = 1_024
HEAD_LINE_MAX_BYTES = 16 * 1024
CLOSE_WITHIN_S = 2.0
Answer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


def bind(listen: Listen) -> socket.socket:
    """The listening socket, which several workers may share. Raises ``SettingError``."""
    family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    try:
        return socket.create_server(
            (listen.host, listen.port), family=family, backlog=BACKLOG, reuse_port=False
        )
    except OSError as error:
        place = f"{listen.host}:{listen.port}"
        raise SettingError(f"listen {place}: it can't listen there: {error.strerror}") from None


class Listener:
    """Serves the connections of one listening socket. ``count`` is told of each that is turned away."""

    def __init__(
        self, sock: socket.socket, answer: Answer, *, connections_max: int, count: Callable[[str], None]
    ) -> None:
        self._sock = sock
        self._server = web.Server(
            self._noted,
            handler_cancellation=True,
            access_log=None,
            keepalive_timeout=IDLE_S,
            auto_decompress=False,
            max_line_size=HEAD_LINE_MAX_BYTES,
            max_field_size=HEAD_LINE_MAX_BYTES,
        )
        self._answer = answer
        self._gate = ConnectionGate(
            self._server,
            connections_max=connections_max,
            first_request_within_s=FIRST_REQUEST_WITHIN_S,
            count=count,
        )
        self._sockets: asyncio.Server | None = None

    @asynccontextmanager
    async def listening(self, listen: Listen) -> AsyncIterator[None]:
        """Serves as long as the context lasts."""
        tls = tls_context(listen)
        self._sockets = await asyncio.get_running_loop().create_server(
            self._gate.connect,
            sock=self._sock,
            ssl=tls,
            ssl_handshake_timeout=FIRST_REQUEST_WITHIN_S if tls else None,
        )
        try:
            yield
        finally:
            self.close()
            await asyncio.sleep(0)  # a connection that has its protocol becomes known to the server
            await self._server.shutdown(CLOSE_WITHIN_S)

    def close(self) -> None:
        """Take no new connections, and end those that are idle. What is under way goes on, and ends its
        connection with its response."""
        if self._sockets is not None:
            self._sockets.close()
        self._gate.close()
        self._server.pre_shutdown()

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._server.connections)

    async def _noted(self, request: web.BaseRequest) -> web.StreamResponse:
        self._gate.note_request(request)
        return await self._answer(request)
