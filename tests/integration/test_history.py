"""The history over real Kafka: what a leader did is answered afterwards, through a take-over, and at once."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from controller.core.model.reasons import Reason, Verdict
from controller.history.entries import Entry, HistoryRecord, LoadMove, Selection, encode_history
from controller.history.log import HistoryLog, TermBegun
from controller.history.reader import history_between
from controller.kafka.ordered_log import start_producer
from controller.notify.follow import Follower
from controller.notify.target import Target
from controller.notify.targets import Access
from controller.process.clock import now_ms
from tests.integration.controllers import Fleet, settings_of, tieline
from tests.integration.notified import Sink
from tests.integration.replicated import create_topics
from tests.unit.controller.history.recorded import observation
from tests.waiting import until
from tieline.events import Command
from tieline.producer import Producer
from tieline.topics import Topics

SILENT = Verdict("prober", Reason.SOURCE_SILENT, 0, value=2.0)
LATE = Verdict("gateway", Reason.DUPLICATE_SOURCE, 0)
PUBLICATIONS = 1_000
QUICK_S = 30.0  # a safety net: on a quiet machine it takes less than a second
SHED = {("shedding", "api", "critical"), ("shedding", "batch", "warning")}


@pytest.fixture
async def topics(kafka_bootstrap: str, prefix: str) -> Topics:
    """The topics of one test."""
    topics = Topics(prefix.rstrip("."))
    await create_topics(kafka_bootstrap, topics)
    return topics


@asynccontextmanager
async def writing(kafka: str, topics: Topics, identity: str, epoch: int) -> AsyncIterator[HistoryLog]:
    """A leader's log of this epoch."""
    log = HistoryLog(kafka, topics.history.name, identity=identity, command_of=lambda _: None)
    running = asyncio.create_task(log.run())
    log.begin(TermBegun(now_ms(), epoch, f"test:{epoch}:1", continues="test:0:9"))
    try:
        yield log
    finally:
        running.cancel()
        await asyncio.wait({running})


async def entries(kafka: str, topics: Topics, **asked: tuple[str, ...]) -> tuple[Entry, ...]:
    """All entries of the last hour that are asked for."""
    until_ms = now_ms() + 60_000
    name = topics.history.name
    return (await history_between(kafka, name, until_ms - 3_600_000, until_ms, Selection(**asked))).entries


async def test_a_take_over_repeats_nothing_and_loses_no_end(kafka_bootstrap: str, topics: Topics) -> None:
    """An alarm that stands is not told again by the next leader, and one that ended meanwhile is ended."""

    async def phases(count: int) -> list[tuple[str, str]]:
        alarms = await entries(kafka_bootstrap, topics, kinds=("alarm",))
        return [(entry.about, entry.phase) for entry in alarms] if len(alarms) >= count else []

    async with writing(kafka_bootstrap, topics, "first", 3) as log:
        log.observe(observation(alarms=(SILENT, LATE), at_ms=now_ms()))
        assert await until(lambda: phases(2)) == [("prober", "begins"), ("gateway", "begins")]
    async with writing(kafka_bootstrap, topics, "second", 8) as log:
        log.observe(observation(alarms=(SILENT,), at_ms=now_ms()))
        assert (await until(lambda: phases(3)))[2:] == [("gateway", "ends")]
    leaders = await entries(kafka_bootstrap, topics, kinds=("leader",))
    assert [entry.who for entry in leaders] == ["controller first", "controller second"]


