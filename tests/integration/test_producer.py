"""The producer against a real Kafka: acknowledged, bounded in time, back by itself."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer
from msgspec.structs import replace

from controller.kafka.topics import TopicError
from tests.integration.replicated import create_topics
from tests.stacks import RealStack
from tests.waiting import SAFETY_NET_S
from tieline import SyncProducer
from tieline.cloudevents import decode
from tieline.events import Capacity, Event, Outcomes, PoolCapacity, PoolObservation, Report
from tieline.producer import (
    Delivery,
    InvalidEventError,
    KafkaUnavailableError,
    MissingTopicError,
    Producer,
    ProducerClosedError,
)
from tieline.topics import Topics

SOONER_THAN_S = 35.0  # aiokafka alone gives up after 40; on a quiet machine it takes less than 5


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def capacity(sequence: int = 1) -> Capacity:
    now = now_ms()
    pools = (PoolCapacity("azure/eastus/a", 500.0),)
    return Capacity("quota", "azure", "eastus", "inc", sequence, now, now + 60_000, pools)


def report(sequence: int, *, ended_ms: int | None = None) -> Report:
    end = ended_ms or now_ms()
    pools = (PoolObservation("azure/eastus/a", Outcomes(ok=1)),)
    return Report("prober", "azure", "eastus", "inc", sequence, end - 1_000, end, 1_000, pools)


@pytest.fixture
async def topics(kafka_bootstrap: str, prefix: str) -> Topics:
    mine = Topics(prefix)
    await create_topics(kafka_bootstrap, mine)
    return mine


async def written(bootstrap: str, topic: str, count: int) -> list[Event]:
    """The first ``count`` events of a topic."""
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        events: list[Event] = []
        async with asyncio.timeout(60):
            while len(events) < count:
                record = await consumer.getone()
                events.append(decode(record.headers, record.value, record.key))
        return events
    finally:
        await consumer.stop()


async def test_topics_are_created_once_and_checked_ever_after(kafka_bootstrap: str, prefix: str) -> None:
    """A second controller finds what the first created; a topic of another kind is refused by name."""
    created = await create_topics(kafka_bootstrap, Topics(prefix))
    assert created == tuple(topic.name for topic in Topics(prefix).all())
    assert await create_topics(kafka_bootstrap, Topics(prefix)) == ()
    other = Topics(prefix)
    other.reports.config["cleanup.policy"] = "compact"
    with pytest.raises(TopicError, match=rf"Topic {prefix}\.reports has cleanup.policy=delete"):
        await create_topics(kafka_bootstrap, other)


async def test_two_controllers_may_create_the_topics_at_once(kafka_bootstrap: str, prefix: str) -> None:
    """Nobody fails because another was quicker."""
    await asyncio.gather(*(create_topics(kafka_bootstrap, Topics(prefix)) for _ in range(3)))


async def test_a_sent_event_is_acknowledged_and_reads_back_the_same(
    kafka_bootstrap: str, topics: Topics
) -> None:
    """``send`` returns where the record lies, and the record is the event."""
    event = capacity()
    async with Producer(kafka_bootstrap, prefix=topics.prefix) as producer:
        delivery = await producer.send(event)
    assert (delivery.topic, delivery.offset) == (topics.capacity.name, 0)
    assert await written(kafka_bootstrap, topics.capacity.name, 1) == [event]


async def test_observations_become_one_record_a_region(kafka_bootstrap: str, topics: Topics) -> None:
    """Thirty pools of three regions are three records, whatever order they were seen in."""
    async with Producer(kafka_bootstrap, source="prober", prefix=topics.prefix) as producer:
        for number in range(30):
            producer.observe(PoolObservation(f"azure/region{number % 3}/pool{number}", Outcomes(ok=1)))
        assert len(producer.flush(interval_ms=2_000)) == 3
        assert await producer.drain(60)
        assert producer.status.delivered == 3
    events = await written(kafka_bootstrap, topics.reports.name, 3)
    reports = [event for event in events if isinstance(event, Report)]
    assert sorted(len(event.pools) for event in reports) == [10, 10, 10]
    assert {event.incarnation for event in reports} == {producer.incarnation}


async def test_threads_send_through_one_synchronous_producer(
    kafka_bootstrap: str, topics: Topics, tmp_path: Path
) -> None:
    """Each waits for its own acknowledgement; with a spool too, which is empty afterwards."""

    def send_all() -> set[int]:
        with (
            SyncProducer(kafka_bootstrap, prefix=topics.prefix, spool=tmp_path) as producer,
            ThreadPoolExecutor(4) as threads,
        ):
            regions = [replace(capacity(), source=f"quota-{number}") for number in range(20)]
            deliveries = list(threads.map(producer.send, regions))
            assert producer.status.spooled == 0
            return {delivery.timestamp_ms for delivery in deliveries}

    assert await asyncio.to_thread(send_all)
    events = await written(kafka_bootstrap, topics.capacity.name, 20)
    assert len({event.source for event in events if isinstance(event, Capacity)}) == 20


async def test_many_events_are_submitted_without_waiting_for_each(
    kafka_bootstrap: str, topics: Topics
) -> None:
    """And each future is that event's own delivery, in the order of the key."""
    async with Producer(kafka_bootstrap, prefix=topics.prefix) as producer:
        waiting = [await producer.submit(capacity(number)) for number in range(600)]
        deliveries = await asyncio.gather(*waiting)
    assert [delivery.offset for delivery in deliveries] == list(range(600))
    with pytest.raises(ProducerClosedError):
        await producer.submit(capacity())


