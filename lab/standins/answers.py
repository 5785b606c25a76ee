"""Answers the requests to one pool's port over HTTP, as ``pool.Pool`` decides."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from weakref import WeakSet

import msgspec
from aiohttp import web

from lab.standins import wire
from lab.standins.apis import JSON, Api, api_of, kept_id
from lab.standins.faults import Arrival, FaultBook
from lab.standins.journal import Journal
from lab.standins.pool import Pool, Refusal, Verdict
from lab.standins.sending import Exchange, Sender, broken

ANSWER_MAX_S = 600.0
REQUEST_MAX_BYTES = 8 * 1024 * 1024
REQUEST_ID_MAX_CHARACTERS = 200
REQUEST_ID_HEADERS = ("x-request-id", "x-tieline-request-id")
_UNREADABLE = wire.ModelRequest(
    model="", prompt_tokens=0, completion_tokens=0, finish_reason="stop", stream=False, include_usage=False
)


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
        self._sender = Sender(pool, state.wall_ms, state.time_scale)
        self._used: WeakSet[asyncio.BaseTransport] = WeakSet()  # connections that have carried a request
        self._anonymous = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Looks only at the end of the path, so that the prefixes of all providers fit."""
        api = api_of(request.path) if request.method == "POST" else None
        response = await (self._ask(request, api) if api is not None else self._look_up(request))
        if request.transport is not None:
            self._used.add(request.transport)
        return response

    async def _look_up(self, request: web.Request) -> web.StreamResponse:
        """Reads or deletes what the pool keeps, or lists its models. These requests are not in the log."""
        arrival = Arrival(
            self._pool.id, "", self._request_id(request), path=request.path, is_first=self._is_first(request)
        )
        verdict = self._pool.judge_lookup(arrival, request.headers, self._state.faults, _now_ms())
        if verdict is not None and verdict.fault is not None and verdict.refusal is None:
            return await self._fail(request, verdict)
        if verdict is not None and verdict.refusal is not None:
            return _refused(verdict.refusal, {})
        body = self._looked_up(request.method, request.path)
        if body is not None:
            return web.Response(body=body, content_type=JSON)
        message = f"Unknown request URL: {request.method} {request.path}."
        return web.Response(status=404, body=wire.error_body(message, None, status=404), content_type=JSON)

    def _looked_up(self, method: str, path: str) -> bytes | None:
        """The answer to a request that looks something up; None if there is no such thing."""
        models, stored = self._pool.config.models, self._pool.kept
        if method == "GET" and path.endswith("/models"):
            rows = [self._model(model) for model in models]
            return msgspec.json.encode({"object": "list", "data": rows})
        name = path.rpartition("/")[2]
        if method == "GET" and path.endswith(f"/models/{name}") and name in models:
            return msgspec.json.encode(self._model(name))
        wanted = kept_id(path)
        if wanted is None:
            return None
        if not wanted[1]:
            return msgspec.json.encode({"object": "list", "data": [], "has_more": False})
        if method == "DELETE" and wanted[1] in stored:
            del stored[wanted[1]]
            return msgspec.json.encode({"id": wanted[1], "object": "file", "deleted": True})
        return stored.get(wanted[1])

    def _model(self, name: str) -> dict[str, object]:
        return {"id": name, "object": "model", "created": 0, "owned_by": self._pool.id}

    async def _ask(self, request: web.Request, api: Api) -> web.StreamResponse:
        request_id = self._request_id(request)
        content, verdict = await self._judge(request, request_id, api)
        fault = verdict.fault.kind if verdict.fault else None
        journal, pool = self._state.journal, self._pool
        pool.arrived += 1
        entry = journal.arrive(request_id, pool.id, content, admitted=verdict.admitted, fault=fault)
        headers = {"x-request-id": request_id, **pool.rate_limits(_now_ms())}
        exchange = Exchange(
            request, request_id, api, content=content, verdict=verdict, entry=entry, headers=headers
        )
        pool.in_flight += 1
        try:
            async with asyncio.timeout(ANSWER_MAX_S):
                return await self._answer(exchange)
        except TimeoutError:
            entry.end("stopped", None)
            return broken(request)
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

    async def _judge(
        self, request: web.Request, request_id: str, api: Api
    ) -> tuple[wire.ModelRequest, Verdict]:
        config, pool = self._pool.config, self._pool
        try:
            body = await request.read()
            content = wire.parse_request(
                body,
                request.path,
                required=api.required,
                needs_model=api.needs_model,
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
        arrival = Arrival(
            pool.id,
            content.model,
            f"{pool.id}|{request_id}",
            path=request.path,
            body=body,
            is_first=self._is_first(request),
        )
        verdict = pool.judge(content, arrival, request.headers, faults=self._state.faults, now_ms=_now_ms())
        return content, verdict

    def _is_first(self, request: web.Request) -> bool:
        return request.transport is None or request.transport not in self._used

    async def _answer(self, exchange: Exchange) -> web.StreamResponse:
        verdict, entry = exchange.verdict, exchange.entry
        if verdict.refusal is not None:
            entry.end(verdict.refusal.outcome, verdict.refusal.status)
            return _refused(verdict.refusal, exchange.headers)
        if not verdict.admitted:
            if exchange.fault != "hang":
                entry.end("fault", None)
            return await self._fail(exchange.request, verdict)
        return await self._sender.send(exchange)

    async def _fail(self, request: web.Request, verdict: Verdict) -> web.StreamResponse:
        """What a fault does that sends nothing."""
        if verdict.fault is not None and verdict.fault.kind == "hang":
            # This waits until the caller leaves, the process stops, or ANSWER_MAX_S have passed.
            await asyncio.Event().wait()
        return broken(request, reset=True)


def _now_ms() -> float:
    return asyncio.get_running_loop().time() * 1_000


def _refused(refusal: Refusal, headers: dict[str, str]) -> web.Response:
    return web.Response(
        status=refusal.status,
        body=refusal.body(),
        content_type=JSON,
        headers={**headers, **refusal.headers()},
    )
