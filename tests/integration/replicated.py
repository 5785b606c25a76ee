"""Topics of a test with a replica on each broker of the stack, and changes of them that every broker knows.

In a cluster any broker may answer the next question, and a moment passes until each of them has heard of a
change. So tests that change a topic wait here until all have.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError
from aiokafka.protocol.admin import DescribeConfigsRequest
from aiokafka.protocol.metadata import MetadataRequest

from controller.kafka.topics import ensure_topics
from tests.waiting import until
from tieline.topics import Topic, Topics


def brokers_in(bootstrap: str) -> int:
    """How many brokers the address names; the stacks of tests name all that they have."""
    return len(bootstrap.split(","))


async def create_topics(bootstrap: str, topics: Topics) -> tuple[str, ...]:
    """Creates what is missing, as a controller with `--replication` does. Returns the names created."""
    return await ensure_topics(bootstrap, topics, replication=brokers_in(bootstrap))


@asynccontextmanager
async def admin_of(bootstrap: str) -> AsyncIterator[AIOKafkaAdminClient]:
    """An administrator of Kafka."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


async def create_topic(bootstrap: str, topic: Topic) -> None:
    """Creates a topic that no broker knows."""
    async with admin_of(bootstrap) as admin:
        new = NewTopic(topic.name, topic.partitions, brokers_in(bootstrap), topic_configs=topic.config)
        answer = await admin.create_topics([new])
        assert answer.topic_errors[0][1] == 0, answer
        await _until_everywhere(admin, topic.name, exists=True)


async def delete_topics(bootstrap: str, *names: str) -> None:
    """Returns once no broker knows them any more."""
    async with admin_of(bootstrap) as admin:
        await admin.delete_topics(list(names))
        for name in names:
            await _until_everywhere(admin, name, exists=False)


async def change_topic(bootstrap: str, name: str, settings: Mapping[str, str]) -> None:
    """Gives a topic these settings, and no others, on all brokers."""
    async with admin_of(bootstrap) as admin:
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, dict(settings))])

        async def is_set(node_id: int) -> bool:
            request = DescribeConfigsRequest([(ConfigResourceType.TOPIC, name, None)], False)
            [(code, _, _, _, entries)] = (await admin._send_request(request, node_id)).resources
            return code == 0 and settings.items() <= {entry[0]: entry[1] for entry in entries}.items()

        for node_id in await _nodes(admin):
            await until(partial(is_set, node_id), what=f"the settings on broker {node_id}")


async def _until_everywhere(admin: AIOKafkaAdminClient, name: str, *, exists: bool) -> None:
    async def agrees(node_id: int) -> bool:
        try:
            answer = await admin._send_request(MetadataRequest([name]), node_id)
        except KafkaError:
            return False
        [row] = answer.to_object()["topics"]
        has_leaders = row["error_code"] == 0 and all(part["leader"] >= 0 for part in row["partitions"])
        return has_leaders if exists else bool(row["error_code"])

    for node_id in await _nodes(admin):
        await until(partial(agrees, node_id), what=f"{name} on broker {node_id}")


async def _nodes(admin: AIOKafkaAdminClient) -> list[int]:
    return [broker["node_id"] for broker in (await admin.describe_cluster())["brokers"]]
