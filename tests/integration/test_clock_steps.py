"""Clocks that are set while reports arrive: ours, and those of brokers. No report is lost to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from streams.app import Ingest
from streams.tables import RedisTables
from tests.integration.ingesting import REGISTRY, STAMPED_BY_PRODUCERS, Lab, lab, now_ms, report
from tests.waiting import until


class OurClock:
    """The wall clock of the process, which a test may set."""

    ahead_ms = 0

    def __call__(self) -> int:
        return now_ms() + self.ahead_ms


@asynccontextmanager
async def ingesting(it: Lab, clock: OurClock) -> AsyncIterator[Ingest]:
    """One ingesting part with that clock."""
    ingest = Ingest(it.settings, REGISTRY, RedisTables(it.redis, it.settings.keys), clock)
    await ingest.start()
    try:
        assert await ingest.ready(60)
        yield ingest
    finally:
        await ingest.stop()


async def taken(it: Lab, sequence: int, *, partition: int = 0, broker_ahead_ms: int = 0) -> None:
    """A report that is stale after 15 s comes through; its broker's clock is ahead by that much."""
    region = f"r{partition}"
    event = report(sequence, region=region, interval_ms=1_000)
    key, value, headers = it.encoded(event)
    await it.producer.send_and_wait(
        it.topic_of(event),
        value,
        key=key,
        headers=headers,
        partition=partition,
        timestamp_ms=event.window_end_ms + broker_ahead_ms,
    )

    async def there() -> bool:
        return (await it.sequences()).get(("probe-0", region)) == sequence

    await until(there, what=f"report {sequence} of {region}")


async def test_a_step_of_our_clock_loses_no_report(kafka_bootstrap: str, redis_url: str, prefix: str) -> None:
    """A minute back and right again, then a minute ahead and right again: each report is taken."""
    clock = OurClock()
    async with lab(kafka_bootstrap, redis_url, prefix) as it, ingesting(it, clock) as ingest:
        for sequence, ahead_ms in enumerate((0, -60_000, 0, 60_000, 0), start=1):
            clock.ahead_ms = ahead_ms
            await taken(it, sequence)
        assert "stale" not in ingest.counts


async def test_a_step_of_a_brokers_clock_loses_no_report(
    kafka_bootstrap: str, redis_url: str, prefix: str
) -> None:
    """Half a minute ahead and right again; while one broker's clock stays ahead, others count by theirs."""
    async with (
        lab(kafka_bootstrap, redis_url, prefix, changes=STAMPED_BY_PRODUCERS) as it,
        ingesting(it, OurClock()) as ingest,
    ):
        for sequence, ahead_ms in enumerate((0, 30_000, 30_000, 0, 0), start=1):
            await taken(it, sequence, broker_ahead_ms=ahead_ms)
        await taken(it, 1, partition=1, broker_ahead_ms=30_000)
        await taken(it, 6)
        await taken(it, 1, partition=2)
        assert "stale" not in ingest.counts


async def test_reports_that_are_skipped_are_told(kafka_bootstrap: str, redis_url: str, prefix: str) -> None:
    """The share of them stands in the progress rows, for the alarm."""
    async with (
        lab(kafka_bootstrap, redis_url, prefix, changes=STAMPED_BY_PRODUCERS) as it,
        ingesting(it, OurClock()) as ingest,
    ):
        await taken(it, 1)
        topic = it.settings.topics.reports.name
        for sequence in range(2, 22):
            event = report(sequence, interval_ms=1_000)
            key, value, headers = it.encoded(event)
            old_ms = event.window_end_ms - 60_000
            await it.producer.send(topic, value, key=key, headers=headers, partition=0, timestamp_ms=old_ms)
        newest = report(22, interval_ms=1_000)
        key, value, headers = it.encoded(newest)
        await it.producer.send_and_wait(
            topic, value, key=key, headers=headers, partition=0, timestamp_ms=newest.window_end_ms
        )

        async def most_are_stale() -> bool:
            return any(row.stale_share > 0.5 for row in (await it.tables.read()).progress)

        await until(most_are_stale, what="the share in the progress rows")
        await until(lambda: ingest.counts["stale"] >= 19, what="the count of them")
