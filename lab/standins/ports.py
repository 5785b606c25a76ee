"""A listening port that can refuse connections for a while and keeps its number."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web

from lab.standins.answers import REQUEST_MAX_BYTES

LOOPBACK: Final = "127.0.0.1"
BACKLOG_CONNECTIONS = 512
SHUTDOWN_S = 1.0  # waited twice: for answers to end, and for their handlers to note that they were cut
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Port:
    """An HTTP server on ``host``. ``refuse`` closes its socket, ``listen`` opens it again."""

    def __init__(
        self,
        number: int,
        handler: Handler,
        request_max_bytes: int = REQUEST_MAX_BYTES,
        *,
        host: str = LOOPBACK,
    ) -> None:
        application = web.Application(client_max_size=request_max_bytes)
        application.router.add_route("*", "/{path:.*}", self._handle)
        self._handler = handler
        self._host = host
        self._busy: set[asyncio.BaseTransport] = set()
        self._runner = web.AppRunner(
            application, handler_cancellation=True, access_log=None, shutdown_timeout=SHUTDOWN_S
        )
        # This socket is bound but never listens. While this port refuses, it keeps others from taking the
        # number, and the kernel refuses connections to it as to any closed port.
        self._placeholder = _bind(host, number)
        self.number: int = self._placeholder.getsockname()[1]
        self._site: web.SockSite | None = None

    @property
    def listening(self) -> bool:
        """Whether connections are accepted."""
        return self._site is not None

    async def listen(self) -> None:
        """Accepts connections. Raises OSError when another program listens on the number."""
        if self._site is not None:
            return
        if self._runner.server is None:
            await self._runner.setup()
        site = web.SockSite(self._runner, _bind(self._host, self.number), backlog=BACKLOG_CONNECTIONS)
        await site.start()
        self._site = site

    async def refuse(self) -> None:
        """Closes the listening socket and idle connections; a busy connection is closed after its answer."""
        if self._site is None:
            return
        await self._site.stop()
        self._site = None
        server = self._runner.server
        for connection in server.connections if server is not None else ():
            if connection.transport in self._busy:
                connection.close()  # takes effect when its answer is out
            else:
                connection.force_close()

    async def close(self) -> None:
        """Closes everything for good. Answers under way get about a second."""
        await self._runner.cleanup()
        self._placeholder.close()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        transport = request.transport
        if transport is None:  # the caller has left already
            raise ConnectionResetError
        self._busy.add(transport)
        try:
            return await self._handler(request)
        finally:
            self._busy.discard(transport)


def _bind(host: str, number: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setblocking(False)
        listener.bind((host, number))
    except OSError:
        listener.close()
        raise
    return listener
