"""What brings the records of the event topics to the lanes, as a session sees it.

``agents.FaustReader`` does so with a Faust app. The simulator has another, over simulated Kafka; everything
behind the lanes is the same code.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from streams.clock_offsets import ClockOffsets
from streams.consumer_thread import FetchedOffsets
from streams.lane import Lane
from streams.positions import Partition
from streams.settings import IngestSettings
from streams.topic_ids import TopicFacts


@dataclass(frozen=True, slots=True)
class Feed:
    """What a reader works with. ``lanes`` and ``facts`` by topic. ``clock`` is told of records that are the
    last of their log, ``fetched`` how far each partition was fetched.

    ``on_assigned`` and ``on_revoked`` are told of partitions that came and went, ``on_error`` of an error
    after which nothing more is read.
    """

    settings: IngestSettings
    facts: Mapping[str, TopicFacts]
    lanes: Mapping[str, Lane]
    clock: ClockOffsets
    fetched: FetchedOffsets
    on_assigned: Callable[[Collection[Partition]], None]
    on_revoked: Callable[[Collection[Partition]], None]
    on_error: Callable[[BaseException], None]


class Reader(Protocol):
    """A member of the consumer group. Each record goes to the lane of its topic, in the order of its
    partition, and is committed only after the lane has acknowledged it."""

    @property
    def rebalancing(self) -> bool:
        """Whether its partitions are being taken away or given out just now."""
        ...

    def assigned(self) -> set[Partition]:
        """The partitions that it reads now; none while it is rebalancing."""
        ...

    def complaint(self) -> str | None:
        """Why it reads no more, or None."""
        ...

    async def start(self) -> None:
        """Joins the group and begins to read. Raises what Kafka raises."""
        ...

    async def stop(self) -> None:
        """Leaves the group. It may hang while Kafka is away."""
        ...

    async def abandon(self) -> None:
        """Ends by force what ``stop`` left running."""
        ...

    def commit_nothing_more(self) -> None:
        """From now on no offset is committed: the topic was recreated, and of that one they say nothing."""
        ...


OpenReader: TypeAlias = Callable[[Feed], Reader]
