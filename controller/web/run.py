"""One endpoint process: put together, run and taken apart."""

import asyncio
import os
from contextlib import AsyncExitStack
from pathlib import Path

import structlog

from controller.process.connections import connect_redis
from controller.process.settings import Settings
from controller.process.supervise import end_on_signals, together
from controller.process.telemetry import without_password
from controller.web.answers import Answers
from controller.web.board import Board
from controller.web.follow import Follower
from controller.web.limits import Limits
from controller.web.server import Listen, Server
from controller.web.tokens import TOKENS, Tokens
from tieline.producer import Producer


async def run_web(settings: Settings, listen: Listen, tokens_file: Path | None, limits: Limits) -> int:
    """Until SIGTERM or SIGINT. 0 after a clean stop. Raises ``SettingError`` for what can't work."""
    log = structlog.get_logger("web")
    asked_to_end = end_on_signals()
    board = Board()
    tokens = Tokens(tokens_file, os.environ)
    producer = Producer(settings.kafka, prefix=settings.namespace) if settings.kafka else None
    server = Server(listen, Answers(board, producer, limits, tokens), limits)
    async with AsyncExitStack() as closing:
        redis = connect_redis(settings.redis)
        closing.push_async_callback(redis.aclose)
        if producer is not None:
            await closing.enter_async_context(producer)
        url = await closing.enter_async_context(server.listening())
        log.info(
            "listening",
            url=url,
            redis=without_password(settings.redis),
            namespace=settings.namespace,
            reports="to Kafka" if producer else "not taken: no Kafka given",
            callers=f"{len(tokens)} keys"
            if len(tokens)
            else f"anybody on this machine: no {TOKENS}, no file",
        )
        if not listen.is_loopback and listen.certificate is None:
            log.warning(
                "callers' keys travel unencrypted: give --tls-cert and --tls-key, or put TLS in front"
            )
        running = asyncio.create_task(
            together({"tables": Follower(redis, settings.keys, board).run(), "keys": server.reread_tokens()})
        )
        ending = asyncio.create_task(asked_to_end.wait())
        await asyncio.wait({running, ending}, return_when=asyncio.FIRST_COMPLETED)
        ending.cancel()
        if running.done():
            running.result()
        log.info("stopping")
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    log.info("stopped")
    return 0
