"""One Kafka record on its way through: as read, and held until it is stored."""

from collections.abc import Callable
from typing import NamedTuple

from streams.rows import Position


class Record(NamedTuple):
    """A record as read from Kafka. ``append_ms`` is the broker's time."""

    topic: str
    topic_id: str
    partition: int
    offset: int
    append_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]

    @property
    def position(self) -> Position:
        """Its place in Kafka."""
        return Position(self.topic_id, self.partition, self.offset)

    @property
    def size_bytes(self) -> int:
        """Key and value."""
        return len(self.key or b"") + len(self.value or b"")


class Held(NamedTuple):
    """A record that its consumer keeps unacknowledged until exactly one of the two is called.

    ``generation`` rises with every assignment of partitions.
    """

    record: Record
    generation: int
    acknowledge: Callable[[], object]
    release: Callable[[], object]  # not handled here; it stays uncommitted and is read again
