"""One listening port that can refuse and come back under the same number."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web

from lab.standins.answers import REQUEST_MAX_BYTES

LOOPBACK: Final = "127.0.0.1"
BACKLOG_CONNECTIONS = 512
SHUTDOWN_S = 1.0  # waited for twice: for answers to end, and for them to take note of their end
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Port:
    """An HTTP server on ``host``. ``refuse`` closes the socket, ``listen`` opens it again."""

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
        # A socket that is bound but never listens: it keeps the number ours while we refuse, and the kernel
        # refuses connections to it like those to any closed port.
        self._placeholder = _bound(host, number)
        self.number: int = self._placeholder.getsockname()[1]
        self._site: web.SockSite | None = None

    @property
    def listening(self) -> bool:
        return self._site is not None

    async def listen(self) -> None:
        """Accept connections. Raises OSError when somebody else listens on the number."""
        if self._site is not None:
            return
        if self._runner.server is None:
            await self._runner.setup()
        site = web.SockSite(self._runner, _bound(self._host, self.number), backlog=BACKLOG_CONNECTIONS)
        await site.start()
        self._site = site

    async def refuse(self) -> None:
        """Close the listening socket and idle connections; answers under way are ended first."""
        if self._site is None:
            return
        await self._site.stop()
        self._site = None
        server = self._runner.server
        for connection in server.connections if server is not None else ():
            if connection.transport in self._busy:
                connection.close()  # closes once its answer is out
            else:
                connection.force_close()

    async def close(self) -> None:
        """Stop for good: about a second for answers under way."""
        await self._runner.cleanup()
        self._placeholder.close()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        transport = request.transport
        if transport is None:  # the caller left before its turn came
            raise ConnectionResetError
        self._busy.add(transport)
        try:
            return await self._handler(request)
        finally:
            self._busy.discard(transport)


def _bound(host: str, number: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setblocking(False)
        bound.bind((host, number))
    except OSError:
        bound.close()
        raise
    return bound
