"""What a process remembers of its readings: no row goes back, none is decoded twice, no wake is missed."""

from __future__ import annotations

from streams.fold import fold
from streams.reading import PackedRow, Reading, RowKey
from streams.rows import Row
from streams.store import HEALTH, pack
from tests.unit.streams.made import T0_MS, at, observation, report

FIELD = "azure/eu/probe-1"
KEY = RowKey(HEALTH, FIELD)


def row(offset: int, *, topic_id: str = "one") -> Row:
    """The row of a record with this offset."""
    first = fold(None, report(offset, observation(ok=offset)), at(offset, topic_id=topic_id), T0_MS)
    assert isinstance(first, Row)
    return first


def read(reading: Reading, stored: Row) -> tuple[Row, ...]:
    """Reads tables in which one row is stored."""
    reading.begin()
    return reading.finish("run", [{FIELD.encode(): pack(stored)}, {}, {}, {}, {}]).reports


def test_unchanged_rows_stay_the_same_objects() -> None:
    """Rows that were read before, or written by this process, are the same objects: readers rely on it."""
    reading = Reading()
    first = read(reading, row(1))
    assert read(reading, row(1))[0] is first[0]
    own = row(2)
    reading.note_own_write(KEY, pack(own), own, wakes=False)
    assert read(reading, row(2))[0] is own
    assert read(reading, row(3)) == (row(3),)


def test_a_row_that_can_not_be_read_is_passed_over_and_named() -> None:
    """Another version wrote it: the other rows count, and so does it once it can be read."""
    reading = Reading()
    reading.begin()
    stored = {FIELD.encode(): b"\n\xc1", b"azure/eu/probe-2": pack(row(1))}
    assert reading.finish("run", [stored, {}, {}, {}, {}]).reports == (row(1),)
    assert reading.unreadable == (KEY,)
    assert read(reading, row(2)) == (row(2),)
    assert not reading.unreadable


def test_what_is_written_during_a_reading_is_renewed_after_it() -> None:
    """A row that was written while the tables were read is renewed, as the reading may have missed it."""
    reading = Reading()
    reading.begin()
    reading.note_own_write(KEY, pack(row(2)), row(2), wakes=True)
    reading.finish("run", [{FIELD.encode(): pack(row(1))}, {}, {}, {}, {}])
    assert reading.renew(reading.begin()).reports == (row(2),)


def test_a_failed_reading_forgets_no_wake() -> None:
    """What woke readers before a reading that fails, or during it, waits for the next."""
    reading = Reading()
    read(reading, row(1))
    reading.note_own_write(KEY, pack(row(2)), row(2), wakes=True)
    wakes = reading.begin()
    reading.note_foreign_write(RowKey(HEALTH, "azure/us/probe-1"))
    reading.fail(wakes)
    assert reading.begin() == {KEY: PackedRow(pack(row(2)), row(2)), RowKey(HEALTH, "azure/us/probe-1"): None}


def test_no_row_goes_back_in_its_log() -> None:
    """A write that is older than the row that was read does not replace it, unless it is of another log."""
    reading = Reading()
    read(reading, row(5))
    reading.note_own_write(KEY, pack(row(4)), row(4), wakes=True)
    assert reading.renew(reading.begin()).reports == (row(5),)
    reading.note_own_write(KEY, pack(row(1, topic_id="two")), row(1, topic_id="two"), wakes=True)
    assert reading.renew(reading.begin()).reports == (row(1, topic_id="two"),)


def test_a_quiet_write_after_one_that_woke_is_the_one_renewed() -> None:
    """The newest row is renewed even if only an older one woke readers."""
    reading = Reading()
    read(reading, row(1))
    reading.note_own_write(KEY, pack(row(2)), row(2), wakes=True)
    reading.note_own_write(KEY, pack(row(3)), row(3), wakes=False)
    assert reading.renew(reading.begin()).reports == (row(3),)


def test_a_row_that_is_being_written_is_renewed_at_once() -> None:
    """Readers have a row before it is stored, the same object as after; nothing is shown before a reading."""
    reading = Reading()
    packed = PackedRow(pack(row(2)), row(2))
    assert not reading.show(KEY, packed, at(1, topic_id="one"))
    read(reading, row(1))
    assert reading.show(KEY, packed, at(1, topic_id="one"))
    contents = reading.renew(reading.begin())
    assert contents.reports[0] is packed.row
    reading.note_own_write(KEY, packed.data, packed.row, wakes=True)
    assert reading.renew(reading.begin()).reports is contents.reports


def test_a_row_is_shown_only_in_place_of_the_one_that_readers_know() -> None:
    """What is based on another row than readers have, or on one that is being read, is shown when stored."""
    reading = Reading()
    read(reading, row(5))
    packed = PackedRow(pack(row(7)), row(7))
    assert not reading.show(KEY, packed, at(4, topic_id="one"))
    assert not reading.show(KEY, packed, None)
    reading.note_own_write(KEY, pack(row(6)), row(6), wakes=False)
    assert not reading.show(KEY, packed, at(5, topic_id="one"))
    assert reading.show(KEY, packed, at(6, topic_id="one"))
    reading.note_foreign_write(KEY)
    assert not reading.show(KEY, packed, at(6, topic_id="one"))


def test_a_shown_row_that_is_not_stored_is_read_again() -> None:
    """After a refusal the stored row counts, also if it was read meanwhile."""
    reading = Reading()
    read(reading, row(1))
    reading.show(KEY, PackedRow(pack(row(3)), row(3)), at(1, topic_id="one"))
    reading.renew(reading.begin())
    reading.reread(KEY)
    assert reading.begin() == {KEY: None}
    assert read(reading, row(2)) == (row(2),)


def test_unknown_tables_in_hints_are_passed_over() -> None:
    """A hint about a table that only another version has is ignored."""
    reading = Reading()
    reading.note_foreign_write(RowKey("weather", FIELD))
    assert reading.begin() == {}
