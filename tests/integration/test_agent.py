"""The routing agent as a process of its own, over real Kafka and Valkey that come and go."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import RedisError

import tieline
from tests.integration.controllers import FORCED, POLICY, Fleet, newest, settings_of
from tests.integration.controllers import tieline as tieline_command
from tests.integration.replicated import delete_topics
from tests.stacks import RealStack
from tests.waiting import until
from tieline.keys import MANIFEST_FIELD, slice_field
from tieline.redis_client import connect
from tieline.table import decode_manifest, decode_slice, slices


@pytest.fixture
async def fleet(kafka_bootstrap: str, redis_url: str, prefix: str, tmp_path: Path) -> AsyncIterator[Fleet]:
    async with Fleet(settings_of(kafka_bootstrap, redis_url, prefix), tmp_path) as running:
        yield running


@pytest.fixture
async def own_fleet(own_stack: RealStack, prefix: str, tmp_path: Path) -> AsyncIterator[Fleet]:
    """On a Kafka and a Valkey that the test may stop."""
    settings = settings_of(own_stack.kafka_bootstrap, own_stack.redis_url, prefix)
    async with Fleet(settings, tmp_path) as running:
        yield running


async def projected(fleet: Fleet, redis: Any) -> dict[str, bytes] | None:
    """The slices that Redis holds, each checked, if they are of the newest publication."""
    try:
        fields = await redis.hgetall(fleet.settings.keys.routes)
    except RedisError:
        return None
    raw = fields.get(MANIFEST_FIELD.encode())
    record = await newest(fleet)
    if raw is None or decode_manifest(raw).generation != record.generation:
        return None
    sums = decode_manifest(raw).slices
    parts = {name: fields[slice_field(name).encode()] for name in sums}
    for name, part in parts.items():
        decode_slice(part, sums[name])
    # Besides the slices manifest, heartbeat, the ids of two logs, lineage, epoch and seq: nothing is left.
    assert len(fields) == len(parts) + 7
    assert record.table is not None
    assert parts == slices(record.table)
    return parts


async def names_its_parent(fleet: Fleet) -> bool:
    """Whether the newest record says which lineage its own follows."""
    return (await newest(fleet)).parents == ("multicloud-1",)


async def drain(fleet: Fleet, scope: str, *, has_redis: bool = True) -> None:
    """Drains. Where Redis doesn't get the table, the command says so of an order that is published."""
    words = (*FORCED, "--reason", "test", "--for", "1h", *(() if has_redis else ("--within", "10s")))
    given = await tieline_command(fleet.settings, "drain", scope, *words)
    assert "published as" in given.out, given.err
    assert given.status == (0 if has_redis else 1), given.err
    assert has_redis or "clients keep the table that they have until it is there" in given.err


async def test_redis_holds_what_kafka_holds(fleet: Fleet) -> None:
    """The first table and every later one: manifest and slices in Redis are the newest publication's."""
    controller = await fleet.add()
    await controller.until_said("decides now")
    async with connect(fleet.settings.redis, fleet.settings.keys) as redis:
        first = await until(lambda: projected(fleet, redis), what="the first projection")
        assert first is not None
        assert len(first) == 9
        before = await newest(fleet)
        await drain(fleet, "oci")
        assert (await newest(fleet)).generation.newer_than(before.generation)
        await until(lambda: projected(fleet, redis), what="the projection of the drain")


async def test_emptied_redis_is_projected_anew(fleet: Fleet) -> None:
    """Routes removed from Redis are back within seconds, of the newest generation and of none before it."""
    controller = await fleet.add()
    await controller.until_said("decides now")
    async with connect(fleet.settings.redis, fleet.settings.keys) as redis:
        await until(lambda: projected(fleet, redis), what="the first projection")
        before = await newest(fleet)
        await redis.delete(fleet.settings.keys.routes)
        await until(lambda: projected(fleet, redis), what="the projection after the flush")
        assert not before.generation.newer_than((await newest(fleet)).generation)


