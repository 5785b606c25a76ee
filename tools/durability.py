"""Whether Kafka keeps what it acknowledged: records are sent while it is killed, and counted afterwards."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError

KILL_AFTER_RECORDS = 500
IN_FLIGHT_MAX = 50
BACK_WITHIN_S = 120.0
RETRY_AFTER_S = 0.5


async def count_survivors(
    bootstrap: str, kill: Callable[[], None], start: Callable[[], None]
) -> tuple[int, int]:
    """Returns how many records Kafka acknowledged, and how many of these can be read afterwards.

    ``kill`` and ``start`` kill the broker at ``bootstrap`` and start it again. Raises TimeoutError if it
    isn't back within two minutes.
    """
    topic = f"drill-{uuid.uuid4().hex[:8]}"
    await _create(bootstrap, topic)
    acknowledged = await _send_until_killed(bootstrap, topic, kill)
    await asyncio.to_thread(start)
    bodies = await _read_when_back(bootstrap, topic)
    return len(acknowledged), len(acknowledged & bodies)


async def _create(bootstrap: str, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)])
    finally:
        await admin.close()


async def _send_until_killed(bootstrap: str, topic: str, kill: Callable[[], None]) -> set[bytes]:
    """Sends without a pause, and kills the broker in the middle of it. Returns what was acknowledged."""
    acknowledged: set[bytes] = set()
    enough = asyncio.Event()
    room = asyncio.Semaphore(IN_FLIGHT_MAX)
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", request_timeout_ms=3_000)
    await producer.start()

    async def send(body: bytes) -> None:
        async with room:
            try:
                await producer.send_and_wait(topic, body)
            except KafkaError:
                return  # Kafka promises nothing of a record that it has not acknowledged
            acknowledged.add(body)
            if len(acknowledged) == KILL_AFTER_RECORDS:
                enough.set()

    sending = [asyncio.create_task(send(str(number).encode())) for number in range(10 * KILL_AFTER_RECORDS)]
    await enough.wait()
    await asyncio.to_thread(kill)
    await asyncio.wait(sending, timeout=5)
    for task in sending:
        task.cancel()
    await asyncio.gather(*sending, return_exceptions=True)
    try:
        await asyncio.wait_for(producer.stop(), 2)
    except (KafkaError, TimeoutError):
        await producer.client.close()
    return acknowledged


async def _read_when_back(bootstrap: str, topic: str) -> set[bytes]:
    async with asyncio.timeout(BACK_WITHIN_S):
        while True:
            try:
                return await _read(bootstrap, topic)
            except (KafkaError, OSError):
                await asyncio.sleep(RETRY_AFTER_S)


async def _read(bootstrap: str, topic: str) -> set[bytes]:
    place = TopicPartition(topic, 0)
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    try:
        await consumer.start()
        consumer.assign([place])
        end = (await consumer.end_offsets([place]))[place]
        bodies: set[bytes] = set()
        while await consumer.position(place) < end:
            batches = await consumer.getmany(place, timeout_ms=1_000)
            bodies |= {record.value for records in batches.values() for record in records}
        return bodies
    finally:
        await consumer.stop()
