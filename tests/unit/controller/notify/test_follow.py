"""Which place in the history a target's process commits."""

from __future__ import annotations

from typing import Any

from aiokafka import TopicPartition

from controller.notify.follow import Follower
from controller.notify.targets import Access
from tests.unit.controller.notify.wanted import target


class Committing:
    """The part of aiokafka's consumer that commits."""

    def __init__(self) -> None:
        self.commits: list[dict[TopicPartition, int]] = []

    async def commit(self, offsets: dict[TopicPartition, int]) -> None:
        self.commits.append(offsets)


async def test_what_a_history_that_began_anew_held_is_committed() -> None:
    """Its offsets are lower than those of the old one. What is committed already is not committed again."""
    follower: Any = Follower(
        "127.0.0.1:1", "tieline", "tieline.history", target=target(), access=Access("http://x", "", {})
    )
    consumer, place = Committing(), TopicPartition("tieline.history", 0)
    await follower.on_partitions_assigned({place})
    follower._must_begin = False
    follower._committed = follower._outbox.next_offset = 90
    await follower._commit(consumer)
    follower._outbox.next_offset = 2
    await follower._commit(consumer)
    await follower._commit(consumer)
    assert consumer.commits == [{place: 2}]
