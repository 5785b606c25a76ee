"""Simulated Kafka: logs, fetches, groups, and what is asked of aiokafka's clients."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError, KafkaTimeoutError, OffsetOutOfRangeError

from lab.simulated.clocks import START_MS
from lab.simulated.kafka import SERVER, SimKafka
from lab.simulated.kafka_clients import SimBrokers
from lab.simulated.loop import VirtualLoop, passes
from lab.simulated.network import Network
from streams.positions import to_commit
from streams.topic_ids import topic_facts

LOG = TopicPartition("log", 0)


def run(world: Callable[[SimKafka, SimBrokers], Awaitable[None]]) -> None:
    """Runs one world on a Kafka that has a log of two partitions."""
    loop = VirtualLoop()
    network = Network(loop, "seed")
    kafka = SimKafka(network, "seed")
    kafka.create("log", 2)
    loop.run_until_complete(asyncio.wait_for(world(kafka, SimBrokers("simulated:1", kafka=kafka)), 1e6))
    loop.bury()


async def reader(brokers: SimBrokers, reset: str = "none") -> Any:
    """A consumer at the beginning of the log."""
    consumer = brokers.consumer(auto_offset_reset=reset)
    await consumer.start()
    consumer.assign([LOG])
    consumer.seek(LOG, 0)
    return consumer


def test_records_come_in_their_order_with_the_brokers_time() -> None:
    """A fetch that waits is answered by the next record."""

    async def world(kafka: SimKafka, brokers: SimBrokers) -> None:
        kafka.brokers_ahead_ms = [500, 500, 500]
        producer, consumer = brokers.producer(), await reader(brokers)
        await producer.start()
        waiting = asyncio.create_task(consumer.getmany(timeout_ms=5_000))
        await passes(1)
        sent = await producer.send_and_wait("log", b"one", key=b"k", headers=[("h", b"v")], partition=0)
        (record,) = (await waiting)[LOG]
        assert (record.offset, record.value, record.key, record.headers) == (0, b"one", b"k", (("h", b"v"),))
        assert record.timestamp == sent.timestamp
        assert START_MS + 1_500 <= sent.timestamp < START_MS + 1_510
        assert await consumer.position(LOG) == 1

    run(world)


def test_a_log_that_no_longer_holds_the_position_is_an_error() -> None:
    """After retention, and after the topic was created anew, when groups have committed nothing of it;
    a reader may also ask to begin anew."""

    async def world(kafka: SimKafka, brokers: SimBrokers) -> None:
        for number in range(5):
            kafka.append(LOG, None, str(number).encode(), ())
        strict, lenient = await reader(brokers), await reader(brokers, "earliest")
        strict.seek(LOG, 5)
        lenient.seek(LOG, 5)
        before = (await topic_facts(brokers, ["log"]))["log"].id
        group = kafka.group("readers")
        group.committed = {LOG: to_commit(4, before), TopicPartition("other", 0): to_commit(7, "other")}
        kafka.recreate("log")
        assert group.committed == {TopicPartition("other", 0): to_commit(7, "other")}
        assert (await topic_facts(brokers, ["log"]))["log"].id != before
        with pytest.raises(OffsetOutOfRangeError):
            await strict.getmany(timeout_ms=1_000)
        kafka.append(LOG, None, b"new", ())
        assert [record.value for record in (await lenient.getmany(timeout_ms=1_000))[LOG]] == [b"new"]

    run(world)


def test_a_kafka_that_is_away() -> None:
    """A fetch finds nothing, a question fails, and what was sent is appended later all the same."""

    async def world(kafka: SimKafka, brokers: SimBrokers) -> None:
        producer, consumer = brokers.producer(), await reader(brokers)
        await producer.start()
        kafka.network.cut("nobody", SERVER)
        with pytest.raises(KafkaTimeoutError):
            await producer.send_and_wait("log", b"late", partition=0)
        with pytest.raises(KafkaTimeoutError):
            await consumer.end_offsets([LOG])
        assert await consumer.getmany(timeout_ms=500) == {}
        kafka.network.heal("nobody", SERVER)
        assert [record.value for record in (await consumer.getmany(timeout_ms=5_000))[LOG]] == [b"late"]
        kafka.network.down.add(SERVER)
        with pytest.raises(KafkaConnectionError):
            await brokers.producer().start()

    run(world)


def test_a_group_shares_partitions_and_gives_those_of_a_silent_member_to_others() -> None:
    """Whoever joins makes all join again; whoever is silent for a session is left out."""

    async def world(kafka: SimKafka, _brokers: SimBrokers) -> None:
        group = kafka.group("g")

        async def join(member: str) -> tuple[int, list[TopicPartition]]:
            answer: tuple[int, list[TopicPartition]] = await kafka.network.send(
                SERVER, lambda answer: group.join(member, ("log",), 6.0, answer), member
            )
            return answer

        generation, alone = await join("a")
        assert len(alone) == 2
        second = asyncio.create_task(join("b"))
        await passes(1)
        assert not group.beat("a", generation)
        _, first_part = await join("a")
        generation, second_part = await second
        assert {len(first_part), len(second_part)} == {1}
        for _ in range(9):
            await passes(1)
            alive = group.beat("b", generation)
        assert not alive
        _, everything = await join("b")
        assert len(everything) == 2

    run(world)


def test_a_group_waits_a_session_in_each_rebalance_and_for_no_dead_member_for_ever() -> None:
    """The latest moment of one rebalance is none of the next. Whoever comes when all have died gets all."""

    async def world(kafka: SimKafka, _brokers: SimBrokers) -> None:
        group = kafka.group("g")

        def join(member: str) -> "asyncio.Future[tuple[int, list[TopicPartition]]]":
            return kafka.network.send(
                SERVER, lambda answer: group.join(member, ("log",), 6.0, answer), member, within_s=20.0
            )

        await join("a")
        await passes(3)
        second = join("b")
        await passes(4)
        assert not second.done()  # 7 s after the first rebalance began, and 4 s after this one
        await join("a")
        await second
        group.leave("a")
        await passes(7)
        assert len((await join("c"))[1]) == 2  # b was killed

    run(world)
