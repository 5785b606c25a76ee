"""A client of simulated Redis with the methods of redis-py's that Tieline calls.

As the product's real clients (``tieline.redis_client``), a command fails within ``TIMEOUT_S``.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from hashlib import sha1
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from lab.simulated.network import ServerDownError, caller
from lab.simulated.redis import SERVER, SimRedis, as_bytes
from tieline.redis_client import TIMEOUT_S

LOOK_S = 0.2


class SimRedisClient:
    """One client of one process."""

    def __init__(self, server: SimRedis) -> None:
        self._server = server
        self._process = caller()
        self.connection_pool = SimPool(self)

    async def __aenter__(self) -> "SimRedisClient":
        return self

    async def __aexit__(self, *_error: object) -> None:
        """Nothing is open."""

    async def aclose(self) -> None:
        """Nothing is open."""

    async def get(self, key: str) -> Any:
        """GET"""
        return await self._run(("GET", key))

    async def set(
        self, key: str, value: Any, *, nx: bool = False, px: int | None = None, pxat: int | None = None
    ) -> Any:
        """SET"""
        return await self._ask(lambda: self._set(key, value, nx=nx, px=px, pxat=pxat))

    async def delete(self, *keys: str) -> Any:
        """DEL"""
        return await self._run(("DEL", *keys))

    async def hget(self, key: str, field: str) -> Any:
        """HGET"""
        return await self._run(("HGET", key, field))

    async def hgetall(self, key: str) -> Any:
        """HGETALL"""
        return await self._run(("HGETALL", key))

    async def hlen(self, key: str) -> Any:
        """HLEN"""
        return await self._run(("HLEN", key))

    async def hmget(self, key: str, fields: Any, *more: str) -> Any:
        """HMGET"""
        return await self._run(_hmget(key, fields, more))

    async def publish(self, channel: str, message: Any) -> Any:
        """PUBLISH"""
        return await self._run(("PUBLISH", channel, message))

    async def script_load(self, script: str) -> Any:
        """SCRIPT LOAD"""
        return await self._run(("SCRIPT", script))

    async def evalsha(self, digest: str, count: int, *arguments: Any) -> Any:
        """EVALSHA"""
        return await self._run(("EVALSHA", digest, count, *arguments))

    def register_script(self, script: str) -> "SimScript":
        """A script that is loaded where it is missing."""
        return SimScript(self, script)

    def pipeline(self, **_options: bool) -> "SimPipeline":
        """Commands that are sent together."""
        return SimPipeline(self)

    def pubsub(self, **_options: Any) -> "SimPubSub":
        """Messages of channels."""
        return SimPubSub(self._server, self._process)

    async def run_all(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Executes commands one after the other, with nothing between them."""
        answers: list[Any] = await self._ask(lambda: [self._server.execute(*command) for command in commands])
        return answers

    def _set(self, key: str, value: Any, *, nx: bool, px: int | None, pxat: int | None) -> Any:
        now_ms = self._server.network.now_ms()
        until_ms = now_ms + px if px is not None else None
        if pxat is not None:
            until_ms = now_ms + (pxat - self._server.wall_ms())
        self._server.refuse_writes()
        return self._server._set(key, value, nx=nx, until_ms=until_ms)

    async def _run(self, command: tuple[Any, ...]) -> Any:
        return await self._ask(lambda: self._server.execute(*command))

    async def _ask(self, work: Any) -> Any:
        def arrive() -> Any:
            self._server.sender = self._process
            return work()

        try:
            return await self._server.network.ask(SERVER, arrive, self._process, within_s=TIMEOUT_S)
        except TimeoutError:
            raise RedisTimeoutError("Timeout reading from Redis") from None
        except ServerDownError as error:
            raise RedisConnectionError(str(error)) from None


class SimPool:
    """The connections of a client, as far as a caller keeps one or closes all."""

    connection_class = object

    def __init__(self, client: SimRedisClient) -> None:
        self._client = client

    async def get_connection(self) -> "SimConnection":
        """A connection of the caller's own. Raises what Redis raises while it is away."""
        await self._client.run_all(())
        return SimConnection(self._client)

    async def release(self, connection: "SimConnection") -> None:
        """Takes one back."""

    async def disconnect(self) -> None:
        """Closes all: the next command finds its way by itself."""


