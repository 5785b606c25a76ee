"""How far a process says that its partitions are read, also across a change of the assignment."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence

from streams.clock_offsets import ClockOffsets
from streams.consumer_thread import FetchedOffsets
from streams.contract_check import Record
from streams.lane import Delivery, Lane
from streams.letters import DeadLetters, LetterNotes
from streams.memory import MemoryTables
from streams.positions import Offsets, Partition
from streams.progress import ProgressReporter
from tests.unit.streams.made import T0_MS
from tests.waiting import until
from tieline.cancelling import end_all

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


def delivery(offset: int, generation: int, safe: list[int]) -> Delivery:
    """A record of the partition, read under this assignment; ``safe`` takes its offset once it is."""
    record = Record(
        PLACE.topic,
        topic_id="id",
        partition=PLACE.number,
        offset=offset,
        append_ms=T0_MS,
        key=None,
        value=None,
        headers=(),
    )
    return Delivery(record, generation, acknowledge=lambda: safe.append(offset), release=lambda: None)


async def reporting(
    offsets: KnownOffsets,
    handle: Callable[[Sequence[Record]], Awaitable[None]] = handled,
    now_ms: Callable[[], int] = lambda: T0_MS,
) -> tuple[ProgressReporter, Lane]:
    """A reporter of one partition, and the lane that reads it."""
    tables = MemoryTables()
    await tables.establish("run-1")
    lane = Lane(handle, group_max=1, waiting_max=1)
    reporter = ProgressReporter(
        tables=tables,
        offsets=offsets,
        lanes={PLACE.topic: lane},
        fetched=FetchedOffsets(),
        letters=DeadLetters("127.0.0.1:1", "letters", notes=LetterNotes(tables), now_ms=lambda: T0_MS),
        stale_share=lambda _topic: 0.0,
        topic_ids={PLACE.topic: "id"},
        clock=ClockOffsets(now_ms, now_ms),
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


async def test_a_record_that_is_safe_only_after_its_partition_went_says_nothing_of_the_next_time() -> None:
    """Another process reads on meanwhile; the partition comes back at what the group committed, and may get
    no new record for long."""
    proceed = asyncio.Event()
    taken: list[Record] = []
    safe: list[int] = []

    async def handle(records: Sequence[Record]) -> None:
        taken.extend(records)
        await proceed.wait()

    offsets = KnownOffsets()
    reporter, lane = await reporting(offsets, handle)
    running = asyncio.create_task(lane.run())
    await lane.put(delivery(2, 1, safe))
    await until(lambda: taken)
    reporter.forget(PLACE)
    proceed.set()
    await until(lambda: safe)
    offsets.end = offsets.committed = 8
    await reporter.report()
    assert [(row.next_offset, row.caught_up) for row in reporter.rows] == [(8, True)]
    offsets.end = 9
    await lane.put(delivery(8, 2, safe))
    await until(lambda: len(safe) == 2)
    await reporter.report()
    assert [(row.next_offset, row.caught_up) for row in reporter.rows] == [(9, True)]
    await end_all([running])


async def test_a_row_is_as_old_as_the_question_where_the_log_ends() -> None:
    """A process that was stopped while it had the answer does not know what has come since."""
    now_ms = T0_MS
    offsets = KnownOffsets()

    def is_stopped() -> None:
        nonlocal now_ms
        now_ms += 30_000

    offsets.when_asked = is_stopped
    reporter, _ = await reporting(offsets, now_ms=lambda: now_ms)
    await reporter.report()
    assert [(row.at_ms, row.caught_up) for row in reporter.rows] == [(T0_MS, True)]
