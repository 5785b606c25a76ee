"""Recent dead letters, counted by reason, for `tieline status` and the live page."""

import asyncio
from collections import Counter

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from msgspec import Struct

from controller.kafka.letter_log import NOTE, REASON, is_note
from controller.process.settings import Settings
from streams.every_record import close_reader, open_reader
from tieline.kafka import brokers_of

HOUR_MS = 3_600_000
REASONS_OF_MAX = 200  # newest dead letters whose reasons are read; the others are only counted
READ_WITHIN_S = 1.0


class DeadLettersSeen(Struct, frozen=True):
    """Dead letters of the last hour, without the notes beside them. ``reasons`` counts the newest of them, at
    most ``REASONS_OF_MAX``."""

    count: int
    reasons: dict[str, int]


async def dead_letters_seen(settings: Settings, at_ms: int) -> DeadLettersSeen | None:
    """The dead letters of the last hour; None where the topic can't be read within a second."""
    topic = settings.topics.deadletter.name
    consumer: AIOKafkaConsumer = brokers_of(settings.kafka).consumer(
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="none",
    )
    try:
        async with asyncio.timeout(READ_WITHIN_S + 1):
            await open_reader(consumer)
            return await _counted(consumer, topic, at_ms)
    except (KafkaError, TimeoutError):
        return None
    finally:
        await close_reader(consumer)


async def _counted(consumer: AIOKafkaConsumer, topic: str, at_ms: int) -> DeadLettersSeen:
    partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or {0}]
    consumer.assign(partitions)
    first = await consumer.offsets_for_times(dict.fromkeys(partitions, at_ms - HOUR_MS))
    ends = await consumer.end_offsets(partitions)
    counts = {part: ends[part] - first[part].offset if first.get(part) else 0 for part in partitions}
    reasons: Counter[str] = Counter()
    for part, count in counts.items():
        if not count:
            continue
        consumer.assign([part])
        consumer.seek(part, ends[part] - min(count, REASONS_OF_MAX))
        await _count_reasons(consumer, part, ends[part], reasons)
    notes = reasons.pop(NOTE, 0)
    return DeadLettersSeen(max(sum(counts.values()) - notes, 0), dict(reasons))


async def _count_reasons(
    consumer: AIOKafkaConsumer, part: TopicPartition, end: int, reasons: Counter[str]
) -> None:
    """Counts the reasons from the consumer's position to ``end``, for at most ``READ_WITHIN_S``."""
    loop = asyncio.get_running_loop()
    deadline_s = loop.time() + READ_WITHIN_S
    while (left_s := deadline_s - loop.time()) > 0 and await consumer.position(part) < end:
        batches = await consumer.getmany(part, timeout_ms=int(left_s * 1_000), max_records=REASONS_OF_MAX)
        for record in batches.get(part, ()):
            values = [value for name, value in record.headers if name == REASON]
            reason = values[-1].decode("utf-8", "replace") if values else ""
            reasons[NOTE if is_note(record.headers) else reason] += 1
