"""Where partitions begin, end and were committed.

Kafka keeps the offsets of a group by the name of a topic. A member that has not heard yet that its topic was
deleted and created again may commit an offset of the old one, and whoever goes on there never reads what lies
before it on the new one. So each offset is committed together with the id of its topic.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from aiokafka import TopicPartition
from aiokafka.structs import OffsetAndMetadata

from streams.connections import renewing
from tieline.kafka import REQUEST_TIMEOUT_MS, Brokers, brokers_of, close_consumer, connect

OF_TOPIC = "tieline_topic_id="  # what is committed with an offset goes on with the id of its topic


def to_commit(offset: int, topic_id: str) -> OffsetAndMetadata:
    """What a group commits in order to go on at this offset of this very topic."""
    return OffsetAndMetadata(offset, f"{OF_TOPIC}{topic_id}")


def goes_on_at(committed: OffsetAndMetadata | None, topic_id: str) -> int | None:
    """Where the group goes on in this topic, or None: at the first record that there is.

    An offset that names another topic is of one that had the same name and is no more. One that names none
    counts: an earlier version has committed it, or an operator with a tool of Kafka's.
    """
    if committed is None or committed.offset < 0:
        return None
    note = committed.metadata or ""
    return None if note.startswith(OF_TOPIC) and note != f"{OF_TOPIC}{topic_id}" else int(committed.offset)


class Partition(NamedTuple):
    """One partition of a topic."""

    topic: str
    number: int


class Offsets:
    """Asks Kafka for offsets without belonging to any group. Every method raises ``KafkaError``.

    ``topic_ids`` by name, of the topics that are read.
    """

    def __init__(self, bootstrap: str | Brokers, group: str, topic_ids: Mapping[str, str]) -> None:
        self._bootstrap = bootstrap
        self._group = group
        self._topic_ids = topic_ids
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
        """Where the group goes on: at what it committed of this topic, else at the first offset there is."""
        topic_partitions = [TopicPartition(*partition) for partition in partitions]
        with renewing(self._consumer._client):
            first = await self._consumer.beginning_offsets(topic_partitions)
        committed = await self._admin.list_consumer_group_offsets(self._group, partitions=topic_partitions)
        starts = {}
        for partition in topic_partitions:
            own = goes_on_at(committed.get(partition), self._topic_ids[partition.topic])
            starts[Partition(*partition)] = max(first[partition], own or 0)
        return starts
