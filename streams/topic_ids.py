"""The ids of topics: an id changes when its topic is recreated, and then the offsets start again.

aiokafka asks for metadata in a version without ids, so this is the request in version 12, which has them
(KIP-516; brokers since 3.1). The schemas name the fields of Kafka's protocol in the order of the wire.
"""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, NoReturn
from uuid import UUID

from aiokafka.errors import KafkaError
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Schema,
    TaggedFields,
)

from tieline.cancelling import whole
from tieline.kafka import REQUEST_TIMEOUT_MS, Brokers, brokers_of

WITHIN_S = 10.0
UNKNOWN_TOPIC = 3
LOOK_EVERY_S = 2.0
_NO_ID = UUID(int=0)


class TopicIdsError(KafkaError):  # type: ignore[misc]
    """The broker could not name a topic's id; the message says which and why."""


class TopicChangedError(RuntimeError):
    """A topic is not the one that was read until now; the message says which and what became of it."""


class TopicFacts(NamedTuple):
    """What Kafka says of one topic. A recreated topic has another ``id``."""

    id: str
    partitions: int


class _Uuid:
    """16 bytes."""

    @classmethod
    def encode(cls, value: UUID) -> bytes:
        return value.bytes

    @classmethod
    def decode(cls, data: Any) -> UUID:
        return UUID(bytes=data.read(16))

    @classmethod
    def repr(cls, value: UUID) -> str:
        return str(value)


_TEXT = CompactString("utf-8")
_BROKER = (("node_id", Int32), ("host", _TEXT), ("port", Int32), ("rack", _TEXT), ("tags", TaggedFields))
_PARTITION = (
    ("error_code", Int16),
    ("partition", Int32),
    ("leader", Int32),
    ("leader_epoch", Int32),
    ("replicas", CompactArray(Int32)),
    ("in_sync", CompactArray(Int32)),
    ("offline", CompactArray(Int32)),
    ("tags", TaggedFields),
)
_TOPIC = (
    ("error_code", Int16),
    ("name", _TEXT),
    ("topic_id", _Uuid),
    ("is_internal", Boolean),
    ("partitions", CompactArray(*_PARTITION)),
    ("authorized_operations", Int32),
    ("tags", TaggedFields),
)
_RESPONSE = (
    ("throttle_time_ms", Int32),
    ("brokers", CompactArray(*_BROKER)),
    ("cluster_id", _TEXT),
    ("controller_id", Int32),
    ("topics", CompactArray(*_TOPIC)),
    ("tags", TaggedFields),
)
_TOPIC_ASKED = (("topic_id", _Uuid), ("name", _TEXT), ("tags", TaggedFields))
_REQUEST = (
    ("topics", CompactArray(*_TOPIC_ASKED)),
    ("allow_auto_topic_creation", Boolean),
    ("include_topic_authorized_operations", Boolean),
    ("tags", TaggedFields),
)


class _MetadataResponse(Response):  # type: ignore[misc]
    API_KEY = 3
    API_VERSION = 12
    SCHEMA = Schema(*_RESPONSE)


class _MetadataRequestV12(RequestStruct):  # type: ignore[misc]
    API_KEY = 3
    API_VERSION = 12
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = _MetadataResponse
    SCHEMA = Schema(*_REQUEST)


class _MetadataRequest(Request[_MetadataRequestV12]):  # type: ignore[misc]
    """Asks for topics by name."""

    API_KEY = 3

    def __init__(self, names: Iterable[str]) -> None:
        self._names = sorted(names)

    def build(self, request_struct_class: Any) -> Any:
        """The request: these topics by name, missing ones not created, without our rights to them."""
        tags: dict[int, bytes] = {}
        topics = [(_NO_ID, name, tags) for name in self._names]
        create_missing, name_rights = False, False
        return request_struct_class(topics, create_missing, name_rights, tags)


async def topic_facts(
    bootstrap: str | Brokers, names: Iterable[str], *, skip_missing: bool = False
) -> dict[str, TopicFacts]:
    """Topic name -> its id and partitions; a topic that doesn't exist is left out with ``skip_missing``.

    Raises ``TopicIdsError`` for any other fault of a topic, and what aiokafka raises when no broker answers.
    """
    client = brokers_of(bootstrap).client(request_timeout_ms=REQUEST_TIMEOUT_MS)
    async with asyncio.timeout(WITHIN_S):
        try:
            await whole(client.bootstrap())  # cancelled half-way it would leave a connection open
            answer = await client.send(client.get_random_node(), _MetadataRequest(names))
        finally:
            await whole(client.close())
    facts = {}
    for error_code, name, topic_id, _, partitions, *_ in answer.topics:  # in the order of ``_TOPIC``
        if error_code == UNKNOWN_TOPIC and skip_missing:
            continue
        if error_code:
            raise TopicIdsError(f"topic {name} has no id (error {error_code}): create the topics first")
        facts[name] = TopicFacts(str(topic_id), len(partitions))
    return facts


async def watch_topics(bootstrap: str | Brokers, ids: Mapping[str, str]) -> NoReturn:
    """Looks every two seconds whether each topic still has its id; ``ids`` by name.

    Raises ``TopicChangedError`` when one has another, or is gone. While Kafka is away nothing is known, and
    nothing is raised.
    """
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        try:
            facts = await topic_facts(bootstrap, ids, skip_missing=True)
        except (KafkaError, OSError, TimeoutError):
            continue
        for name, topic_id in sorted(ids.items()):
            if name not in facts:
                raise TopicChangedError(f"topic {name} was deleted: create it again")
            if facts[name].id != topic_id:
                raise TopicChangedError(f"topic {name} was deleted and created again: its offsets begin anew")
