"""Several Kafka nodes as one cluster: a record is acknowledged once all nodes but one have it (acks=all)."""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path

from aiokafka.client import AIOKafkaClient
from aiokafka.cluster import ClusterMetadata
from aiokafka.structs import PartitionMetadata

from lab.errors import ChildError
from lab.stack.group import ServerGroup
from lab.stack.kafka import Kafka

LOOKS_MAX = 100
LOOK_EVERY_S = 0.1


class KafkaCluster(ServerGroup):
    """`nodes` on loopback. The cluster serves while all of them but one run."""

    name = "Kafka"
    kind: type[Kafka] = Kafka

    def __init__(self, place: Path, jars: list[Path], count: int) -> None:
        """`jars` are the classpath; the caller has checked them."""
        cluster = uuid.uuid5(uuid.NAMESPACE_URL, str(place))
        self.nodes: list[Kafka] = []
        for number in range(1, count + 1):
            node = self.node(place / str(number), jars, number, cluster=cluster)
            node.name = f"Kafka {number}"
            self.nodes.append(node)
        super().__init__(self.nodes)

    def node(self, place: Path, jars: list[Path], number: int, *, cluster: uuid.UUID) -> Kafka:
        """One node of the cluster, which is not started yet."""
        return self.kind(place, jars, number=number, nodes=self.nodes, cluster=cluster)

    @property
    def bootstrap(self) -> str:
        """All nodes, as Kafka's clients take them in `bootstrap.servers`."""
        return ",".join(node.bootstrap for node in self.nodes)

    async def leader_of(self, topic: str) -> Kafka:
        """The node that leads the first partition of a topic. Raises ChildError if there is none."""
        facts = await self._first_partition(topic)
        for node in self.nodes:
            if node.number == facts.leader:
                return node
        raise ChildError(f"no node leads the first partition of {topic}")

    async def is_whole(self, topic: str) -> bool:
        """Whether all nodes have all records of a topic's first partition."""
        facts = await self._first_partition(topic)
        return len(facts.isr) == len(self.nodes)

    async def _first_partition(self, topic: str) -> PartitionMetadata:
        """What the brokers say of it. They don't know a topic yet right after it was created."""
        client = AIOKafkaClient(bootstrap_servers=self.bootstrap)
        try:
            await client.bootstrap()
            for _ in range(LOOKS_MAX):
                await client.set_topics([topic])
                if facts := first_partition(client.cluster, topic):
                    return facts
                await asyncio.sleep(LOOK_EVERY_S)
            raise ChildError(f"no broker knows the topic {topic} after {LOOKS_MAX * LOOK_EVERY_S:g} s")
        finally:
            await client.close()


def first_partition(cluster: ClusterMetadata, topic: str) -> PartitionMetadata | None:
    """PURE. What these metadata say of the first partition of a topic; None if they lack it."""
    facts: PartitionMetadata | None = cluster._partitions.get(topic, {}).get(0)
    return facts
