"""How rows are packed, and which field each has."""

from __future__ import annotations

import msgspec
import pytest

from streams.fold import fold
from streams.rows import DemandRow, Progress, Row
from streams.store import (
    DEMAND,
    HEALTH,
    STATEMENTS,
    field_of,
    head,
    pack,
    pack_progress,
    progress_field,
    unpack,
    unpack_progress,
)
from tests.unit.streams.made import T0_MS, at, observation, report, statement
from tieline.events import Claim, Statement


def test_rows_come_back_as_they_went() -> None:
    """Unpacking reverses packing, for each kind of row."""
    row = fold(None, report(1, observation(ok=3)), at(2**60), T0_MS)
    assert isinstance(row, Row)
    assert unpack(HEALTH, pack(row)) == row
    demand = DemandRow(at(7), ())
    assert unpack(DEMAND, pack(demand)) == demand
    progress = Progress("t.reports", 3, next_offset=5, end_offset=9, at_ms=T0_MS, clock_offset_ms=-4)
    assert unpack_progress(pack_progress(progress)) == progress


def test_values_of_a_newer_version_are_taken_for_safe_ones() -> None:
    """A controller that is still of the older version goes on while a newer one takes events in."""
    claim = Claim("down", T0_MS + 60_000)
    row = fold(None, statement(1, claim), at(1), T0_MS)
    assert isinstance(row, Row)
    fields = msgspec.msgpack.decode(msgspec.msgpack.encode(row))
    fields[0]["claims"][0]["state"] = "wobbly"
    newer = head(row.position) + msgspec.msgpack.encode(fields)
    read = unpack(STATEMENTS, newer)
    assert isinstance(read, Row)
    assert isinstance(read.event, Statement)
    assert read.event.claims[0].state == "degraded"
    fields[0]["kind"] = "omen"
    with pytest.raises(msgspec.ValidationError):
        unpack(STATEMENTS, head(row.position) + msgspec.msgpack.encode(fields))


def test_neighbouring_offsets_above_2_to_the_53_have_different_heads() -> None:
    """The text that the stored script compares differs for each offset, partition and topic id."""
    assert head(at(2**53)) != head(at(2**53 + 1))
    assert not head(at(12)).startswith(head(at(1)))
    assert head(None) == b""


def test_one_field_for_each_source_and_region() -> None:
    """Each (source, region), and each kind of statement, has a field; partitions sort as numbers."""
    assert field_of(report(1)) == (HEALTH, "azure/eu/probe-1")
    assert field_of(statement(1)) == (STATEMENTS, "azure/eu/status-1/status")
    assert progress_field("t", 2) < progress_field("t", 10)
