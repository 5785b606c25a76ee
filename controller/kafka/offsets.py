"""How far the evidence topics reach: a new leader must have consumed all of it before it decides anew."""

from collections.abc import Iterable
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition

from streams.connections import renewing
from streams.rows import Progress
from streams.topic_ids import topic_facts
from tieline.kafka import REQUEST_TIMEOUT_MS, Brokers, brokers_of, close_consumer, connect


class End(NamedTuple):
    """Where a partition ends: the offset of its next record, of which topic, and the records before it.

    ``records`` counts offsets from the first that the partition still holds, so at most that many records.
    """

    topic_id: str
    offset: int
    records: int


Ends = dict[tuple[str, int], End]


class Offsets:
    """Asks the brokers where ``topics`` end. Ask only between ``start`` and ``stop``."""

    def __init__(self, bootstrap: str | Brokers, topics: tuple[str, ...]) -> None:
        self._bootstrap = bootstrap
        self._topics = topics
        self._consumer: AIOKafkaConsumer = brokers_of(bootstrap).consumer(
            group_id=None,
            enable_auto_commit=False,
            request_timeout_ms=REQUEST_TIMEOUT_MS,
        )

    async def start(self) -> None:
        """Connects. Raises KafkaConnectionError."""
        await connect(self._consumer)

    async def stop(self) -> None:
        """Closes the connection."""
        await close_consumer(self._consumer)

    async def ends(self) -> Ends:
        """``(topic, partition)`` -> its end, for every partition that is not empty.

        A topic that doesn't exist has no records to wait for. The partitions are asked of the broker, because
        a consumer without a subscription knows none of a topic by itself. Raises KafkaError.
        """
        facts = await topic_facts(self._bootstrap, self._topics, skip_missing=True)
        partitions = [
            TopicPartition(topic, number)
            for topic, fact in sorted(facts.items())
            for number in range(fact.partitions)
        ]
        with renewing(self._consumer._client):
            begins = await self._consumer.beginning_offsets(partitions)
            ends = await self._consumer.end_offsets(partitions)
        return {
            (tp.topic, tp.partition): End(facts[tp.topic].id, ends[tp], records=ends[tp] - begins[tp])
            for tp in partitions
            if ends[tp] > begins[tp]
        }


def reached(ends: Ends, progress: Iterable[Progress]) -> bool:
    """Whether every partition of ``ends`` was consumed up to its end, by rows about the same topic."""
    consumed = {(row.topic, row.partition, row.topic_id): row.next_offset for row in progress}
    return all(
        consumed.get((topic, number, end.topic_id), 0) >= end.offset for (topic, number), end in ends.items()
    )


def renewed(ends: Ends, now: Ends) -> Ends:
    """``ends``, where topics that were recreated since then end as they do ``now``.

    What a recreated topic held before can't be read any more, so nobody may wait for it.
    """
    return {
        place: end if end.topic_id == now[place].topic_id else now[place]
        for place, end in ends.items()
        if place in now
    }
