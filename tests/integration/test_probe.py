"""The prober against real stand-ins and a real Kafka."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

from aiokafka import AIOKafkaConsumer

from controller.kafka.topics import ensure_topics
from controller.probe.prober import Pace, Prober
from controller.probe.request import Target
from lab.standins.config import Latency, PoolConfig, StandinConfig
from lab.standins.process import StandinProcess
from tieline.cloudevents import decode
from tieline.events import PoolObservation, Report
from tieline.producer import Producer
from tieline.topics import Topics

PACE = Pace(interval_ms=300, timeout_ms=600)


class Reports:
    """Reads the reports topic as it grows."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer
        self.seen: list[Report] = []

    async def until(self, fits: Callable[[PoolObservation], bool], within_s: float = 15) -> PoolObservation:
        async with asyncio.timeout(within_s):
            while True:
                record = await self._consumer.getone()
                event = decode(record.headers, record.value, record.key)
                assert isinstance(event, Report)
                self.seen.append(event)
                for row in event.pools:
                    if fits(row):
                        return row


@asynccontextmanager
async def probing(
    bootstrap: str, prefix: str, directory: Path
) -> AsyncIterator[tuple[StandinProcess, Reports]]:
    """One stand-in process with two pools, a prober on both, and its reports."""
    topics = Topics(prefix)
    await ensure_topics(bootstrap, topics)
    pools = tuple(
        PoolConfig(name, ("m",), 10_000, latency=Latency(first_token_ms=5, token_ms=1)) for name in ("a", "b")
    )
    config = StandinConfig("azure", "eastus", pools, log_dir=str(directory))
    consumer = AIOKafkaConsumer(
        topics.reports.name, bootstrap_servers=bootstrap, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        async with (
            await StandinProcess.spawn(config) as standin,
            Producer(bootstrap, source="prober", prefix=prefix) as producer,
        ):
            targets = {pool: [Target(pool, standin.url(pool), "openai", "m")] for pool in standin.ports}
            prober = Prober(targets, producer, PACE, monotonic_ms=lambda: time.monotonic_ns() // 1_000_000)
            running = asyncio.create_task(prober.run())
            try:
                yield standin, Reports(consumer)
            finally:
                running.cancel()
                with suppress(asyncio.CancelledError):
                    await running
    finally:
        await consumer.stop()


async def test_both_pools_of_a_region_are_reported_in_one_record(
    kafka_bootstrap: str, prefix: str, tmp_path: Path
) -> None:
    """Successes with their latency, one record a round, sequences rising."""
    async with probing(kafka_bootstrap, prefix, tmp_path) as (_, reports):
        await reports.until(lambda row: row.outcomes.ok > 0)
        row = await reports.until(lambda row: row.outcomes.ok > 0)
    assert row.first_token_p50_ms is not None
    assert row.first_token_p50_ms > 0
    assert all(len(report.pools) == 2 for report in reports.seen)
    sequences = [report.sequence for report in reports.seen]
    assert sequences == sorted(set(sequences))


async def test_a_frozen_pool_shows_before_its_time_out(
    kafka_bootstrap: str, prefix: str, tmp_path: Path
) -> None:
    """SIGSTOP: the age of what is under way is told first, the time-out follows, SIGCONT heals it."""
    async with probing(kafka_bootstrap, prefix, tmp_path) as (standin, reports):
        await reports.until(lambda row: row.outcomes.ok > 0)
        os.kill(standin.pid, signal.SIGSTOP)
        row = await reports.until(lambda row: row.oldest_in_flight_ms > 150)
        assert row.outcomes.timeout == 0
        await reports.until(lambda row: row.outcomes.timeout > 0)
        assert max(row.in_flight for report in reports.seen for row in report.pools) <= 2
        os.kill(standin.pid, signal.SIGCONT)
        await reports.until(lambda row: row.outcomes.ok > 0)


async def test_a_killed_pool_is_reported_as_unreachable_at_once(
    kafka_bootstrap: str, prefix: str, tmp_path: Path
) -> None:
    """SIGKILL: the next round says connect, without waiting for any time-out."""
    async with probing(kafka_bootstrap, prefix, tmp_path) as (standin, reports):
        await reports.until(lambda row: row.outcomes.ok > 0)
        os.kill(standin.pid, signal.SIGKILL)
        row = await reports.until(lambda row: row.outcomes.connect > 0, within_s=5)
        assert row.outcomes.timeout == 0


def counted(name: str, row: PoolObservation) -> bool:
    """Whether the row counts an outcome of this class."""
    return int(getattr(row.outcomes, name)) > 0


async def test_faults_are_told_by_their_class(kafka_bootstrap: str, prefix: str, tmp_path: Path) -> None:
    """A 503 is the server's, a 401 a configuration fault, a stream that breaks a cut."""
    async with probing(kafka_bootstrap, prefix, tmp_path) as (standin, reports):
        for kind, name, more in (
            ("503", "server_error", {}),
            ("401", "auth", {}),
            ("cut", "cut", {"after_chunks": 1}),
            ("end_without_done", "cut", {"after_chunks": 1}),
        ):
            number = await standin.fault(kind, **more)
            await reports.until(partial(counted, name))
            await standin.clear(fault_id=number)
