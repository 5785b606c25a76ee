"""Where partitions begin, end and were committed, and how far our clock is from the brokers'."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from tieline.kafka import REQUEST_TIMEOUT_MS, Brokers, connecting


class Partition(NamedTuple):
    """One partition of a topic."""

    topic: str
    number: int


class ClockOffsets:
    """Running minimum of arrival - append per partition: the distance from the broker's clock to ours, plus
    the shortest time on the way. Only records that were the last of their log on arrival count; others have
    waited in it."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self.now_ms = now_ms
        self._by_partition: dict[Partition, int] = {}

    def note_arrival(self, partition: Partition, append_ms: int) -> None:
        """A record arrives now."""
        offset_ms = self.now_ms() - append_ms
        least_ms = self._by_partition.get(partition)
        if least_ms is None or offset_ms < least_ms:
            self._by_partition[partition] = offset_ms

    def offset_ms(self, partition: Partition) -> int:
        """The partition's own, or 0 while none of its records has arrived."""
        return self._by_partition.get(partition, 0)

    def broker_now_ms(self) -> int:
        """The brokers' time by our clock, as near as the nearest partition shows."""
        return self.now_ms() - min(self._by_partition.values(), default=0)


class Offsets:
    """Asks Kafka for offsets without belonging to any group. Every method raises ``KafkaError``."""

    def __init__(self, bootstrap: str | Brokers, group: str) -> None:
        self._bootstrap = bootstrap
        self._group = group
        self._consumer: Any = None
        self._admin: Any = None

    async def start(self) -> None:
        """Connects."""
        self._consumer = AIOKafkaConsumer(
            **connecting(self._bootstrap), enable_auto_commit=False, request_timeout_ms=REQUEST_TIMEOUT_MS
        )
        await self._consumer.start()
        self._admin = AIOKafkaAdminClient(
            **connecting(self._bootstrap), request_timeout_ms=REQUEST_TIMEOUT_MS
        )
        await self._admin.start()

    async def stop(self) -> None:
        """Disconnects; also after a failed start, or none."""
        consumer, admin, self._consumer, self._admin = self._consumer, self._admin, None, None
        if consumer is not None:
            await consumer.stop()
        if admin is not None:
            await admin.close()

    async def ends(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        """The offset that the next record of each partition will have."""
        ends = await self._consumer.end_offsets([TopicPartition(*partition) for partition in partitions])
        return {Partition(*partition): offset for partition, offset in ends.items()}

    async def starts(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        """Where the group goes on: at what it committed, else at the first offset there is."""
        topic_partitions = [TopicPartition(*partition) for partition in partitions]
        first = await self._consumer.beginning_offsets(topic_partitions)
        committed = await self._admin.list_consumer_group_offsets(self._group, partitions=topic_partitions)
        starts = {}
        for partition in topic_partitions:
            commit = committed.get(partition)
            starts[Partition(*partition)] = max(first[partition], commit.offset if commit else 0)
        return starts
