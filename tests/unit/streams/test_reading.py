"""What a process keeps of its readings: no row goes back, none is decoded twice, none that woke is missed."""

from __future__ import annotations

from streams.fold import fold
from streams.reading import PackedRow, Reading, RowKey
from streams.rows import Row
from streams.store import HEALTH, pack
from tests.unit.streams.made import T0_MS, at, report, seen

FIELD = "azure/eu/probe-1"
KEY = RowKey(HEALTH, FIELD)


def row(offset: int, *, topic_id: str = "one") -> Row:
    """A row that lies there in the log."""
    made = fold(None, report(offset, seen(ok=offset)), at(offset, topic_id=topic_id), T0_MS)
    assert isinstance(made, Row)
    return made


def read(reading: Reading, held: Row) -> tuple[Row, ...]:
    """The tables hold one row, and are read."""
    reading.begin()
    return reading.finish("run", [{FIELD.encode(): pack(held)}, {}, {}, {}, {}]).reports


def test_rows_that_are_known_stay_the_same_objects() -> None:
    """Those read before and those written by this process: readers tell what is new by identity."""
    reading = Reading()
    first = read(reading, row(1))
    assert read(reading, row(1))[0] is first[0]
    written = row(2)
    reading.note_own_write(KEY, pack(written), written, wakes=False)
    assert read(reading, row(2))[0] is written
    assert read(reading, row(3)) == (row(3),)


def test_what_is_written_during_a_reading_is_renewed_after_it() -> None:
    """The reading may have seen the tables as they were before."""
    reading = Reading()
    reading.begin()
    reading.note_own_write(KEY, pack(row(2)), row(2), wakes=True)
    reading.finish("run", [{FIELD.encode(): pack(row(1))}, {}, {}, {}, {}])
    assert reading.renew(reading.begin()).reports == (row(2),)


def test_a_failed_reading_forgets_no_wake() -> None:
    """What woke before it and what woke during it is renewed by the next."""
    reading = Reading()
    read(reading, row(1))
    reading.note_own_write(KEY, pack(row(2)), row(2), wakes=True)
    wakes = reading.begin()
    reading.note_foreign_write(RowKey(HEALTH, "azure/us/probe-1"))
    reading.fail(wakes)
    assert reading.begin() == {KEY: PackedRow(pack(row(2)), row(2)), RowKey(HEALTH, "azure/us/probe-1"): None}


def test_no_row_goes_back_in_its_log() -> None:
    """A write that was answered late may be older than what was read; in another log places say nothing."""
    reading = Reading()
    read(reading, row(5))
    reading.note_own_write(KEY, pack(row(4)), row(4), wakes=True)
    assert reading.renew(reading.begin()).reports == (row(5),)
    reading.note_own_write(KEY, pack(row(1, topic_id="two")), row(1, topic_id="two"), wakes=True)
    assert reading.renew(reading.begin()).reports == (row(1, topic_id="two"),)


def test_a_quiet_write_after_one_that_woke_is_the_one_renewed() -> None:
    """Else the renewed row would be older than the tables'."""
    reading = Reading()
    read(reading, row(1))
    reading.note_own_write(KEY, pack(row(2)), row(2), wakes=True)
    reading.note_own_write(KEY, pack(row(3)), row(3), wakes=False)
    assert reading.renew(reading.begin()).reports == (row(3),)


def test_unknown_tables_in_hints_are_passed_over() -> None:
    """Another version may have more tables."""
    reading = Reading()
    reading.note_foreign_write(RowKey("weather", FIELD))
    assert reading.begin() == {}
