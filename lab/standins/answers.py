"""Answers chat-completion requests for one pool: the HTTP rim around ``pool.Pool``'s verdicts."""

import asyncio
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec
from aiohttp import web

from lab.standins import wire
from lab.standins.faults import STREAM_KINDS, FaultBook
from lab.standins.journal import Entry, Journal
from lab.standins.pool import Pool, Refusal, Verdict

ANSWER_MAX_S = 600.0
REQUEST_MAX_BYTES = 8 * 1024 * 1024
REQUEST_ID_MAX_CHARACTERS = 200
REQUEST_ID_HEADERS = ("x-request-id", "x-tieline-request-id")
_UNREADABLE = wire.Ask("", 0, 0, "stop", stream=False, include_usage=False)
_JSON = "application/json"


@dataclass(slots=True)
class Surroundings:
    """What the pools of one process share."""

    journal: Journal
    faults: FaultBook
    wall_ms: Callable[[], int]
    time_scale: float
    stopping: bool = field(default=False)


class Answerer:
    """Handles every request to one pool's port."""

    def __init__(self, pool: Pool, around: Surroundings) -> None:
        self._pool = pool
        self._around = around
        self._anonymous = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Routes by how the path ends, so that every provider's prefix fits."""
        if request.method == "POST" and request.path.endswith("/chat/completions"):
            return await self._chat(request)
        if request.method == "GET" and request.path.endswith("/models"):
            return self._models(request)
        body = wire.error_body(f"Unknown request URL: {request.method} {request.path}.", None, status=404)
        return web.Response(status=404, body=body, content_type=_JSON)

    def _models(self, request: web.Request) -> web.Response:
        if not self._pool.authorised(request.headers):
            body = wire.error_body("Incorrect API key provided.", "invalid_api_key", status=401)
            return web.Response(status=401, body=body, content_type=_JSON)
        rows = [
            {"id": model, "object": "model", "created": 0, "owned_by": self._pool.id}
            for model in self._pool.config.models
        ]
        return web.Response(body=msgspec.json.encode({"object": "list", "data": rows}), content_type=_JSON)

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        request_id = self._request_id(request)
        ask, verdict = await self._judge(request, request_id)
        fault = verdict.fault.kind if verdict.fault else None
        journal, pool = self._around.journal, self._pool
        pool.arrived += 1
        entry = journal.arrive(request_id, pool.id, ask, admitted=verdict.admitted, fault=fault)
        pool.in_flight += 1
        try:
            async with asyncio.timeout(ANSWER_MAX_S):
                return await self._answer(_Exchange(request, request_id, ask, verdict, entry))
        except TimeoutError:
            entry.end("stopped", None)
            return _broken(request)
        except (asyncio.CancelledError, ConnectionError):
            entry.end("stopped" if self._around.stopping else "aborted", None)
            raise
        finally:
            pool.in_flight -= 1
            pool.outcomes[entry.outcome or "broken"] += 1

    def _request_id(self, request: web.Request) -> str:
        for name in REQUEST_ID_HEADERS:
            if given := request.headers.get(name):
                return given[:REQUEST_ID_MAX_CHARACTERS]
        self._anonymous += 1
        return f"anonymous-{self._anonymous}"

    async def _judge(self, request: web.Request, request_id: str) -> tuple[wire.Ask, Verdict]:
        config = self._pool.config
        try:
            ask = wire.parse_ask(
                await request.read(),
                request.path,
                tokens_default=config.output_tokens_default,
                tokens_max=config.output_tokens_max,
            )
        except web.HTTPRequestEntityTooLarge:
            message = f"The request is larger than {REQUEST_MAX_BYTES} bytes."
            return _UNREADABLE, Verdict(False, Refusal(413, "client_error", message, "request_too_large"))
        except wire.BadRequestError as error:
            return _UNREADABLE, Verdict(False, Refusal(400, "client_error", str(error), "invalid_request"))
        now_ms = asyncio.get_running_loop().time() * 1_000
        return ask, self._pool.judge(ask, request_id, request.headers, self._around.faults, now_ms)

    async def _answer(self, exchange: "_Exchange") -> web.StreamResponse:
        verdict, entry = exchange.verdict, exchange.entry
        if verdict.refusal is not None:
            refusal = verdict.refusal
            entry.end(refusal.outcome, refusal.status)
            headers = {**refusal.headers(), "x-request-id": exchange.request_id}
            return web.Response(
                status=refusal.status, body=refusal.body(), content_type=_JSON, headers=headers
            )
        if exchange.fault == "hang":
            await asyncio.Event().wait()  # until the caller leaves, the process stops, or ANSWER_MAX_S
        if exchange.fault == "reset":
            entry.end("fault", None)
            return _broken(exchange.request, reset=True)
        if exchange.ask.stream:
            return await self._stream(exchange)
        return await self._whole(exchange)

    async def _whole(self, exchange: "_Exchange") -> web.StreamResponse:
        ask, drawn = exchange.ask, exchange.verdict.timing
        scale = self._around.time_scale
        await asyncio.sleep(
            (drawn.first_token_ms + drawn.token_ms * ask.completion_tokens) * scale / 1_000
            + exchange.extra_delay_s
        )
        body = wire.completion(ask, wire.completion_id(exchange.request_id), self._created_s())
        if exchange.fault == "cut":
            response = web.StreamResponse(headers=exchange.headers)
            response.content_type = _JSON
            response.content_length = len(body)
            await response.prepare(exchange.request)
            await response.write(body[: len(body) // 2])
            exchange.entry.end("fault", 200)
            return _broken(exchange.request, response)
        exchange.entry.end("ok", 200, ask.tokens)
        return web.Response(body=body, content_type=_JSON, headers=exchange.headers)

    async def _stream(self, exchange: "_Exchange") -> web.StreamResponse:
        """Head and role chunk with the first token, or, when that is made slow, at its normal time."""
        ask, drawn = exchange.ask, exchange.verdict.timing
        clock, scale_s = asyncio.get_running_loop().time, self._around.time_scale / 1_000
        due_s = clock() + drawn.first_token_ms * scale_s
        await _until(due_s)
        writer = wire.StreamWriter(ask, wire.completion_id(exchange.request_id), self._created_s())
        response = web.StreamResponse(headers={**exchange.headers, "Cache-Control": "no-cache"})
        response.content_type = "text/event-stream"
        await response.prepare(exchange.request)
        await response.write(writer.role())
        due_s += exchange.extra_delay_s
        for index, (tokens, event) in enumerate(writer.contents(self._pool.config.chunk_tokens)):
            if exchange.strikes_at(index):
                return await self._strike(exchange, response)
            await _until(due_s)
            await response.write(event)
            due_s += tokens * drawn.token_ms * scale_s
        if exchange.strikes_late:
            return await self._strike(exchange, response)
        await _until(due_s)
        exchange.entry.end("ok", 200, ask.tokens)
        await response.write(writer.ending() + wire.DONE)
        return response

    async def _strike(self, exchange: "_Exchange", response: web.StreamResponse) -> web.StreamResponse:
        exchange.entry.end("fault", 200)
        if exchange.fault == "cut":
            return _broken(exchange.request, response)
        if exchange.fault == "error_event" and exchange.verdict.fault is not None:
            await response.write(wire.error_event(exchange.verdict.fault.error_code or "server_error"))
        return response  # an end that is whole for HTTP, and no end for the protocol above it

    def _created_s(self) -> int:
        return self._around.wall_ms() // 1_000


@dataclass(frozen=True, slots=True)
class _Exchange:
    """One request with all that was decided about it."""

    request: web.Request
    request_id: str
    ask: wire.Ask
    verdict: Verdict
    entry: Entry

    @property
    def fault(self) -> str | None:
        return self.verdict.fault.kind if self.verdict.fault else None

    @property
    def extra_delay_s(self) -> float:
        order = self.verdict.fault
        return order.delay_ms / 1_000 if order and order.delay_ms else 0.0

    @property
    def headers(self) -> dict[str, str]:
        return {"x-request-id": self.request_id}

    @property
    def strikes_late(self) -> bool:
        """Whether the fault breaks this stream at all: also one shorter than ``after_chunks``."""
        return self.fault == "cut" or self.fault in STREAM_KINDS

    def strikes_at(self, index: int) -> bool:
        """Whether the fault breaks the stream before content chunk ``index``."""
        order = self.verdict.fault
        return self.strikes_late and order is not None and index >= (order.after_chunks or 0)


async def _until(due_s: float) -> None:
    left_s = due_s - asyncio.get_running_loop().time()
    if left_s > 0:
        await asyncio.sleep(left_s)


def _broken(
    request: web.Request, response: web.StreamResponse | None = None, *, reset: bool = False
) -> web.StreamResponse:
    """Break the connection: with an RST when ``reset``, else what was written goes out and then a FIN.

    The response only satisfies the framework; writing it to a closed transport is where it gives up quietly.
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
