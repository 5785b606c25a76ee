"""The reader of an ordered log, as far as it needs no broker."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from controller.kafka.ordered_log import TAKE_FOR_MAX_S, Tail

RECORDS = 40


async def test_a_batch_that_is_costly_to_take_lets_others_run() -> None:
    """While 40 records are taken of which each costs a third of a pause, others have their turn many times;
    and every record is taken, in order."""
    loop = asyncio.get_running_loop()
    offsets: list[int] = []

    def costly(record: Any) -> None:
        offsets.append(record.offset)
        end_s = loop.time() + TAKE_FOR_MAX_S / 3
        while loop.time() < end_s:
            pass

    tail = Tail("127.0.0.1:9", "orders", costly)
    records: Any = [SimpleNamespace(offset=offset) for offset in range(RECORDS)]
    taking = asyncio.create_task(tail._take_all(records))
    turns = 0
    while not taking.done():
        turns += 1
        await asyncio.sleep(0)
    await taking
    assert offsets == list(range(RECORDS))
    assert tail.next_offset == RECORDS
    assert turns >= 5
    await tail.stop()
