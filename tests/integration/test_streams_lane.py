"""The lane between an agent and its handler: order, groups, and never an acknowledgement too early."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

import pytest

from streams.contract_check import Record
from streams.handling import HandBack
from streams.lane import Delivery, Lane, LaneError
from tests.waiting import until


class Consumer:
    """Holds records as Faust does; ``log`` tells what became of them."""

    def __init__(self) -> None:
        self.log: list[tuple[str, int]] = []

    def delivery(self, offset: int, generation: int = 1) -> Delivery:
        """A record of the one partition."""
        record = Record(
            topic="t",
            topic_id="id",
            partition=0,
            offset=offset,
            append_ms=0,
            key=b"k",
            value=b"v",
            headers=(),
        )
        return Delivery(
            record,
            generation,
            acknowledge=lambda: self.log.append(("acknowledged", offset)),
            release=lambda: self.log.append(("released", offset)),
        )


@asynccontextmanager
async def running(lane: Lane) -> AsyncIterator[asyncio.Task[None]]:
    """The lane's task, cancelled at the end."""
    task = asyncio.create_task(lane.run())
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError, ZeroDivisionError):
            await task


async def test_records_are_acknowledged_in_order_after_their_group_is_safe() -> None:
    """While one group is handled the next gathers; nothing is acknowledged before its group returned."""
    groups: list[list[int]] = []
    proceed = asyncio.Event()
    consumer = Consumer()

    async def handle(records: Sequence[Record]) -> None:
        groups.append([record.offset for record in records])
        await proceed.wait()

    lane = Lane(handle, group_max=4, waiting_max=100)
    async with running(lane):
        await lane.put(consumer.delivery(0))
        await until(lambda: groups)
        for offset in range(1, 8):
            await lane.put(consumer.delivery(offset))
        assert consumer.log == []
        proceed.set()
        await until(lambda: len(consumer.log) == 8)
    assert groups == [[0], [1, 2, 3, 4], [5, 6, 7]]
    assert consumer.log == [("acknowledged", offset) for offset in range(8)]
    assert lane.next_offsets == {("t", 0): 8}


async def test_what_is_handed_back_stays_unacknowledged_and_so_does_all_after_it() -> None:
    """To acknowledge a later record of the same generation could commit past the one handed back."""
    consumer = Consumer()
    yields = True

    async def handle(records: Sequence[Record]) -> None:
        if yields:
            raise HandBack

    lane = Lane(handle, group_max=1, waiting_max=100)
    async with running(lane):
        await lane.put(consumer.delivery(0))
        await until(lambda: consumer.log)
        yields = False
        await lane.put(consumer.delivery(1))
        await until(lambda: len(consumer.log) == 2)
        await lane.put(consumer.delivery(0, generation=2))
        await until(lambda: len(consumer.log) == 3)
    assert consumer.log == [("released", 0), ("released", 1), ("acknowledged", 0)]


async def test_an_error_in_the_handler_releases_everything_and_ends_the_lane() -> None:
    """A fault of ours acknowledges nothing; the lane takes no more, and its task says why."""
    consumer = Consumer()

    async def handle(records: Sequence[Record]) -> None:
        raise ZeroDivisionError

    lane = Lane(handle, group_max=1, waiting_max=1)
    async with running(lane) as task:
        putting = [asyncio.create_task(lane.put(consumer.delivery(offset))) for offset in range(4)]
        await asyncio.gather(*putting, return_exceptions=True)
        await until(task.done)
        with pytest.raises(LaneError):
            await lane.put(consumer.delivery(9))
        assert isinstance(task.exception(), ZeroDivisionError)
    assert sorted(consumer.log) == [("released", offset) for offset in (0, 1, 2, 3, 9)]


async def test_a_full_lane_makes_its_agent_wait() -> None:
    """The queue is bounded, and a record whose agent is cancelled while it waits is released."""
    consumer = Consumer()
    never = asyncio.Event()

    async def handle(records: Sequence[Record]) -> None:
        await never.wait()

    lane = Lane(handle, group_max=1, waiting_max=2)
    async with running(lane):
        for offset in range(3):
            await lane.put(consumer.delivery(offset))
            await asyncio.sleep(0)
        waiting = asyncio.create_task(lane.put(consumer.delivery(3)))
        await asyncio.sleep(0)
        assert not waiting.done()
        waiting.cancel()
        with suppress(asyncio.CancelledError):
            await waiting
        assert consumer.log == [("released", 3)]
