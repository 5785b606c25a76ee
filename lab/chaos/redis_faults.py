"""Redis is emptied, taken back to an older copy, out of memory or connections, read-only, unable to save.

Redis is a projection of Kafka. Whatever becomes of it, clients keep their table, publications go on, and what
was in force is there again within seconds after Redis takes writes.
"""

from __future__ import annotations

import asyncio
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from redis.exceptions import RedisError

from controller.process.clock import now_ms
from lab.chaos.facts import RedisView
from lab.chaos.fault import ChaosError, ChaosFault, Promise, Scene
from lab.chaos.world import CONTROLLERS, NAMESPACE
from tieline.overlay import Overlay, sign

FILLED = Promise("Redis filled again", 10.0)
ANSWERED_WITHOUT_REDIS = Promise("order answered during the fault", 10.0)
TABLES_REBUILT = Promise("tables of evidence rebuilt", 30.0)
WITHIN_S = 40.0
LASTS_S = 6.0


async def _until_refilled(scene: Scene) -> None:
    """Until Redis has the newest table and a new run of the tables of evidence."""

    def has_newest() -> bool:
        view, newest = scene.recorder.redis, scene.recorder.newest
        return view is not None and newest is not None and view.generation == newest.generation

    scene.measure(FILLED.what, await scene.until(has_newest, WITHIN_S, "the newest table in Redis"))


async def _run_of_tables(scene: Scene) -> bytes:
    async with scene.redis() as redis:
        run: Any = await redis.get(scene.keys.table("run"))
        return run or b""


async def _until_rebuilt(scene: Scene, run_before: bytes) -> None:
    async def rebuilt() -> bool:
        run = await _run_of_tables(scene)
        return run not in (b"", run_before)

    scene.measure(TABLES_REBUILT.what, await scene.until(rebuilt, WITHIN_S, "a new run of the tables"))


async def _emptied(scene: Scene) -> None:
    run = await _run_of_tables(scene)
    async with scene.redis() as redis:
        await redis.flushall()
        scene.prove(f"FLUSHALL: {await redis.dbsize()} keys are left")
    await _until_refilled(scene)
    await _until_rebuilt(scene, run)


async def _older_copy(scene: Scene) -> None:
    """The copy is made, tables and routes move on for some seconds, and Redis comes back with the copy."""
    valkey = scene.world.valkey
    async with scene.redis() as redis:
        await redis.save()
    valkey.keep_copy()
    await scene.last(LASTS_S)
    await scene.order_takes(WITHIN_S)
    await _until_refilled(scene)
    run = await _run_of_tables(scene)
    before = scene.recorder.redis
    assert before is not None
    await valkey.kill()
    valkey.put_copy_back()
    # Nobody may fill it before the recorder has seen what it came back with.
    links = [scene.world.redis_links[name] for name in CONTROLLERS]
    for link in links:
        link.cut()
    await valkey.start()
    valkey.drop_copy()
    try:
        await scene.until(lambda: _came_back_older(scene, before), WITHIN_S, "an older table in Redis")
        view = scene.recorder.redis
        assert view is not None
        scene.prove(
            f"Redis was killed and came back with {view.generation} in the place of {before.generation}"
        )
    finally:
        for link in links:
            link.mend()
    await _until_refilled(scene)
    await _until_rebuilt(scene, run)


def _came_back_older(scene: Scene, before: RedisView) -> bool:
    view = scene.recorder.redis
    is_there = view is not None and view.generation is not None and before.generation is not None
    return bool(is_there and before.generation.newer_than(view.generation))  # type: ignore[union-attr]


async def _refusing(scene: Scene, put: dict[str, str], take: dict[str, str], what: str) -> None:
    """Settings with which Redis refuses to write, for some seconds; orders are answered meanwhile."""
    async with scene.redis() as redis:
        await redis.config_set(*_flat(put))
        try:
            scene.prove(f"{what}: SET answers {await _answer_to_set(scene)}")
            scene.measure(ANSWERED_WITHOUT_REDIS.what, await scene.order_takes(WITHIN_S))
            await scene.last(LASTS_S)
        finally:
            await redis.config_set(*_flat(take))
    await _until_refilled(scene)


def _flat(settings: dict[str, str]) -> list[str]:
    return [word for pair in settings.items() for word in pair]


async def _answer_to_set(scene: Scene) -> str:
    async with scene.redis() as redis:
        try:
            await redis.set("chaos-proof", "1")
        except RedisError as error:
            return str(error).split(".", 1)[0]
    raise ChaosError("Redis still takes writes")


async def _out_of_memory(scene: Scene) -> None:
    await _refusing(scene, {"maxmemory": "1"}, {"maxmemory": "512mb"}, "maxmemory is 1 byte")


