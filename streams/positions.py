"""Where partitions begin, end and were committed, and how far our clock is from the brokers'."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from tieline.kafka import Brokers, connecting

Place: TypeAlias = tuple[str, int]  # topic, partition

REQUEST_TIMEOUT_MS = 5_000


class ClockOffsets:
    """Running minimum of arrival - append per partition: our clock's distance to the broker's, plus the
    shortest way. Only records that were the last of their log on arrival count; others have waited."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self.now_ms = now_ms
        self._by_place: dict[Place, int] = {}

    def note_arrival(self, topic: str, partition: int, append_ms: int) -> None:
        """A record arrives now."""
        offset_ms = self.now_ms() - append_ms
        held = self._by_place.get((topic, partition))
        if held is None or offset_ms < held:
            self._by_place[topic, partition] = offset_ms

    def offset_ms(self, topic: str, partition: int) -> int:
        """The partition's own, or 0 while none of its records has arrived."""
        return self._by_place.get((topic, partition), 0)

    def broker_now_ms(self) -> int:
        """The brokers' time by our clock, as near as the nearest partition shows."""
        return self.now_ms() - min(self._by_place.values(), default=0)


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

    async def ends(self, places: Sequence[Place]) -> dict[Place, int]:
        """The offset that the next record of each partition will have."""
        found = await self._consumer.end_offsets([TopicPartition(*place) for place in places])
        return {(tp.topic, tp.partition): offset for tp, offset in found.items()}

    async def starts(self, places: Iterable[Place]) -> dict[Place, int]:
        """Where the group goes on: what it committed, else the first offset there is."""
        partitions = [TopicPartition(*place) for place in places]
        first = await self._consumer.beginning_offsets(partitions)
        committed = await self._admin.list_consumer_group_offsets(self._group, partitions=partitions)
        found = {}
        for tp in partitions:
            held = committed.get(tp)
            found[tp.topic, tp.partition] = max(first[tp], held.offset if held else 0)
        return found
