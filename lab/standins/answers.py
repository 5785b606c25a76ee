"""Answers chat-completion requests for one pool over HTTP, as ``pool.Pool`` decides."""

import asyncio
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass

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
_UNREADABLE = wire.ChatRequest(
    model="", prompt_tokens=0, completion_tokens=0, finish_reason="stop", stream=False, include_usage=False
)
_JSON = "application/json"


@dataclass(slots=True)
class HostState:
    """What the pools of one process share. ``stopping``: the process is about to end."""

    journal: Journal
    faults: FaultBook
    wall_ms: Callable[[], int]
    time_scale: float
    stopping: bool = False


class Answerer:
    """Handles every request to one pool's port."""

    def __init__(self, pool: Pool, state: HostState) -> None:
        self._pool = pool
        self._state = state
        self._anonymous = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Looks only at the end of the path, so that the prefixes of all providers fit."""
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
        chat, verdict = await self._judge(request, request_id)
        fault = verdict.fault.kind if verdict.fault else None
        journal, pool = self._state.journal, self._pool
        pool.arrived += 1
        entry = journal.arrive(request_id, pool.id, chat, admitted=verdict.admitted, fault=fault)
        pool.in_flight += 1
        try:
            async with asyncio.timeout(ANSWER_MAX_S):
                return await self._answer(_Exchange(request, request_id, chat, verdict=verdict, entry=entry))
        except TimeoutError:
            entry.end("stopped", None)
            return _broken(request)
        except (asyncio.CancelledError, ConnectionError):
            entry.end("stopped" if self._state.stopping else "aborted", None)
            raise
        finally:
            pool.in_flight -= 1
            pool.outcomes[entry.outcome or "broken"] += 1

    def _request_id(self, request: web.Request) -> str:
        for name in REQUEST_ID_HEADERS:
            if request_id := request.headers.get(name):
                return request_id[:REQUEST_ID_MAX_CHARACTERS]
        self._anonymous += 1
        return f"anonymous-{self._anonymous}"

    async def _judge(self, request: web.Request, request_id: str) -> tuple[wire.ChatRequest, Verdict]:
        config = self._pool.config
        try:
            chat = wire.parse_chat(
                await request.read(),
                request.path,
                tokens_default=config.output_tokens_default,
                tokens_max=config.output_tokens_max,
            )
        except web.HTTPRequestEntityTooLarge:
            message = f"The request is larger than {REQUEST_MAX_BYTES} bytes."
            refusal = Refusal(413, "client_error", message, code="request_too_large")
            return _UNREADABLE, Verdict(admitted=False, refusal=refusal)
        except wire.BadRequestError as error:
            refusal = Refusal(400, "client_error", str(error), code="invalid_request")
            return _UNREADABLE, Verdict(admitted=False, refusal=refusal)
        now_ms = asyncio.get_running_loop().time() * 1_000
        return chat, self._pool.judge(chat, request_id, request.headers, self._state.faults, now_ms)

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
            # This waits until the caller leaves, the process stops, or ANSWER_MAX_S have passed.
            await asyncio.Event().wait()
        if exchange.fault == "reset":
            entry.end("fault", None)
            return _broken(exchange.request, reset=True)
        if exchange.chat.stream:
            return await self._stream(exchange)
        return await self._whole(exchange)

    async def _whole(self, exchange: "_Exchange") -> web.StreamResponse:
        chat, times = exchange.chat, exchange.verdict.timing
        scale = self._state.time_scale
        await asyncio.sleep(
            (times.first_token_ms + times.token_ms * chat.completion_tokens) * scale / 1_000
            + exchange.extra_delay_s
        )
        body = wire.completion(chat, wire.completion_id(exchange.request_id), self._created_s())
        if exchange.fault == "cut":
            response = web.StreamResponse(headers=exchange.headers)
            response.content_type = _JSON
            response.content_length = len(body)
            await response.prepare(exchange.request)
            await response.write(body[: len(body) // 2])
            exchange.entry.end("fault", 200)
            return _broken(exchange.request, response)
        exchange.entry.end("ok", 200, chat.tokens)
        return web.Response(body=body, content_type=_JSON, headers=exchange.headers)

    async def _stream(self, exchange: "_Exchange") -> web.StreamResponse:
        """Sends the head and the role chunk when the first token is due.

        The fault slow_first_token delays only the content: the head still comes at its normal time, as from a
        provider that accepts a request and then stalls.
        """
        chat, times = exchange.chat, exchange.verdict.timing
        clock, scale_s = asyncio.get_running_loop().time, self._state.time_scale / 1_000
        due_s = clock() + times.first_token_ms * scale_s
        await _until(due_s)
        writer = wire.StreamWriter(chat, wire.completion_id(exchange.request_id), self._created_s())
        response = web.StreamResponse(headers={**exchange.headers, "Cache-Control": "no-cache"})
        response.content_type = "text/event-stream"
        await response.prepare(exchange.request)
        await response.write(writer.role())
        due_s += exchange.extra_delay_s
        for index, (tokens, event) in enumerate(writer.contents(self._pool.config.chunk_tokens)):
            if exchange.breaks_at(index):
                return await self._break_stream(exchange, response)
            await _until(due_s)
            await response.write(event)
            due_s += tokens * times.token_ms * scale_s
        if exchange.breaks_stream:
            return await self._break_stream(exchange, response)
        await _until(due_s)
        exchange.entry.end("ok", 200, chat.tokens)
        await response.write(writer.ending() + wire.DONE)
        return response

    async def _break_stream(self, exchange: "_Exchange", response: web.StreamResponse) -> web.StreamResponse:
        exchange.entry.end("fault", 200)
        if exchange.fault == "cut":
            return _broken(exchange.request, response)
        if exchange.fault == "error_event" and exchange.verdict.fault is not None:
            await response.write(wire.error_event(exchange.verdict.fault.error_code or "server_error"))
        return response  # HTTP sees a whole body; the stream in it lacks its end

    def _created_s(self) -> int:
        return self._state.wall_ms() // 1_000


@dataclass(frozen=True, slots=True)
class _Exchange:
    """One request with everything that was decided about it."""

    request: web.Request
    request_id: str
    chat: wire.ChatRequest
    verdict: Verdict
    entry: Entry

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
    def headers(self) -> dict[str, str]:
        """Those that every answer carries."""
        return {"x-request-id": self.request_id}

    @property
    def breaks_stream(self) -> bool:
        """Whether the fault breaks this stream: at its end, if it is shorter than ``after_chunks``."""
        return self.fault == "cut" or self.fault in STREAM_KINDS

    def breaks_at(self, index: int) -> bool:
        """Whether the fault breaks the stream before content chunk ``index``."""
        order = self.verdict.fault
        return self.breaks_stream and order is not None and index >= (order.after_chunks or 0)


async def _until(due_s: float) -> None:
    left_s = due_s - asyncio.get_running_loop().time()
    if left_s > 0:
        await asyncio.sleep(left_s)


def _broken(
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
