"""How many records a second one worker takes from Kafka into Redis, and how long one record takes when idle.

Throughput: a backlog of reports of 50 pools from 40 sources is appended, then one ingest reads it, counted
every tenth of a second, in a process set up as a controller's is. Latency: one report at a time, from the
moment of sending to the material hint heard by another Redis connection.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator

import uvloop
from aiokafka import AIOKafkaProducer
from redis.asyncio import Redis

from bench._frame import Case, run
from controller.kafka.topics import ensure_topics
from controller.process.supervise import collect_seldom
from lab.stack.stack import Stack
from streams.app import Ingest, IngestSettings
from streams.tables import RedisTables
from tieline.cloudevents import encode
from tieline.events import Outcomes, PoolObservation, Report
from tieline.registration import Registry, SourceRule

POOLS = 50
REGIONS = tuple(f"r{number}" for number in range(8))
SOURCES = tuple(f"probe-{number}" for number in range(5))
BACKLOG = 20_000
SENT_AT_ONCE = 500
IDLE_SAMPLES = 500
READY_WITHIN_S = 60.0
PROMISED_US = 500.0  # a record: at least 2,000 records/s
KNOWN = Registry(
    frozenset({"azure"}),
    dict.fromkeys(SOURCES, SourceRule("probe")),
    frozenset(f"azure/{region}/p{number}" for region in REGIONS for number in range(POOLS)),
)


def now_ms() -> int:
    """The wall clock."""
    return time.time_ns() // 1_000_000


def report(sequence: int, *, failing: bool = False) -> Report:
    """A minute's report of 50 pools, spread over sources and regions."""
    region, source = REGIONS[sequence % 8], SOURCES[sequence // 8 % 5]
    outcomes = Outcomes(ok=1_000, timeout=1 if failing else 0)
    seen = tuple(
        PoolObservation(f"azure/{region}/p{number}", outcomes, 5e4, 180.0, 900.0, 21.0, 7, 1_500)
        for number in range(POOLS)
    )
    end_ms = now_ms()
    return Report(source, "azure", region, "one", sequence, end_ms - 1_000, end_ms, 60_000, seen)


class Bench:
    """One installation on a stack of its own."""

    def __init__(self, stack: Stack, name: str) -> None:
        self.settings = IngestSettings(stack.kafka_bootstrap, name)
        self.redis = Redis.from_url(stack.redis_url)
        self.producer = AIOKafkaProducer(
            bootstrap_servers=stack.kafka_bootstrap, acks="all", enable_idempotence=True
        )
        self.ingest = self.new_ingest()

    def new_ingest(self) -> Ingest:
        """One that has nothing in memory."""
        return Ingest(self.settings, KNOWN, RedisTables(self.redis, self.settings.keys), now_ms)

    async def start(self) -> None:
        """Topics and producer; ingest is the measurement's to start."""
        await ensure_topics(self.settings.bootstrap, self.settings.topics)
        await self.producer.start()
        # Tables that are empty would be rebuilt from the backlog, and nothing be left to measure.
        await self.ingest.start()
        if not await self.ingest.ready(READY_WITHIN_S):
            raise RuntimeError("ingest did not become ready")
        await self.ingest.stop()

    async def stop(self) -> None:
        """Everything."""
        await self.ingest.stop()
        await self.producer.stop()
        await self.redis.aclose()

    async def send(self, event: Report) -> asyncio.Future[object]:
        """One report on its way; the future is Kafka's acknowledgement."""
        key, value, headers = encode(event, time_ms=now_ms())
        sent: asyncio.Future[object] = await self.producer.send(
            self.settings.topics.reports.name, value, key=key, headers=headers
        )
        return sent

    async def per_record_us(self) -> list[float]:
        """Time a record of a backlog, one sample for every tenth of a second."""
        for start in range(0, BACKLOG, SENT_AT_ONCE):
            await asyncio.gather(*[await self.send(report(start + n)) for n in range(SENT_AT_ONCE)])
        self.ingest = self.new_ingest()
        await self.ingest.start()
        samples: list[float] = []
        handled, at = 0, time.perf_counter()
        while handled < BACKLOG:
            await asyncio.sleep(0.1)
            more, now = self.ingest.counts.get("records", 0), time.perf_counter()
            if BACKLOG > more > handled > 0:
                samples.append((now - at) / (more - handled) * 1e6)
            handled, at = more, now
        return samples

    async def idle_ms(self) -> list[float]:
        """From sending to the hint."""
        samples = []
        async with self.redis.pubsub() as hints:
            await hints.subscribe(self.settings.keys.tables_hint)
            await hints.get_message(timeout=5)
            for number in range(IDLE_SAMPLES):
                began = time.perf_counter()
                await self.send(report(BACKLOG + number, failing=True))
                while await hints.get_message(ignore_subscribe_messages=True, timeout=5) is None:
                    pass
                samples.append((time.perf_counter() - began) * 1e3)
                await asyncio.sleep(0.005)
        return samples


async def cases() -> list[Case]:
    """Both, on one stack."""
    async with await Stack.start() as stack:
        bench = Bench(stack, "bench")
        await bench.start()
        try:
            backlog = await bench.per_record_us()
            idle = await bench.idle_ms()
        finally:
            await bench.stop()
    return [
        Case("backlog, 50 pools, a record", "us", backlog, {"p50": PROMISED_US}),
        Case("idle, send -> hint", "ms", idle),
    ]


def measure() -> Iterator[Case]:
    """The cases of this benchmark."""
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    collect_seldom()
    yield from asyncio.run(cases())


if __name__ == "__main__":
    sys.exit(run("ingest", measure))
