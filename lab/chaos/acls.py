"""Makes a topic read-only for everybody and takes that back, by ACLs of Kafka.

aiokafka has no requests for ACLs, so here are CreateAcls and DeleteAcls in their first version. The schemas
name the fields of Kafka's protocol in the order of the wire.
"""

from __future__ import annotations

from typing import Any

from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Int8, Int16, Int32, Schema, String

from lab.chaos.fault import ChaosError

TOPIC, LITERAL = 2, 3
ANY, ALL, WRITE = 1, 2, 4
DENY, ALLOW = 2, 3
EVERYBODY, ANYWHERE = "User:ANONYMOUS", "*"
_TEXT = String("utf-8")
_BINDING = (
    ("resource_type", Int8),
    ("resource_name", _TEXT),
    ("pattern_type", Int8),
    ("principal", _TEXT),
    ("host", _TEXT),
    ("operation", Int8),
    ("permission", Int8),
)
_OUTCOME = (("error_code", Int16), ("error_message", _TEXT))
_MATCH = (*_OUTCOME, *_BINDING)
_FILTER_OUTCOME = (*_OUTCOME, ("matches", Array(*_MATCH)))


class _CreateAclsResponse(Response):  # type: ignore[misc]
    API_KEY = 30
    API_VERSION = 1
    SCHEMA = Schema(("throttle_time_ms", Int32), ("results", Array(*_OUTCOME)))


class _CreateAclsRequestV1(RequestStruct):  # type: ignore[misc]
    API_KEY = 30
    API_VERSION = 1
    RESPONSE_TYPE = _CreateAclsResponse
    SCHEMA = Schema(("bindings", Array(*_BINDING)))


class _DeleteAclsResponse(Response):  # type: ignore[misc]
    API_KEY = 31
    API_VERSION = 1
    SCHEMA = Schema(("throttle_time_ms", Int32), ("results", Array(*_FILTER_OUTCOME)))


class _DeleteAclsRequestV1(RequestStruct):  # type: ignore[misc]
    API_KEY = 31
    API_VERSION = 1
    RESPONSE_TYPE = _DeleteAclsResponse
    SCHEMA = Schema(("filters", Array(*_BINDING)))


class _CreateAcls(Request[_CreateAclsRequestV1]):  # type: ignore[misc]
    API_KEY = 30

    def __init__(self, bindings: list[tuple[Any, ...]]) -> None:
        self._bindings = bindings

    def build(self, request_struct_class: Any) -> Any:
        return request_struct_class(self._bindings)


class _DeleteAcls(Request[_DeleteAclsRequestV1]):  # type: ignore[misc]
    API_KEY = 31

    def __init__(self, filters: list[tuple[Any, ...]]) -> None:
        self._filters = filters

    def build(self, request_struct_class: Any) -> Any:
        return request_struct_class(self._filters)


async def forbid_writes(bootstrap: str, topic: str) -> None:
    """Nobody may append to the topic from now on; all else stays allowed."""
    place = (TOPIC, topic, LITERAL, EVERYBODY, ANYWHERE)
    await _send(bootstrap, _CreateAcls([(*place, ALL, ALLOW), (*place, WRITE, DENY)]))


async def allow_writes(bootstrap: str, topic: str) -> None:
    """Takes all rules about the topic away."""
    await _send(bootstrap, _DeleteAcls([(TOPIC, topic, LITERAL, None, None, ANY, ANY)]))


async def _send(bootstrap: str, request: Any) -> None:
    client = AIOKafkaClient(bootstrap_servers=bootstrap)
    await client.bootstrap()
    try:
        answer = await client.send(client.get_random_node(), request)
    finally:
        await client.close()
    for result in answer.results:
        if result[0]:
            raise ChaosError(f"Kafka did not change its ACLs: {result[1]}")
