"""Gives each role its rights at a real Kafka and a real Valkey, and tries what its user can do there."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError, TopicAuthorizationFailedError
from aiokafka.protocol.admin import CreateAclsRequest
from redis.exceptions import NoPermissionError, RedisError

from controller.cli.access_rules import KafkaRight, kafka_rights, redis_rules
from lab.stack.server import LOOPBACK
from tests.integration.secured import PASSWORD, ROLE_USERS, Secured, SecuredKafka
from tieline.topics import Topics

RESOURCES = {"topic": 2, "group": 3, "cluster": 4}
OPERATIONS = {"Read": 3, "Write": 4, "Create": 5, "Describe": 8, "DescribeConfigs": 10}
LITERAL, PREFIXED, ALLOW = 3, 4, 3
ANSWERED_WITHIN_MS = 60_000


async def grant(kafka: SecuredKafka, namespace: str) -> None:
    """The rights of all roles, as `tieline acls kafka` prints them."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    try:
        for role, user in ROLE_USERS.items():
            for right in kafka_rights(role, namespace):
                answer: Any = await admin._send_request(_request(user, right))
                assert [row[0] for row in answer.creation_responses] == [0], answer
    finally:
        await admin.close()


def _request(user: str, right: KafkaRight) -> CreateAclsRequest:
    name = "kafka-cluster" if right.resource == "cluster" else right.name
    return CreateAclsRequest(
        RESOURCES[right.resource],
        name,
        PREFIXED if right.is_prefix else LITERAL,
        principal=f"User:{user}",
        host="*",
        operation=OPERATIONS[right.operation],
        permission_type=ALLOW,
    )


def connection(kafka: SecuredKafka, role: str) -> dict[str, Any]:
    """How this role's user connects."""
    return {
        "bootstrap_servers": f"{LOOPBACK}:{kafka.ports[4]}",
        "security_protocol": "SASL_SSL",
        "ssl_context": ssl.create_default_context(cafile=kafka.certificate),
        "sasl_mechanism": "PLAIN",
        "sasl_plain_username": ROLE_USERS[role],
        "sasl_plain_password": PASSWORD,
        "request_timeout_ms": ANSWERED_WITHIN_MS,
    }


def as_role(doors: Secured, role: str) -> dict[str, str]:
    """The settings of a process that has the rights of one role at Kafka and Redis."""
    kafka, _ = doors.stack
    return {
        **doors.settings,
        "TIELINE_KAFKA": f"{LOOPBACK}:{kafka.ports[4]}",
        "TIELINE_KAFKA_SASL": "PLAIN",
        "TIELINE_KAFKA_USER": ROLE_USERS[role],
        "TIELINE_REDIS_USER": ROLE_USERS[role],
    }


async def writable(kafka: SecuredKafka, role: str, topics: Topics) -> set[str]:
    """The topics that take a record of this role's user."""
    producer = AIOKafkaProducer(**connection(kafka, role), acks="all")
    await producer.start()
    try:

        async def is_taken(topic: str) -> bool:
            try:
                await producer.send_and_wait(topic, b"{}", key=b"key", partition=0)
            except TopicAuthorizationFailedError:
                return False
            return True

        names = [topic.name for topic in topics.all()]
        taken = await asyncio.gather(*map(is_taken, names))
        return {name for name, is_allowed in zip(names, taken, strict=True) if is_allowed}
    finally:
        await producer.stop()


async def readable(kafka: SecuredKafka, role: str, topics: Topics) -> set[str]:
    """The topics of which this role's user gets the records; each has at least one."""

    async def is_read(topic: str) -> bool:
        consumer = AIOKafkaConsumer(**connection(kafka, role), auto_offset_reset="earliest")
        await consumer.start()
        try:
            consumer.assign([TopicPartition(topic, 0)])
            await consumer._client._wait_on_metadata(topic)  # raises at once what getone would wait for
            async with asyncio.timeout(ANSWERED_WITHIN_MS / 1_000):
                await consumer.getone()
        except TopicAuthorizationFailedError:
            return False
        finally:
            await consumer.stop()
        return True

    names = [topic.name for topic in topics.all()]
    allowed = await asyncio.gather(*map(is_read, names), return_exceptions=True)
    errors = [item for item in allowed if isinstance(item, BaseException)]
    assert not [error for error in errors if not isinstance(error, KafkaError | TimeoutError)]
    return {name for name, is_allowed in zip(names, allowed, strict=True) if is_allowed is True}


async def grant_redis(redis: Any, namespace: str) -> None:
    """The rights of all roles, as `tieline acls redis` prints them, and a password for each user."""
    for role, user in ROLE_USERS.items():
        if rules := redis_rules(role, namespace):
            await redis.execute_command("ACL", "SETUSER", user, f">{PASSWORD}", *rules)


async def is_permitted(redis: Any, *command: str | int) -> bool:
    """Whether this user may run the command; what else may be wrong with it does not matter."""
    try:
        await redis.execute_command(*command)
    except NoPermissionError:
        return False
    except RedisError:
        return True
    return True
