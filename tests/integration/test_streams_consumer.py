"""The short ways of records from Kafka to their agents keep what the long ones promise."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from faust.tables.recovery import RebalanceAgain, ServiceStopped
from mode import Service

from controller.kafka.ordered_log import start_producer
from streams.agents import build_app
from streams.consumer_thread import patient, quick_first, quick_start
from streams.producers import stop_producer
from streams.settings import IngestSettings
from tests.integration.replicated import create_topics
from tests.waiting import until
from tieline.topics import Topics


class Host(Service):  # type: ignore[misc]
    """A service whose own ``wait_first`` is the long way."""


@pytest.fixture
async def log() -> list[str]:
    """What happened, in order."""
    return []


async def test_what_waits_for_nothing_is_done_in_place(log: list[str]) -> None:
    """No task is started: the loop gets no turn between the call and its end."""

    async def deliver() -> None:
        log.append("delivered")

    asyncio.get_running_loop().call_soon(log.append, "a turn of the loop")
    await quick_first(Host().wait_first)(deliver(), asyncio.Event().wait())
    assert log == ["delivered"]


async def test_what_must_wait_goes_on_where_it_stopped(log: list[str]) -> None:
    """A delivery into a full queue is begun once and ends when there is room, its value and error its own."""
    room: asyncio.Queue[int] = asyncio.Queue(maxsize=1)
    room.put_nowait(0)

    async def deliver() -> None:
        log.append("begun")
        await room.put(1)
        await asyncio.sleep(0)
        log.append("ended")

    task = asyncio.ensure_future(quick_first(Host().wait_first)(deliver(), asyncio.Event().wait()))
    await asyncio.sleep(0)
    assert log == ["begun"]
    assert not task.done()
    assert (room.get_nowait(), await room.get()) == (0, 1)
    await task
    assert log == ["begun", "ended"]


async def test_a_suspension_interrupts_what_waits(log: list[str]) -> None:
    """As the long way does it: the delivery is cancelled, and sees that."""
    suspended = asyncio.Event()

    async def deliver() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            log.append("cancelled")
            raise

    task = asyncio.ensure_future(quick_first(Host().wait_first)(deliver(), suspended.wait()))
    await asyncio.sleep(0)
    suspended.set()
    await task
    await asyncio.sleep(0)
    assert log == ["cancelled"]


async def test_a_member_waits_for_kafka_until_it_answers_or_partitions_change_hands() -> None:
    """Faust's own wait takes its time-out for the end of the app, and the member would read nothing more."""
    recovery = build_app(IngestSettings("127.0.0.1:9", "patient")).tables.recovery
    with pytest.raises(ServiceStopped):
        await recovery._wait(asyncio.Event().wait(), timeout=0.01)
    answered, wait = asyncio.Event(), patient(recovery._wait)
    waiting = asyncio.create_task(wait(answered.wait(), timeout=0.01))
    await asyncio.wait({waiting}, timeout=0.1)
    assert not waiting.done()
    answered.set()
    await waiting
    recovery.signal_recovery_start.set()
    with pytest.raises(RebalanceAgain):
        await wait(asyncio.Event().wait(), timeout=60)


@pytest.mark.parametrize("pause", [False, True])
async def test_errors_come_out(pause: bool) -> None:
    """Before and after a wait."""

    async def deliver() -> None:
        if pause:
            await asyncio.sleep(0)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await quick_first(Host().wait_first)(deliver(), asyncio.Event().wait())


async def test_other_uses_go_the_long_way() -> None:
    """A single thing to wait for, or an event instead of a coroutine, is not touched."""
    seen: list[tuple[Any, ...]] = []

    async def long_way(*waited: Any, **options: Any) -> str:
        seen.append(waited)
        return "long"

    event = asyncio.Event()
    assert await quick_first(long_way)(event) == "long"
    assert await quick_first(long_way)(event, event) == "long"
    assert seen == [(event,), (event, event)]


async def test_no_partition_waits_for_the_silence_of_others(kafka_bootstrap: str, prefix: str) -> None:
    """The broker may hold a fetch for half a minute; a partition left out of one is still soon read on."""
    topics = Topics(prefix)
    await create_topics(kafka_bootstrap, topics)
    busy, silent = (TopicPartition(topics.capacity.name, number) for number in (0, 1))
    consumer: Any = AIOKafkaConsumer(
        bootstrap_servers=kafka_bootstrap, auto_offset_reset="earliest", enable_auto_commit=False
    )
    consumer.start = quick_start(consumer, long_wait_ms=30_000)
    producer = await start_producer(kafka_bootstrap)
    try:
        await consumer.start()
        consumer.assign([busy, silent])
        async with asyncio.timeout(60):
            for number in (b"1", b"2", b"3"):
                await producer.send_and_wait(busy.topic, number, key=b"any", partition=0)
                await until(
                    lambda: busy in consumer._fetcher._records and consumer._fetcher._in_flight,
                    what="a fetch without the partition",
                )
                assert (await consumer.getone()).value == number
    finally:
        await consumer.stop()
        await stop_producer(producer)
