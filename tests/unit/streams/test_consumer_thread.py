"""How far a partition is consumed, where markers of transactions take offsets that no record has; and when
those that wait for records are woken; and of which topic an offset is committed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.structs import OffsetAndMetadata

from streams.consumer_thread import FetchedOffsets, name_topics, waking
from streams.positions import Partition, to_commit

PARTITION = Partition("t.reports", 0)


def test_a_marker_counts_once_all_records_before_it_are_safe() -> None:
    """Record 59 and the marker 60 were fetched: safe up to 59 is behind, safe up to 60 is at 61."""
    fetched = FetchedOffsets()
    fetched.note(PARTITION, 60, 61)
    assert fetched.past(PARTITION, 59) == 59
    assert fetched.past(PARTITION, 60) == 61


def test_a_fetch_without_records_moves_only_the_position() -> None:
    """Markers alone are passed, and records that were fetched before still have to be safe."""
    fetched = FetchedOffsets()
    fetched.note(PARTITION, 60, 60)
    fetched.note(PARTITION, None, 62)
    assert fetched.past(PARTITION, 59) == 59
    assert fetched.past(PARTITION, 60) == 62
    assert fetched.past(Partition("t.reports", 1), 3) == 3


def test_a_partition_that_begins_anew_is_not_taken_for_consumed() -> None:
    """After a seek back, and after the topic was recreated, nothing ahead counts."""
    fetched = FetchedOffsets()
    fetched.note(PARTITION, 60, 61)
    assert fetched.past(PARTITION, 0) == 0
    fetched.note(PARTITION, None, 5)
    assert fetched.past(PARTITION, 5) == 5
    fetched.note(PARTITION, 7, 8)
    assert fetched.past(PARTITION, 5) == 5


class Fetcher:
    """The parts of aiokafka's fetcher that hand records over."""

    def __init__(self, *, has_records: bool) -> None:
        self._has_records = has_records
        self._fetch_waiters = {asyncio.get_running_loop().create_future()}

    async def _proc_fetch_request(self, *_request: Any) -> bool:
        return self._has_records

    @staticmethod
    def _notify(waiter: asyncio.Future[None]) -> None:
        waiter.set_result(None)


@pytest.mark.parametrize("has_records", [True, False])
async def test_records_are_handed_over_before_the_next_fetch_is_made(has_records: bool) -> None:
    """Whoever waits for records is woken with the answer that has some, and not by an empty one."""
    fetcher = Fetcher(has_records=has_records)
    assert await waking(fetcher)("assignment", 1, "request") is has_records
    assert [waiter.done() for waiter in fetcher._fetch_waiters] == [has_records]


class Member:
    """The parts of aiokafka's consumer, and of its coordinator, that commit offsets and ask for them."""

    def __init__(self) -> None:
        self.committed: dict[TopicPartition, OffsetAndMetadata] = {}
        self._coordinator: Member | None = None

    async def start(self) -> None:
        self._coordinator = self

    async def commit(self, offsets: dict[TopicPartition, OffsetAndMetadata]) -> None:
        self.committed |= offsets

    async def _do_fetch_commit_offsets(
        self, partitions: list[TopicPartition]
    ) -> dict[TopicPartition, OffsetAndMetadata]:
        return {tp: self.committed[tp] for tp in partitions if tp in self.committed}


async def test_offsets_are_committed_and_believed_for_one_topic_only() -> None:
    """A topic that was created anew is read from its first record on, whatever was committed before."""
    member: Any = Member()
    name_topics(member, {"reports": "new", "demand": "same"})
    await member.start()
    reports, demand = (TopicPartition(topic, 0) for topic in ("reports", "demand"))
    member.committed = {reports: to_commit(18, "old"), demand: to_commit(7, "same")}
    fetch = member._coordinator._do_fetch_commit_offsets
    assert await fetch([reports, demand]) == {demand: to_commit(7, "same")}
    await member.commit({reports: OffsetAndMetadata(3, "")})
    assert member.committed[reports] == to_commit(3, "new")
    assert await fetch([reports, demand]) == {reports: to_commit(3, "new"), demand: to_commit(7, "same")}
