"""What holds of any tables that come back as an older copy of themselves, and rows for tests of tables."""

from __future__ import annotations

from abc import ABC, abstractmethod

import pytest

from streams.fold import fold
from streams.rows import Position, Progress, Row
from streams.store import Tables, TablesLostError, Write, field_of
from tests.unit.streams.made import T0_MS, at, observation, report


def row(sequence: int, *, region: str = "eu", partition: int = 0) -> Row:
    """A health row whose offset is its sequence."""
    event = report(sequence, observation(f"azure/{region}/a", ok=sequence), region=region)
    after = fold(None, event, at(sequence, partition), T0_MS)
    assert isinstance(after, Row)
    return after


def write(new: Row, expected: Position | None, material: bool = False) -> Write:
    """The write of a row into the field of its event."""
    return Write(*field_of(new.event), expected, row=new, material=material)


def progress(topic: str, partition: int, *, next_offset: int = 2) -> Progress:
    """How far a partition of two records is consumed."""
    return Progress(topic, partition, next_offset=next_offset, end_offset=2, at_ms=T0_MS)


class OlderCopies(ABC):
    """What a process that wrote notices of it. ``tables`` and ``other`` stand for two processes over the same
    state."""

    tables: Tables
    other: Tables

    @abstractmethod
    async def empty(self) -> None:
        """Loses everything, as a Redis without persistence does when it restarts."""

    @abstractmethod
    async def copy(self) -> None:
        """Saves everything as it is now."""

    @abstractmethod
    async def take_back(self) -> None:
        """Puts everything back to the last copy, as a restore from a backup does."""

    async def start(self) -> None:
        """Both processes join one run."""
        run = await self.tables.establish("run-1")
        assert await self.other.join(run)

    async def test_an_older_copy_is_noticed_and_ends_its_run(self) -> None:
        """Whoever writes progress first sees that the tables went back; nobody may write into them until they
        are rebuilt, and then the rebuilt rows replace the older ones."""
        await self.start()
        await self.tables.put([write(row(1), None)])
        await self.tables.put_progress([progress("a", 0)])
        await self.copy()
        await self.tables.put([write(row(2), at(1))])
        for _ in range(3):
            await self.tables.put_progress([progress("a", 0)])
        await self.take_back()
        with pytest.raises(TablesLostError):
            await self.tables.put_progress([progress("a", 0)])
        with pytest.raises(TablesLostError):
            await self.other.put([write(row(3), at(2))])
        assert await self.tables.run() is None
        await self.take_back()
        assert not await self.tables.join("run-1")
        assert await self.tables.establish("run-2") == "run-2"
        await self.tables.put_progress([progress("a", 0)])

    async def test_an_older_copy_is_noticed_by_whoever_wrote_since(self) -> None:
        """Also if another process, which had written nothing since, writes into the copy first; and if the
        process that wrote has lost its connection and joined the same run again."""
        await self.start()
        for process in (self.tables, self.other):
            await process.put_progress([progress("a", 0)])
        await self.copy()
        await self.tables.put_progress([progress("a", 0)])
        await self.take_back()
        for _ in range(2):
            await self.other.put_progress([progress("a", 0)])
        assert await self.tables.join("run-1")
        with pytest.raises(TablesLostError):
            await self.tables.put_progress([progress("a", 0)])
        assert await self.tables.run() is None

    async def test_an_older_copy_that_lacks_one_row_is_noticed(self) -> None:
        """Also if the row was written after the last progress: by the next progress, or by the next row."""
        await self.start()
        await self.tables.put_progress([progress("a", 0)])
        await self.copy()
        await self.tables.put([write(row(1), None)])
        await self.take_back()
        with pytest.raises(TablesLostError, match="older copy"):
            await self.tables.put_progress([progress("a", 0)])
        assert await self.tables.run() is None
        assert await self.tables.establish("run-2") == "run-2"
        await self.copy()
        await self.tables.put([write(row(1), None)])
        await self.take_back()
        with pytest.raises(TablesLostError, match="older copy"):
            await self.tables.put([write(row(2, region="us"), None)])
        assert await self.tables.run() is None

    async def test_rows_of_others_and_refused_ones_say_nothing_of_an_older_copy(self) -> None:
        """Two processes write in turn, and one of them is refused: the run goes on."""
        await self.start()
        assert await self.other.put([write(row(1), None)]) == [True]
        for sequence in range(2, 5):
            assert await self.tables.put([write(row(sequence, region="us"), at(9))]) == [False]
            assert await self.other.put([write(row(sequence), at(sequence - 1))]) == [True]
            await self.tables.put_progress([progress("a", 0)])
        assert await self.tables.run() == "run-1"

    async def test_an_older_copy_of_an_earlier_run_is_not_joined(self) -> None:
        """A process that has left a run for a later one ends it when it comes back; one that never knew the
        later run joins whatever is in force."""
        await self.start()
        await self.tables.put_progress([progress("a", 0)])
        await self.copy()
        await self.empty()
        assert await self.tables.establish("run-2") == "run-2"
        await self.take_back()
        assert await self.other.join("run-1")
        with pytest.raises(TablesLostError):
            await self.tables.put_progress([progress("a", 0)])
        assert not await self.tables.join("run-1")
        assert await self.tables.run() is None
