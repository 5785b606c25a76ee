"""Whoever follows the history is told each thing once, and knows in the end what stands."""

from msgspec.structs import replace

from controller.history.entries import Entry, HistoryRecord
from controller.history.following import WRITERS_MAX, Following, LastNumbers

BEGUN = Entry(1, "alarm", "prober", text="silent", phase="begins", key="alarm:prober")
OVER = replace(BEGUN, at_ms=5, phase="ends", text="over: silent")
MOVED = Entry(3, "move", "table", text="moved", key="decision:1")
FIRST = HistoryRecord(4, "first", 1, entries=(BEGUN, MOVED), standing=(BEGUN,))


def test_a_record_counts_once() -> None:
    """Also if it was the last one before the position from which somebody follows."""
    following = Following()
    assert following.entries(FIRST) == [BEGUN, MOVED]
    assert following.entries(FIRST) == []
    assert Following(FIRST).entries(FIRST) == []
    assert list(following.standing) == ["alarm:prober"]


def test_what_ended_while_records_were_lost_has_ended() -> None:
    """And what began meanwhile has begun, by what stands after the next record."""
    other = replace(BEGUN, about="gateway", key="alarm:gateway")
    later = HistoryRecord(4, "first", 7, entries=(replace(MOVED, at_ms=9),), standing=(other,))
    entries = Following(FIRST).entries(later)
    assert [(entry.about, entry.phase, entry.at_ms) for entry in entries] == [
        ("table", "", 9),
        ("gateway", "begins", 1),
        ("prober", "ends", 9),
    ]


def test_conditions_of_a_leader_that_is_no_more_do_not_count() -> None:
    """Its decisions still happened."""
    following = Following(replace(FIRST, epoch=8, writer="second"))
    late = HistoryRecord(4, "first", 2, entries=(OVER, MOVED))
    assert following.entries(late) == [MOVED]
    assert list(following.standing) == ["alarm:prober"]


def test_a_second_beginning_is_no_news() -> None:
    """When one flush of the leader is split over records, each names what stands in the end."""
    following = Following()
    split = [replace(FIRST, number=number, entries=(entry,)) for number, entry in ((1, MOVED), (2, BEGUN))]
    assert [entry.key for record in split for entry in following.entries(record)] == [
        "decision:1",
        "alarm:prober",
    ]


def test_writers_of_long_ago_are_forgotten() -> None:
    """Whoever follows for months hears of a writer for each start of a controller; the latest are kept."""
    numbers = LastNumbers()
    assert numbers.note("first", 5)
    for writer in range(WRITERS_MAX - 1):
        assert numbers.note(f"w{writer}", 1)
        assert not numbers.note("first", 5)
    assert numbers.note("first", 6)
    numbers.note("one more", 1)
    assert numbers.note("w0", 1)
    assert not numbers.note("first", 6)
