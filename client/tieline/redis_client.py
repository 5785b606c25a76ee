"""The one kind of Redis client: for one server, for servers behind Sentinels and for a cluster.

Whoever uses it sees one server, which has all keys of the installation (``redis_primary``). Each new
connection first asks where that server is. After a failover or a move the open connections lead to the former
place, so they are closed at the first answer that shows it: READONLY (it is a replica now), MOVED (another
node has the keys), CLUSTERDOWN and MASTERDOWN (it is cut off). A former primary that is cut off and shows
nothing of it is left in two other ways. Clients look for the heartbeat of a leader beside their table, and
controllers ask every second whether the primary is where their connections lead (``leave_former_primary``).

Importing this imports the library redis-py, which takes a third of a second of a processor.

Tests: tests/integration/test_redis_failover.py.
"""

from collections.abc import Sequence
from typing import Any

from redis.asyncio.client import Redis
from redis.asyncio.connection import BlockingConnectionPool, Connection, ConnectionPool, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AskError,
    AuthenticationError,
    ClusterDownError,
    ConnectionError,
    MasterDownError,
    NoPermissionError,
    ReadOnlyError,
)

from tieline.keys import Keys
from tieline.redis_address import Place, RedisAddress, parse_redis
from tieline.redis_primary import ANSWER_WITHIN_S, PrimaryUnknownError, Question, find_primary

TIMEOUT_S = 2.0
HEALTH_CHECK_S = 15
REFUSALS = (AuthenticationError, NoPermissionError)


def connect(
    url: str, keys: Keys, *, retries: int = 0, connections_max: int | None = None, protocol: int = 2
) -> "Redis":
    """A client of the server that has ``keys``, which fails within ``TIMEOUT_S`` or so.

    ``retries``: how often a command is tried again at once where its connection is lost. With
    ``connections_max`` a command waits for a connection, otherwise one is opened for it. Raises
    ``RedisAddressError`` for an address that can't be used.
    """
    address = parse_redis(url)
    lookout = Lookout(address, keys) if address.nodes else None
    kind: type[ConnectionPool] = ConnectionPool
    options: dict[str, Any] = {}
    if connections_max is not None:
        kind, options = BlockingConnectionPool, {"max_connections": connections_max, "timeout": TIMEOUT_S}
    pool = kind.from_url(
        address.url,
        socket_timeout=TIMEOUT_S,
        socket_connect_timeout=TIMEOUT_S,
        health_check_interval=HEALTH_CHECK_S,
        retry=Retry(NoBackoff(), retries),
        protocol=protocol,
        **options,
    )
    bases = (_ToThePrimary, pool.connection_class)
    pool.connection_class = type("ToThePrimary", bases, {"lookout": lookout})
    return Redis.from_pool(pool)


async def leave_former_primary(redis: "Redis") -> bool:
    """Closes all connections if they lead to a former primary. Returns whether they did.

    Behind Sentinels and on a cluster only. When nobody says where the primary is, connections stay.
    """
    lookout: Lookout | None = getattr(redis.connection_pool.connection_class, "lookout", None)
    if lookout is None or lookout.place is None:
        return False
    former = lookout.place
    try:
        if await lookout.find() == former:
            return False
    except PrimaryUnknownError:
        return False
    await redis.connection_pool.disconnect()
    return True


class Lookout:
    """Finds the primary. ``place`` is where it was when it was last asked for."""

    def __init__(self, address: RedisAddress, keys: Keys) -> None:
        self._address = address
        self._keys = keys
        self.place: Place | None = None

    async def find(self) -> Place:
        """Where the primary is. Raises PrimaryUnknownError."""
        self.place = await find_primary(self._address, self._keys, _ask)
        return self.place


class _ToThePrimary:
    """A connection that asks where to go whenever it is opened, and closes itself at a former primary."""

    lookout: Lookout | None

    async def _connect(self) -> None:
        if self.lookout is not None:
            try:
                self.host, self.port = await self.lookout.find()
            except PrimaryUnknownError as error:
                raise ConnectionError(str(error)) from _refusal(error)
        await super()._connect()  # type: ignore[misc]

    async def read_response(self, *arguments: Any, **more: Any) -> Any:
        try:
            return await super().read_response(*arguments, **more)  # type: ignore[misc]
        except (ReadOnlyError, ClusterDownError, MasterDownError):
            await self.disconnect(nowait=True)  # type: ignore[attr-defined]
            raise
        except AskError as error:  # MOVED is a kind of it
            await self.disconnect(nowait=True)  # type: ignore[attr-defined]
            raise ConnectionError("the keys lie on another node of the cluster now") from error


def _refusal(error: PrimaryUnknownError) -> BaseException | None:
    """What a node answered that refused the user or the password, if one did."""
    return next((answer for answer in error.errors if isinstance(answer, REFUSALS)), None)


def refusal_behind(error: BaseException) -> BaseException:
    """The refusal because of which nobody could say where the primary is; without one, ``error`` itself.

    On a cluster the user and the password are first asked for by the node that is asked for the primary, and
    redis-py makes a ``ConnectionError`` of whatever happens before a connection is open.
    """
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, REFUSALS):
        cause = cause.__cause__
    return cause or error


async def _ask(url: str, questions: Sequence[Question]) -> list[Any]:
    """Puts questions to one node, over a connection of their own."""
    options: dict[str, Any] = {**parse_url(url)}
    kind: type[Connection] = options.pop("connection_class", Connection)
    connection = kind(
        **options,
        socket_timeout=ANSWER_WITHIN_S,
        socket_connect_timeout=ANSWER_WITHIN_S,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
        driver_info=None,
    )
    try:
        await connection.connect()  # type: ignore[no-untyped-call]
        for question in questions:
            await connection.send_command(*question, check_health=False)
        return [await connection.read_response() for _ in questions]
    finally:
        await connection.disconnect(nowait=True)