async def test_redis_is_never_taken_back(fleet: Fleet) -> None:
    """A projection of another lineage or of a higher generation stays; the controller says so."""
    controller = await fleet.add()
    await controller.until_said("decides now")
    async with connect(fleet.settings.redis, fleet.settings.keys) as redis:
        await until(lambda: projected(fleet, redis), what="the first projection")
        await redis.hset(fleet.settings.keys.routes, mapping={"epoch": str(2**53 + 1)})
        await drain(fleet, "oci", has_redis=False)
        refused = await controller.until_said("Redis refused a publication")
        assert f":{2**53 + 1}:" in refused["stored"]
        assert await redis.hget(fleet.settings.keys.routes, "epoch") == str(2**53 + 1).encode()
        await redis.hset(fleet.settings.keys.routes, mapping={"lineage": "another", "epoch": "0", "seq": "0"})
        await controller.until_said("LINEAGE: Redis holds another lineage")
        assert await redis.hget(fleet.settings.keys.routes, "lineage") == b"another"


async def test_publications_go_on_without_redis(own_stack: RealStack, own_fleet: Fleet) -> None:
    """With Valkey away a command is still published; when it is back, empty, the projection is whole."""
    controller = await own_fleet.add()
    await controller.until_said("decides now")
    await own_stack.valkey.stop()
    await drain(own_fleet, "oci", has_redis=False)
    await own_stack.valkey.start()
    async with connect(own_fleet.settings.redis, own_fleet.settings.keys) as redis:
        await until(lambda: projected(own_fleet, redis), what="the projection after the outage")
    assert controller.process.returncode is None


async def test_kafka_away_holds_and_goes_on(own_stack: RealStack, own_fleet: Fleet) -> None:
    """With Kafka away the process lives; when it is back it leads and takes commands."""
    controller = await own_fleet.add()
    await controller.until_said("decides now")
    before = await newest(own_fleet)
    await own_stack.kafka.stop()
    loop = asyncio.get_running_loop()
    away_until = loop.time() + 4.0
    await until(lambda: loop.time() > away_until, what="an outage longer than the lease")
    await own_stack.kafka.start()
    assert controller.process.returncode is None
    await drain(own_fleet, "oci")
    after = await newest(own_fleet)
    assert after.generation.newer_than(before.generation)
    assert await controller.stop() == 0


async def test_a_lost_kafka_is_followed_by_a_new_lineage(
    own_stack: RealStack, redis_url: str, prefix: str, tmp_path: Path
) -> None:
    """Kafka's data is lost. Controllers of the same lineage say so and lead nothing; with a new lineage they
    lead, and after one command Redis and clients have the new tables, the last good file included."""
    settings = settings_of(own_stack.kafka_bootstrap, redis_url, prefix)
    file = tmp_path / "routes.bin"

    def follower() -> tieline.AsyncClient:
        return tieline.AsyncClient(
            settings.redis, workload="chat", origin="eu", namespace=settings.namespace, last_good=file
        )

    async def has(client: tieline.AsyncClient, lineage: str) -> None:
        await until(lambda: client.status.generation.startswith(lineage), what=f"a table of {lineage}")

    async with Fleet(settings, tmp_path) as fleet:
        await (await fleet.add()).until_said("decides now")
        async with follower() as client:
            await has(client, "multicloud-1:")
    await delete_topics(own_stack.kafka_bootstrap, *(topic.name for topic in settings.topics.all()))
    async with Fleet(settings, tmp_path) as fleet:
        same = await fleet.add()
        unfit = await same.until_said("this controller is not fit to lead")
        assert "adopt-lineage" in unfit["why"][0]
        assert not same.said("leads now")
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY.read_text().replace("lineage: multicloud-1", "lineage: multicloud-2"))
    async with Fleet(dataclasses.replace(settings, policy=policy), tmp_path) as fleet:
        await (await fleet.add()).until_said("decides now")
        async with follower() as client:
            await has(client, "multicloud-1:")
            adopted = await tieline_command(settings, "adopt-lineage", "--reason", "Kafka was lost")
            assert adopted.status == 0, adopted.err + adopted.out
            assert "multicloud-2 follows multicloud-1" in adopted.out
            await has(client, "multicloud-2:")
        await until(lambda: names_its_parent(fleet), what="a record that the next leader learns it from")
        again = await tieline_command(settings, "adopt-lineage", "--reason", "twice")
        assert "nothing to adopt" in again.out
