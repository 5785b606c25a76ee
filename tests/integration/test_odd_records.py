"""No record stops the ones behind it, whatever its bytes: names that are not UTF-8, damage, compression."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiokafka import AIOKafkaProducer, ConsumerRecord

from controller.commands.in_force import CommandReader
from controller.commands.policies import first_policy
from controller.policy_file import load_policy
from lab.chaos.raw_records import GZIP, RawName, batch, bomb, produce
from streams.app import Ingest
from tests.integration.ingesting import Lab, lab, now_ms, report
from tests.integration.replicated import create_topics
from tests.places import EXAMPLE_POLICY
from tests.waiting import until
from tieline.cloudevents import encode
from tieline.events import Command
from tieline.topics import Topics


@asynccontextmanager
async def ingesting(bootstrap: str, redis_url: str, prefix: str) -> AsyncIterator[tuple[Lab, Ingest]]:
    """One installation with one partition of each topic in use, which takes batches as producers compress
    them."""
    # As on a topic that was made without Tieline.
    changes = {"reports": {"compression.type": "producer"}}
    async with lab(bootstrap, redis_url, prefix, changes=changes) as it, it.ingest() as ingest:
        yield it, ingest


async def report_behind(it: Lab, topic: str) -> None:
    """A good report on partition 0 comes through."""
    key, value, headers = it.encoded(report(7))
    await it.producer.send_and_wait(topic, value, key=key, headers=headers, partition=0)

    async def taken() -> bool:
        return (await it.sequences()).get(("probe-0", "r0")) == 7

    await until(taken, what="the good report behind it")


async def only_letter(it: Lab) -> tuple[ConsumerRecord, dict[str, bytes]]:
    """Its topic may hold it twice, where Kafka answered late."""
    letters = await until(it.dead_letters, what="the dead letter")
    assert len({(letter.value, letter.headers) for letter in letters}) == 1
    return letters[0], dict(letters[0].headers)


async def test_a_headers_name_that_is_not_utf8_stops_nothing(
    kafka_bootstrap: str, redis_url: str, prefix: str
) -> None:
    """A good report with such a header is taken; poison with such a header reaches the dead letters whole."""
    async with ingesting(kafka_bootstrap, redis_url, prefix) as (it, ingest):
        topic = it.settings.topics.reports.name
        key, value, headers = it.encoded(report(1))
        odd: tuple[str, bytes | None] = (RawName(b"\xff\xfe caf\xe9"), b"1")
        data = batch((key, value, [odd, *headers]), (b"k", b"rubbish", [("first", None), odd]))
        assert await produce(kafka_bootstrap, topic, data) == 0
        await report_behind(it, topic)
        letter, names = await only_letter(it)
        assert (letter.key, letter.value) == (b"k", b"rubbish")
        assert letter.headers[:2] == (("first", None), ("\\xff\\xfe caf\\xe9", b"1"))
        assert names["tieline_reason"] == b"not_cloudevents"
        await until(lambda: ingest.counts["records"] == 3, what="the count of all three")


async def test_a_bomb_is_never_decompressed_whole(kafka_bootstrap: str, redis_url: str, prefix: str) -> None:
    """A batch of 300 MB in 300 kB becomes one dead letter, which holds it as Kafka stored it."""
    async with ingesting(kafka_bootstrap, redis_url, prefix) as (it, _):
        topic = it.settings.topics.reports.name
        data = bomb(300_000_000)
        assert len(data) < 1_000_000
        assert await produce(kafka_bootstrap, topic, data) == 0
        await report_behind(it, topic)
        letter, names = await only_letter(it)
        assert names["tieline_reason"] == b"too_large"
        assert b"larger than 16 MiB" in names["tieline_place"]
        assert letter.value is not None
        assert len(letter.value) == len(data)


@pytest.mark.parametrize("size", [3_000_000, 15_000_000])
async def test_a_large_body_is_cut_before_it_is_sent(
    kafka_bootstrap: str, redis_url: str, prefix: str, size: int
) -> None:
    """What was compressed on its way in and is larger than a letter arrives as its first MiB, with its size
    and the checksum of the whole."""
    async with ingesting(kafka_bootstrap, redis_url, prefix) as (it, _):
        topic = it.settings.topics.reports.name
        odd = [("large", b"h" * 200_000)]
        data = batch((b"k" * 100_000, b" " * size, odd), codec=GZIP)
        assert await produce(kafka_bootstrap, topic, data) == 0
        await report_behind(it, topic)
        letter, names = await only_letter(it)
        assert letter.value == b" " * 1_048_576
        assert int(names["tieline_cut_from_bytes"]) >= size + 300_000
        assert names["tieline_sha256"] == hashlib.sha256(b" " * size).hexdigest().encode()
        assert "large" not in names


async def test_a_transactions_marker_counts_as_read(
    kafka_bootstrap: str, redis_url: str, prefix: str
) -> None:
    """The marker at the end of a partition is no record, and yet all counts as read."""
    async with ingesting(kafka_bootstrap, redis_url, prefix) as (it, ingest):
        topic = it.settings.topics.reports.name
        key, value, headers = it.encoded(report(1))
        async with transaction(kafka_bootstrap, f"{prefix}writer") as producer:
            await producer.send(topic, value, key=key, headers=headers, partition=0)
        await until(lambda: ingest.counts.get("records") == 1, what="the report")

        async def progress() -> tuple[int, int] | None:
            for row in (await it.tables.read()).progress:
                if (row.topic, row.partition, row.end_offset) == (topic, 0, 2):
                    return (row.next_offset, row.end_offset) if row.caught_up else None
            return None

        assert await until(progress, what="the end of the partition") == (2, 2)
        await report_behind(it, topic)


async def test_no_record_stops_the_readers_of_logs(kafka_bootstrap: str, prefix: str) -> None:
    """An order behind headers without values and with odd names is in force, and the log counts as read past
    the marker of a transaction."""
    topics = Topics(prefix)
    await create_topics(kafka_bootstrap, topics)
    topic = topics.commands.name
    order = Command(
        id="1",
        verb="drain",
        scope="oci",
        actor="me",
        reason="a test",
        issued_ms=now_ms(),
        expires_ms=now_ms() + 60_000,
    )
    key, value, headers = encode(order, time_ms=now_ms())
    nameless: list[tuple[str, bytes | None]] = [(name, None) for name, _ in headers]
    typeless = [(name, None if name == "content-type" else text) for name, text in headers]
    odd = (RawName(b"\xff"), b"1")
    data = batch((b"k", b"v", nameless), (key, value, typeless), (key, value, [odd, *headers]))
    assert await produce(kafka_bootstrap, topic, data) == 0
    policy = first_policy(load_policy(EXAMPLE_POLICY), unsigned=True)
    reader = CommandReader(kafka_bootstrap, topic, policy=policy, namespace="tieline")
    await reader.start()
    reading = asyncio.create_task(reader.run())
    try:
        await reader.read_all(within_s=60)
        assert [order.scope for order in reader.log.in_force(now_ms())] == ["oci"]
        async with transaction(kafka_bootstrap, f"{prefix}writer") as producer:
            await producer.send(topic, b"rubbish")
        await reader.read_all(within_s=60)
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        await reader.stop()


@asynccontextmanager
async def transaction(bootstrap: str, name: str) -> AsyncIterator[AIOKafkaProducer]:
    """A producer in a transaction, which is committed at the end."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id=name)
    await producer.start()
    try:
        async with producer.transaction():
            yield producer
    finally:
        await producer.stop()
