"""A broker as one finds it: a virtual machine that has just started interprets its code, slower by half."""

import asyncio
import logging

from aiokafka import AIOKafkaConsumer, TopicPartition

from controller.kafka.ordered_log import start_producer
from controller.kafka.topics import ensure_topics
from streams.producers import stop_producer
from tieline.topics import Topics

RECORDS = 3_000
WITHIN_S = 60.0
BODY = b"x" * 1_000


async def warm(kafka: str) -> None:
    """Appends records to topics of another installation and fetches each, one after the other."""
    logging.getLogger("aiokafka").setLevel(
        logging.CRITICAL
    )  # topics just made have no leader yet: it retries
    topics = Topics("warm-up")
    await ensure_topics(kafka, topics)
    topic = topics.routes.name
    producer = await start_producer(kafka)
    consumer: AIOKafkaConsumer = AIOKafkaConsumer(bootstrap_servers=kafka, auto_offset_reset="earliest")
    try:
        await consumer.start()
        consumer.assign([TopicPartition(topic, 0)])
        async with asyncio.timeout(WITHIN_S):
            for _ in range(RECORDS):
                await producer.send_and_wait(topic, BODY, key=b"warm-up")
                await consumer.getone()
    finally:
        await consumer.stop()
        await stop_producer(producer)
