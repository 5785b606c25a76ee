"""How far a partition is consumed, where markers of transactions take offsets that no record has; and when
those that wait for records are woken."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from streams.consumer_thread import FetchedOffsets, waking
from streams.positions import Partition

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
