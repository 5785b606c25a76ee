"""Notices an ingesting part that has stopped without an error, and starts it again."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import NoReturn, Protocol

import structlog
from aiokafka.errors import KafkaError
from redis.exceptions import RedisError

from tieline.backoff import Backoff

LOOK_EVERY_S = 1.0
RESTART_FIRST_S = 0.25
RESTART_LONGEST_S = 5.0
WELL_AFTER_S = 30.0
FAILURES_IN_A_ROW_MAX = 20
# What Kafka and Redis raise while they can't be reached. It is waited out, wherever it appears.
AWAY = (KafkaError, RedisError, OSError, TimeoutError)

log = structlog.get_logger(__name__)


class StoppedError(RuntimeError):
    """Something that must run has stopped, or a partition does not advance; the message says what."""


class Watchable(Protocol):
    """What the watchdog looks at."""

    def complaint(self) -> str | None:
        """What is wrong, or None."""
        ...


async def watch(session: Watchable) -> NoReturn:
    """Looks once a second until something is wrong, then raises ``StoppedError``."""
    while True:
        if complaint := session.complaint():
            raise StoppedError(complaint)
        await asyncio.sleep(LOOK_EVERY_S)


async def keep_running(live: Callable[[], Awaitable[NoReturn]]) -> NoReturn:
    """Runs ``live`` again whenever it fails, waiting longer each time; after 30 s of running well the waits
    begin again with the shortest.

    Kafka or Redis being away is waited out for as long as it takes. Other failures are not normal: after 20
    of them in a row, none of which ran well for 30 s, the last one is raised.
    """
    loop = asyncio.get_running_loop()
    backoff = Backoff(RESTART_FIRST_S, RESTART_LONGEST_S)
    failures = 0
    while True:
        began_at = loop.time()
        try:
            await live()
        except Exception as error:
            ran_well = loop.time() - began_at > WELL_AFTER_S
            if ran_well:
                backoff.reset()
            wait_s = backoff.next_s()
            why = {"why": f"{type(error).__name__}: {error}", "again_in_s": round(wait_s, 2)}
            if isinstance(error, AWAY):
                log.warning("ingest_waits", **why)
            else:
                failures = 1 if ran_well else failures + 1
                if failures > FAILURES_IN_A_ROW_MAX:
                    raise
                log.error("ingest_restarts", **why)
        await asyncio.sleep(wait_s)
