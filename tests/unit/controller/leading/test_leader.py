"""A candidate on simulated Kafka, in virtual time."""

import asyncio

from aiokafka import TopicPartition

from controller.leading.claim_rule import HEARTBEAT_EVERY_MS
from controller.leading.leader import Leader
from lab.simulated.clocks import simulated
from lab.simulated.kafka import SimKafka
from lab.simulated.kafka_clients import SimBrokers
from lab.simulated.loop import VirtualLoop, passes
from lab.simulated.network import Network

TOPIC = "leader"
AHEAD_S = 30


def test_claims_that_can_not_count_come_at_the_pace_of_heartbeats() -> None:
    """The clock of the log's broker was ahead and is set back: no claim counts until it has caught up. Then
    one does, and until then the log is not flooded."""
    loop = VirtualLoop()
    kafka = SimKafka(Network(loop, "seed"), "seed")
    kafka.create(TOPIC, 1)
    brokers = SimBrokers("simulated:9092", kafka=kafka)

    async def world() -> float:
        await _leads_until_it_is_lost(Leader(brokers, TOPIC), kafka)
        other = Leader(brokers, TOPIC)
        await other.start()
        running = asyncio.ensure_future(other.run())
        lost_s = loop.time()
        await other.lead()
        took_s = loop.time() - lost_s
        running.cancel()
        return took_s

    with simulated(loop, "seed"):
        took_s = loop.run_until_complete(world())
    partition = kafka.partition(TopicPartition(TOPIC, 0))
    loop.bury()
    assert partition is not None
    assert AHEAD_S < took_s < AHEAD_S + 10
    assert len(partition.records) < 2 * AHEAD_S * 1_000 / HEARTBEAT_EVERY_MS


async def _leads_until_it_is_lost(leader: Leader, kafka: SimKafka) -> None:
    kafka.brokers_ahead_ms[:] = [AHEAD_S * 1_000] * len(kafka.brokers_ahead_ms)
    await leader.start()
    running = asyncio.ensure_future(leader.run())
    await leader.lead()
    await passes(2)
    running.cancel()
    await passes(1)  # a heartbeat that was on its way has arrived
    kafka.brokers_ahead_ms[:] = [0] * len(kafka.brokers_ahead_ms)
