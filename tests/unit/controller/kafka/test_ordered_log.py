"""The reader of an ordered log, as far as it needs no broker."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition

from controller.kafka.ordered_log import TAKE_FOR_MAX_S, Tail, watch_logs
from controller.process.errors import LogRecreatedError
from lab.simulated.kafka import SERVER, SimKafka
from lab.simulated.kafka_clients import SimBrokers
from lab.simulated.loop import VirtualLoop, passes
from lab.simulated.network import Network
from streams import topic_ids

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


def test_a_broker_that_is_slow_when_the_watch_of_the_logs_begins_is_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The process goes on; and then it notices that a log was created anew."""
    monkeypatch.setattr(topic_ids, "WITHIN_S", 3.0)
    loop = VirtualLoop()
    network = Network(loop, "seed")
    kafka = SimKafka(network, "seed")
    kafka.create("log", 1)
    link = network.link("nobody", SERVER)

    async def world() -> None:
        link.delay_ms = (1_000.0, 1_000.0)
        watching = asyncio.create_task(watch_logs(SimBrokers("simulated:1", kafka=kafka), ["log"]))
        await passes(10)
        assert not watching.done()
        link.delay_ms = (1.0, 1.0)
        await passes(10)
        kafka.recreate("log")
        with pytest.raises(LogRecreatedError):
            await watching

    loop.run_until_complete(asyncio.wait_for(world(), 1e6))
    loop.bury()


def test_brokers_that_are_slow_when_a_log_is_read_to_its_end_are_asked_again() -> None:
    """As long as there is time. A controller that starts while brokers are busy does not end by it."""
    loop = VirtualLoop()
    network = Network(loop, "seed")
    kafka = SimKafka(network, "seed")
    kafka.create("log", 1)
    link = network.link("nobody", SERVER)
    values: list[bytes | None] = []

    async def world() -> None:
        tail = Tail(SimBrokers("simulated:1", kafka=kafka), "log", lambda record: values.append(record.value))
        await tail.start()
        kafka.append(TopicPartition("log", 0), None, b"one", ())
        link.delay_ms = (20_000.0, 20_000.0)
        with pytest.raises(TimeoutError):
            await tail.read_all(8)
        reading = asyncio.create_task(tail.read_all(60))
        await passes(12)
        assert not reading.done()
        link.delay_ms = (1.0, 1.0)
        running = asyncio.create_task(tail.run())
        await reading
        assert values == [b"one"]
        running.cancel()

    loop.run_until_complete(asyncio.wait_for(world(), 1e6))
    loop.bury()
