"""How far a process says that its partitions are read, also across a change of the assignment."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from streams.clock_offsets import ClockOffsets
from streams.consumer_thread import FetchedOffsets
from streams.contract_check import Record
from streams.lane import Lane
from streams.letters import DeadLetters, LetterNotes
from streams.memory import MemoryTables
from streams.positions import Offsets, Partition
from streams.progress import ProgressReporter
from tests.unit.streams.made import T0_MS

PLACE = Partition("demand", 3)


class KnownOffsets(Offsets):
    """Offsets that a test names, in the place of Kafka's."""

    def __init__(self) -> None:
        self.committed = self.end = 0
        self.when_asked: Callable[[], None] = lambda: None

    async def starts(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        """What the group committed."""
        return dict.fromkeys(partitions, self.committed)

    async def ends(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        """Where the logs end."""
        self.when_asked()
        return dict.fromkeys(partitions, self.end)


async def nothing() -> None:
    """Recovers nothing."""


async def handled(_records: Sequence[Record]) -> None:
    """Every record is safe at once."""


async def reporting(offsets: KnownOffsets) -> tuple[ProgressReporter, Lane]:
    """A reporter of one partition, and the lane that reads it."""
    tables = MemoryTables()
    await tables.establish("run-1")
    lane = Lane(handled, group_max=1, waiting_max=1)
    reporter = ProgressReporter(
        tables=tables,
        offsets=offsets,
        lanes={PLACE.topic: lane},
        fetched=FetchedOffsets(),
        letters=DeadLetters("127.0.0.1:1", "letters", notes=LetterNotes(tables), now_ms=lambda: T0_MS),
        stale_share=lambda _topic: 0.0,
        topic_ids={PLACE.topic: "id"},
        clock=ClockOffsets(lambda: T0_MS, lambda: T0_MS),
        assigned=lambda: {PLACE},
        recover=nothing,
    )
    return reporter, lane


async def test_a_partition_that_stays_is_not_behind_after_the_others_moved() -> None:
    """It was read to its end and gets no new record: it goes on at what the group committed since."""
    offsets = KnownOffsets()
    reporter, lane = await reporting(offsets)
    await reporter.report()
    lane.next_offsets[PLACE] = offsets.end = offsets.committed = 8
    await reporter.report()
    reporter.forget(PLACE)  # all partitions are taken away, and come back before the next report
    await reporter.report()
    assert [(row.next_offset, row.caught_up) for row in reporter.rows] == [(8, True)]
    assert reporter.stalled(0.0) is None


async def test_a_change_during_a_report_ends_it() -> None:
    """What was asked before the change is not believed after it; the next report asks again."""
    offsets = KnownOffsets()
    reporter, lane = await reporting(offsets)
    await reporter.report()
    lane.next_offsets[PLACE] = offsets.end = offsets.committed = 8
    rows = reporter.rows
    offsets.when_asked = lambda: reporter.forget(PLACE)
    await reporter.report()
    assert reporter.rows is rows
    offsets.when_asked = lambda: None
    await reporter.report()
    assert [(row.next_offset, row.caught_up) for row in reporter.rows] == [(8, True)]
