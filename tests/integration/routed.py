"""A published route table over running stand-ins, for the tests of the client beside this file."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from lab.standins.config import Latency, PoolConfig, StandinConfig
from lab.standins.process import StandinProcess
from tieline.events import Demand
from tieline.keys import MANIFEST_FIELD, Keys, slice_field
from tieline.redis_client import connect
from tieline.table import (
    ClientSettings,
    Generation,
    ModelOffer,
    PoolInfo,
    Route,
    RouteTable,
    Split,
    encode_table,
    manifest,
    slices,
)

WORKLOAD, ORIGIN, MODEL = "chat", "eu", "chat-large"
LATENCY = Latency(first_token_ms=5, spread=0.05, token_ms=0.2)
# No pool is called silent because a machine is busy; a test whose pool hangs has limits of its own.
SETTINGS = ClientSettings(stale_after_ms=1_500)


def pool_info(pool: str, url: str, **more: Any) -> PoolInfo:
    """A pool that serves ``chat-large`` under the name ``big``."""
    models = (ModelOffer(MODEL, "big", 128_000, ("tools",)),)
    return PoolInfo(pool=pool, geography="eu", url=url, models=models, **more)


def table(
    pools: tuple[PoolInfo, ...],
    weights: tuple[int, ...],
    *,
    seq: int = 1,
    shed: int = 0,
    lineage: str = "l1",
    settings: ClientSettings = SETTINGS,
    on_loss: Mapping[str, Split] | None = None,
    last_resort: tuple[int, ...] = (),
) -> RouteTable:
    """A table of one route over these pools."""
    split = Split(tuple(range(len(pools))), weights, shed)
    reason = "capacity" if shed else ""
    route = Route(WORKLOAD, ORIGIN, "critical", split, reason, dict(on_loss or {}), last_resort)
    return RouteTable(Generation(lineage, 1, seq), 1_790_000_000_000, pools, (route,), settings)


def fields_of(wanted: RouteTable, urgent_seq: int = 0) -> dict[str, bytes]:
    """A table as it lies in Redis."""
    parts = slices(wanted)
    fields = {slice_field(name): data for name, data in parts.items()}
    return fields | {MANIFEST_FIELD: manifest(wanted, parts, urgent_seq=urgent_seq)}


class Reports:
    """A client's sink that keeps what it is given."""

    def __init__(self) -> None:
        self.kept: list[Demand] = []

    def post(self, event: Demand) -> bool:
        self.kept.append(event)
        return True


@dataclass
class Publisher:
    """Writes tables into Redis as the controller's projection does."""

    connection: Redis
    keys: Keys
    seq: int = 0
    published: list[RouteTable] = field(default_factory=list)

    async def publish(self, wanted: RouteTable, *, urgent_seq: int = 0) -> None:
        """One table: slices, manifest and hint."""
        encode_table(wanted)
        fields = fields_of(wanted, urgent_seq)
        await self.connection.hset(self.keys.routes, mapping=fields)  # type: ignore[arg-type]
        urgent = int(urgent_seq == wanted.generation.seq)
        await self.connection.publish(self.keys.routes_hint, f"{wanted.generation} {urgent}")
        self.published.append(wanted)


@asynccontextmanager
async def publisher(redis_url: str, namespace: str) -> AsyncIterator[Publisher]:
    """A publisher into this namespace; what it wrote is deleted afterwards."""
    async with connect(redis_url, Keys(namespace)) as connection:
        yield Publisher(connection, Keys(namespace))
        await connection.delete(Keys(namespace).routes)


def standin(provider: str, region: str, log_dir: Path, **more: Any) -> StandinConfig:
    """One quick pool ``gpt`` with more capacity than a test needs."""
    settings: dict[str, Any] = {"tokens_per_s": 1e7, "latency": LATENCY, **more}
    pool = PoolConfig("gpt", ("big", "small"), **settings)
    return StandinConfig(provider, region, (pool,), log_dir=str(log_dir))


@asynccontextmanager
async def standins(log_dir: Path, *names: str) -> AsyncIterator[dict[str, StandinProcess]]:
    """Running stand-ins, ``provider/region`` each, by pool id."""
    running: dict[str, StandinProcess] = {}
    try:
        for name in names:
            provider, region = name.split("/")
            running[f"{name}/gpt"] = await StandinProcess.spawn(standin(provider, region, log_dir))
        yield running
    finally:
        for process in running.values():
            await process.stop()


def infos(running: Mapping[str, StandinProcess]) -> tuple[PoolInfo, ...]:
    """The running stand-ins as pools of a table."""
    return tuple(pool_info(pool, process.url(pool)) for pool, process in running.items())
