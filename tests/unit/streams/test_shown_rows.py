"""Who is told of rows, and when: readers hear of a row that is being written, and of one that was refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import pytest

from streams.memory import MemoryTables
from streams.store import Write
from streams.storing import DemandItem, DemandStorer, RowItem, RowStorer, Storer
from tests.unit.streams.made import T0_MS, at, demand, observation, report
from tieline.registration import Registry

REGISTRY = Registry(frozenset(), {}, frozenset())


class SlowTables(MemoryTables):
    """Shows each row before it is written, and refuses as many writes as it is told to."""

    def __init__(self, refusals: int = 0) -> None:
        super().__init__()
        self._refusals = refusals

    async def put(
        self, writes: Sequence[Write], on_shown: Callable[[], object] = lambda: None, /
    ) -> list[bool]:
        """See ``Tables``."""
        on_shown()
        if self._refusals:
            self._refusals -= 1
            await super().put(writes)  # the other writer had the same row
            return [False] * len(writes)
        return await super().put(writes)


def row_items() -> list[RowItem]:
    """Two records of one batch; the second is the older one, of another region."""
    first = RowItem(report(1, observation()), at(1), T0_MS + 5)
    return [first, RowItem(report(1, observation("azure/us/a"), region="us"), at(2), T0_MS)]


def demand_items() -> list[DemandItem]:
    """One client's report."""
    return [DemandItem(demand(), at(1), T0_MS)]


@pytest.mark.parametrize("kind", ["rows", "demand"])
async def test_readers_hear_of_rows_that_are_being_written(kind: str) -> None:
    """``on_shown`` gets the append time of the oldest record of the batch."""
    tables, told_ms = SlowTables(), list[int]()
    await tables.establish("run")
    storer: Storer = RowStorer(tables, Counter(), told_ms.append)
    if kind == "demand":
        storer = DemandStorer(tables, Counter(), lambda: REGISTRY, on_shown=told_ms.append)
    assert await storer.store(row_items() if kind == "rows" else demand_items())
    assert told_ms == [T0_MS]


async def test_readers_that_saw_a_refused_row_are_woken_again() -> None:
    """A refused row that could change a decision was material, also if nothing is written in its place."""
    tables = SlowTables(refusals=1)
    await tables.establish("run")
    assert await RowStorer(tables, Counter()).store(row_items())
