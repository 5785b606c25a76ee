"""Server-sent events to many readers, without a queue for any of them.

The next event for a reader is made only when the last one was written. So a reader that falls behind misses
what was overtaken, and one that does not read at all is dropped.
"""

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

import structlog
from aiohttp import web

from controller.web.admission import Bounds


class Streams:
    """All open streams of the endpoint, of tables and of the page together."""

    def __init__(self, bounds: Bounds, counts: "Counter[str]") -> None:
        self._bounds = bounds
        self._counts = counts
        self.open = 0
        self._log = structlog.get_logger("web")

    @property
    def is_full(self) -> bool:
        """Whether no further stream may be opened."""
        return self.open >= self._bounds.streams_max

    async def serve(
        self,
        request: web.Request,
        events: AsyncGenerator[bytes, None],
        is_allowed: Callable[[], bool],
        *,
        write_within_s: float,
        headers: dict[str, str] | None = None,
    ) -> web.StreamResponse:
        """Sends the events until the reader goes, falls silent or is no longer allowed."""
        stream = web.StreamResponse(
            headers={
                **(headers or {}),
                "content-type": "text/event-stream",
                "cache-control": "no-store",
                "x-accel-buffering": "no",
            }
        )
        self.open += 1
        try:
            await stream.prepare(request)
            self._shrink_buffers(request)
            await self._send(request, stream, events, is_allowed, within_s=write_within_s)
        except ConnectionError:  # the reader closed the connection
            pass
        finally:
            self._counts["streams ended"] += 1
            self.open -= 1
        return stream

    async def _send(
        self,
        request: web.Request,
        stream: web.StreamResponse,
        events: AsyncGenerator[bytes, None],
        is_allowed: Callable[[], bool],
        *,
        within_s: float,
    ) -> None:
        async with aclosing(events):
            async for event in events:
                if not is_allowed():
                    self._drop(request, "its token is no longer valid", 0.0)
                    return
                try:
                    async with asyncio.timeout(within_s):
                        await stream.write(event)
                except TimeoutError:
                    self._drop(request, "its reader did not read in time", within_s)
                    return

    def _shrink_buffers(self, request: web.Request) -> None:
        """Makes the buffers small, so that a reader that does not read is noticed soon and costs little."""
        transport, size = request.transport, self._bounds.stream_buffer_bytes
        if transport is not None:
            transport.set_write_buffer_limits(high=size)
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)

    def _drop(self, request: web.Request, reason: str, after_s: float) -> None:
        self._counts[f"streams dropped: {reason}"] += 1
        self._log.warning("a stream was dropped", peer=request.remote, reason=reason, after_s=after_s)
        if request.transport is not None:
            request.transport.abort()
