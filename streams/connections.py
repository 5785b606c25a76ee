"""Connections of aiokafka's clients that lead nowhere.

A load balancer may forget a connection without a word to either side. A request on it is never answered, so
each request has a time-out that closes its connection, and the next request opens a new one. aiokafka does so
by itself, except where a time-out around several requests ends first: then the connection stays, and every
later request ends in the same way. ``renewing`` is for those.

aiokafka asks the bootstrap servers once, when a client starts. When all brokers have got new addresses since,
it would ask the old ones for ever. ``bootstrap_again`` makes it ask the bootstrap servers whenever none of
the brokers that it knows answers (as KIP-899 does for Java).

Both reach into private parts of a pinned version (requirements.lock); tests/integration/test_connections.py
fails if those parts change.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from aiokafka.client import AIOKafkaClient
from aiokafka.conn import CloseReason
from aiokafka.errors import KafkaConnectionError, KafkaTimeoutError, RequestTimedOutError

# An answer that takes longer will not come: joining a group takes at most the session of a dead member.
REQUEST_WITHIN_S = 10.0

Update = Callable[..., Awaitable[bool]]


@contextmanager
def renewing(client: AIOKafkaClient) -> Iterator[None]:
    """Closes the client's connections when what is done here ends by a time-out, which is raised again."""
    try:
        yield
    except (KafkaTimeoutError, RequestTimedOutError, TimeoutError):
        for connection in list(client._conns.values()):
            connection.close(reason=CloseReason.CONNECTION_TIMEOUT)
        raise


def bootstrap_again() -> None:
    """From now on every client of this process asks its bootstrap servers when no broker that it knows
    answers. Calling it again changes nothing."""
    if getattr(AIOKafkaClient._metadata_update, "bootstraps", False):
        return
    AIOKafkaClient._metadata_update = _asking_again(AIOKafkaClient._metadata_update)


def _asking_again(update: Update) -> Update:
    async def update_or_bootstrap(client: Any, cluster: Any, topics: Any) -> bool:
        if await update(client, cluster, topics):
            return True
        if client._sync_task is None:
            return False  # it has not been started, or has been closed
        try:
            await client.bootstrap()
        except (TimeoutError, KafkaConnectionError, OSError):
            return False
        return await update(client, cluster, topics)

    update_or_bootstrap.bootstraps = True  # type: ignore[attr-defined]
    return update_or_bootstrap
