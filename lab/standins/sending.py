"""Sends the answer to an admitted request, whole or as a stream, and spoils it as a fault says."""

import asyncio
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from lab.standins import wire
from lab.standins.apis import JSON, Api
from lab.standins.faults import STREAM_KINDS
from lab.standins.journal import Entry
from lab.standins.pool import Pool, Verdict
from lab.standins.streams import StreamWriter, error_event, in_dialect

_HTML = "text/html"
_EVENT_STREAM = "text/event-stream"
_BREAKS = STREAM_KINDS | {"cut", "stall"}


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request with everything that was decided about it. ``headers`` are those of every answer."""

    request: web.Request
    request_id: str
    api: Api
    content: wire.ModelRequest
    verdict: Verdict
    entry: Entry
    headers: dict[str, str]

    @property
    def fault(self) -> str | None:
        """The kind of the fault that strikes it."""
        return self.verdict.fault.kind if self.verdict.fault else None

    @property
    def extra_delay_s(self) -> float:
        """How much later the fault makes the first token."""
        order = self.verdict.fault
        return order.delay_ms / 1_000 if order and order.delay_ms else 0.0

    @property
    def answer_id(self) -> str:
        """The id of its answer."""
        return wire.answer_id(self.api.id_prefix, self.request_id)

    def breaks_at(self, index: int) -> bool:
        """Whether the fault breaks the stream before content chunk ``index``."""
        order = self.verdict.fault
        return order is not None and order.kind in _BREAKS and index >= (order.after_chunks or 0)


class Sender:
    """Sends the answers of one pool."""

    def __init__(self, pool: Pool, wall_ms: Callable[[], int], time_scale: float) -> None:
        self._pool = pool
        self._wall_ms = wall_ms
        self._time_scale = time_scale

    async def send(self, exchange: Exchange) -> web.StreamResponse:
        """Sends the answer in the format of its API."""
        if exchange.fault == "body":
            return await self._spoilt(exchange)
        stream, content = exchange.api.stream, exchange.content
        if content.stream and stream is not None:
            return await self._stream(exchange, stream(content, exchange.answer_id, self._created_s()))
        return await self._whole(exchange)

    async def _whole(self, exchange: Exchange) -> web.StreamResponse:
        api, content, times = exchange.api, exchange.content, exchange.verdict.timing
        took_ms = times.first_token_ms + times.token_ms * content.completion_tokens
        await asyncio.sleep(took_ms * self._time_scale / 1_000 + exchange.extra_delay_s)
        body = api.whole(content, exchange.answer_id, self._created_s())
        if exchange.fault in ("cut", "stall"):
            return await self._half(exchange, body)
        if api.keeps:
            self._pool.keep(exchange.answer_id, body)
        exchange.entry.end("ok", 200, content.tokens)
        return web.Response(body=body, content_type=api.media_type, headers=exchange.headers)

    async def _half(self, exchange: Exchange, body: bytes) -> web.StreamResponse:
        """The first half of a whole answer, and then the end of the connection, or nothing more."""
        response = web.StreamResponse(headers=exchange.headers)
        response.content_type = exchange.api.media_type
        response.content_length = len(body)
        await response.prepare(exchange.request)
        await response.write(body[: len(body) // 2])
        if exchange.fault == "stall":
            await asyncio.Event().wait()
        exchange.entry.end("fault", 200)
        return broken(exchange.request, response)

    async def _spoilt(self, exchange: Exchange) -> web.StreamResponse:
        """Status 200 with something that is no answer."""
        order = exchange.verdict.fault
        exchange.entry.end("fault", 200)
        match order.content if order is not None else None:
            case "html":
                body, kind = b"<html><body><h1>Service unavailable</h1></body></html>", _HTML
            case "broken_json":
                body, kind = b'{"id": "chatcmpl-1", "object": "chat.compl', JSON
            case "error_only":
                body, kind = wire.error_body("The server is overloaded.", "server_error"), JSON
            case _:
                body, kind = b"", JSON
        if exchange.content.stream and not body:
            kind = _EVENT_STREAM
        return web.Response(body=body, content_type=kind, headers=exchange.headers)

    async def _stream(self, exchange: Exchange, writer: StreamWriter) -> web.StreamResponse:
        """Sends the head and the opening when the first token is due.

        The fault slow_first_token delays only the content: the head still comes at its normal time, as from a
        provider that accepts a request and then stalls.
        """
        content, times = exchange.content, exchange.verdict.timing
        dialect = exchange.verdict.fault.dialect if exchange.verdict.fault else None
        clock, scale_s = asyncio.get_running_loop().time, self._time_scale / 1_000
        due_s = clock() + times.first_token_ms * scale_s
        await _until(due_s)
        response = web.StreamResponse(headers={**exchange.headers, "Cache-Control": "no-cache"})
        response.content_type = _EVENT_STREAM
        await response.prepare(exchange.request)
        await response.write(in_dialect(writer.opening(), dialect))
        due_s += exchange.extra_delay_s
        for index, (tokens, event) in enumerate(writer.contents(self._pool.config.chunk_tokens)):
            if exchange.breaks_at(index):
                return await self._break_stream(exchange, response)
            await _until(due_s)
            await response.write(in_dialect(event, dialect))
            due_s += tokens * times.token_ms * scale_s
        if exchange.fault in _BREAKS:
            return await self._break_stream(exchange, response)
        await _until(due_s)
        exchange.entry.end("ok", 200, content.tokens)
        await response.write(in_dialect(writer.ending(), dialect))
        return response

    async def _break_stream(self, exchange: Exchange, response: web.StreamResponse) -> web.StreamResponse:
        order = exchange.verdict.fault
        if exchange.fault == "stall":
            await asyncio.Event().wait()
        exchange.entry.end("fault", 200)
        if exchange.fault == "cut":
            return broken(exchange.request, response)
        if exchange.fault == "error_event" and order is not None:
            await response.write(error_event(order.error_code or "server_error", order.shape or "nested"))
        return response  # HTTP sees a whole body; the stream in it lacks its end

    def _created_s(self) -> int:
        return self._wall_ms() // 1_000


async def _until(due_s: float) -> None:
    left_s = due_s - asyncio.get_running_loop().time()
    if left_s > 0:
        await asyncio.sleep(left_s)


def broken(
    request: web.Request, response: web.StreamResponse | None = None, *, reset: bool = False
) -> web.StreamResponse:
    """Breaks the connection: at once with an RST if ``reset``, else with a FIN after what was written.

    The framework needs a response from its handler. It can't write this one, because the transport is closed,
    and drops it without an error.
    """
    transport = request.transport
    if transport is not None:
        if reset:
            connection: socket.socket = transport.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            transport.abort()
        else:
            transport.close()
    return response or web.Response()
