"""The statements that a source made before this process began, from the compacted topic itself."""

import asyncio
from collections.abc import Collection

from aiokafka import TopicPartition
from aiokafka.structs import ConsumerRecord

from streams.every_record import close_reader, log_reader, open_reader
from streams.topic_ids import topic_facts
from tieline.cloudevents import Poison, decode
from tieline.events import Statement
from tieline.kafka import REQUEST_TIMEOUT_MS, Brokers

READ_WITHIN_S = 60.0
POLL_MS = 500


async def statements_of(sources: Collection[str], bootstrap: str | Brokers, topic: str) -> list[Statement]:
    """The newest statement of each of these sources, region and kind. Raises KafkaError, OSError and
    TimeoutError."""
    consumer = log_reader(bootstrap, auto_offset_reset="earliest", request_timeout_ms=REQUEST_TIMEOUT_MS)
    try:
        await open_reader(consumer)
        async with asyncio.timeout(READ_WITHIN_S):
            newest: dict[bytes | None, Statement] = {}
            facts = (await topic_facts(bootstrap, [topic]))[topic]
            partitions = [TopicPartition(topic, number) for number in range(facts.partitions)]
            consumer.assign(partitions)
            ends = await consumer.end_offsets(partitions)
            for partition in partitions:
                await consumer.seek_to_beginning(partition)
                while await consumer.position(partition) < ends[partition]:
                    batches = await consumer.getmany(partition, timeout_ms=POLL_MS)
                    for record in batches.get(partition, ()):
                        if (statement := _statement(record, sources)) is not None:
                            newest[record.key] = statement
            return list(newest.values())
    finally:
        await close_reader(consumer)


def _statement(
    record: "ConsumerRecord[bytes | None, bytes | None]", sources: Collection[str]
) -> Statement | None:
    try:
        event = decode(record.headers, record.value, record.key or b"")
    except Poison:
        return None
    return event if isinstance(event, Statement) and event.source in sources else None
