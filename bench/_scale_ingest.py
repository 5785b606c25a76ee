"""The cases of `script/bench scale` about taking events in: one, two and four processes share the partitions.

Each worker is a `tieline controller --role ingest`. A backlog of reports of 50 pools is appended as fast as
Kafka takes it. The rate is measured once all of it lies there, until most of it is taken in: from then on
nobody appends. It is what the processors of this machine allow, and Kafka and Valkey run on the same ones.
So the processor time of a worker for a record is the figure to reckon with on other machines.
"""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple
from urllib.request import urlopen

from aiokafka import AIOKafkaProducer
from aiokafka.partitioner import DefaultPartitioner

from bench._frame import Case
from bench._scale_processes import Child, free_port, processor_s, start
from bench._scale_world import POOLS_EACH, demand, policy_as_yaml, reports
from controller.kafka.topics import ensure_topics
from lab.stack.stack import Stack
from tieline.cloudevents import Encoded, encode
from tieline.events import Event
from tieline.topics import Topic, Topics

WORKERS = (1, 2, 4)
ROUNDS = 60  # 24,000 records of either kind
BATCH_BYTES = 512 * 1024
LOOK_EVERY_S = 0.25
MEASURED_UNTIL = 0.85  # of the backlog: then some partitions are read to their end
LEFT_MIN = 0.3  # of the backlog: what must be left when all of it lies there
SETTLED_WITHIN_S = 60.0
TAKEN_WITHIN_S = 60.0
COUNTER = 'tieline_ingest_total{what="records"} '
TOPICS = Topics()
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
    partitions = sum(
        topic.partitions for topic in (TOPICS.reports, TOPICS.statements, TOPICS.capacity, TOPICS.demand)
    )
    share = f'"partitions": {partitions // number},'.encode()
    for worker in workers:
        await worker.child.until_newest(b'"partitions_assigned"', share, SETTLED_WITHIN_S)
    return workers


def _encoded(events: Iterable[Event]) -> list[Encoded]:
    """Encoded beforehand: what takes the events in works meanwhile."""
    now_ms = time.time_ns() // 1_000_000
    return [encode(event, time_ms=now_ms) for event in events]


async def _append(stack: Stack, topic: Topic, backlog: Sequence[Encoded]) -> None:
    """Appends all records in ready batches, faster than anybody takes them in."""
    partition_of, partitions = DefaultPartitioner(), list(range(topic.partitions))
    async with AIOKafkaProducer(
        bootstrap_servers=stack.kafka_bootstrap, max_batch_size=BATCH_BYTES
    ) as producer:
        open_batches = [producer.create_batch() for _ in partitions]
        full = []
        for key, value, headers in backlog:
            partition = partition_of(key, partitions, partitions)
            record = {"timestamp": None, "key": key, "value": value, "headers": headers}
            if open_batches[partition].append(**record) is None:
                full.append((partition, open_batches[partition]))
                open_batches[partition] = producer.create_batch()
                open_batches[partition].append(**record)
        batches = [*full, *enumerate(open_batches)]
        sent = [
            await producer.send_batch(batch, topic.name, partition=partition) for partition, batch in batches
        ]
        await asyncio.gather(*sent)


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


async def _measured(number: int, topic: Topic, events: Iterable[Event]) -> tuple[Reading, Reading]:
    """The first and the last reading while that many workers take in these events and nobody adds to them."""
    async with AsyncExitStack() as undo:
        stack = await undo.enter_async_context(await Stack.start())
        await ensure_topics(stack.kafka_bootstrap, TOPICS)
        workers = await _started(undo, stack, number)
        backlog = _encoded(events)
        await _append(stack, topic, backlog)
        first: Reading | None = None
        async with asyncio.timeout(TAKEN_WITHIN_S):
            async for reading in _readings(stack, workers):
                first = first or reading
                if reading.records >= MEASURED_UNTIL * len(backlog):
                    break
        if first is None or first.records > (1 - LEFT_MIN) * len(backlog):
            raise RuntimeError(
                "Kafka took the backlog no faster than the workers did: the machine is too busy"
            )
        return first, reading


def _cases(name: str, first: Reading, last: Reading, *, promised: bool) -> Iterator[Case]:
    records = last.records - first.records
    rate = records / (last.at_s - first.at_s)
    yield Case(name, "records/s", [rate], {"p50": RECORDS_PER_S} if promised else {}, at_least=True)
    yield Case(f"{name}, processor", "us/record", [(last.workers_s - first.workers_s) / records * 1e6])
    yield Case(f"{name}, Kafka's", "us/record", [(last.kafka_s - first.kafka_s) / records * 1e6])
    yield Case(f"{name}, Valkey's", "us/record", [(last.valkey_s - first.valkey_s) / records * 1e6])


def ingest_cases(workers: Sequence[int] = WORKERS) -> Iterator[Case]:
    """For each number of workers: records/s and observations/s of all of them, and the processor time that a
    record takes. Then the same for the reports of 400 clients in one worker."""
    for number in workers:
        name = f"ingest, {number} worker{'s' if number > 1 else ''}"
        first, last = asyncio.run(_measured(number, TOPICS.reports, reports(ROUNDS)))
        rate, *others = _cases(name, first, last, promised=number == 1)
        observations = {"p50": OBSERVATIONS_PER_S} if number == 1 else {}
        yield rate
        yield Case(name, "observations/s", [rate.samples[0] * POOLS_EACH], observations, at_least=True)
        yield from others
    first, last = asyncio.run(_measured(1, TOPICS.demand, demand(ROUNDS)))
    yield from _cases("ingest of clients' reports, 1 worker", first, last, promised=False)
