"""One endpoint process: its parts are built, run and closed here."""

import asyncio
import os
from contextlib import AsyncExitStack
from pathlib import Path

import structlog

from controller.process.connections import connect_redis
from controller.process.listening import Listen
from controller.process.monitor import monitored
from controller.process.seal import read_accepted
from controller.process.settings import Settings
from controller.process.supervise import end_on_signals, together, until_asked
from controller.process.telemetry import without_password
from controller.web.admission import TOKENS, Bounds, Tokens
from controller.web.answers import Answers
from controller.web.board import Board
from controller.web.follow import Follower
from controller.web.page import Page
from controller.web.picture import Picture
from controller.web.server import Server
from controller.web.visitors import ProxyTrust, Visitors
from controller.web.vitals import web_vitals
from controller.web.watch import Watch
from tieline.cancelling import end_all
from tieline.producer import Producer


async def run_web(
    settings: Settings, listen: Listen, tokens_file: Path | None, *, bounds: Bounds, proxy: ProxyTrust
) -> int:
    """Runs until SIGTERM or SIGINT; returns 0 after a clean end. Raises ``SettingError``."""
    log = structlog.get_logger("web")
    asked_to_end = end_on_signals()
    accepted = read_accepted(settings.controller_keys)
    board = Board()
    tokens = Tokens(tokens_file, os.environ)
    producer = Producer(settings.kafka, prefix=settings.namespace) if settings.kafka else None
    answers = Answers(board, producer, bounds=bounds, tokens=tokens)
    picture = Picture()
    page = Page(
        picture,
        answers.streams,
        Visitors(tokens, proxy),
        proxy=proxy,
        secure=listen.certificate is not None,
    )
    server = Server(listen, answers, bounds, page=page)
    async with AsyncExitStack() as closing:
        redis = connect_redis(settings.redis, settings.keys)
        closing.push_async_callback(redis.aclose)
        if producer is not None:
            await closing.enter_async_context(producer)
        await closing.enter_async_context(
            monitored(settings.monitor, lambda: web_vitals(board, answers.counts, answers.streams.open))
        )
        url = await closing.enter_async_context(server.listening())
        log.info(
            "listening",
            url=url,
            redis=without_password(settings.redis),
            namespace=settings.namespace,
            reports="to Kafka" if producer else "refused, as TIELINE_KAFKA is not set",
            callers=f"those with one of {len(tokens)} tokens"
            if len(tokens)
            else f"anybody on this machine, as neither {TOKENS} nor --tokens is given",
        )
        if not listen.is_loopback and listen.certificate is None:
            log.warning(
                "callers' tokens travel unencrypted: give --tls-cert and --tls-key, or put TLS in front"
            )
        running = asyncio.create_task(
            together(
                {
                    "tables": Follower(redis, settings.keys, board, accepted=accepted).run(),
                    "keys": tokens.follow_file(),
                    "page": Watch(settings, picture).run(),
                }
            )
        )
        await until_asked(asked_to_end, running)
        log.info("stopping")
        await end_all([running])
    log.info("stopped")
    return 0
