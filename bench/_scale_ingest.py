"""The cases of `script/bench scale` about taking events in: one, two and four processes share the partitions.

Each worker is a `tieline controller --role ingest`. A backlog of reports of 50 pools is appended as fast as
Kafka takes it. The rate is measured once all of it lies there, until most of it is taken in: from then on
nobody appends. It is what the processors of this machine allow, and Kafka and Valkey run on the same ones.
So the processor time of a worker for a record is the figure to reckon with on other machines.
"""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple
from urllib.request import urlopen

from aiokafka import AIOKafkaProducer

from bench._frame import Case
from bench._scale_processes import Child, free_port, processor_s, start
from bench._scale_world import POOLS_EACH, policy_as_yaml, reports
from controller.kafka.topics import ensure_topics
from lab.stack.stack import Stack
from tieline.cloudevents import Encoded, encode
from tieline.topics import Topics

WORKERS = (1, 2, 4)
ROUNDS = 60  # 24,000 records
BATCH_BYTES = 512 * 1024
LOOK_EVERY_S = 0.25
MEASURED_UNTIL = 0.85  # of the backlog: then some partitions are read to their end
LEFT_MIN = 0.3  # of the backlog: what must be left when all of it lies there
SETTLED_WITHIN_S = 60.0
TAKEN_WITHIN_S = 60.0
COUNTER = 'tieline_ingest_total{what="records"} '
RECORDS_PER_S, OBSERVATIONS_PER_S = 2_000.0, 100_000.0  # promised for a worker


class Worker(NamedTuple):
    """A process that takes events in. ``monitor``: where it tells its figures."""

    child: Child
    monitor: str

    @property
    def processor_s(self) -> float:
        """How long it has worked."""
        return processor_s(self.child.process.pid)

    async def records(self) -> int:
        """How many records it has taken in."""
        text = await asyncio.to_thread(_read, f"http://{self.monitor}/metrics")
        return sum(round(float(line.removeprefix(COUNTER))) for line in text.splitlines() if COUNTER in line)


class Reading(NamedTuple):
    """At a moment: records taken in by all workers, and the seconds that each kind of process has worked."""

    at_s: float
    records: int
    workers_s: float
    kafka_s: float
    valkey_s: float


def _read(url: str) -> str:
    with urlopen(url, timeout=10) as answer:
        return str(answer.read(), "utf-8")


async def _started(undo: AsyncExitStack, stack: Stack, number: int) -> list[Worker]:
    """That many workers, once each has its share of the partitions."""
    directory = Path(undo.enter_context(tempfile.TemporaryDirectory()))
    policy = directory / "policy.yaml"
    policy.write_text(policy_as_yaml())
    places = ("--kafka", stack.kafka_bootstrap, "--redis", stack.redis_url, "--policy", str(policy))
    workers = []
    for index in range(number):
        monitor = f"127.0.0.1:{free_port()}"
        words = ("controller", *places, "--role", "ingest", "--monitor", monitor)
        child = await start(undo, directory / f"worker-{index}", "controller.cli", *words)
        workers.append(Worker(child, monitor))
    topics = Topics()
    partitions = sum(
        topic.partitions for topic in (topics.reports, topics.statements, topics.capacity, topics.demand)
    )
    share = f'"partitions": {partitions // number},'.encode()
    for worker in workers:
        await worker.child.until_newest(b'"partitions_assigned"', share, SETTLED_WITHIN_S)
    return workers


def _backlog() -> list[Encoded]:
    """Encoded beforehand, so that it is appended faster than anybody can take it in."""
    now_ms = time.time_ns() // 1_000_000
    return [encode(event, time_ms=now_ms) for event in reports(ROUNDS, now_ms)]


async def _append(stack: Stack, backlog: list[Encoded]) -> None:
    topic = Topics().reports.name
    async with AIOKafkaProducer(
        bootstrap_servers=stack.kafka_bootstrap, linger_ms=10, max_batch_size=BATCH_BYTES
    ) as producer:
        for key, value, headers in backlog:
            await producer.send(topic, value, key=key, headers=headers)
        await producer.flush()


async def _readings(stack: Stack, workers: list[Worker]) -> AsyncIterator[Reading]:
    while True:
        yield Reading(
            time.perf_counter(),
            sum(await asyncio.gather(*[worker.records() for worker in workers])),
            workers_s=sum(worker.processor_s for worker in workers),
            kafka_s=processor_s(stack.kafka.pid),
            valkey_s=processor_s(stack.valkey.pid),
        )
        await asyncio.sleep(LOOK_EVERY_S)


async def _measured(number: int) -> tuple[Reading, Reading]:
    """The first and the last reading while that many workers take in a backlog and nobody adds to it."""
    async with AsyncExitStack() as undo:
        stack = await undo.enter_async_context(await Stack.start())
        topics = Topics()
        await ensure_topics(stack.kafka_bootstrap, topics)
        workers = await _started(undo, stack, number)
        backlog = _backlog()
        await _append(stack, backlog)
        first: Reading | None = None
        async with asyncio.timeout(TAKEN_WITHIN_S):
            async for reading in _readings(stack, workers):
                first = first or reading
                if reading.records >= MEASURED_UNTIL * len(backlog):
                    break
        if first is None or first.records > (1 - LEFT_MIN) * len(backlog):
            raise RuntimeError("the workers kept up with the producer: append a longer backlog")
        return first, reading


def ingest_cases() -> list[Case]:
    """For each number of workers: records/s and observations/s of all of them, and the processor time that a
    record takes."""
    cases = []
    for number in WORKERS:
        first, last = asyncio.run(_measured(number))
        records = last.records - first.records
        rate = records / (last.at_s - first.at_s)
        name = f"ingest, {number} worker{'s' if number > 1 else ''}"
        promised = number == 1
        cases += [
            Case(name, "records/s", [rate], {"p50": RECORDS_PER_S} if promised else {}, at_least=True),
            Case(
                name,
                "observations/s",
                [rate * POOLS_EACH],
                {"p50": OBSERVATIONS_PER_S} if promised else {},
                at_least=True,
            ),
            Case(f"{name}, processor", "us/record", [(last.workers_s - first.workers_s) / records * 1e6]),
            Case(f"{name}, Kafka's", "us/record", [(last.kafka_s - first.kafka_s) / records * 1e6]),
            Case(f"{name}, Valkey's", "us/record", [(last.valkey_s - first.valkey_s) / records * 1e6]),
        ]
    return cases
