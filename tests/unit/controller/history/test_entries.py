"""Entries travel as bytes, and are selected by what they are about."""

import pytest

from controller.history.entries import (
    KINDS,
    Entry,
    HistoryRecord,
    LoadMove,
    Selection,
    decode_history,
    encode_history,
)
from controller.history.reader import OnceOnly

MOVED = Entry(
    1_000,
    "forced_move",
    "table",
    text="moved",
    who="controller c0ffee",
    actors=("kim",),
    reasons=("guard_fresh_capacity", "pool_lost"),
    moves=(
        LoadMove("chat", "azure/r/d", before=9.0, after=0.0),
        LoadMove("batch", "", before=0.0, after=9.0),
    ),
)
DRAINED = Entry(2_000, "order", "azure", text="drain azure", who="lee", actors=("lee",))
SHED = Entry(3_000, "shedding", "batch", text="batch is shed")


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (Selection(), (MOVED, DRAINED, SHED)),
        (Selection(pools=("azure/r/d",)), (MOVED, DRAINED)),
        (Selection(providers=("azure",)), (MOVED, DRAINED)),
        (Selection(pools=("gcp/r/d",)), ()),
        (Selection(workloads=("batch",)), (MOVED, SHED)),
        (Selection(actors=("kim",)), (MOVED,)),
        (Selection(actors=("controller c0ffee", "lee")), (MOVED, DRAINED)),
        (Selection(kinds=("decision",)), (MOVED,)),
        (Selection(kinds=("guard",)), (MOVED,)),
        (Selection(kinds=("order", "shedding")), (DRAINED, SHED)),
        (Selection(workloads=("batch",), kinds=("shedding",)), (SHED,)),
    ],
)
def test_what_is_asked_for_is_selected(selection: Selection, expected: tuple[Entry, ...]) -> None:
    """Several values of a field mean any of them, several fields all."""
    assert tuple(entry for entry in (MOVED, DRAINED, SHED) if selection.takes(entry)) == expected


def test_a_record_comes_back_as_it_was() -> None:
    """Also with a kind that this version does not know."""
    later = Entry(1, "of_a_later_version", "table", text="told")
    record = HistoryRecord(4, "writer", 1, entries=(MOVED, later), standing=(SHED,), answered_ms=9)
    assert later.kind not in KINDS
    assert decode_history(encode_history(record)) == record


@pytest.mark.parametrize("body", [None, b"", b"\xc1", b"\x80"])
def test_other_bytes_are_no_record(body: bytes | None) -> None:
    """Whatever lies on the topic, reading goes on."""
    assert decode_history(body) is None
    assert list(OnceOnly().entries(body)) == []


def test_a_record_that_was_appended_twice_counts_once() -> None:
    """A send whose answer was lost is sent again."""
    body = encode_history(HistoryRecord(4, "writer", 1, entries=(MOVED,)))
    other = encode_history(HistoryRecord(4, "another", 1, entries=(SHED,)))
    records = OnceOnly()
    assert [entry for each in (body, body, other) for entry in records.entries(each)] == [MOVED, SHED]
