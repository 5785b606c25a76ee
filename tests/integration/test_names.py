"""Names of Redis and Kafka that lead to other addresses later, while whoever is connected hears nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from controller.kafka.ordered_log import Tail, start_producer
from controller.kafka.topics import ensure_topics
from lab.stack.cache import cache_directory
from lab.stack.jars import ensure_jars
from lab.stack.stack import silent
from streams.producers import stop_producer
from tests.integration.balancer import Balancer
from tests.integration.moving import BalancedCluster, BalancedKafka
from tests.integration.projecting import Leader, following, follows
from tests.integration.redis_servers import single_valkey
from tests.waiting import until
from tieline.topics import Topics

NAME = "server.test"
FORMER, LATER = "127.0.0.2", "127.0.0.3"


class ResolvingLoop(asyncio.SelectorEventLoop):
    """Resolves ``NAME`` to ``address``, as a resolver does whose zone changes."""

    address = FORMER

    async def getaddrinfo(self, host: Any, port: Any, **more: Any) -> list[Any]:
        return await super().getaddrinfo(self.address if host == NAME else host, port, **more)


def run(test: Callable[[ResolvingLoop], Coroutine[Any, Any, None]]) -> None:
    """Runs a test on such a loop."""
    loop = ResolvingLoop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(test(loop))


class Doors:
    """The same port at two addresses. ``NAME`` leads to the first until ``move``."""

    def __init__(self, loop: ResolvingLoop) -> None:
        self._loop = loop
        self.former, self.later = Balancer(), Balancer()

    async def __aenter__(self) -> Doors:
        await self.former.start(FORMER)
        await self.later.start(LATER, self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(self.former.stop(), self.later.stop())

    @property
    def port(self) -> int:
        return self.former.port

    def move(self) -> None:
        """Nobody at the former address answers any more, without FIN or RST."""
        self.former.forget()
        self.former.refuse()
        self._loop.address = LATER


def test_another_redis_behind_the_same_name_is_found(tmp_path: Path, prefix: str) -> None:
    """The projection of the controller and the client both go there, and the next table arrives."""

    async def test(loop: ResolvingLoop) -> None:
        async with (
            single_valkey(tmp_path / "1") as first,
            single_valkey(tmp_path / "2") as second,
            Doors(loop) as doors,
        ):
            doors.former.leads_to, doors.later.leads_to = first.port, second.port
            url = f"redis://{NAME}:{doors.port}/0"
            async with Leader(url, prefix) as leader:
                leader.publish(1)
                async with following(url, prefix) as client:
                    doors.move()
                    await follows(client, leader.publish(2))

    run(test)


def test_a_broker_with_another_address_behind_its_name_is_found(tmp_path: Path, prefix: str) -> None:
    """A tail reads on and a producer sends on, though the broker names itself as before."""

    async def test(loop: ResolvingLoop) -> None:
        jars = await asyncio.to_thread(ensure_jars, cache_directory(), silent)
        kafka = BalancedCluster(tmp_path / "kafka", jars, 1)
        [node] = kafka.nodes
        assert isinstance(node, BalancedKafka)
        async with Doors(loop) as doors:
            node.host, node.advertised = NAME, doors.port
            try:
                await kafka.start()
                doors.former.leads_to = doors.later.leads_to = node.port
                await _reads_and_sends_on(f"{NAME}:{doors.port}", Topics(prefix.rstrip(".")), doors)
            finally:
                await kafka.kill()

    run(test)


async def _reads_and_sends_on(servers: str, topics: Topics, doors: Doors) -> None:
    await ensure_topics(servers, topics)
    values: list[bytes | None] = []
    tail = Tail(servers, topics.leader.name, lambda record: values.append(record.value))
    await tail.start()
    reading = asyncio.create_task(tail.run())
    producer = await start_producer(servers)
    try:
        await producer.send_and_wait(topics.leader.name, value=b"1", partition=0)
        await until(lambda: values == [b"1"], what="the first record")
        doors.move()
        await producer.send_and_wait(topics.leader.name, value=b"2", partition=0)
        await until(lambda: b"2" in values, what="the record after the move")
    finally:
        await stop_producer(producer)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        await tail.stop()
