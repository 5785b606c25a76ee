"""A real HTTP server that writes down what it is asked, for the tests beside this file."""

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import msgspec
from aiohttp import web

Answering = Callable[["Asked"], Awaitable[web.Response]]
CHAT = {
    "id": "c-1",
    "object": "chat.completion",
    "created": 1,
    "model": "big",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "There."}}],
    "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7},
}


class Asked(NamedTuple):
    """One request as it came."""

    path: str
    headers: dict[str, str]  # by lower-case name
    body: bytes

    def json(self) -> Any:
        return msgspec.json.decode(self.body)


class Recording(NamedTuple):
    """A running server."""

    url: str
    asked: list[Asked]


async def chat(_asked: Asked) -> web.Response:
    """A good answer."""
    return web.json_response(CHAT)


@asynccontextmanager
async def recording(answer: Answering = chat, tls: ssl.SSLContext | None = None) -> AsyncIterator[Recording]:
    """Listens on a free port of this machine until the end."""
    asked: list[Asked] = []

    async def handle(request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        asked.append(Asked(request.path_qs, headers, await request.read()))
        return await answer(asked[-1])

    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        yield Recording(f"{'https' if tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}", asked)
    finally:
        await runner.cleanup()
