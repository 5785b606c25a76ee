"""How every process here connects to Redis."""

from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

REDIS_TIMEOUT_S = 2.0


def connect_redis(url: str) -> Any:
    """A client that fails fast and leaves retrying to its users."""
    return Redis.from_url(
        url,
        socket_timeout=REDIS_TIMEOUT_S,
        socket_connect_timeout=REDIS_TIMEOUT_S,
        health_check_interval=15,
        retry=Retry(NoBackoff(), 1),
    )
