"""The server of the endpoint: it listens, lets callers in within the bounds, and passes requests on."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sized
from contextlib import asynccontextmanager
from typing import Protocol

import structlog
from aiohttp import web

from controller.process.clock import monotonic_ms
from controller.process.errors import SettingError
from controller.process.listening import ConnectionGate, Listen, tls_context
from controller.process.wrong_secrets import Rates, WrongSecrets
from controller.web.admission import Bounds
from controller.web.answers import refusal
from controller.web.page import Page

STOP_WITHIN_S = 2.0
OPEN_PATHS = {"/v1/health"}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Endpoint(Protocol):
    """What a server answers with. Without ``tokens`` only this machine may reach it."""

    @property
    def tokens(self) -> Sized:
        """What callers must show."""
        ...

    @property
    def counts(self) -> Counter[str]:
        """What was refused, by its cause."""
        ...

    def routes(self) -> list[web.AbstractRouteDef]:
        """Every path and its handler."""
        ...

    def allowed(self, request: web.Request, /) -> bool:
        """Whether the caller may make this request."""
        ...


class Server:
    """``async with Server(...).listening() as url``. Raises ``SettingError`` for an open address without
    tokens."""

    def __init__(
        self, listen: Listen, answers: Endpoint, bounds: Bounds, *, page: Page | None = None
    ) -> None:
        if not listen.is_loopback and not len(answers.tokens):
            raise SettingError(
                f"--listen {listen.host}: other machines can reach this address, so it needs tokens: give "
                "--tokens FILE"
            )
        self._listen = listen
        self._answers = answers
        self._page = page
        self._bounds = bounds
        self._rates = Rates(bounds.requests_per_s, burst=bounds.burst)
        self._wrong_tokens = WrongSecrets()
        self._gate: ConnectionGate
        self._log = structlog.get_logger("web")

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        """Listens as long as the context lasts, and gives the base URL. Raises ``SettingError`` when it
        can't."""
        app = web.Application(middlewares=[self._let_in], client_max_size=self._bounds.body_max_bytes)
        app.add_routes(self._answers.routes())
        if self._page is not None:
            app.add_routes(self._page.routes())
        runner = web.AppRunner(
            app,
            access_log=None,
            keepalive_timeout=self._bounds.idle_s,
            shutdown_timeout=STOP_WITHIN_S,
            auto_decompress=False,  # a broken body would break the connection before its answer is sent
        )
        await runner.setup()
        try:
            server = await self._bind(runner)
            port = server.sockets[0].getsockname()[1]
            host = f"[{self._listen.host}]" if ":" in self._listen.host else self._listen.host
            async with server:
                yield f"http{'s' if self._listen.certificate else ''}://{host}:{port}"
        finally:
            await runner.cleanup()

    async def _bind(self, runner: web.AppRunner) -> asyncio.Server:
        assert runner.server is not None
        self._gate = ConnectionGate(
            runner.server,
            connections_max=self._bounds.connections_max,
            first_request_within_s=self._bounds.first_request_within_s,
            count=lambda what: self._answers.counts.update((what,)),
        )
        tls = tls_context(self._listen)
        try:
            return await asyncio.get_running_loop().create_server(
                self._gate.connect,
                self._listen.host,
                self._listen.port,
                ssl=tls,
                ssl_handshake_timeout=self._bounds.first_request_within_s if tls else None,
            )
        except OSError as error:
            place = f"{self._listen.host}:{self._listen.port}"
            raise SettingError(f"--listen {place}: it can't listen there: {error.strerror}") from None

    @web.middleware
    async def _let_in(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuses a request that comes too often or without a valid token, and passes on every other.

        After too many wrong tokens even a valid one is refused, because the answer would tell it apart.
        """
        self._gate.note_request(request)
        peer, time_ms = request.remote or "", monotonic_ms()
        if wait_ms := self._rates.wait_ms(peer, time_ms):
            self._answers.counts["requests refused: too many"] += 1
            return refusal(429, "too many requests from this address", retry_after_s=wait_ms / 1_000)
        if request.path not in OPEN_PATHS and (wait_ms := self._wrong_tokens.wait_ms(peer, time_ms)):
            self._answers.counts["requests refused: too many wrong tokens"] += 1
            return refusal(429, "too many wrong tokens from this address", retry_after_s=wait_ms / 1_000)
        if not self._decides_itself(request.path) and not self._answers.allowed(request):
            self._note_wrong_token(request)
            self._answers.counts["requests refused: token"] += 1
            answer = refusal(401, "a valid token is needed: Authorization: Bearer TOKEN")
            answer.headers["www-authenticate"] = "Bearer"
            return answer
        try:
            response = await handler(request)
            if response.status in (303, 401) and self._decides_itself(request.path):
                self._note_wrong_token(request)  # the page sends whoever may not look to its sign-in
            return response
        except web.HTTPRequestEntityTooLarge:
            return refusal(413, f"the body has more than {self._bounds.body_max_bytes} bytes")
        except web.HTTPException as error:
            return refusal(error.status, error.reason)

    def _note_wrong_token(self, request: web.Request) -> None:
        if shown := request.headers.get("authorization", ""):
            self._wrong_tokens.fail(request.remote or "", monotonic_ms(), shown)

    def _decides_itself(self, path: str) -> bool:
        """Whether the path is open, or belongs to the page, which also knows sessions of browsers."""
        return path in OPEN_PATHS or (self._page is not None and self._page.owns(path))
