"""What becomes of decisions, and of the history, while Kafka takes nothing: both are bounded and say what is
missing. On a simulated Kafka."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from aiokafka import TopicPartition

from controller.decisions.chain import Chain
from controller.decisions.log import WAITING_MAX, DecisionLog
from controller.history import log as history
from controller.history.entries import decode_history
from lab.simulated.kafka import SimKafka
from lab.simulated.kafka_clients import SimBrokers
from lab.simulated.loop import VirtualLoop
from lab.simulated.network import Network
from tests.unit.controller.decisions.lived import lived, rebuilt
from tieline.cancelling import end_all

TOPIC = "log"


def run(world: Callable[[SimBrokers], Awaitable[None]]) -> None:
    """Runs one world on a Kafka that has the topic."""
    loop = VirtualLoop()
    kafka = SimKafka(Network(loop, "seed"), "seed")
    kafka.create(TOPIC, 1)
    loop.run_until_complete(asyncio.wait_for(world(SimBrokers("simulated:1", kafka=kafka)), 600))
    loop.bury()


async def bodies(brokers: SimBrokers, enough: Callable[[list[bytes]], bool]) -> list[bytes]:
    """The first records of the topic, once there are enough."""
    consumer: Any = brokers.consumer(auto_offset_reset="none")
    await consumer.start()
    partition = TopicPartition(TOPIC, 0)
    consumer.assign([partition])
    consumer.seek(partition, 0)
    read: list[bytes] = []
    while not enough(read):
        batch = await consumer.getmany(timeout_ms=5_000)
        read += [record.value for record in batch.get(partition, ())]
    return read


def test_decisions_that_kafka_does_not_take_are_dropped_and_the_next_record_is_whole() -> None:
    """What waits is bounded, and what comes after the gap can be rebuilt without what was dropped."""

    async def world(brokers: SimBrokers) -> None:
        log, steps = DecisionLog(brokers, TOPIC, "me"), lived(WAITING_MAX + 5)
        for step in steps:
            log.record(step)
        running = asyncio.create_task(log.run())
        decisions = rebuilt(Chain(), await bodies(brokers, lambda read: len(read) == 5))
        assert [decision.generation for decision in decisions] == [step.generation for step in steps[-5:]]
        await end_all([running])

    run(world)


def test_the_history_says_how_many_entries_are_missing() -> None:
    """The oldest go, and the beginning of the term stays, because it says whose entries these are."""

    async def world(brokers: SimBrokers) -> None:
        log = history.HistoryLog(brokers, TOPIC, identity="me" * 16, command_of=lambda _id: None)
        [step] = lived(1)
        log.begin(history.TermBegun(step.now_ms, 1, "l1:1:1", ""))
        for _ in range(history.WAITING_MAX + 6):
            log.published(step, {}, ())
        running = asyncio.create_task(log.run())
        records = await bodies(brokers, lambda read: bool(read) and b"are missing" in read[-1])
        entries = [entry for body in records if (record := decode_history(body)) for entry in record.entries]
        assert entries[0].kind == "leader"
        assert [entry.text for entry in entries if entry.kind == "gap"] == [
            "7 entries of the history are missing, as Kafka took none"
        ]
        await end_all([running])

    run(world)
