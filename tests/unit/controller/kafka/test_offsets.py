"""When evidence counts as read, as a pure rule."""

from __future__ import annotations

from controller.kafka.offsets import End, reached, renewed
from streams.rows import Progress

PLACE = ("t.reports", 0)
ENDS = {PLACE: End("id-1", 7, records=7)}


def row(next_offset: int, topic_id: str = "id-1") -> Progress:
    return Progress(
        *PLACE, next_offset=next_offset, end_offset=next_offset, at_ms=1, clock_offset_ms=0, topic_id=topic_id
    )


def test_a_partition_counts_as_read_at_its_end() -> None:
    """Not one record earlier, and not without a row."""
    assert not reached(ENDS, [])
    assert not reached(ENDS, [row(6)])
    assert reached(ENDS, [row(7)])
    assert reached({}, [])


def test_offsets_of_another_topic_of_the_same_name_prove_nothing() -> None:
    """A row that tells of the topic before it was recreated does not count for the new one."""
    assert not reached(ENDS, [row(60, "id-0")])


def test_nobody_waits_for_what_a_deleted_topic_held() -> None:
    """A recreated topic must be read to its own end; one that is empty or gone need not be read."""
    assert renewed(ENDS, {PLACE: End("id-1", 9, records=9)}) == ENDS
    recreated = {PLACE: End("id-2", 2, records=2)}
    assert renewed(ENDS, recreated) == recreated
    assert renewed(ENDS, {}) == {}