async def test_an_hour_of_a_thousand_publications_is_read_at_once(
    kafka_bootstrap: str, topics: Topics
) -> None:
    """With the moves and reasons of each, beside rubbish that lies between them."""
    producer = await start_producer(kafka_bootstrap)
    moves = tuple(LoadMove("chat", f"azure/r{pool}/d", before=9.0, after=0.0) for pool in range(20))
    why = tuple(f"azure/r{pool}/d: clients' requests fail there (63.8% against 50.0%)" for pool in range(10))
    for number in range(1, PUBLICATIONS + 1):
        entry = Entry(now_ms(), "move", "table", text="moved", key=f"{number}", moves=moves, why=why)
        record = encode_history(HistoryRecord(1, "writer", number, entries=(entry,)))
        await producer.send(topics.history.name, value=record, partition=0)
    await producer.send_and_wait(topics.history.name, value=b"\xc1 rubbish", partition=0)
    await producer.stop()
    begun_s = time.perf_counter()
    read = await entries(kafka_bootstrap, topics, pools=("azure/r7",))
    took_s = time.perf_counter() - begun_s
    assert len(read) == PUBLICATIONS
    newest = await history_between(
        kafka_bootstrap, topics.history.name, 0, now_ms() + 60_000, Selection(), entries_max=10
    )
    assert newest.left_out == PUBLICATIONS - 10
    assert [entry.key for entry in newest.entries] == [str(PUBLICATIONS - 9 + place) for place in range(10)]
    assert took_s < QUICK_S


@pytest.fixture
async def fleet(kafka_bootstrap: str, redis_url: str, prefix: str, tmp_path: Path) -> AsyncIterator[Fleet]:
    async with Fleet(settings_of(kafka_bootstrap, redis_url, prefix), tmp_path) as running:
        yield running


async def told(fleet: Fleet, *arguments: str, **overrides: str) -> str:
    """What `tieline history` prints of the last hour."""
    shown = await tieline(fleet.settings, "history", "--from", "-1h", *arguments, **overrides)
    assert shown.status == 0, shown.err
    return shown.out


async def test_orders_and_refusals_are_answered_afterwards(fleet: Fleet) -> None:
    """Who gave which order, why, until when and what it moved; who was refused and why; and who leads."""
    assert "nothing happened" not in (await _decides(fleet))
    async with notified(fleet) as sink:
        await _ordered(fleet)
        await until(lambda: sink.told() >= SHED and {"forced_move", "refusal"} <= sink.kinds())

    async def of_orders() -> list[dict[str, Any]]:
        shown = json.loads(await told(fleet, "--json", "--kind", "order", "--kind", "refusal"))["entries"]
        return shown if len(shown) >= 2 else []

    by_kind = {entry["kind"]: entry for entry in await until(of_orders)}
    assert by_kind["order"]["who"] == "kim"
    assert by_kind["order"]["why"] == ["repair"]
    assert by_kind["refusal"]["who"] == "lee"
    assert "expired" in by_kind["refusal"]["text"]
    text = await told(fleet, COLUMNS="80")
    assert "\x1b" not in text
    assert all(len(line) <= 80 for line in text.splitlines())
    assert "moved at once" in text
    assert "on the orders of kim" in text
    assert "leads, in epoch" in text
    assert "nothing of what was asked for happened" in await told(fleet, "--workload", "none")


async def _ordered(fleet: Fleet) -> None:
    """An order that comes too late, and one that sheds load."""
    async with Producer(fleet.settings.kafka, prefix=fleet.settings.namespace) as producer:
        now = now_ms()
        stale = Command("o-stale", "drain", "gcp", "lee", "too\x1b[2J late", now, expires_ms=now - 5_000)
        await producer.send(stale)
        drain = Command("o-drain", "drain", "azure", "kim", "repair", now, expires_ms=now + 3_600_000)
        await producer.send(drain)


@asynccontextmanager
async def notified(fleet: Fleet) -> AsyncIterator[Sink]:
    """A webhook that is told what the controllers write."""
    settings = fleet.settings
    async with Sink().listening() as sink:
        follower = Follower(
            settings.kafka,
            settings.namespace,
            settings.topics.history.name,
            target=Target(name="hook", kind="webhook", url=sink.url),
            access=Access(f"{sink.url}/hook", "", {}),
        )
        running = asyncio.create_task(follower.run())
        try:
            await until(lambda: follower.follows, 30.0, "the follower has the partition")
            yield sink
        finally:
            running.cancel()
            await asyncio.wait({running})


async def _decides(fleet: Fleet) -> str:
    controller = await fleet.add()
    await controller.until_said("decides now")
    return await told(fleet)
