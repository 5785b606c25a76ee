"""Faults of records and topics: what Kafka, a spool or somebody's mistake does to what was sent."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TypeAlias

from aiokafka import TopicPartition

from lab.simulated.kafka import SimRecord
from lab.system.installation import Installation
from lab.system.spec import MachineFault

Mend: TypeAlias = Callable[[], None]
AGAIN = "a spool"  # who sends what was sent before
OLD_S = (5.0, 90.0)
OLD_MAX = 200
REPEATED_MIN_S = 0.05
POISON_KEY = b"poison"


def nothing() -> None:
    """What there is to mend where a fault is over at once."""


def repeated(installation: Installation, fault: MachineFault) -> Mend:
    """Each event is appended once more, up to ``value`` ms later, so that it overtakes and is overtaken."""
    kafka, topics, chance = installation.kafka, event_topics(installation), Random(repr(fault))

    def append_again(record: SimRecord, sender: str) -> None:
        if record.topic in topics and sender != AGAIN:
            delay_s = chance.uniform(REPEATED_MIN_S, fault.value / 1_000)
            kafka.network.later(delay_s, lambda: _again(installation, record))

    kafka.on_append.append(append_again)
    return lambda: kafka.on_append.remove(append_again)


def old(installation: Installation, fault: MachineFault) -> Mend:
    """What was sent to a topic in the last minutes comes again, in any order, as from a spool."""
    kafka = installation.kafka
    now_ms = kafka.network.now_ms()
    first_ms, last_ms = (now_ms - seconds * 1_000 for seconds in reversed(OLD_S))
    records = [
        record
        for partition in kafka.topics[topic_of(installation, fault)].partitions
        for record in partition.records
        if first_ms <= record.timestamp - kafka.clock_ms(_place(record)) + now_ms <= last_ms
    ][:OLD_MAX]
    Random(repr(fault)).shuffle(records)
    for record in records:
        _again(installation, record)
    return nothing


def poison(installation: Installation, fault: MachineFault) -> Mend:
    """Records that are no events, on every partition of the events: rubbish, cut off, of the wrong type."""
    kafka, chance = installation.kafka, Random(repr(fault))
    for name in event_topics(installation):
        for number, partition in enumerate(kafka.topics[name].partitions):
            newest = partition.records[-1] if partition.records else None
            headers = newest.headers if newest is not None else ()
            value = newest.value if newest is not None and newest.value else b"{}"
            wrong = (("ce_type", b"leader.claim.v1"), *(item for item in headers if item[0] != "ce_type"))
            odd = chance.choice(
                (
                    ((), chance.randbytes(20)),
                    (headers, value[: len(value) // 2]),
                    (wrong, value),
                    (headers, None),
                )
            )
            key = POISON_KEY + f"-{name}-{number}-{fault.at_s}".encode()
            kafka.append(TopicPartition(name, number), key, odd[1], odd[0], sender=AGAIN)
    return nothing


def recreated(installation: Installation, fault: MachineFault) -> Mend:
    """A topic of events is deleted and created again."""
    installation.kafka.recreate(topic_of(installation, fault))
    return nothing


def unread(installation: Installation, fault: MachineFault) -> Mend:
    """One partition of events can't be fetched; it still takes records."""
    kafka, name = installation.kafka, topic_of(installation, fault)
    place = TopicPartition(name, int(fault.value) % len(kafka.topics[name].partitions))
    kafka.unread.add(place)
    return lambda: kafka.unread.discard(place)


def clocks_apart(installation: Installation, fault: MachineFault) -> Mend:
    """No two brokers agree about the time."""
    clocks = installation.kafka.brokers_ahead_ms
    clocks[:] = [round(fault.value) * (number - 1) for number in range(len(clocks))]

    def mend() -> None:
        clocks[:] = [0] * len(clocks)

    return mend


def hints_lost(installation: Installation, _fault: MachineFault) -> Mend:
    """What is published in Redis reaches nobody."""
    installation.redis.loses_hints = True

    def mend() -> None:
        installation.redis.loses_hints = False

    return mend


def topic_of(installation: Installation, fault: MachineFault) -> str:
    """The topic of events that a fault names by its last part."""
    name: str = getattr(installation.topics, fault.target).name
    return name


def event_topics(installation: Installation) -> tuple[str, ...]:
    topics = installation.topics
    return (topics.reports.name, topics.statements.name, topics.capacity.name, topics.demand.name)


def _place(record: SimRecord) -> TopicPartition:
    return TopicPartition(record.topic, record.partition)


def _again(installation: Installation, record: SimRecord) -> None:
    installation.kafka.append(_place(record), record.key, record.value, record.headers, sender=AGAIN)
