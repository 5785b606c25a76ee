"""Notices an ingesting part that has stopped without saying so, and starts it again."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

import structlog
from aiokafka.errors import KafkaError
from redis.exceptions import RedisError

LOOK_EVERY_S = 1.0
BACK_OFF_FIRST_S = 0.25
BACK_OFF_MAX_S = 5.0
WELL_AFTER_S = 30.0
FAILURES_IN_A_ROW_MAX = 20
AWAY = (KafkaError, RedisError, OSError, TimeoutError)

log = structlog.get_logger(__name__)


class StoppedError(RuntimeError):
    """Something that must run has stopped, or a partition does not advance; the message says what."""


class Watched(Protocol):
    """What the watchdog looks at."""

    def complaint(self) -> str | None:
        """What is wrong, or None."""
        ...


async def watch(watched: Watched) -> None:
    """Looks until something is wrong, then raises ``StoppedError``."""
    while True:
        if complaint := watched.complaint():
            raise StoppedError(complaint)
        await asyncio.sleep(LOOK_EVERY_S)


async def keep_running(live: Callable[[], Awaitable[None]]) -> None:
    """Runs ``live`` again whenever it fails, waiting longer each time.

    Kafka or Redis being away is waited out for as long as it takes. Other failures are not normal: after 20
    of them in a row, none of which ran well for 30 s, the last one is raised.
    """
    loop = asyncio.get_running_loop()
    back_off_s = BACK_OFF_FIRST_S
    failures = 0
    while True:
        began_at = loop.time()
        try:
            await live()
        except AWAY as error:
            log.warning("ingest_waits", why=f"{type(error).__name__}: {error}", again_in_s=back_off_s)
        except Exception as error:
            if loop.time() - began_at > WELL_AFTER_S:
                failures = 0
            failures += 1
            if failures > FAILURES_IN_A_ROW_MAX:
                raise
            log.error("ingest_restarts", why=f"{type(error).__name__}: {error}", again_in_s=back_off_s)
        if loop.time() - began_at > WELL_AFTER_S:
            back_off_s = BACK_OFF_FIRST_S
        await asyncio.sleep(back_off_s)
        back_off_s = min(back_off_s * 2, BACK_OFF_MAX_S)
