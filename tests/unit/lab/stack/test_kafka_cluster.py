"""What a cluster of brokers is asked about a topic."""

from __future__ import annotations

from aiokafka.cluster import ClusterMetadata
from aiokafka.structs import PartitionMetadata

from lab.stack.kafka_cluster import first_partition

TOPIC = "tieline.routes"


def test_metadata_that_lack_a_topic_say_nothing_of_it() -> None:
    """So it is asked for again: right after its creation a broker may not know it yet."""
    cluster = ClusterMetadata()
    assert first_partition(cluster, TOPIC) is None
    cluster._partitions[TOPIC] = {}
    assert first_partition(cluster, TOPIC) is None


def test_the_first_partition_is_found() -> None:
    """With its leader and the brokers that have all of it."""
    cluster = ClusterMetadata()
    facts = PartitionMetadata(TOPIC, 0, leader=2, replicas=[1, 2, 3], isr=[2, 3], error=None)
    cluster._partitions[TOPIC] = {0: facts}
    assert first_partition(cluster, TOPIC) == facts
