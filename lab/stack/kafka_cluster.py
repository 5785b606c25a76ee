"""Several Kafka nodes as one cluster: a record is acknowledged once all nodes but one have it (acks=all)."""

from __future__ import annotations

import uuid
from pathlib import Path

from aiokafka.client import AIOKafkaClient
from aiokafka.structs import PartitionMetadata

from lab.errors import ChildError
from lab.stack.group import ServerGroup
from lab.stack.kafka import Kafka


class KafkaCluster(ServerGroup):
    """`nodes` on loopback. The cluster serves while all of them but one run."""

    name = "Kafka"
    kind: type[Kafka] = Kafka

    def __init__(self, place: Path, jars: list[Path], count: int) -> None:
        """`jars` are the classpath; the caller has checked them."""
        cluster = uuid.uuid5(uuid.NAMESPACE_URL, str(place))
        self.nodes: list[Kafka] = []
        for number in range(1, count + 1):
            node = self.kind(place / str(number), jars, number=number, nodes=self.nodes, cluster=cluster)
            node.name = f"Kafka {number}"
            self.nodes.append(node)
        super().__init__(self.nodes)

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
        client = AIOKafkaClient(bootstrap_servers=self.bootstrap)
        try:
            await client.bootstrap()
            await client.set_topics([topic])
            return client.cluster._partitions[topic][0]
        finally:
            await client.close()
