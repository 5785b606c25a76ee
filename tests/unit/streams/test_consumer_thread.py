"""How far a partition is consumed, where markers of transactions take offsets that no record has."""

from __future__ import annotations

from streams.consumer_thread import FetchedOffsets
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
