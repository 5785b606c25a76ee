"""Rubbish on the command log, and a log that was cut: orders in force stay, and controllers start."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.records_to_delete import RecordsToDelete

from controller.status.live import present
from tests.integration.controllers import FORCED, Fleet, settings_of, tieline
from tests.waiting import until

RUBBISH = 150_000


@pytest.fixture
async def fleet(kafka_bootstrap: str, redis_url: str, prefix: str, tmp_path: Path) -> AsyncIterator[Fleet]:
    async with Fleet(settings_of(kafka_bootstrap, redis_url, prefix), tmp_path) as running:
        yield running


async def drained(fleet: Fleet) -> list[str]:
    """Scopes of the orders in force, as commands see them."""
    return [command.scope for command in (await present(fleet.settings)).snapshot.commands]


async def flood(fleet: Fleet) -> None:
    """Appends rubbish to the command log, as fast as it goes."""
    topic = fleet.settings.topics.commands.name
    producer = AIOKafkaProducer(bootstrap_servers=str(fleet.settings.kafka), linger_ms=5, acks=1)
    await producer.start()
    try:
        for _ in range(RUBBISH // 10_000):
            sent = [await producer.send(topic, b"rubbish") for _ in range(10_000)]
            await asyncio.gather(*sent)
    finally:
        await producer.stop()


async def cut_log(fleet: Fleet) -> None:
    """Removes everything from the command log, as a short retention does."""
    partition = TopicPartition(fleet.settings.topics.commands.name, 0)
    admin = AIOKafkaAdminClient(bootstrap_servers=str(fleet.settings.kafka))
    await admin.start()
    try:
        await admin.delete_records({partition: RecordsToDelete(before_offset=-1)})
    finally:
        await admin.close()


async def test_rubbish_on_the_command_log_keeps_nobody_from_starting(fleet: Fleet) -> None:
    """The leader reads it once and says so in a few lines. The next one starts as if it were not there, with
    the orders that were given before it, and takes new ones.
    """
    leader = await fleet.add()
    await leader.until_said("decides now")
    given = await tieline(fleet.settings, "drain", "oci", "--reason", "test", "--for", "1h", *FORCED)
    assert given.status == 0, given.err
    await flood(fleet)

    async def recorded() -> bool:
        async with fleet.routes() as routes:
            record = routes.newest()
        return record is not None and record.commands_next_offset > RUBBISH // 2

    await until(recorded, within_s=90, what="a publication that has the rubbish behind it")
    assert len(leader.said("an order was refused")) <= 3
    standby = await fleet.add()
    await standby.until_said("starting")
    assert await leader.stop() == 0
    await standby.until_said("decides now")
    assert await drained(fleet) == ["oci"]
    given = await tieline(fleet.settings, "drain", "gcp", "--reason", "test", "--for", "1h", *FORCED)
    assert given.status == 0, given.err
    assert await drained(fleet) == ["gcp", "oci"]


async def test_an_order_outlives_its_record(fleet: Fleet) -> None:
    """A drain of an hour is in force after the log was cut and every controller was started anew."""
    first = await fleet.add()
    await first.until_said("decides now")
    given = await tieline(fleet.settings, "drain", "oci", "--reason", "test", "--for", "1h", *FORCED)
    assert given.status == 0, given.err
    assert await first.stop() == 0
    await cut_log(fleet)
    second = await fleet.add()
    await second.until_said("decides now")
    assert await drained(fleet) == ["oci"]
    back = await tieline(fleet.settings, "undrain", "oci", "--reason", "test")
    assert back.status == 0, back.err
    assert await drained(fleet) == []