async def _cannot_save(scene: Scene) -> None:
    """With a disk on which nothing can be saved Redis refuses writes (MISCONF)."""
    async with scene.redis() as redis:
        await redis.config_set("dbfilename", "nobody" * 50)  # longer than a file's name may be
        await redis.config_set("save", "3600 1")
        try:
            await redis.bgsave()

            async def refused() -> bool:
                info = await redis.info("persistence")
                return bool(info["rdb_last_bgsave_status"] == "err")

            await scene.until(refused, WITHIN_S, "a save that fails")
            scene.prove(f"nothing can be saved: SET answers {await _answer_to_set(scene)}")
            scene.measure(ANSWERED_WITHOUT_REDIS.what, await scene.order_takes(WITHIN_S))
            await scene.last(LASTS_S)
        finally:
            await redis.config_set("dbfilename", "dump.rdb")
            await redis.config_set("save", "")
            await redis.bgsave()
    await _until_refilled(scene)
    scene.world.valkey.drop_copy()


async def _read_only(scene: Scene) -> None:
    """A replica of a server that isn't there: it answers reads from what it has, and refuses writes."""
    async with scene.redis() as redis:
        await redis.replicaof("127.0.0.1", "1")
        try:
            scene.prove(f"Redis is a replica: SET answers {await _answer_to_set(scene)}")
            scene.measure(ANSWERED_WITHOUT_REDIS.what, await scene.order_takes(WITHIN_S))
            await scene.last(LASTS_S)
        finally:
            await redis.replicaof("NO", "ONE")
    await _until_refilled(scene)


async def _without_connections(scene: Scene) -> None:
    """Redis has as many connections as it may have, so it ends every new one with an error."""
    async with scene.redis() as redis:
        before = (await redis.config_get("maxclients"))["maxclients"]
        await redis.config_set("maxclients", 1)
        try:
            for kind in ("normal", "pubsub"):
                await redis.client_kill_filter(_type=kind, skipme=True)
            scene.prove(f"maxclients is 1: another connection is told {await _answer_to_set(scene)}")
            scene.measure(ANSWERED_WITHOUT_REDIS.what, await scene.order_takes(WITHIN_S))
            await scene.last(LASTS_S)
        finally:
            await redis.config_set("maxclients", str(before))
    await _until_refilled(scene)


async def _overlay_emptied(scene: Scene) -> None:
    """An emergency overlay lies in Redis alone; the controllers put it back."""
    at_ms = now_ms()
    overlay = Overlay(
        id="chaos",
        namespace=NAMESPACE,
        exclude=("gcp/nowhere",),
        issued_ms=at_ms,
        expires_ms=at_ms + 60_000,
        actor="chaos",
        reason="a test of the overlay",
    )
    data = sign(overlay, Ed25519PrivateKey.generate())
    async with scene.redis() as redis:
        await redis.set(scene.keys.overlay, data, pxat=overlay.expires_ms)
        await asyncio.sleep(2.5)  # each controller looks once a second
        await redis.flushall()
        scene.prove(f"FLUSHALL with an overlay in force: {await redis.dbsize()} keys are left")

        async def is_back() -> bool:
            return bool(await redis.get(scene.keys.overlay) == data)

        scene.measure("overlay back", await scene.until(is_back, WITHIN_S, "the overlay in Redis"))
        await _until_refilled(scene)
        await redis.delete(scene.keys.overlay)


FAULTS = (
    ChaosFault(
        "redis-emptied",
        "FLUSHALL under load; the routes and the tables of evidence come back from Kafka",
        _emptied,
        promises=(FILLED, TABLES_REBUILT),
    ),
    ChaosFault(
        "redis-emptied-with-overlay",
        "FLUSHALL while an emergency overlay is in force",
        _overlay_emptied,
        promises=(FILLED, Promise("overlay back", 5.0)),
    ),
    ChaosFault(
        "redis-older-copy",
        "Redis is killed and comes back with an older copy of its data",
        _older_copy,
        promises=(FILLED, TABLES_REBUILT),
        redis_may_go_back=True,
    ),
    ChaosFault(
        "redis-out-of-memory",
        "Redis has no memory for writes",
        _out_of_memory,
        promises=(ANSWERED_WITHOUT_REDIS, FILLED),
    ),
    ChaosFault(
        "redis-cannot-save",
        "Redis can't save, and refuses writes",
        _cannot_save,
        promises=(ANSWERED_WITHOUT_REDIS, FILLED),
    ),
    ChaosFault(
        "redis-out-of-connections",
        "Redis ends all connections and takes no other for 6 s",
        _without_connections,
        promises=(ANSWERED_WITHOUT_REDIS, FILLED),
    ),
    ChaosFault(
        "redis-read-only", "Redis becomes a replica", _read_only, promises=(ANSWERED_WITHOUT_REDIS, FILLED)
    ),
)
