"""Listens for Envoy's outcomes: OTLP over HTTP, on this machine only."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from controller.envoy.bootstrap import OUTCOMES_PATH, Listening
from controller.process.errors import SettingError

MESSAGE_BYTES_MAX = 4 * 1024 * 1024
SHUTDOWN_S = 0.5


@asynccontextmanager
async def receiving(place: Listening, take: Callable[[bytes], None]) -> AsyncIterator[None]:
    """Hands each message to ``take`` as long as the context lasts. Raises SettingError where it can't
    listen."""

    async def receive(request: web.Request) -> web.Response:
        take(await request.read())
        return web.Response()

    application = web.Application(client_max_size=MESSAGE_BYTES_MAX)
    application.router.add_post(OUTCOMES_PATH, receive)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=SHUTDOWN_S)
    await runner.setup()
    try:
        await web.TCPSite(runner, place.host, place.port).start()
    except OSError as error:
        await runner.cleanup()
        raise SettingError(
            f"--outcomes: can't listen on {place.host}:{place.port}: {error.strerror}"
        ) from None
    try:
        yield
    finally:
        await runner.cleanup()