async def test_a_missing_topic_is_said_within_seconds(kafka_bootstrap: str, prefix: str) -> None:
    """The error names the topic and the remedy; aiokafka alone would wait 40 s."""
    async with Producer(kafka_bootstrap, prefix=prefix) as producer:
        began = time.monotonic()
        with pytest.raises(MissingTopicError, match=rf"no topic {prefix}\.capacity: create it"):
            await producer.send(capacity())
        assert time.monotonic() - began < SOONER_THAN_S


async def test_posted_events_wait_for_a_topic_that_is_created_late(kafka_bootstrap: str, prefix: str) -> None:
    """What was posted before the topic existed is delivered once it does."""
    async with Producer(kafka_bootstrap, prefix=prefix) as producer:
        assert producer.post(capacity())
        await create_topics(kafka_bootstrap, Topics(prefix))
        assert await producer.drain(60)
        assert producer.status.delivered == 1


async def test_without_kafka_nothing_blocks_and_nothing_grows(unused_tcp_port: int, prefix: str) -> None:
    """Sends fail in time, posts are bounded, drops are counted, the end comes quickly."""
    began = time.monotonic()
    producer = Producer(
        f"127.0.0.1:{unused_tcp_port}", prefix=prefix, send_timeout_s=0.5, buffer_events_max=10
    )
    async with producer:
        with pytest.raises(KafkaUnavailableError, match="did not acknowledge in time"):
            await producer.send(capacity())
        assert all(producer.post(report(number)) for number in range(25))
        assert (producer.status.buffered, producer.status.dropped_full) == (10, 15)
        assert not producer.status.connected
        assert "127.0.0.1" in producer.status.error
        await producer.stop(drain_timeout_s=0.1)
    assert time.monotonic() - began < SOONER_THAN_S


async def test_expired_reports_are_never_sent(unused_tcp_port: int, prefix: str) -> None:
    """A report that grew stale in the buffer is dropped and counted."""
    async with Producer(f"127.0.0.1:{unused_tcp_port}", prefix=prefix) as producer:
        assert producer.post(report(1, ended_ms=now_ms() - 60_000))
        assert producer.post(report(2))
        assert (producer.status.buffered, producer.status.dropped_expired) == (1, 1)
        await producer.stop(drain_timeout_s=0)


async def test_events_that_contradict_themselves_never_leave(kafka_bootstrap: str, prefix: str) -> None:
    """The producer names the fault before the broker sees anything."""
    foreign = Report("prober", "gcp", "eastus", "i", 1, now_ms(), now_ms(), 100, report(1).pools)
    async with Producer(kafka_bootstrap, prefix=prefix) as producer:
        with pytest.raises(InvalidEventError, match="azure/eastus/a is not in gcp/eastus"):
            await producer.send(foreign)
        with pytest.raises(InvalidEventError, match="needs a source"):
            producer.observe(PoolObservation("azure/eastus/a"))
    with pytest.raises(ProducerClosedError):
        producer.post(report(1))


async def acknowledged(producer: Producer, event: Event) -> Delivery:
    """Sends an event until brokers that may be busy have acknowledged it."""
    async with asyncio.timeout(SAFETY_NET_S):
        while True:
            try:
                return await producer.send(event)
            except KafkaUnavailableError:
                continue


async def test_a_producer_outlives_its_kafka(own_stack: RealStack, prefix: str) -> None:
    """Kafka killed and back: sends fail in time meanwhile, and go on afterwards without a restart."""
    topics = Topics(prefix)
    await create_topics(own_stack.kafka_bootstrap, topics)
    async with Producer(own_stack.kafka_bootstrap, prefix=prefix, send_timeout_s=3) as producer:
        await acknowledged(producer, capacity(1))
        await own_stack.kafka.kill()
        began = time.monotonic()
        with pytest.raises(KafkaUnavailableError):
            await producer.send(capacity(2))
        assert time.monotonic() - began < SOONER_THAN_S
        assert producer.post(report(1))
        await own_stack.kafka.start()
        assert (await acknowledged(producer, capacity(3))).offset >= 1
