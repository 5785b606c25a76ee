"""When a producer looks for the policy in force: on a simulated Kafka, in virtual time."""

import asyncio
from collections.abc import Awaitable, Callable

from aiokafka import TopicPartition

from controller.core.policy.policy import Source, encode_policy
from controller.routes.record import RoutesRecord, encode_record
from lab.simulated.clocks import START_MS, simulated
from lab.simulated.kafka import SERVER, SimKafka
from lab.simulated.kafka_clients import SimBrokers
from lab.simulated.loop import VirtualLoop, passes
from lab.simulated.network import Network
from tests.unit.controller.core.made import policy, pool
from tieline._sending.published_policy import PublishedPolicy
from tieline.table import Generation

LOG = TopicPartition("routes", 0)
LOOK_WITHIN_S = 0.1  # with a network that is not slow


class World:
    """A simulated Kafka with a routes log, and a producer's view of it."""

    def __init__(self, loop: VirtualLoop) -> None:
        self.network = Network(loop, "seed")
        self.kafka = SimKafka(self.network, "seed")
        self.published = PublishedPolicy(SimBrokers("simulated:1", kafka=self.kafka), LOG.topic)

    def publish(self, seq: int, *sources: str) -> None:
        """Appends a publication whose policy has these probers."""
        whole = policy((pool("azure/r0"),), sources=tuple(Source(name, "probe") for name in sources))
        record = RoutesRecord(Generation("test", 1, seq), START_MS, policy=encode_policy(whole))
        self.kafka.append(LOG, record.key(), encode_record(record), ())

    async def sources(self, *, fresh: bool = False) -> set[str] | None:
        """The sources of the policy that the producer finds, None where it finds none."""
        registry = await self.published.registry(fresh=fresh)
        return set(registry.sources) if registry is not None else None


def run(story: Callable[[World], Awaitable[None]]) -> None:
    """Runs a story in a world of its own."""
    loop = VirtualLoop()
    with simulated(loop, "seed"):
        world = World(loop)
        loop.run_until_complete(asyncio.wait_for(story(world), 1e6))
    loop.bury()


def test_a_policy_that_comes_a_second_late_is_found_by_the_next_event() -> None:
    """A producer that starts before the first publication is not blind for the minute between two looks."""

    async def story(world: World) -> None:
        world.kafka.create(LOG.topic, 1)
        assert await world.sources() is None
        assert world.published.error == "no controller has published a policy yet"
        world.publish(1, "probe-1")
        await passes(1.1)
        assert await world.sources() == {"probe-1"}
        assert world.published.error == ""

    run(story)


def test_an_event_waits_for_brokers_that_answer_late() -> None:
    """Just after its topics were created, the leader of a partition may be unknown for some seconds."""

    async def story(world: World) -> None:
        world.kafka.create(LOG.topic, 1)
        world.publish(1, "probe-1")
        world.network.link("nobody", SERVER).delay_ms = (400.0, 400.0)
        assert await world.sources() == {"probe-1"}

    run(story)


def test_a_topic_that_is_not_there_yet_is_asked_for_again_soon() -> None:
    """And less often the longer it is missing, so that producers are no load on Kafka."""

    async def story(world: World) -> None:
        assert await world.sources() is None
        assert world.published.error.startswith("routes can't be read")
        world.kafka.create(LOG.topic, 1)
        world.publish(1, "probe-1")
        await passes(1.1)
        assert await world.sources() == {"probe-1"}

    run(story)


def test_looks_that_find_nothing_become_rare() -> None:
    """An event every tenth of a second for ten minutes makes about a look in eight seconds."""

    async def story(world: World) -> None:
        for _ in range(6_000):
            await world.sources()
            await passes(0.1)
        assert 60 <= world.network.requests <= 200

    run(story)


def test_a_policy_that_was_found_is_looked_at_once_a_minute() -> None:
    """Events do not wait for that look. One that would be refused asks for a fresh look."""

    async def story(world: World) -> None:
        world.kafka.create(LOG.topic, 1)
        world.publish(1, "probe-1")
        assert await world.sources() == {"probe-1"}
        world.publish(2, "probe-1", "probe-2")
        await passes(6)
        assert await world.sources() == {"probe-1"}
        assert await world.sources(fresh=True) == {"probe-1", "probe-2"}
        world.publish(3, "probe-3")
        await passes(61)
        assert await world.sources() == {"probe-1", "probe-2"}
        await passes(LOOK_WITHIN_S)
        assert await world.sources() == {"probe-3"}

    run(story)


def test_a_kafka_that_does_not_answer_holds_no_event_back_for_long() -> None:
    """It passes unchecked, because evidence about health is of use for seconds only."""

    async def story(world: World) -> None:
        world.kafka.create(LOG.topic, 1)
        world.network.link("nobody", SERVER).delay_ms = (60_000.0, 60_000.0)
        began_s = asyncio.get_running_loop().time()
        assert await world.sources() is None
        assert 4.9 < asyncio.get_running_loop().time() - began_s < 5.1

    run(story)
