"""Connections to Kafka that a load balancer has forgotten, and brokers that have got new addresses."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from controller.kafka.ordered_log import Tail, start_producer
from controller.kafka.topics import ensure_topics
from lab.stack.cache import cache_directory
from lab.stack.jars import ensure_jars
from lab.stack.stack import BROKERS, silent
from streams.app import Ingest, IngestSettings
from streams.connections import bootstrap_again
from streams.producers import stop_producer
from streams.tables import RedisTables
from tests.integration.ingesting import REGISTRY, now_ms, report
from tests.integration.moving import Rig, balanced
from tests.stacks import CLUSTERS
from tests.waiting import until
from tieline.cloudevents import encode
from tieline.keys import Keys
from tieline.redis_client import connect

FORGOTTEN_WITHIN_S = 120.0  # a safety net: ten seconds for the answer that never comes, then the group


@pytest.fixture
async def rig(pytestconfig: pytest.Config, tmp_path: Path) -> AsyncIterator[Rig]:
    """One broker, or three where the run's Kafka has three."""
    jars = await asyncio.to_thread(ensure_jars, cache_directory(), silent)
    brokers = BROKERS if pytestconfig.getoption("stack") in CLUSTERS else 1
    async with balanced(tmp_path / "kafka", jars, brokers) as started:
        yield started


class Ingesting:
    """An ingesting part over the rig, and what its rows say."""

    def __init__(self, rig: Rig, redis: Redis, prefix: str) -> None:
        self.settings = IngestSettings(rig.servers, prefix.rstrip("."))
        self.tables = RedisTables(redis, self.settings.keys)
        self.ingest = Ingest(self.settings, REGISTRY, self.tables, now_ms)
        self._rig = rig
        self._sequence = 0

    async def is_taken_in(self) -> None:
        """Sends a report over a new connection, and waits until it is in the tables."""
        self._sequence += 1
        record = encode(report(self._sequence), time_ms=now_ms())
        producer = await start_producer(self._rig.servers)
        await producer.send_and_wait(
            self.settings.topics.reports.name, value=record.value, key=record.key, headers=record.headers
        )
        await stop_producer(producer)

        async def taken() -> bool:
            rows = (await self.tables.read()).reports
            return any(row.event.sequence == self._sequence for row in rows)

        await until(taken, FORGOTTEN_WITHIN_S, "the report in the tables")

    async def progresses(self) -> None:
        """Waits for progress that is newer than now."""
        began_ms = now_ms()

        async def is_newer() -> bool:
            rows = (await self.tables.read()).progress
            return bool(rows) and all(row.at_ms > began_ms for row in rows)

        await until(is_newer, FORGOTTEN_WITHIN_S, "new rows of progress")


async def test_forgotten_connections_stop_evidence_for_seconds(rig: Rig, redis_url: str, prefix: str) -> None:
    """No FIN and no RST: reports are taken in again, and progress is written."""
    async with connect(redis_url, Keys(prefix.rstrip("."))) as redis:
        running = Ingesting(rig, redis, prefix)
        await ensure_topics(rig.servers, running.settings.topics, replication=rig.replication)
        await running.ingest.start()
        try:
            assert await running.ingest.ready(60)
            await running.is_taken_in()
            rig.forget()
            await running.is_taken_in()
            await running.progresses()
        finally:
            await running.ingest.stop()


async def test_forgotten_connections_of_an_ordered_log(rig: Rig, prefix: str) -> None:
    """A tail reads on, and asks where the log ends, over new connections."""
    settings = IngestSettings(rig.servers, prefix.rstrip("."))
    await ensure_topics(rig.servers, settings.topics, replication=rig.replication)
    taken: list[int] = []
    tail = Tail(rig.servers, settings.topics.leader.name, lambda record: taken.append(record.offset))
    await tail.start()
    reading = asyncio.create_task(tail.run())
    assert await tail.end_offset() == 0
    rig.forget()

    async def asked() -> bool:
        with contextlib.suppress(Exception):
            return await tail.end_offset() >= 0
        return False

    await until(asked, FORGOTTEN_WITHIN_S, "the end of the log")
    producer = await start_producer(rig.servers)
    await producer.send_and_wait(settings.topics.leader.name, value=b"x", partition=0)
    await stop_producer(producer)
    await until(lambda: taken, FORGOTTEN_WITHIN_S, "the record")
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    await tail.stop()


async def test_brokers_with_new_addresses_are_found_by_the_bootstrap_name(
    rig: Rig, redis_url: str, prefix: str
) -> None:
    """All brokers get new addresses, one after the other, while the bootstrap name stays right: reports are
    taken in again."""
    bootstrap_again()
    async with connect(redis_url, Keys(prefix.rstrip("."))) as redis:
        running = Ingesting(rig, redis, prefix)
        await ensure_topics(rig.servers, running.settings.topics, replication=rig.replication)
        await running.ingest.start()
        try:
            assert await running.ingest.ready(60)
            await running.is_taken_in()
            await rig.move(running.settings.topics.reports.name)
            await running.is_taken_in()
            await running.progresses()
        finally:
            await running.ingest.stop()
