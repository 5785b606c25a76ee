"""What a controller sees to, and says, about growth: topics on a real broker, and the memory of Redis."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from controller.kafka.topics import ensure_topics
from lab.chaos.raw_records import bomb, produce
from tests.integration.controllers import Fleet, settings_of, tieline
from tests.integration.replicated import brokers_in
from tests.stacks import RealStack
from tieline.redis_client import connect
from tieline.topics import Topic, Topics

MESSAGE_TOO_LARGE = 10


async def create(bootstrap: str, topic: Topic, changes: Mapping[str, str]) -> None:
    """Creates a topic with other settings than a controller would."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        config = {**topic.config, **changes}
        await admin.create_topics([NewTopic(topic.name, topic.partitions, 1, topic_configs=config)])
    finally:
        await admin.close()


async def config_of(bootstrap: str, topic: Topic) -> dict[str, str]:
    """The settings that the broker has for a topic."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        answers = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic.name)])
        [(_, _, _, _, entries)] = answers[0].resources
        return {entry[0]: entry[1] for entry in entries}
    finally:
        await admin.close()


async def test_every_topic_has_its_bounds_on_the_broker(kafka_bootstrap: str, prefix: str) -> None:
    """As created, without a word of advice; and the broker refuses a small record that holds a large one."""
    topics = Topics(prefix)
    advised: list[str] = []
    for _ in range(2):
        await ensure_topics(
            kafka_bootstrap,
            topics,
            replication=brokers_in(kafka_bootstrap),
            on_advice=lambda topic, _hints: advised.append(topic),
        )
    assert advised == []
    for topic in topics.all():
        config = await config_of(kafka_bootstrap, topic)
        assert {name: config[name] for name in topic.config} == topic.config
    for topic in (topics.reports, topics.commands):
        assert await produce(kafka_bootstrap, topic.name, bomb(40_000_000)) == MESSAGE_TOO_LARGE


async def test_a_controller_says_what_grows_and_refuses_what_breaks_a_promise(
    own_stack: RealStack, prefix: str, tmp_path: Path
) -> None:
    """Segments of a week and a Redis that removes rows are told with their remedy; a retention of a minute is
    refused."""
    settings = settings_of(own_stack.kafka_bootstrap, own_stack.redis_url, prefix)
    topics = settings.topics
    await create(own_stack.kafka_bootstrap, topics.reports, {"segment.ms": "604800000"})
    async with connect(settings.redis, settings.keys) as redis:
        await redis.config_set("maxmemory-policy", "allkeys-lru")
    async with Fleet(settings, tmp_path) as fleet:
        controller = await fleet.add()
        said = await controller.until_said("a topic may grow beyond need")
        assert said["topic"] == topics.reports.name
        assert "--add-config segment.ms=600000" in said["settings"][0]
        said = await controller.until_said("Redis may remove rows")
        assert "CONFIG SET maxmemory-policy noeviction" in said["why"]
    other = settings_of(own_stack.kafka_bootstrap, own_stack.redis_url, f"{prefix}2")
    await create(own_stack.kafka_bootstrap, other.topics.reports, {"retention.ms": "60000"})
    refused = await tieline(other, "controller")
    assert refused.status == 2
    assert f"{other.topics.reports.name} has retention.ms=60000 and needs at least 3600000" in refused.err