class SimConnection:
    """One connection: a packed command is sent, and then its answer read."""

    is_connected = True

    def __init__(self, client: SimRedisClient) -> None:
        self._client = client
        self._commands: list[tuple[Any, ...]] = []

    def pack_command(self, *command: Any) -> list[tuple[Any, ...]]:
        """What ``_send_packed_command`` takes."""
        return [command]

    async def _send_packed_command(self, command: list[tuple[Any, ...]]) -> None:
        self._commands = command

    async def read_response(self) -> Any:
        """The answer."""
        commands, self._commands = self._commands, []
        return (await self._client.run_all(commands))[0]

    async def disconnect(self, *, nowait: bool = False) -> None:
        """Closes it."""


def _hmget(key: str, fields: Any, more: Sequence[str]) -> tuple[Any, ...]:
    names = fields if isinstance(fields, list | tuple) else (fields,)
    return ("HMGET", key, *names, *more)


class SimScript:
    """A stored script, called as redis-py's ``AsyncScript``."""

    def __init__(self, client: SimRedisClient, script: str) -> None:
        self._client = client
        self.script = script
        self.sha = sha1(as_bytes(script), usedforsecurity=False).hexdigest()

    async def __call__(self, keys: Sequence[str] = (), args: Sequence[Any] = ()) -> Any:
        _, answer = await self._client.run_all(
            (("SCRIPT", self.script), ("EVALSHA", self.sha, len(keys), *keys, *args))
        )
        return answer


class SimPipeline:
    """Collects commands."""

    def __init__(self, client: SimRedisClient) -> None:
        self._client = client
        self._commands: list[tuple[Any, ...]] = []

    async def __aenter__(self) -> "SimPipeline":
        return self

    async def __aexit__(self, *_error: object) -> None:
        self._commands.clear()

    def get(self, key: str) -> None:
        """GET"""
        self._commands.append(("GET", key))

    def hget(self, key: str, field: str) -> None:
        """HGET"""
        self._commands.append(("HGET", key, field))

    def hgetall(self, key: str) -> None:
        """HGETALL"""
        self._commands.append(("HGETALL", key))

    def hmget(self, key: str, fields: Any, *more: str) -> None:
        """HMGET"""
        self._commands.append(_hmget(key, fields, more))

    def hset(self, key: str, *, mapping: Mapping[str, Any]) -> None:
        """HSET"""
        self._commands.append(("HSET", key, *(part for pair in mapping.items() for part in pair)))

    def hdel(self, key: str, *fields: str) -> None:
        """HDEL"""
        self._commands.append(("HDEL", key, *fields))

    def evalsha(self, digest: str, count: int, *arguments: Any) -> None:
        """EVALSHA"""
        self._commands.append(("EVALSHA", digest, count, *arguments))

    async def execute(self) -> list[Any]:
        """Their answers."""
        commands, self._commands = self._commands, []
        return await self._client.run_all(commands)


class SimPubSub:
    """One subscription. Messages that are sent while its link is cut are lost, and the loss is noticed."""

    def __init__(self, server: SimRedis, process: str) -> None:
        self._server = server
        self._process = process
        self._messages: asyncio.Queue[tuple[bytes, bytes]] = asyncio.Queue()
        self._channels: list[bytes] = []

    async def __aenter__(self) -> "SimPubSub":
        return self

    async def __aexit__(self, *_error: object) -> None:
        for channel in self._channels:
            self._server.subscribers[channel].remove(self._take)
        self._channels.clear()

    async def subscribe(self, *channels: str) -> None:
        """Listens to these from now on."""
        await self._require_server()
        for channel in map(as_bytes, channels):
            self._channels.append(channel)
            self._server.subscribers.setdefault(channel, []).append(self._take)

    async def get_message(self, *, timeout: float = 0.0, **_options: bool) -> dict[str, Any] | None:
        """The next message within ``timeout`` seconds, or None."""
        try:
            async with asyncio.timeout(timeout):
                channel, data = await self._messages.get()
        except TimeoutError:
            await self._require_server()
            return None
        return {"channel": channel, "data": data}

    async def listen(self) -> AsyncIterator[dict[str, Any]]:
        """All messages."""
        while True:
            message = await self.get_message(timeout=LOOK_S * 25)
            if message is not None:
                yield message

    def _take(self, channel: bytes, data: bytes) -> None:
        network = self._server.network
        link = network.link(self._process, SERVER)
        if not link.cut:
            network.back(link, lambda: self._messages.put_nowait((channel, data)))

    async def _require_server(self) -> None:
        try:
            await self._server.network.ask(SERVER, lambda: None, self._process, within_s=TIMEOUT_S)
        except (TimeoutError, ServerDownError) as error:
            raise RedisConnectionError(str(error) or "Redis does not answer") from None
