"""Connections to Kafka whose owner is cancelled at any moment of their life leave nothing open."""

from __future__ import annotations

import asyncio
import gc
import warnings
from collections.abc import Awaitable, Callable

import pytest
from aiokafka import TopicPartition

from controller.kafka.ordered_log import start_producer
from streams.every_record import close_reader, log_reader, open_reader
from streams.producers import stop_producer
from tests.integration.replicated import create_topics
from tieline._sending.connection import KafkaConnection
from tieline._sending.reading import reader
from tieline.cancelling import end_all
from tieline.topics import TABLE_TOPIC_MAX_BYTES, Topics

TURNS_MAX = 1_000  # of the event loop; a connection needs some tens

Life = Callable[[str, str], Awaitable[None]]


async def sends(bootstrap: str, _topic: str) -> None:
    """The connection of a client's producer."""
    connection = KafkaConnection(bootstrap, linger_ms=0)
    connection.start()
    try:
        await connection.producer()
    finally:
        await connection.stop()


async def reads(bootstrap: str, topic: str) -> None:
    """A client's look at a topic."""
    partition = TopicPartition(topic, 0)
    async with reader(bootstrap, TABLE_TOPIC_MAX_BYTES) as consumer:
        consumer.assign([partition])
        await consumer.beginning_offsets([partition])
        await consumer.getmany(partition, timeout_ms=1)


async def appends(bootstrap: str, _topic: str) -> None:
    """The producer of a controller's log."""
    await stop_producer(await start_producer(bootstrap))


async def follows(bootstrap: str, topic: str) -> None:
    """The reader of a controller's log."""
    partition = TopicPartition(topic, 0)
    consumer = log_reader(bootstrap, auto_offset_reset="earliest")
    await open_reader(consumer)
    try:
        consumer.assign([partition])
        await consumer.getmany(partition, timeout_ms=1)
    finally:
        await close_reader(consumer)


async def cancelled_after(turns: int, life: Awaitable[None]) -> bool:
    """Cancels it after so many turns of the loop; whether it had ended by then."""
    task = asyncio.ensure_future(life)
    for _ in range(turns):
        await asyncio.sleep(0)
    ended = task.done()
    await end_all([task])
    return ended


@pytest.mark.parametrize("life", [sends, reads, appends, follows])
async def test_nothing_stays_open_whenever_it_is_cancelled(
    life: Life, kafka_bootstrap: str, prefix: str
) -> None:
    """After each turn of the event loop in which it connects, works and closes."""
    topics = Topics(prefix)
    await create_topics(kafka_bootstrap, topics)
    with warnings.catch_warnings(record=True) as leaks:
        warnings.simplefilter("always", ResourceWarning)
        for turns in range(TURNS_MAX):
            ended = await cancelled_after(turns, life(kafka_bootstrap, topics.routes.name))
            assert not leaks, (turns, leaks[0].message)
            if ended:
                break
        gc.collect()
    assert ended
    assert not leaks, leaks[0].message
