"""Makes a topic read-only for everybody and takes that back, by ACLs of Kafka."""

from __future__ import annotations

from typing import Any

from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.admin import CreateAclsRequest, DeleteAclsRequest

from lab.chaos.fault import ChaosError

TOPIC, LITERAL = 2, 3
ANY, ALL, WRITE = 1, 2, 4
DENY, ALLOW = 2, 3
EVERYBODY, ANYWHERE = "User:ANONYMOUS", "*"


async def forbid_writes(bootstrap: str, topic: str) -> None:
    """Nobody may append to the topic from now on; all else stays allowed."""
    for operation, permission in ((ALL, ALLOW), (WRITE, DENY)):
        await _send(
            bootstrap,
            CreateAclsRequest(
                TOPIC,
                topic,
                LITERAL,
                principal=EVERYBODY,
                host=ANYWHERE,
                operation=operation,
                permission_type=permission,
            ),
        )


async def allow_writes(bootstrap: str, topic: str) -> None:
    """Takes all rules about the topic away."""
    anybody: Any = None  # in a filter
    await _send(
        bootstrap,
        DeleteAclsRequest(
            TOPIC, topic, LITERAL, principal=anybody, host=anybody, operation=ANY, permission_type=ANY
        ),
    )


async def _send(bootstrap: str, request: CreateAclsRequest | DeleteAclsRequest) -> None:
    client = AIOKafkaClient(bootstrap_servers=bootstrap)
    await client.bootstrap()
    try:
        answer: Any = await client.send(client.get_random_node(), request)
    finally:
        await client.close()
    is_new = isinstance(request, CreateAclsRequest)
    for code, text, *_ in answer.creation_responses if is_new else answer.filter_responses:
        if code:
            raise ChaosError(f"Kafka did not change its ACLs: {text}")
