"""How long Redis takes to come back from Kafka alone, with 4,000 pools.

The topics hold what an hour leaves: for each of 80 regions with 50 pools a statement of capacity and a minute
of reports, and the reports of 400 clients. Each sample begins with an empty Redis. The tables of evidence are
folded from the topics as `tieline rebuild` and a controller do it; the routes are projected whole.
"""

from __future__ import annotations

import asyncio
import sys
import time
import uuid
from collections.abc import Iterator

import uvloop
from aiokafka import AIOKafkaProducer
from redis.asyncio import Redis

from bench._frame import Case, run
from controller.kafka.topics import ensure_topics
from controller.routes.projection import Projector
from lab.stack.stack import Stack
from streams.contract_check import Judge
from streams.rebuild import rebuild
from streams.settings import IngestSettings
from streams.tables import RedisTables
from streams.topic_ids import topic_facts
from tieline.cancelling import end_all
from tieline.cloudevents import encode
from tieline.events import Capacity, Demand, Event, Flow, Outcomes, PoolCapacity, PoolObservation, Report
from tieline.registration import Registry, SourceRule
from tieline.table import MILLION, Generation, PoolInfo, Route, RouteTable, Split
from tieline.topics import Topics

REGIONS = tuple(f"r{number}" for number in range(80))
POOLS_PER_REGION = 50
REPORTS = 60
CLIENTS = 400
ROUTES = 24
POOLS_PER_ROUTE = 160
SAMPLES = 5
PROJECTED_WITHIN_S = 30.0
POOLS = tuple(f"azure/{region}/p{number}" for region in REGIONS for number in range(POOLS_PER_REGION))
KNOWN = Registry(
    frozenset({"azure"}),
    {"probe": SourceRule("probe"), "fleet": SourceRule("fleet")},
    frozenset(POOLS),
    flows=frozenset({("chat", "eu")}),
    limit_units_per_s=1e9,
)


def now_ms() -> int:
    """The wall clock."""
    return time.time_ns() // 1_000_000


def events() -> Iterator[Event]:
    """All that lies on the topics."""
    for number in range(REPORTS):
        for region in REGIONS:
            end_ms = now_ms()
            seen = tuple(
                PoolObservation(f"azure/{region}/p{pool}", Outcomes(ok=100))
                for pool in range(POOLS_PER_REGION)
            )
            yield Report("probe", "azure", region, "one", number + 1, end_ms - 1_000, end_ms, 60_000, seen)
    for region in REGIONS:
        at_ms = now_ms()
        limits = tuple(PoolCapacity(f"azure/{region}/p{pool}", 1_000.0) for pool in range(POOLS_PER_REGION))
        yield Capacity("fleet", "azure", region, "one", 1, at_ms, at_ms + 3_600_000, limits)
    for number in range(CLIENTS):
        end_ms = now_ms()
        flows = (Flow("chat", "eu", requests=9, offered_units=90.0),)
        yield Demand(f"app-{number}", "one", 1, end_ms - 1_000, end_ms, 60_000, flows=flows)


def table() -> RouteTable:
    """A publication that names every pool."""
    pools = tuple(PoolInfo(pool, "eu", f"http://{pool}") for pool in POOLS)
    step, part = len(POOLS) // ROUTES, MILLION // POOLS_PER_ROUTE
    routes = tuple(
        Route(
            "chat",
            f"o{number}",
            "critical",
            Split(
                tuple((number * step + index) % len(POOLS) for index in range(POOLS_PER_ROUTE)),
                (part,) * POOLS_PER_ROUTE,
            ),
        )
        for number in range(ROUTES)
    )
    return RouteTable(Generation("bench", 1, 1), now_ms(), pools, routes)


async def fill(bootstrap: str, topics: Topics) -> None:
    """Appends all events."""
    names = {Report: topics.reports, Capacity: topics.capacity, Demand: topics.demand}
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, linger_ms=5) as producer:
        for event in events():
            key, value, headers = encode(event, time_ms=now_ms())
            await producer.send(names[type(event)].name, value, key=key, headers=headers)
        await producer.flush()


async def tables_s(settings: IngestSettings, redis: Redis) -> float:
    """Seconds from an empty Redis to tables that are valid."""
    await redis.flushall()
    began_s = time.perf_counter()
    facts = await topic_facts(settings.bootstrap, settings.consumed)
    tables = RedisTables(redis, settings.keys)
    rows = await rebuild(settings, tables, Judge(settings.topics, KNOWN), facts=facts, now_ms=now_ms())
    await tables.establish(uuid.uuid4().hex)
    took_s = time.perf_counter() - began_s
    if rows < 2 * len(REGIONS):
        raise RuntimeError(f"only {rows} rows came back")
    return took_s


async def routes_s(settings: IngestSettings, redis: Redis, publication: RouteTable) -> float:
    """Seconds until the routes are in Redis."""
    await redis.delete(settings.keys.routes)
    began_s = time.perf_counter()
    projector = Projector(redis, settings.keys)
    projector.project(publication, 1)
    running = asyncio.create_task(projector.run())
    await projector.head_start(PROJECTED_WITHIN_S)
    took_s = time.perf_counter() - began_s
    await end_all([running])
    return took_s


async def cases() -> list[Case]:
    """Both, on one stack."""
    async with await Stack.start() as stack, Redis.from_url(stack.redis_url) as redis:
        settings = IngestSettings(stack.kafka_bootstrap, "bench")
        await ensure_topics(settings.bootstrap, settings.topics)
        await fill(stack.kafka_bootstrap, settings.topics)
        publication = table()
        evidence = [await tables_s(settings, redis) for _ in range(SAMPLES)]
        routes = [await routes_s(settings, redis, publication) for _ in range(SAMPLES)]
    return [
        Case(f"tables of evidence, {len(POOLS)} pools", "s", evidence),
        Case(f"routes, {len(POOLS)} pools in {ROUTES} routes", "s", routes),
    ]


def measure() -> Iterator[Case]:
    """The cases of this benchmark."""
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    yield from asyncio.run(cases())


if __name__ == "__main__":
    sys.exit(run("rebuild", measure))
