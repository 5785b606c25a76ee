"""A real HTTP server that answers as a test says, and collectors that read from it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

from controller.collect.collector import Collected, Collector
from controller.collect.fetching import Fetcher
from controller.collect.rounds import Rounds
from tests.integration.http_server import listening_on
from tieline.errors import RefusedError
from tieline.events import Statement

NOW_MS = 1_800_000_000_000
JSON = {"Content-Type": "application/json"}


@dataclass
class Served:
    """One answer. ``chunks``: the body in parts, each followed by a wait of ``pause_s``."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: dict(JSON))
    body: bytes = b"{}"
    chunks: tuple[bytes, ...] = ()
    pause_s: float = 0.0
    hangs: bool = False


@dataclass
class FeedServer:
    """Answers every path by ``answers``, or else by ``default``; notes what it was asked."""

    answers: dict[str, Served] = field(default_factory=dict)
    default: Served = field(default_factory=Served)
    respond: Callable[[web.Request], Served] | None = None
    url: str = ""
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    _ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.path, dict(request.headers)))
        served = self.respond(request) if self.respond else self.answers.get(request.path, self.default)
        if served.hangs:
            await self._ended.wait()
        if not served.chunks:
            return web.Response(status=served.status, headers=served.headers, body=served.body)
        response = web.StreamResponse(status=served.status, headers=served.headers)
        await response.prepare(request)
        for chunk in served.chunks:
            try:
                await response.write(chunk)
            except ConnectionError:
                break
            if served.pause_s:
                await asyncio.wait([asyncio.ensure_future(self._ended.wait())], timeout=served.pause_s)
        return response

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[FeedServer]:
        async with listening_on(self.answer) as self.url:
            try:
                yield self
            finally:
                self._ended.set()


@dataclass
class Taken:
    """Takes events in the place of Kafka. ``refuses``: statements of that kind, as a policy might."""

    incarnation: str = "here"
    events: list[Collected] = field(default_factory=list)
    error: Exception | None = None
    refuses: str = ""

    async def send(self, event: Collected) -> None:
        if self.error is not None:
            raise self.error
        if isinstance(event, Statement) and event.kind == self.refuses:
            raise RefusedError(f"no statement of the kind {event.kind}")
        self.events.append(event)


@asynccontextmanager
async def rounds_of(
    collector: Collector, now_ms: Callable[[], int] = lambda: NOW_MS
) -> AsyncIterator[tuple[Rounds, Fetcher, Taken]]:
    """One collector with a fetcher, and where its events go."""
    taken = Taken()
    fetcher = Fetcher(collector)
    try:
        yield Rounds(collector, taken, environment={}, now_ms=now_ms, chance=lambda: 0.5), fetcher, taken
    finally:
        await fetcher.close()
