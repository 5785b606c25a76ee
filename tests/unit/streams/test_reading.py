"""What a process keeps of its readings: no row goes back, none is decoded twice, none that woke is missed."""

from __future__ import annotations

from streams.fold import fold
from streams.reading import Packed, Place, Reading
from streams.rows import Row
from streams.store import HEALTH, pack
from tests.unit.streams.made import T0_MS, at, report, seen

FIELD = "azure/eu/probe-1"
PLACE = Place(HEALTH, FIELD)


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
    reading.wrote(PLACE, pack(written), written, woke=False)
    assert read(reading, row(2))[0] is written
    assert read(reading, row(3)) == (row(3),)


def test_what_is_written_during_a_reading_is_renewed_after_it() -> None:
    """The reading may have seen the tables as they were before."""
    reading = Reading()
    reading.begin()
    reading.wrote(PLACE, pack(row(2)), row(2), woke=True)
    reading.finish("run", [{FIELD.encode(): pack(row(1))}, {}, {}, {}, {}])
    assert reading.renew(reading.begin()).reports == (row(2),)


def test_a_failed_reading_forgets_no_wake() -> None:
    """What woke before it and what woke during it is renewed by the next."""
    reading = Reading()
    read(reading, row(1))
    reading.wrote(PLACE, pack(row(2)), row(2), woke=True)
    woken = reading.begin()
    reading.woken_by_another(Place(HEALTH, "azure/us/probe-1"))
    reading.fail(woken)
    assert reading.begin() == {PLACE: Packed(pack(row(2)), row(2)), Place(HEALTH, "azure/us/probe-1"): None}


def test_no_row_goes_back_in_its_log() -> None:
    """A write that was answered late may be older than what was read; in another log places say nothing."""
    reading = Reading()
    read(reading, row(5))
    reading.wrote(PLACE, pack(row(4)), row(4), woke=True)
    assert reading.renew(reading.begin()).reports == (row(5),)
    reading.wrote(PLACE, pack(row(1, topic_id="two")), row(1, topic_id="two"), woke=True)
    assert reading.renew(reading.begin()).reports == (row(1, topic_id="two"),)


def test_a_quiet_write_after_one_that_woke_is_the_one_renewed() -> None:
    """Else the renewed row would be older than the tables'."""
    reading = Reading()
    read(reading, row(1))
    reading.wrote(PLACE, pack(row(2)), row(2), woke=True)
    reading.wrote(PLACE, pack(row(3)), row(3), woke=False)
    assert reading.renew(reading.begin()).reports == (row(3),)


def test_unknown_tables_in_hints_are_passed_over() -> None:
    """Another version may have more tables."""
    reading = Reading()
    reading.woken_by_another(Place("weather", FIELD))
    assert reading.begin() == {}
