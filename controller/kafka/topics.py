"""Creates the topics that are missing, and refuses existing ones whose settings would break a promise."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any, TypeVar

from controller.process.certificates import certificate_fault
from controller.process.settings import KAFKA
from tieline.kafka import REQUEST_TIMEOUT_MS, Brokers, brokers_of, connect
from tieline.topics import Topic, Topics

ADMIN_TIMEOUT_S = 15.0
READY_POLL_S = 0.05
UNKNOWN_TOPIC, REQUEST_TIMED_OUT, TOPIC_ALREADY_EXISTS = 3, 7, 36
EQUAL = ("cleanup.policy", "message.timestamp.type")
AT_LEAST = ("max.message.bytes", "min.compaction.lag.ms")
AT_MOST = ("segment.ms", "segment.bytes", "max.compaction.lag.ms")
RETENTION = "retention.ms"
UNLIMITED = -1
SAFE_REPLICATION = 3

Answer = TypeVar("Answer")


class TopicError(RuntimeError):
    """A topic is not as it must be, or Kafka does not answer. The message names the topic and the remedy."""


def faults(topic: Topic, partitions: int, config: dict[str, str]) -> list[str]:
    """What is wrong with an existing topic, each fault with its remedy; an empty list when nothing is. Pure.

    An ordered log needs exactly one partition. Time stamps are evidence, so they must be the broker's.
    Compaction decides whether the last record of a key is kept. A limit on the size of records must not be
    lower than what is written, and a retention not shorter than what is promised.
    """
    mistakes = []
    if topic.partitions == 1 and partitions != 1:
        mistakes.append(f"has {partitions} partitions and must have exactly 1: recreate it with 1")
    for name, wanted in sorted(topic.config.items()):
        current = config.get(name)
        if name in EQUAL and current != wanted:
            mistakes.append(_wrong(name, current, wanted))
        if name in AT_LEAST and int(current or 0) < int(wanted):
            mistakes.append(_wrong(name, current, wanted, "at least "))
        if name == RETENTION and topic.keeps and _is_shorter(current, wanted):
            mistakes.append(_wrong(name, current, wanted, "at least "))
    return mistakes


def advice(topic: Topic, config: dict[str, str]) -> list[str]:
    """Which settings let an existing topic grow beyond need, or let it take records that are larger than they
    look; each with its remedy. Pure."""
    hints = []
    for name, wanted in sorted(topic.config.items()):
        current = config.get(name)
        too_large = name in AT_MOST and int(current or 0) > int(wanted)
        unlimited = name == "retention.bytes" and int(current or UNLIMITED) == UNLIMITED
        shorter = name == RETENTION and not topic.keeps and _is_shorter(current, wanted)
        if too_large or unlimited or shorter or (name == "compression.type" and current != wanted):
            hints.append(_wrong(name, current, wanted, "at most " if too_large else ""))
    return hints


def _is_shorter(current: str | None, wanted: str) -> bool:
    return UNLIMITED != int(current or 0) < int(wanted)


def _wrong(name: str, current: str | None, wanted: str, at_least: str = "") -> str:
    remedy = f"kafka-configs --alter --add-config {name}={wanted}"
    return f"has {name}={current} and needs {at_least}{wanted}: {remedy}"


async def ensure_topics(
    bootstrap: str | Brokers,
    topics: Topics,
    *,
    replication: int = 1,
    on_advice: Callable[[str, list[str]], None] = lambda _topic, _hints: None,
) -> tuple[str, ...]:
    """Creates what is missing and checks what exists, within 15 s. Returns the names of the topics created.

    ``on_advice`` is told of each topic with settings that could be better, and which those are.
    Raises TopicError when Kafka can't be reached, refuses, or has a topic with settings that break a promise.
    """
    from aiokafka.errors import KafkaConnectionError, KafkaError

    admin = brokers_of(bootstrap).admin(request_timeout_ms=REQUEST_TIMEOUT_MS)
    try:
        async with asyncio.timeout(ADMIN_TIMEOUT_S):
            await connect(admin)
            created = await _create_missing(admin, topics.all(), replication)
            await _check(admin, topics.all(), on_advice)
            return created
    except TimeoutError:
        raise TopicError(f"Kafka at {bootstrap} did not answer within {ADMIN_TIMEOUT_S:g} s.") from None
    except KafkaConnectionError as error:
        if (fault := certificate_fault(error, KAFKA)) is not None:
            raise TopicError(f"TLS with Kafka at {bootstrap} fails ({fault.why}): {fault.remedy}.") from None
        raise TopicError(
            f"Kafka can't be reached at {bootstrap}: start it, or correct --kafka or TIELINE_KAFKA, or "
            "correct the variables TIELINE_KAFKA_* for TLS and password."
        ) from None
    except (KafkaError, OSError) as error:
        raise TopicError(f"Kafka at {bootstrap}: {error or type(error).__name__}.") from None
    finally:
        await admin.close()


async def _create_missing(admin: Any, wanted: Iterable[Topic], replication: int) -> tuple[str, ...]:
    from aiokafka.admin import NewTopic

    existing = set(await of_any_broker(admin.list_topics))
    missing = [topic for topic in wanted if topic.name not in existing]
    if not missing:
        return ()
    safety = {}
    if replication >= SAFE_REPLICATION:
        safety = {"min.insync.replicas": "2", "unclean.leader.election.enable": "false"}
    new = [
        NewTopic(topic.name, topic.partitions, replication, topic_configs={**topic.config, **safety})
        for topic in missing
    ]
    answer = await of_any_broker(lambda: admin.create_topics(new))
    refuse_errors(answer.topic_errors)
    return tuple(topic.name for topic in missing)


def refuse_errors(errors: Iterable[Any]) -> None:
    """Raises TopicError for a topic that could not be created. ``errors``: (topic, code, message) for each.

    Another controller may create it at the same moment. A busy broker may say that it took too long; then the
    topic still comes into being, and whoever goes on to look at it waits for that.
    """
    for name, code, message, *_ in errors:
        if code not in (0, REQUEST_TIMED_OUT, TOPIC_ALREADY_EXISTS):
            raise TopicError(f"Topic {name} could not be created: {message or f'error {code}'}.")


async def of_any_broker(ask: Callable[[], Awaitable[Answer]]) -> Answer:
    """The answer of the first broker that can be reached and answers in time.

    aiokafka's administrator asks any broker that it knows, and a broker that has just died is known for some
    seconds more. The caller limits how long this may take.
    """
    from aiokafka.errors import KafkaConnectionError, NodeNotReadyError, RequestTimedOutError

    while True:
        try:
            return await ask()
        except (KafkaConnectionError, NodeNotReadyError, RequestTimedOutError):
            await asyncio.sleep(READY_POLL_S)


async def _check(admin: Any, wanted: tuple[Topic, ...], on_advice: Callable[[str, list[str]], None]) -> None:
    partitions = await _partitions(admin, [topic.name for topic in wanted])
    configs = await topic_configs(admin, [topic.name for topic in wanted])
    wrong = [
        f"Topic {topic.name} {fault}."
        for topic in wanted
        for fault in faults(topic, partitions[topic.name], configs[topic.name])
    ]
    if wrong:
        raise TopicError("\n".join(wrong))
    for topic in wanted:
        if hints := advice(topic, configs[topic.name]):
            on_advice(topic.name, hints)


async def _partitions(admin: Any, names: list[str]) -> dict[str, int]:
    """Topic -> its number of partitions, once each has a leader. The caller limits how long this may take."""
    while True:
        described = await of_any_broker(lambda: admin.describe_topics(names))
        ready = {
            topic["topic"]: len(topic["partitions"])
            for topic in described
            if topic["error_code"] == 0 and all(partition["leader"] >= 0 for partition in topic["partitions"])
        }
        if ready.keys() >= set(names):
            return ready
        await asyncio.sleep(READY_POLL_S)


async def topic_configs(admin: Any, names: list[str]) -> dict[str, dict[str, str]]:
    """Topic -> its settings as text. Raises TopicError.

    Any broker may answer, and not every one has heard yet of a topic that was created a moment ago. So what
    is unknown there is asked for again. The caller limits how long this may take.
    """
    from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

    configs: dict[str, dict[str, str]] = {}
    while missing := [name for name in names if name not in configs]:
        questions = [ConfigResource(ConfigResourceType.TOPIC, name) for name in missing]
        for answer in await of_any_broker(partial(admin.describe_configs, questions)):
            configs |= _settings_in(answer.resources)
        if len(configs) < len(names):
            await asyncio.sleep(READY_POLL_S)
    return configs


def _settings_in(resources: Iterable[Any]) -> dict[str, dict[str, str]]:
    """Topic -> its settings, without topics that the broker does not know. Raises TopicError."""
    configs = {}
    for code, message, _, name, entries in resources:
        if code == UNKNOWN_TOPIC:
            continue
        if code:
            raise TopicError(f"The settings of topic {name} can't be read: {message or f'error {code}'}.")
        configs[name] = {entry[0]: entry[1] for entry in entries}
    return configs
