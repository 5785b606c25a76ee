"""A simulated member of the consumer group gives its partitions away as Faust does."""

import asyncio
from collections.abc import Sequence

from aiokafka import TopicPartition

from lab.simulated.kafka import SimKafka
from lab.simulated.kafka_clients import SimBrokers
from lab.simulated.loop import VirtualLoop, passes
from lab.simulated.network import Network
from lab.simulated.reader import SimReader
from streams.clock_offsets import ClockOffsets
from streams.consumer_thread import FetchedOffsets
from streams.contract_check import Record
from streams.lane import Lane
from streams.positions import Partition
from streams.readers import Feed
from streams.settings import IngestSettings
from streams.topic_ids import topic_facts
from tieline.cancelling import end_all

COMES_AND_BEATS_S = 4.0  # until a member has heard that another one is there
SETTINGS = IngestSettings("simulated:1")
REPORTS = SETTINGS.topics.reports.name


class Member:
    """One member, whose records are safe once ``proceed`` is set. ``revoked``: what was taken from it."""

    def __init__(self, kafka: SimKafka) -> None:
        self.proceed = asyncio.Event()
        self.taken: list[int] = []
        self.revoked: set[Partition] = set()
        self._kafka = kafka

    async def start(self) -> SimReader:
        """Joins the group."""
        lanes = {name: Lane(self._handle, group_max=8, waiting_max=8) for name in SETTINGS.consumed}
        self.lanes = [asyncio.create_task(lane.run()) for lane in lanes.values()]
        feed = Feed(
            SETTINGS,
            await topic_facts(SimBrokers("simulated:1", kafka=self._kafka), SETTINGS.consumed),
            lanes,
            clock=ClockOffsets(lambda: 0, lambda: 0),
            fetched=FetchedOffsets(),
            on_assigned=lambda _: None,
            on_revoked=self.revoked.update,
            on_error=lambda error: None,
        )
        reader = SimReader(self._kafka, feed)
        await reader.start()
        return reader

    async def _handle(self, records: Sequence[Record]) -> None:
        self.taken += [record.offset for record in records]
        await self.proceed.wait()


async def _share(kafka: SimKafka) -> None:
    """One member has a record under way when another one comes."""
    first, second = Member(kafka), Member(kafka)
    readers = [await first.start()]
    await passes(1)
    log = TopicPartition(REPORTS, 0)
    kafka.append(log, None, b"one", ())
    await passes(1)
    assert first.taken == [0]
    readers.append(await second.start())
    await passes(COMES_AND_BEATS_S)
    assert first.revoked == set()
    assert log not in kafka.group(SETTINGS.group).committed
    first.proceed.set()
    await passes(1)
    assert Partition(*log) in first.revoked
    assert kafka.group(SETTINGS.group).committed[log].offset == 1
    assert all(reader.assigned() for reader in readers)
    assert second.taken == []
    for reader in readers:
        await reader.stop()
    await end_all([*first.lanes, *second.lanes])


def test_a_record_under_way_is_safe_and_committed_before_its_partition_goes() -> None:
    """So nobody reads it again, and nobody looks as if it had read less than before."""
    loop = VirtualLoop()
    kafka = SimKafka(Network(loop, "seed"), "seed")
    for name in SETTINGS.consumed:
        kafka.create(name, 2)
    loop.run_until_complete(asyncio.wait_for(_share(kafka), 1e6))
    loop.bury()
