"""Brokers behind load balancers: one, or three with `--stack sentinel` or `cluster`, and how they get new
addresses."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from lab.stack.kafka import Kafka, kafka_answers
from lab.stack.kafka_cluster import KafkaCluster
from lab.stack.server import LOOPBACK
from tests.integration.balancer import Balancer
from tests.waiting import until

REJOINED_WITHIN_S = 120.0  # a safety net


class BalancedKafka(Kafka):
    """A broker that tells clients the address of a balancer as its own. Brokers reach each other without it.

    ``host`` is what it calls itself, and ``advertised`` the port.
    """

    ports_needed = 3
    host = LOOPBACK
    advertised = 0

    async def prepare(self) -> None:
        await super().prepare()
        own, between = f"PLAINTEXT://{LOOPBACK}:{self.port}", f"BETWEEN://{LOOPBACK}:{self.ports[2]}"
        settings = self._settings.read_text()
        for old, new in (
            (f"\nlisteners={own},", f"\nlisteners={own},{between},"),
            (f"\nadvertised.listeners={own}", f"\nadvertised.listeners={self._named},{between}"),
            ("PLAINTEXT:PLAINTEXT,", "PLAINTEXT:PLAINTEXT,BETWEEN:PLAINTEXT,"),
        ):
            assert settings.count(old) == 1, old
            settings = settings.replace(old, new)
        self._settings.write_text(f"{settings}inter.broker.listener.name=BETWEEN\n")

    async def answers(self) -> bool:
        """The balancer leads nowhere yet, so the broker is asked at its own port."""
        return await kafka_answers(self.port, advertised=self.advertised)

    @property
    def _named(self) -> str:
        return f"PLAINTEXT://{self.host}:{self.advertised}"


class BalancedCluster(KafkaCluster):
    """Brokers of that kind."""

    kind = BalancedKafka


class Rig:
    """A balancer before each broker, and ``bootstrap`` before the first one, which keeps its address."""

    def __init__(self, kafka: BalancedCluster) -> None:
        self.kafka = kafka
        self.bootstrap = Balancer()
        self.brokers: dict[Kafka, Balancer] = {}

    @property
    def servers(self) -> str:
        """The setting TIELINE_KAFKA."""
        return f"{LOOPBACK}:{self.bootstrap.port}"

    @property
    def replication(self) -> int:
        """All brokers have each topic."""
        return len(self.kafka.nodes)

    async def start(self) -> None:
        await self.bootstrap.start()
        for node in self.kafka.nodes:
            await self._put_before(node)
        await self.kafka.start()
        self._lead_there()

    def forget(self) -> None:
        """All connections lead nowhere from now on, without FIN or RST."""
        for balancer in (self.bootstrap, *self.brokers.values()):
            balancer.forget()

    async def move(self, topic: str) -> None:
        """Each broker gets another address, one after the other; the bootstrap name leads there too.

        The next one waits until the one before it has all of ``topic``, as an operator's does.
        """
        for node in self.kafka.nodes:
            await node.stop()
            await self.brokers[node].stop()
            await self._put_before(node)
            await node.start()
            self._lead_there()
            await until(lambda: self.kafka.is_whole(topic), REJOINED_WITHIN_S, "all replicas")

    async def stop(self) -> None:
        for balancer in (self.bootstrap, *self.brokers.values()):
            await balancer.stop()
        await self.kafka.kill()

    async def _put_before(self, node: Kafka) -> None:
        assert isinstance(node, BalancedKafka)
        self.brokers[node] = Balancer()
        await self.brokers[node].start()
        node.advertised = self.brokers[node].port

    def _lead_there(self) -> None:
        self.bootstrap.leads_to = self.kafka.nodes[0].port
        for node, balancer in self.brokers.items():
            balancer.leads_to = node.port


@asynccontextmanager
async def balanced(place: Path, jars: list[Path], brokers: int) -> AsyncIterator[Rig]:
    """So many brokers behind balancers."""
    rig = Rig(BalancedCluster(place, jars, brokers))
    try:
        await rig.start()
        yield rig
    finally:
        await rig.stop()
