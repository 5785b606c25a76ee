"""Simulated Redis: expiry, refusals, copies, and the answers of scripts.

That it keeps what the product relies on is shown by tests/contract/test_tables.py, whose tables run on it.
"""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, OutOfMemoryError, ReadOnlyError
from redis.exceptions import TimeoutError as RedisTimeoutError

from lab.simulated.loop import VirtualLoop, passes
from lab.simulated.network import Network
from lab.simulated.redis import SERVER, SimRedis
from lab.simulated.redis_client import SimRedisClient


def run(world: Callable[[SimRedis, SimRedisClient], Awaitable[None]]) -> None:
    """Runs one world."""
    loop = VirtualLoop()
    server = SimRedis(Network(loop, "seed"))
    loop.run_until_complete(asyncio.wait_for(world(server, SimRedisClient(server)), 1e6))
    loop.bury()


def test_keys_expire() -> None:
    """By milliseconds from now, and at a wall time."""

    async def world(server: SimRedis, client: SimRedisClient) -> None:
        await client.set("a", "1", px=1_000)
        await client.set("b", "1", pxat=server.wall_ms() + 3_000)
        assert await client.set("a", "2", nx=True) is None
        await passes(2)
        assert (await client.get("a"), await client.get("b")) == (None, b"1")
        await passes(2)
        assert await client.get("b") is None

    run(world)


def test_a_script_is_run_by_lua() -> None:
    """With the conversions of Redis: what is missing is false, and false is nothing; numbers are whole."""

    async def world(_server: SimRedis, client: SimRedisClient) -> None:
        script = client.register_script(
            "local old = redis.call('GET', KEYS[1]) or 'none' "
            "redis.call('HSET', KEYS[2], 'f', ARGV[1]) "
            "return {old, redis.call('HMGET', KEYS[2], 'f', 'g'), 7.9, false, 1}"
        )
        assert await script(keys=["k", "h"], args=["v"]) == [b"none", [b"v", None], 7, None, 1]
        with pytest.raises(NoScriptError):
            await client.evalsha("0" * 40, 0)

    run(world)


def test_writes_can_be_refused() -> None:
    """By a replica, and by a server without memory; reads go on."""

    async def world(server: SimRedis, client: SimRedisClient) -> None:
        await client.set("a", "1")
        for refusal in (ReadOnlyError, OutOfMemoryError):
            server.refusal = refusal
            with pytest.raises(refusal):
                await client.set("a", "2")
            pipe = client.pipeline()
            pipe.hset("h", mapping={"f": "v"})
            with pytest.raises(refusal):
                await pipe.execute()
        assert await client.get("a") == b"1"

    run(world)


def test_it_can_be_taken_back() -> None:
    """To what it was so many seconds ago."""

    async def world(server: SimRedis, client: SimRedisClient) -> None:
        for second in range(5):
            await client.set("a", str(second))
            server.keep_copy()
            await passes(1)
        server.take_back(2.5)
        assert await client.get("a") == b"2"
        server.empty()
        assert await client.get("a") is None

    run(world)


def test_messages_reach_those_who_listen() -> None:
    """Not over a link that is cut; the listener notices that."""

    async def world(server: SimRedis, client: SimRedisClient) -> None:
        async with client.pubsub() as hints:
            await hints.subscribe("c", "d")
            await client.publish("d", "one")
            assert await hints.get_message(timeout=1) == {"channel": b"d", "data": b"one"}
            assert await hints.get_message(timeout=1) is None
            server.network.cut("nobody", SERVER)
            server.execute("PUBLISH", "c", "lost")
            with pytest.raises(RedisConnectionError):
                await hints.get_message(timeout=1)
            with pytest.raises(RedisTimeoutError):
                await client.get("a")
        assert server.subscribers == {b"c": [], b"d": []}

    run(world)
