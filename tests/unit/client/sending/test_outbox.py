"""What waits to be sent: bounded, in order, dropped once it is of no more use."""

import asyncio

from tests.unit.client.made_tables import Time
from tieline._sending.outbox import Outbox
from tieline.events import Capacity, Claim, PoolCapacity, Report, Statement, expires_ms
from tieline.leader_events import Heartbeat

NOW_MS = 1_790_000_000_000


def outbox(entries_max: int = 2) -> tuple[Outbox[str], Time]:
    """An empty outbox, and the clock it goes by."""
    time = Time(NOW_MS)
    return Outbox(entries_max, time), time


def contents(box: Outbox[str]) -> list[str]:
    """Take everything that waits."""
    return [box.take().item for _ in range(len(box))]


async def test_the_oldest_perishable_item_makes_way_in_a_full_outbox() -> None:
    """What never expires stays, wherever it stands; where nothing can make way the new item is dropped."""
    box, _ = outbox()
    assert box.put("command", None)
    assert box.put("first report", NOW_MS + 1)
    assert box.put("second report", NOW_MS + 1)
    assert box.put("statement", None)
    assert not box.put("third report", NOW_MS + 1)
    assert box.dropped_full == 3
    assert contents(box) == ["command", "statement"]


async def test_what_has_expired_is_dropped_and_counted() -> None:
    """From the moment of its expiry on."""
    box, time = outbox()
    box.put("report", NOW_MS + 10)
    time.pass_ms(9)
    box.drop_expired()
    assert len(box) == 1
    time.pass_ms(1)
    box.drop_expired()
    assert (len(box), box.dropped_expired) == (0, 1)
    assert await box.drain(0)


async def test_what_could_not_be_sent_is_the_next_again() -> None:
    """An entry that is put back keeps its place, and is unfinished until it is finished."""
    box, _ = outbox()
    box.put("first", None)
    box.put("second", None)
    box.put_back(box.take())
    assert contents(box) == ["first", "second"]
    box.finish()
    assert not await box.drain(0)
    box.finish()
    assert await box.drain(0)


async def test_a_sender_is_woken_by_what_is_put() -> None:
    """And whoever drains is woken by the end of the last entry, also when all are dropped."""
    box, _ = outbox()
    waiting = asyncio.create_task(box.wait_filled())
    await asyncio.sleep(0)
    box.put("report", None)
    await waiting
    draining = asyncio.create_task(box.drain(10))
    await asyncio.sleep(0)
    assert box.drop_all() == 1
    assert await draining


def test_each_event_says_until_when_it_is_of_use() -> None:
    """Reports go stale three intervals after their window, at least 15 s; a statement lasts as long as its
    longest claim; what is not perishable never expires."""
    report = Report(
        source="prober",
        provider="a",
        region="r",
        incarnation="i",
        sequence=1,
        window_start_ms=NOW_MS - 1_000,
        window_end_ms=NOW_MS,
        interval_ms=10_000,
        pools=(),
    )
    capacity = Capacity(
        source="quota",
        provider="a",
        region="r",
        incarnation="i",
        sequence=1,
        issued_ms=NOW_MS,
        expires_ms=NOW_MS + 5,
        pools=(PoolCapacity("a/r/x", 1.0),),
    )
    statement = Statement(
        source="status",
        provider="a",
        region="r",
        kind="status",
        incarnation="i",
        sequence=1,
        issued_ms=NOW_MS,
        claims=(Claim("down", NOW_MS + 7), Claim("down", NOW_MS + 3)),
    )
    assert expires_ms(report) == NOW_MS + 30_000
    assert expires_ms(capacity) == NOW_MS + 5
    assert expires_ms(statement) == NOW_MS + 7
    assert expires_ms(Heartbeat("controller", 1)) is None
