"""Nothing is lost when the ingesting process, Redis or Kafka goes away in mid-stream."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress

from aiokafka.errors import KafkaError
from redis.exceptions import RedisError

from streams.app import Ingest
from streams.store import Write
from streams.tables import RedisTables
from tests.integration.ingesting import REGIONS, REGISTRY, Lab, lab, now_ms, report
from tests.places import ROOT
from tests.stacks import RealStack
from tests.waiting import until

SOURCES = tuple(f"probe-{number}" for number in range(10))


class Load:
    """A steady stream: reports of 80 (source, region), one record in ten of them poison instead."""

    def __init__(self, it: Lab) -> None:
        self._it = it
        self.newest: dict[tuple[str, str], int] = {}
        self.poison: set[str] = set()
        self.sent = 0
        self.still = asyncio.Lock()  # whoever holds it keeps the load still

    async def run(self) -> None:
        """Sends one after the other until cancelled; Kafka's acknowledgements set the pace."""
        while True:
            async with self.still:
                await self.send_one()

    async def send_one(self) -> None:
        """The next record, acknowledged by Kafka."""
        number = self.sent
        self.sent += 1
        if number % 10 == 9:
            name = f"poison-{number}"
            topic = self._it.settings.topics.reports.name
            await self._it.deliver([(topic, name.encode(), b"rubbish", [])])
            self.poison.add(name)
            return
        source, region = SOURCES[number // 8 % 10], REGIONS[number % 8]
        await self._it.send(report(number, source=source, region=region))
        self.newest[source, region] = number

    async def all_safe(self) -> bool:
        """Whether the tables hold each source's newest report and the dead letters every poison."""
        try:
            if await self._it.sequences() != self.newest:
                return False
        except RedisError:  # a connection from before Redis went away
            return False
        return {letter.key.decode() for letter in await self._it.dead_letters()} == self.poison


@asynccontextmanager
async def child(it: Lab, redis_url: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """An ingesting process that is ready; killed at the end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.integration.ingest_child",
        str(it.settings.bootstrap),
        redis_url,
        it.settings.namespace,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    try:
        while line := await process.stdout.readline():
            if line.strip() == b"ready":
                break
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def some_more(load: Load, count: int) -> None:
    """That many more records were sent."""
    reached = load.sent + count
    await until(lambda: load.sent >= reached, what="some load")


async def away(seconds: float) -> None:
    """A part has been gone for that long."""
    back_at = time.monotonic() + seconds
    await until(lambda: time.monotonic() >= back_at, within_s=seconds + 5, what="the end of the absence")


@asynccontextmanager
async def under_load(it: Lab) -> AsyncIterator[Load]:
    """A load that runs meanwhile and has stopped afterwards."""
    load = Load(it)
    task = asyncio.create_task(load.run())
    try:
        yield load
    finally:
        async with load.still:  # or a record may be in Kafka and not in the books
            task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_sigkill_in_mid_stream_loses_nothing(kafka_bootstrap: str, redis_url: str, prefix: str) -> None:
    """Killed twice under load; the next process goes on from what was committed, and all is stored."""
    async with lab(kafka_bootstrap, redis_url, prefix) as it, under_load(it) as load:
        for _ in range(2):
            async with child(it, redis_url) as process:
                await some_more(load, 300)
                process.send_signal(signal.SIGKILL)
        async with it.ingest():
            await some_more(load, 100)
            async with load.still:
                await until(load.all_safe, what="everything safe")


async def test_redis_away_for_five_seconds_loses_nothing(own_stack: RealStack, prefix: str) -> None:
    """Valkey stops and comes back empty: events wait for it, the tables are rebuilt, and go on."""
    async with lab(own_stack.kafka_bootstrap, own_stack.redis_url, prefix) as it, it.ingest() as ingest:
        async with under_load(it) as load:
            await until(lambda: load.sent > 300, what="some load")
            await own_stack.valkey.stop()
            away_since = load.sent
            await away(5.0)
            await own_stack.valkey.start()
            assert load.sent > away_since
            await some_more(load, 100)
        await until(load.all_safe, what="everything safe")
        assert ingest.counts["retries"] > 0


async def test_kafka_away_loses_nothing_that_it_acknowledged(own_stack: RealStack, prefix: str) -> None:
    """Kafka stops and comes back: ingest resumes by itself."""
    async with lab(own_stack.kafka_bootstrap, own_stack.redis_url, prefix) as it, it.ingest():
        load = Load(it)
        for _ in range(200):
            await load.send_one()
        await own_stack.kafka.stop()
        await away(3.0)
        await own_stack.kafka.start()
        while load.sent < 400:
            with suppress(KafkaError):
                await load.send_one()
        await until(load.all_safe, what="everything safe")


async def test_kafka_and_redis_may_come_after_ingest(own_stack: RealStack, prefix: str) -> None:
    """Started without either, it waits for both and then reads from the beginning."""
    async with lab(own_stack.kafka_bootstrap, own_stack.redis_url, prefix) as it:
        await it.send(report(1))
        await own_stack.kafka.stop()
        await own_stack.valkey.stop()
        async with it.ingest(ready_within_s=0) as ingest:
            assert not await ingest.ready(1)
            await own_stack.kafka.start()
            await own_stack.valkey.start()
            assert await ingest.ready(60)
            await until(it.sequences, what="the report")


class Faulty(RedisTables):
    """Tables with a fault of ours in them: the first few writes raise what nobody expects."""

    faults_left = 3

    async def put(
        self, writes: Sequence[Write], on_shown: Callable[[], object] = lambda: None, /
    ) -> list[bool]:
        """Raises until the faults are used up."""
        if self.faults_left:
            self.faults_left -= 1
            raise ZeroDivisionError("a fault of ours")
        return await super().put(writes, on_shown)


async def test_a_fault_of_ours_acknowledges_nothing(
    kafka_bootstrap: str, redis_url: str, prefix: str
) -> None:
    """An unexpected error ends the session; the watchdog starts another, which reads the events again."""
    async with lab(kafka_bootstrap, redis_url, prefix) as it:
        ingest = Ingest(it.settings, REGISTRY, Faulty(it.redis, it.settings.keys), now_ms)
        await ingest.start()
        try:
            assert await ingest.ready(60)
            expected = {(source, region): 1 for source in SOURCES for region in REGIONS}
            await it.send(*(report(1, source=source, region=region) for source, region in expected))

            async def all_there() -> bool:
                return await it.sequences() == expected

            await until(all_there, what="every report, after the faults")
        finally:
            await ingest.stop()


async def test_repeated_records_are_dead_lettered_at_least_once_and_stored_once(
    kafka_bootstrap: str, redis_url: str, prefix: str
) -> None:
    """Two ingests one after the other: the second does not read again what the first committed."""
    async with lab(kafka_bootstrap, redis_url, prefix) as it:
        load = Load(it)
        for _ in range(100):
            await load.send_one()
        async with it.ingest() as first:
            await until(load.all_safe, what="everything safe")
            # The rebuild at the start fills the tables: the records themselves may still be on their way.
            await until(lambda: first.counts["records"] >= 100, what="every record was handled")
        letters = [letter.key for letter in await it.dead_letters()]
        async with it.ingest() as second:
            await it.send(report(10**6))
            await until(lambda: second.counts.get("records"), what="a record")
            assert second.counts == {"records": 1}
        assert [letter.key for letter in await it.dead_letters()] == letters
