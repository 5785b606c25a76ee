"""A projection of tables into a real Redis, as by a leading controller, and a client that follows it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import tieline
from controller.routes.projection import Projector
from tests.integration.routed import ORIGIN, SETTINGS, WORKLOAD, pool_info, table
from tests.waiting import until
from tieline.cancelling import end_all
from tieline.keys import Keys
from tieline.redis_client import connect

POOL = "azure/uksouth/gpt"


class Leader:
    """Projects tables as a leading controller does."""

    def __init__(self, url: str, namespace: str) -> None:
        self.keys = Keys(namespace)
        self.redis = connect(url, self.keys, retries=1)
        self.projector = Projector(self.redis, self.keys)
        self._running: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Leader:
        self._running = asyncio.create_task(self.projector.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._running is not None
        await end_all([self._running])
        await self.redis.aclose()

    def runs(self) -> bool:
        """Whether the projection has begun. Raises the error that has ended it, if one has."""
        if self._running is not None and self._running.done():
            self._running.result()
        return self._running is not None

    def publish(self, seq: int) -> str:
        """Returns the generation."""
        new = table((pool_info(POOL, "http://127.0.0.1:1"),), (1_000_000,), seq=seq, settings=SETTINGS)
        self.projector.project(new, seq)
        return str(new.generation)


@asynccontextmanager
async def following(url: str, namespace: str) -> AsyncIterator[tieline.AsyncClient]:
    """A client with the first table."""
    async with tieline.AsyncClient(url, workload=WORKLOAD, origin=ORIGIN, namespace=namespace) as client:
        await until(lambda: client.status.state is tieline.State.LIVE, what="the first table")
        yield client


async def follows(client: tieline.AsyncClient, generation: str) -> None:
    """Returns once the client is live with this generation."""

    def is_there() -> bool:
        status = client.status
        return (status.generation, status.state) == (generation, tieline.State.LIVE)

    await until(is_there, what=f"the client at {generation}")
