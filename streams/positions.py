"""Where partitions begin, end and were committed."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from aiokafka import TopicPartition

from streams.connections import renewing
from tieline.kafka import REQUEST_TIMEOUT_MS, Brokers, brokers_of, close_consumer, connect


class Partition(NamedTuple):
    """One partition of a topic."""

    topic: str
    number: int


class Offsets:
    """Asks Kafka for offsets without belonging to any group. Every method raises ``KafkaError``."""

    def __init__(self, bootstrap: str | Brokers, group: str) -> None:
        self._bootstrap = bootstrap
        self._group = group
        self._consumer: Any = None
        self._admin: Any = None

    async def start(self) -> None:
        """Connects."""
        self._consumer = brokers_of(self._bootstrap).consumer(
            enable_auto_commit=False, request_timeout_ms=REQUEST_TIMEOUT_MS
        )
        await connect(self._consumer)
        self._admin = brokers_of(self._bootstrap).admin(request_timeout_ms=REQUEST_TIMEOUT_MS)
        await connect(self._admin)

    async def stop(self) -> None:
        """Disconnects; also after a failed start, or none."""
        consumer, admin, self._consumer, self._admin = self._consumer, self._admin, None, None
        if consumer is not None:
            await close_consumer(consumer)
        if admin is not None:
            await admin.close()

    async def ends(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        """The offset that the next record of each partition will have."""
        wanted = [TopicPartition(*partition) for partition in partitions]
        with renewing(self._consumer._client):
            ends = await self._consumer.end_offsets(wanted)
        return {Partition(*partition): offset for partition, offset in ends.items()}

    async def starts(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        """Where the group goes on: at what it committed, else at the first offset there is."""
        topic_partitions = [TopicPartition(*partition) for partition in partitions]
        with renewing(self._consumer._client):
            first = await self._consumer.beginning_offsets(topic_partitions)
        committed = await self._admin.list_consumer_group_offsets(self._group, partitions=topic_partitions)
        starts = {}
        for partition in topic_partitions:
            commit = committed.get(partition)
            starts[Partition(*partition)] = max(first[partition], commit.offset if commit else 0)
        return starts
