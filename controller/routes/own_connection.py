"""A connection to Redis that one caller keeps, for the one command that clients wait for.

redis-py's client takes a connection out of its pool for each command, looks whether it is still good, packs
the command, and writes it in a task of its own, which may time out. All this takes 0.2 ms before the first
byte is sent, which is as long as Redis needs for its answer. Here the command is packed before, while Kafka
takes the publication, and is written at once.

Nothing depends on it: what fails here is sent again by the caller in the usual way, which also knows what to
do about a Redis that forgot a script or is a replica now. It reaches into the pinned version of redis-py
(requirements.lock). Tests: tests/integration/test_projection.py.
"""

from collections.abc import Sequence
from typing import Any


class OwnConnection:
    """``redis`` is a client; closing it closes this connection too. For one caller at a time."""

    def __init__(self, redis: Any) -> None:
        self._pool = redis.connection_pool
        self._connection: Any = None

    async def open(self) -> None:
        """Opens the connection if there is none. Raises RedisError and OSError."""
        if self._connection is None:
            self._connection = await self._pool.get_connection()

    def packed(self, script: Any, keys: Sequence[str], arguments: Sequence[str | bytes | int]) -> list[bytes]:
        """The bytes that run a registered script; none while there is no connection."""
        if self._connection is None:
            return []
        command = ("EVALSHA", script.sha, len(keys), *keys, *arguments)
        packed: list[bytes] = self._connection.pack_command(*command)
        return packed

    async def call(self, command: list[bytes]) -> Any:
        """The answer of Redis to what ``packed`` has returned. The caller limits how long it may take.

        Raises RedisError and OSError; the connection is then given up, as its answer may still come.
        """
        connection = self._connection
        try:
            if not connection.is_connected:
                await connection.connect()
            await connection._send_packed_command(command)  # the public method would start a task for it
            return await connection.read_response()
        except BaseException:
            self._connection = None
            await connection.disconnect(nowait=True)
            await self._pool.release(connection)
            raise
