"""How far the evidence topics reach: a new leader must have consumed all of it before it decides anew."""

from collections.abc import Iterable

from aiokafka import AIOKafkaConsumer, TopicPartition

from streams.rows import Progress
from tieline.kafka import REQUEST_TIMEOUT_MS, Brokers, connecting

Ends = dict[tuple[str, int], int]


class Offsets:
    """Asks the brokers where ``topics`` end. Ask only between ``start`` and ``stop``."""

    def __init__(self, bootstrap: str | Brokers, topics: tuple[str, ...]) -> None:
        self._topics = topics
        self._consumer: AIOKafkaConsumer = AIOKafkaConsumer(
            **connecting(bootstrap),
            group_id=None,
            enable_auto_commit=False,
            request_timeout_ms=REQUEST_TIMEOUT_MS,
        )

    async def start(self) -> None:
        """Connects. Raises KafkaConnectionError."""
        await self._consumer.start()

    async def stop(self) -> None:
        """Closes the connection."""
        await self._consumer.stop()

    async def ends(self) -> Ends:
        """``(topic, partition)`` -> end offset, for every partition that is not empty. Raises KafkaError."""
        await self._consumer.topics()
        partitions = [
            TopicPartition(topic, number)
            for topic in self._topics
            for number in sorted(self._consumer.partitions_for_topic(topic) or ())
        ]
        if not partitions:
            return {}
        begins = await self._consumer.beginning_offsets(partitions)
        ends = await self._consumer.end_offsets(partitions)
        return {(tp.topic, tp.partition): ends[tp] for tp in partitions if ends[tp] > begins[tp]}


def reached(ends: Ends, progress: Iterable[Progress]) -> bool:
    """Whether every partition of ``ends`` was consumed up to its end."""
    consumed = {(row.topic, row.partition): row.next_offset for row in progress}
    return all(consumed.get(place, 0) >= end for place, end in ends.items())
