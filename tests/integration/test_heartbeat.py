"""The heartbeat that the leader writes beside the table, and servers that stop taking writes."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from redis.exceptions import RedisError

import tieline
from controller.process.connections import connect_redis
from tests.integration.controllers import POLICY, Fleet, settings_of
from tests.integration.redis_servers import single_valkey
from tests.waiting import until
from tieline.keys import HEARTBEAT_FIELD, Keys
from tieline.redis_client import connect

STALE_AFTER_MS = 4_000  # several heartbeats; 10 s by default


@pytest.fixture
async def fleet(kafka_bootstrap: str, redis_url: str, prefix: str, tmp_path: Path) -> AsyncIterator[Fleet]:
    async with Fleet(settings_of(kafka_bootstrap, redis_url, prefix), tmp_path) as running:
        yield running


class Switch:
    """One address that leads to one server after another, as after a failover. Connections that are open stay
    where they are."""

    def __init__(self, url: str) -> None:
        self.leads_to = url
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        yield f"redis://127.0.0.1:{port}/0"
        server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        parts = urlsplit(self.leads_to)
        there, back = await asyncio.open_connection(parts.hostname, parts.port)
        for source, sink in ((reader, back), (there, writer)):
            task = asyncio.create_task(self._copy(source, sink))
            self._tasks.add(task)

    async def _copy(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65_536):
                sink.write(data)
        finally:
            sink.close()
            with contextlib.suppress(OSError):
                await sink.wait_closed()


async def test_client_is_stale_when_nobody_confirms_its_table(fleet: Fleet, tmp_path: Path) -> None:
    """Redis answers all the time, but the only controller was killed: the client says ``stale`` and why, goes
    on with its table, and is ``live`` again once another leads."""
    policy = tmp_path / "policy.yaml"
    stale_soon = f"clients:\n  stale_after_ms: {STALE_AFTER_MS}\n"
    policy.write_text(POLICY.read_text().replace("clients:\n", stale_soon, 1))
    fleet.settings = dataclasses.replace(fleet.settings, policy=policy)
    controller = await fleet.add()
    await controller.until_said("decides now")
    async with tieline.AsyncClient(
        fleet.settings.redis, workload="chat", origin="eu", namespace=fleet.settings.namespace
    ) as client:
        await until(lambda: client.status.state == "live", what="a table")
        controller.signal(signal.SIGKILL)
        await until(lambda: client.status.state == "stale", what="the state stale")
        why = "no controller has confirmed the table"
        await until(lambda: why in client.status.error, what="why it is stale")
        assert client.status.generation
        await (await fleet.add()).until_said("leads now")
        await until(lambda: client.status.state == "live", what="the state live")


async def test_heartbeat_rises(fleet: Fleet) -> None:
    """While nothing changes the heartbeat in Redis still does."""
    controller = await fleet.add()
    await controller.until_said("decides now")
    async with connect(fleet.settings.redis, fleet.settings.keys) as redis:

        async def heartbeat() -> bytes | None:
            beat = await redis.hget(fleet.settings.keys.routes, HEARTBEAT_FIELD)
            return beat if isinstance(beat, bytes) else None

        first = await until(heartbeat)

        async def later() -> bool:
            return await heartbeat() != first

        await until(later, what="another heartbeat")


async def test_connection_to_a_former_primary_is_closed(tmp_path: Path) -> None:
    """After READONLY the next write goes over a new connection, which leads to the new primary."""
    async with single_valkey(tmp_path / "1") as first, single_valkey(tmp_path / "2") as second:
        await _writes_follow(Switch(first.url), second.url)


async def _writes_follow(switch: Switch, new_url: str) -> None:
    """Makes the server that ``switch`` leads to a replica, and the address lead to the other one."""
    former_url = switch.leads_to
    async with switch.listening() as url:
        client = connect_redis(url, Keys())
        try:
            await client.set("heartbeat-test", "1")
            switch.leads_to = new_url
            async with connect(former_url, Keys()) as former:
                await former.replicaof("127.0.0.1", "1")
                with pytest.raises(RedisError):
                    await client.set("heartbeat-test", "2")
                await client.set("heartbeat-test", "3")
                await former.replicaof("NO", "ONE")
            async with connect(new_url, Keys()) as primary:
                assert await primary.getdel("heartbeat-test") == b"3"
        finally:
            await client.aclose()
