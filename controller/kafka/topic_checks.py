"""What is wrong with the topics of an installation, read and never changed: for who looks after it.

``topics`` has the rules; here nothing is created, and a missing topic is a finding like any other.
"""

import asyncio
from typing import Any

from msgspec import Struct

from controller.kafka.topics import (
    SAFE_REPLICATION,
    UNKNOWN_TOPIC,
    advice,
    faults,
    of_any_broker,
    topic_configs,
)
from tieline.kafka import REQUEST_TIMEOUT_MS, Brokers, brokers_of, connect
from tieline.topics import Topic, Topics

CHECK_WITHIN_S = 10.0


class TopicFinding(Struct, frozen=True):
    """One topic. ``faults`` break a promise, ``hints`` could be better; each has its remedy. ``replicas`` and
    ``in_sync`` are those of its worst partition, and 0 where it is missing."""

    name: str
    faults: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()
    replicas: int = 0
    in_sync: int = 0


class ClusterFinding(Struct, frozen=True):
    """The brokers that answer, and every topic."""

    brokers: int
    topics: tuple[TopicFinding, ...]


async def check_cluster(bootstrap: str | Brokers, topics: Topics) -> ClusterFinding:
    """What is found now. Raises KafkaError, OSError, TopicError or TimeoutError."""
    admin = brokers_of(bootstrap).admin(request_timeout_ms=REQUEST_TIMEOUT_MS)
    try:
        async with asyncio.timeout(CHECK_WITHIN_S):
            await connect(admin)
            existing = set(await of_any_broker(admin.list_topics))
            names = [topic.name for topic in topics.all() if topic.name in existing]
            rows = await of_any_broker(lambda: admin.describe_topics(names)) if names else ()
            described = {row["topic"]: row for row in rows if row["error_code"] != UNKNOWN_TOPIC}
            configs = await topic_configs(admin, list(described))
            cluster = await of_any_broker(admin.describe_cluster)
    finally:
        await admin.close()
    brokers = len(cluster["brokers"])
    findings = tuple(
        _finding(topic, described.get(topic.name), configs.get(topic.name, {}), brokers)
        for topic in topics.all()
    )
    return ClusterFinding(brokers, findings)


def _finding(topic: Topic, described: Any | None, config: dict[str, str], brokers: int) -> TopicFinding:
    if described is None:
        missing = "is missing: start a controller once (it creates the topics), or check the namespace"
        return TopicFinding(topic.name, (missing,))
    partitions = described["partitions"]
    replicas = min(len(partition["replicas"]) for partition in partitions)
    in_sync = min(len(partition["isr"]) for partition in partitions)
    leaderless = [partition["partition"] for partition in partitions if partition["leader"] < 0]
    wrong = faults(topic, len(partitions), config)
    hints = advice(topic, config)
    if leaderless:
        wrong.append(f"has no leader for partitions {leaderless}: bring their brokers back")
    elif in_sync < replicas:
        hints.append(f"has only {in_sync} of {replicas} replicas in sync: look at the brokers")
    if replicas < min(brokers, SAFE_REPLICATION):
        hints.append(
            f"has {replicas} replicas on {brokers} brokers: kafka-reassign-partitions to {SAFE_REPLICATION}, "
            f"and TIELINE_REPLICATION={SAFE_REPLICATION} for controllers"
        )
    return TopicFinding(topic.name, tuple(wrong), tuple(hints), replicas=replicas, in_sync=in_sync)
