"""One installation of ingest for a test: topics of its own, a producer, the tables, readers of both ends."""

from __future__ import annotations

import asyncio
import time
import types
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaProducer, ConsumerRecord, TopicPartition
from redis.asyncio import Redis

from streams.app import Ingest, IngestSettings
from streams.tables import RedisTables
from tests.integration.replicated import create_topics
from tieline.cloudevents import encode
from tieline.events import (
    Capacity,
    Claim,
    Demand,
    Event,
    Flow,
    Outcomes,
    PoolCapacity,
    PoolObservation,
    Report,
    Statement,
)
from tieline.kafka import Brokers, brokers_of
from tieline.redis_client import connect
from tieline.registration import Registry, SourceRule
from tieline.topics import Topics

REGIONS = tuple(f"r{number}" for number in range(8))
# As ``changes`` of a lab: the time of a report is its producer's, so that it can lie in the past.
STAMPED_BY_PRODUCERS = {"reports": {"message.timestamp.type": "CreateTime"}}
REGISTRY = Registry(
    frozenset({"azure"}),
    dict.fromkeys([*(f"probe-{number}" for number in range(10)), "status-1", "fleet-1"], SourceRule()),
    frozenset(f"azure/{region}/p{number}" for region in REGIONS for number in range(50)),
)


def now_ms() -> int:
    """The wall clock."""
    return time.time_ns() // 1_000_000


def report(
    sequence: int, *, source: str = "probe-0", region: str = "r0", pools: int = 1, ok: int = 1, **fields: Any
) -> Report:
    """A report of the second that ends now; it counts for 15 min."""
    end_ms = now_ms()
    observations = tuple(
        PoolObservation(f"azure/{region}/p{number}", Outcomes(ok=ok)) for number in range(pools)
    )
    values = {"incarnation": "one", "interval_ms": 900_000, **fields}
    return Report(
        source=source,
        provider="azure",
        region=region,
        sequence=sequence,
        window_start_ms=end_ms - 1_000,
        window_end_ms=end_ms,
        pools=observations,
        **values,
    )


def statement(claim: Claim) -> Statement:
    """A status page's view of one region, with one claim."""
    return Statement(
        source="status-1",
        provider="azure",
        region="r0",
        kind="status",
        incarnation="one",
        sequence=1,
        issued_ms=now_ms(),
        claims=(claim,),
    )


def capacity(limit: PoolCapacity) -> Capacity:
    """The limit of one pool for a minute."""
    at_ms = now_ms()
    return Capacity(
        source="fleet-1",
        provider="azure",
        region="r0",
        incarnation="one",
        sequence=1,
        issued_ms=at_ms,
        expires_ms=at_ms + 60_000,
        pools=(limit,),
    )


def demand(*observations: PoolObservation) -> Demand:
    """A client's report of the second that ends now: nine requests of chat from the EU, 90 units."""
    end_ms = now_ms()
    return Demand(
        client="app-1",
        incarnation="one",
        sequence=1,
        window_start_ms=end_ms - 1_000,
        window_end_ms=end_ms,
        interval_ms=1_000,
        flows=(Flow("chat", "eu", requests=9, offered_units=90.0),),
        pools=observations,
    )


@dataclass
class Lab:
    """Everything a test needs; ``ingest()`` may be entered several times, as several processes."""

    settings: IngestSettings
    redis: Redis
    tables: RedisTables
    producer: AIOKafkaProducer

    @asynccontextmanager
    async def ingest(
        self, *, registry: Registry = REGISTRY, ready_within_s: float = 40.0, **options: Any
    ) -> AsyncIterator[Ingest]:
        """A running ingest; stopped at the end, whatever happens."""
        tables = RedisTables(self.redis, self.settings.keys)
        running = Ingest(self.settings, registry, tables, now_ms, **options)
        await running.start()
        try:
            if ready_within_s:
                assert await running.ready(ready_within_s), "ingest did not become ready"
            yield running
        finally:
            await running.stop()

    async def send(self, *events: Event) -> None:
        """Appends events to their topics, all acknowledged by Kafka when this returns."""
        await self.deliver([(self.topic_of(event), *self.encoded(event)) for event in events])

    async def send_stamped(self, event: Event, stamped_ms: int) -> None:
        """Appends one event with this time; the lab was made with ``STAMPED_BY_PRODUCERS``."""
        key, value, headers = self.encoded(event)
        await self.producer.send_and_wait(
            self.topic_of(event), value, key=key, headers=headers, timestamp_ms=stamped_ms
        )

    async def deliver(self, records: Iterable[tuple[str, bytes | None, bytes | None, Any]]) -> None:
        """Appends (topic, key, value, headers), all acknowledged by Kafka when this returns."""
        waiting = [
            await self.producer.send(topic, value, key=key, headers=headers)
            for topic, key, value, headers in records
        ]
        await asyncio.gather(*waiting)

    def encoded(self, event: Event) -> tuple[bytes, bytes, list[tuple[str, bytes]]]:
        """Key, value and headers."""
        return encode(event, time_ms=now_ms())

    def topic_of(self, event: Event) -> str:
        """The topic on which an event belongs."""
        topics = self.settings.topics
        kind = type(event).__name__
        return {
            "Report": topics.reports,
            "Statement": topics.statements,
            "Capacity": topics.capacity,
            "Demand": topics.demand,
        }[kind].name

    async def dead_letters(self) -> list[ConsumerRecord]:
        """Everything on the dead-letter topic."""
        return await read_all(self.settings.bootstrap, self.settings.topics.deadletter.name)

    async def sequences(self) -> dict[tuple[str, str], int]:
        """(source, region) -> sequence of each report in the tables."""
        contents = await self.tables.read()
        return {(row.event.source, row.event.region): row.event.sequence for row in contents.reports}


@asynccontextmanager
async def lab(
    bootstrap: str,
    redis_url: str,
    prefix: str,
    *,
    changes: Mapping[str, Mapping[str, str]] = types.MappingProxyType({}),
    **settings: Any,
) -> AsyncIterator[Lab]:
    """A fresh installation under ``prefix``. ``changes``: other settings than usual, by topic."""
    chosen = IngestSettings(bootstrap, prefix, **settings)
    topics = Topics(chosen.namespace)
    for name, change in changes.items():
        getattr(topics, name).config.update(change)
    await create_topics(bootstrap, topics)
    redis = connect(redis_url, chosen.keys)
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap, acks="all", enable_idempotence=True, max_request_size=1_040_000
    )
    await producer.start()
    try:
        yield Lab(chosen, redis, RedisTables(redis, chosen.keys), producer)
    finally:
        await producer.stop()
        await redis.aclose()


async def read_all(bootstrap: str | Brokers, topic: str) -> list[ConsumerRecord]:
    """Every record of a topic of one partition, from its first to its end as it is now."""
    place = TopicPartition(topic, 0)
    consumer = brokers_of(bootstrap).consumer(
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=8 * 1024 * 1024,
    )
    await consumer.start()
    try:
        consumer.assign([place])
        end = (await consumer.end_offsets([place]))[place]
        await consumer.seek_to_beginning(place)
        found: list[ConsumerRecord] = []
        while await consumer.position(place) < end:
            fetched = await consumer.getmany(place, timeout_ms=1_000)
            found += [record for records in fetched.values() for record in records]
        return found
    finally:
        await consumer.stop()
