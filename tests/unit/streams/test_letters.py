"""Which records have their dead letter, and which letters wait: marks and notes in the tables."""

from __future__ import annotations

import pytest

from streams.letters import WAITING_MAX, LetterNotes, WaitingLetter
from streams.memory import MemoryState, MemoryTables
from streams.positions import Partition
from streams.rows import Position


def at(offset: int, *, partition: int = 0, topic_id: str = "id-1") -> Position:
    return Position(topic_id, partition, offset)


def letter(offset: int, *, partition: int = 0) -> WaitingLetter:
    return WaitingLetter(
        topic="t.reports",
        position=at(offset, partition=partition),
        reason="undecodable",
        place="no body",
        noted_ms=1,
    )


@pytest.fixture
def state() -> MemoryState:
    """What the processes of a test share."""
    return MemoryState()


async def notes_over(state: MemoryState) -> LetterNotes:
    """Those of another process."""
    notes = LetterNotes(MemoryTables(state))
    await notes.load()
    return notes


async def test_poison_up_to_the_mark_has_its_letter(state: MemoryState) -> None:
    """Of the same log only, for every process, and a mark never goes back."""
    notes = await notes_over(state)
    assert not notes.is_done(at(0))
    await notes.note([at(3), at(7), at(5)])
    await notes.note([at(4)])
    for process in (notes, await notes_over(state)):
        assert process.is_done(at(7))
        assert not process.is_done(at(8))
        assert not process.is_done(at(7, partition=1))
        assert not process.is_done(at(7, topic_id="id-2"))


async def test_a_waiting_letter_is_done_and_waits_until_it_is_settled(state: MemoryState) -> None:
    """Its record is not looked at again; any process that gets the partition knows of it."""
    notes = await notes_over(state)
    await notes.note([at(2), at(9)], [letter(9), letter(2)])
    assert notes.is_done(at(9))
    other = await notes_over(state)
    assert other.waiting(Partition("t.reports", 0)) == [letter(2), letter(9)]
    assert other.waiting(Partition("t.reports", 1)) == []
    await other.settle([letter(2)])
    assert (await notes_over(state)).waiting() == [letter(9)]


async def test_letters_that_wait_are_bounded(state: MemoryState) -> None:
    """Those for which there is no room are counted, and their records are done all the same."""
    notes = await notes_over(state)
    letters = [letter(offset) for offset in range(WAITING_MAX + 3)]
    assert await notes.note([each.position for each in letters], letters) == 3
    assert len(notes.waiting()) == WAITING_MAX
    assert notes.is_done(at(WAITING_MAX + 2))
    assert await notes.note([at(5_000)], [letter(5_000)]) == 1


async def test_an_emptied_redis_gets_the_notes_back(state: MemoryState) -> None:
    """From the process that has them in memory, as soon as it looks again."""
    notes = await notes_over(state)
    await notes.note([at(7)], [letter(7)])
    state.clear()
    notes.forget()
    await notes.load()
    other = await notes_over(state)
    assert other.is_done(at(7))
    assert other.waiting() == [letter(7)]


async def test_what_another_version_has_stored_is_passed_over(state: MemoryState) -> None:
    """It neither raises nor counts."""
    state.notes |= {"mark/id-1/0": b"x", "wait/id-1/0/1": b"\xc1", "else": b""}
    notes = await notes_over(state)
    assert notes.waiting() == []
    assert not notes.is_done(at(0))
