"""A Valkey beside the stack, and commands for every server that an address leads to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from controller.process.settings import Settings
from lab.stack.valkey import Valkey
from tieline.redis_address import CLUSTER, parse_redis
from tieline.redis_client import connect


@asynccontextmanager
async def single_valkey(place: Path) -> AsyncIterator[Valkey]:
    """One Valkey alone, for a test that makes it a replica of nobody, whatever stack the others run on."""
    valkey = Valkey(place)
    try:
        await valkey.start()
        yield valkey
    finally:
        await valkey.kill()


async def on_every_server(settings: Settings, *words: str) -> None:
    """Runs a command on all nodes of a cluster, because users and connections belong to one node; behind
    Sentinels and on one server, on the primary."""
    address = parse_redis(settings.redis)
    for url in address.nodes if address.kind == CLUSTER else (settings.redis,):
        async with connect(url, settings.keys) as redis:
            await redis.execute_command(*words)  # type: ignore[no-untyped-call]
