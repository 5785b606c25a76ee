"""What `tieline doctor` looks at: all at the same time, so that a server that is away does not hide others.

What can't be looked at becomes a check that says so. Nothing is changed anywhere.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from redis.exceptions import RedisError

from controller.cli.diagnosis import Check, RedisFacts
from controller.kafka.topic_checks import ClusterFinding, check_cluster
from controller.kafka.topics import TopicError
from controller.leading.redis_check import redis_fault
from controller.leading.routes_reader import RoutesReader
from controller.process.certificates import certificate_fault
from controller.process.clock import now_ms
from controller.process.connections import KEEPS_ALL, connect_redis
from controller.process.errors import UserError
from controller.process.settings import KAFKA, Settings
from controller.process.telemetry import without_password
from controller.routes.record import RoutesRecord
from controller.status.gather import Status, read_status
from streams.every_record import close_reader, log_reader, open_reader
from streams.topic_ids import topic_facts
from tieline.cloudevents import Poison, decode
from tieline.events import Demand
from tieline.keys import MANIFEST_FIELD
from tieline.table import TableError, decode_manifest

LOOK_WITHIN_S = 15.0
REPORTS_LOOKED_AT = 200  # the newest of each partition
_AWAY = (KafkaError, RedisError, UserError, TopicError, TableError, OSError, TimeoutError)
Value = TypeVar("Value")


class Looked(NamedTuple):
    """What was found; None where it could not be looked at, and then ``failures`` says why."""

    cluster: ClusterFinding | None
    redis: RedisFacts | None
    status: Status | None
    record: RoutesRecord | None
    client_versions: dict[str, int] | None
    failures: tuple[Check, ...]


async def look(settings: Settings) -> Looked:
    """What is found now. Raises nothing for a server that is away."""
    failures: list[Check] = []

    async def tried(subject: str, looking: Awaitable[Value], remedy: str) -> Value | None:
        try:
            async with asyncio.timeout(LOOK_WITHIN_S):
                return await looking
        except _AWAY as error:
            words, advice = _failure(error, settings, remedy)
            failures.append(Check(subject, "unknown", words, remedy=advice))
            return None

    where = f"start Kafka, or correct --kafka or {KAFKA}"
    cluster, redis, status, record, versions = await asyncio.gather(
        tried("kafka", check_cluster(settings.kafka, settings.topics), where),
        tried("redis", _redis(settings), "start Redis, or correct --redis"),
        tried("controllers", read_status(settings), "mend what could not be reached"),
        tried("policy", _newest(settings), where),
        tried("versions", _client_versions(settings), where),
    )
    return Looked(cluster, redis, status, record=record, client_versions=versions, failures=tuple(failures))


async def _redis(settings: Settings) -> RedisFacts:
    redis = connect_redis(settings.redis, settings.keys)
    try:
        before_ms = now_ms()
        seconds, microseconds = await redis.time()
        middle_ms = (before_ms + now_ms()) // 2
        info = await redis.info()
        data = await redis.hget(settings.keys.routes, MANIFEST_FIELD)
        return RedisFacts(
            version=str(info.get("valkey_version") or info.get("redis_version", "?")),
            role=str(info.get("role", "master")),
            memory_bytes=int(info.get("used_memory", 0)),
            memory_max_bytes=int(info.get("maxmemory", 0)),
            eviction=str(info.get("maxmemory_policy", KEEPS_ALL)),
            ahead_ms=seconds * 1_000 + microseconds // 1_000 - middle_ms,
            manifest=decode_manifest(data) if data else None,
        )
    finally:
        await redis.aclose()


async def _newest(settings: Settings) -> RoutesRecord:
    async with RoutesReader(settings) as routes:
        record = routes.newest()
    if record is None:
        raise UserError("no controller has published yet: start one with `tieline controller`")
    return record


async def _client_versions(settings: Settings) -> dict[str, int]:
    """Version of the client library -> how many clients' newest reports name it."""
    topic = settings.topics.demand.name
    fact = (await topic_facts(settings.kafka, [topic], skip_missing=True)).get(topic)
    partitions = [TopicPartition(topic, number) for number in range(fact.partitions if fact else 0)]
    if not partitions:
        return {}
    consumer = log_reader(settings.kafka, auto_offset_reset="latest")
    await open_reader(consumer)
    try:
        return dict(Counter((await _newest_versions(consumer, partitions)).values()))
    finally:
        await close_reader(consumer)


async def _newest_versions(
    consumer: AIOKafkaConsumer, partitions: Sequence[TopicPartition]
) -> dict[str, str]:
    """Client -> the version that its newest report names."""
    consumer.assign(partitions)
    starts, ends = await consumer.beginning_offsets(partitions), await consumer.end_offsets(partitions)
    for part in partitions:
        consumer.seek(part, max(starts[part], ends[part] - REPORTS_LOOKED_AT))
    newest: dict[str, str] = {}
    while any([await consumer.position(part) < ends[part] for part in partitions]):
        for records in (await consumer.getmany(timeout_ms=1_000)).values():
            newest.update(_versions(records))
    return newest


def _versions(records: Sequence[Any]) -> Iterator[tuple[str, str]]:
    """(client, version) of each report."""
    for record in records:
        try:
            event = decode(record.headers, record.value)
        except Poison:
            continue
        if isinstance(event, Demand):
            yield event.client, event.version


def _failure(error: Exception, settings: Settings, remedy: str) -> tuple[str, str]:
    """What could not be looked at and why, and what to do about it."""
    if isinstance(error, RedisError):
        words, _, advice = redis_fault(error, without_password(settings.redis)).words.rpartition(": ")
        return words, advice
    if (fault := certificate_fault(error, KAFKA)) is not None:
        return f"TLS with Kafka fails, as {fault.why}", fault.remedy
    if isinstance(error, TimeoutError):
        return f"there was no answer within {LOOK_WITHIN_S:g} s", remedy
    text = without_password(" ".join(str(error).split()))
    text = text.removeprefix("KafkaConnectionError: ") or type(error).__name__
    words, _, advice = (
        text.rpartition(": ") if isinstance(error, UserError | TopicError) else (text, "", remedy)
    )
    return words or advice, advice if words else remedy
