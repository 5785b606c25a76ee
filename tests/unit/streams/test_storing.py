"""What the tables take of new sources and regions, and of those that they have."""

from __future__ import annotations

from collections import Counter

import pytest

from streams import storing
from streams.memory import MemoryTables
from streams.store import HEALTH
from streams.storing import RowItem, RowStorer
from tests.unit.streams.made import T0_MS, at, observation, report


def item(offset: int, region: str) -> RowItem:
    """A report of one region at this place of the log."""
    return RowItem(report(offset, observation(f"azure/{region}/a", ok=1), region=region), at(offset), T0_MS)


@pytest.fixture
async def tables() -> MemoryTables:
    """Tables with a run."""
    tables = MemoryTables()
    await tables.establish("run")
    return tables


async def test_a_full_table_takes_no_new_rows_and_keeps_those_it_has(
    tables: MemoryTables, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A source that makes up regions can't fill Redis, nor push out what others report. What was not taken
    is counted."""
    monkeypatch.setattr(storing, "ROWS_MAX", 2)
    counts: Counter[str] = Counter()
    storer = RowStorer(tables, counts)
    assert await storer.store([item(1, "eu"), item(2, "us"), item(3, "made-up")])
    await storer.store([item(4, "eu"), item(5, "made-up")])
    rows = await tables.load(HEALTH, [f"azure/{region}/probe-1" for region in ("eu", "us", "made-up")])
    offsets = {field: row.position.offset for field, row in rows.items() if row.position is not None}
    assert offsets == {"azure/eu/probe-1": 4, "azure/us/probe-1": 2}
    assert counts["no_room"] == 2
