"""Controllers that sign, and somebody else who can write to Kafka and to Redis, with real processes."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from dataclasses import replace as with_fields
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from aiokafka.structs import ConsumerRecord
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from msgspec.structs import replace

import tieline
from controller.kafka.ordered_log import start_producer
from controller.process.private_key import write_new_private_key
from controller.routes.record import ROUTES_TYPE, encode_record, headers
from tests.integration.controllers import Fleet, leader_and_standby, newest, settings_of
from tests.integration.controllers import tieline as command
from tests.integration.ingesting import read_all
from tests.waiting import until
from tieline.keys import MANIFEST_FIELD, slice_field
from tieline.redis_client import connect
from tieline.table import Generation, manifest, slices

Record: TypeAlias = "ConsumerRecord[bytes | None, bytes | None]"


@pytest.fixture
async def fleet(kafka_bootstrap: str, redis_url: str, prefix: str, tmp_path: Path) -> AsyncIterator[Fleet]:
    private = write_new_private_key(tmp_path / "controller.key")
    public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "controllers.pub").write_bytes(public)
    settings = with_fields(
        settings_of(kafka_bootstrap, redis_url, prefix),
        signing_key=tmp_path / "controller.key",
        controller_keys=tmp_path / "controllers.pub",
    )
    async with Fleet(settings, tmp_path) as running:
        yield running


async def write(fleet: Fleet, topic: str, *records: Record) -> None:
    """The same records once more."""
    producer = await start_producer(fleet.settings.kafka)
    for record in records:
        await producer.send_and_wait(
            topic, value=record.value, key=record.key, headers=list(record.headers), partition=0
        )
    await producer.stop()


async def test_forged_records_and_copies_change_nothing(fleet: Fleet) -> None:
    """A table under the leader's own name and epoch is ignored, although it claims a higher generation; both
    controllers say so, and `status` alarms. The leader dies while copies of its signed heartbeats are sent:
    the standby takes over, and continues the true table."""
    topics = fleet.settings.topics
    leader, standby = await leader_and_standby(fleet)
    before = await newest(fleet)
    assert before.table is not None
    forged = Generation(before.generation.lineage, before.generation.epoch, 10**9)
    evil = tuple(replace(info, url="http://elsewhere.test/v1") for info in before.table.pools)
    record = replace(before, generation=forged, table=replace(before.table, generation=forged, pools=evil))
    own = (await read_all(fleet.settings.kafka, topics.routes.name))[-1]
    source = dict(own.headers)["ce_source"].decode().removeprefix("/tieline/")
    producer = await start_producer(fleet.settings.kafka)
    await producer.send_and_wait(
        topics.routes.name,
        value=encode_record(record),
        key=record.key(),
        headers=headers(ROUTES_TYPE, str(forged), source),
        partition=0,
    )
    await producer.stop()
    assert (await standby.until_said("a record of the routes log is ignored"))["why"] == "it is not signed"
    assert (await newest(fleet)).generation.seq < forged.seq

    async def alarmed() -> bool:
        return "somebody else writes there" in (await command(fleet.settings, "status", "--json")).out

    await until(alarmed, what="the alarm")
    spoken = await read_all(fleet.settings.kafka, topics.leader.name)
    beats = [item for item in spoken if b"heartbeat" in (item.value or b"")]
    leader.signal(signal.SIGKILL)

    async def led() -> bool:
        await write(fleet, topics.leader.name, *beats[-3:])
        return bool(standby.said("leads now"))

    await until(led, what="the take-over")
    after = await newest(fleet)
    assert after.generation.epoch > before.generation.epoch
    assert after.table is not None
    assert [info.url for info in after.table.pools] == [info.url for info in before.table.pools]


async def test_forged_table_in_redis_is_taken_by_no_client_with_the_key(fleet: Fleet) -> None:
    """Whoever can write to Redis can't send the requests of such a client elsewhere: it keeps the table that
    the controllers signed, and its status says why. It starts with that table also from its file."""
    controller = await fleet.add()
    await controller.until_said("decides now")
    keys = fleet.settings.keys
    last_good = fleet.settings.signing_key.with_name("routes.bin")  # type: ignore[union-attr]
    arguments: dict[str, Any] = {
        "workload": "chat",
        "origin": "eu",
        "namespace": fleet.settings.namespace,
        "controller_keys": [fleet.settings.controller_keys],
    }
    async with (
        connect(fleet.settings.redis, keys) as redis,
        tieline.AsyncClient(fleet.settings.redis, **arguments, last_good=last_good) as client,
    ):
        assert await client.ready(timeout=60)
        await until(lambda: client.status.state == "live", what="the table from Redis")
        table = (await newest(fleet)).table
        assert table is not None
        evil = tuple(replace(info, url="http://elsewhere.test/v1") for info in table.pools)
        forged = replace(
            table, pools=evil, generation=Generation(table.generation.lineage, table.generation.epoch, 10**9)
        )
        parts = slices(forged)
        fields = {slice_field(name): data for name, data in parts.items()}
        fields |= {MANIFEST_FIELD: manifest(forged, parts, urgent_seq=10**9), "seq": b"1000000000"}
        for field, data in fields.items():
            await redis.hset(keys.routes, field, data)
        await redis.publish(keys.routes_hint, f"{forged.generation} 1")
        await until(lambda: "controller_keys" in client.status.error, what="the refusal")
        assert await redis.hget(keys.routes, MANIFEST_FIELD) == fields[MANIFEST_FIELD]
        assert str(forged.generation) != client.status.generation
        await until(last_good.exists, what="the last good file")
        generation = client.status.generation
    async with tieline.offline(
        last_good, **{k: v for k, v in arguments.items() if k != "last_good"}
    ) as again:
        assert await again.ready(timeout=60)
        assert again.status.generation == generation
