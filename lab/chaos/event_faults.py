"""Events that no well-behaved source sends: a storm, poison of every kind, letters that nobody takes.

Whatever lies on an evidence topic, the records after it are still read. Poison becomes a dead letter, or
waits until the topic of dead letters takes it, and never disappears without a trace.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from aiokafka import AIOKafkaProducer, TopicPartition

from controller.process.clock import now_ms, stopwatch_s
from lab.chaos.acls import allow_writes, forbid_writes
from lab.chaos.fault import ChaosError, ChaosFault, Promise, Scene, paused
from lab.chaos.kafka_faults import (
    CAUGHT_UP,
    TOPICS,
    admin_of,
    create,
    end_offsets,
    progress,
    set_config,
    until_caught_up,
)
from lab.chaos.letters import NewLetters, letters_from_now, summary
from lab.chaos.network_faults import ANSWERED_DURING
from lab.chaos.raw_records import RawName, batch, bomb, produce
from lab.chaos.world import CONTROLLERS
from tieline.cloudevents import encode
from tieline.events import Demand

WITHIN_S = 60.0
STORM_PER_S = 800  # about 100 times what the world sends by itself
STORM_S = 8.0
STORM_CLIENTS = 400
SLOWED_S = 0.2
BEHIND_S = 15.0  # longer than the session of the group of consumers
NESTED = 100_000
BOMB_BYTES = 100_000_000
NO_ERROR = 0
LETTERS = Promise("letters afterwards", 60.0)
TOPIC = TOPICS.reports.name
CloudHeaders = list[tuple[str, bytes | None]]


async def _storm(scene: Scene) -> None:
    sent, took_s, answered_s = await _send_storm(scene)
    before = await _own_rate(scene)
    scene.prove(
        f"{sent} reports of clients in {took_s:.1f} s, {sent / took_s / before:.0f} times the usual rate"
    )
    scene.measure(ANSWERED_DURING.what, answered_s)
    scene.measure(CAUGHT_UP.what, await until_caught_up(scene, WITHIN_S))


async def _own_rate(scene: Scene) -> float:
    """Records a second on the evidence topics without a storm."""
    names = (TOPICS.reports.name, TOPICS.demand.name, TOPICS.capacity.name)
    places = [TopicPartition(name, number) for name in names for number in range(4)]
    began_s, before = stopwatch_s(), sum((await end_offsets(scene, places)).values())
    await scene.last(3.0)
    after = sum((await end_offsets(scene, places)).values())
    return max(1.0, (after - before) / (stopwatch_s() - began_s))


async def _send_storm(scene: Scene) -> tuple[int, float, float]:
    """How many records, in how many seconds, and how long an order took meanwhile."""
    producer = AIOKafkaProducer(bootstrap_servers=scene.world.bootstrap, linger_ms=5)
    await producer.start()
    began_s, sent = stopwatch_s(), 0
    ordering: asyncio.Task[float] | None = None
    try:
        while (passed_s := stopwatch_s() - began_s) < STORM_S:
            for _ in range(max(0, round(passed_s * STORM_PER_S) - sent)):
                key, value, headers = idle_client(sent)
                await producer.send(TOPICS.demand.name, value, key=key, headers=headers)
                sent += 1
            if ordering is None and passed_s > STORM_S / 3:
                ordering = asyncio.create_task(scene.order_takes(WITHIN_S))
            await asyncio.sleep(0.02)
        await producer.flush()
        took_s = stopwatch_s() - began_s
        assert ordering is not None
        return sent, took_s, await ordering
    finally:
        if ordering is not None:
            ordering.cancel()
        await producer.stop()


def idle_client(number: int) -> tuple[bytes, bytes, list[tuple[str, bytes]]]:
    """A report of a client that sends nothing."""
    at_ms = now_ms()
    event = Demand(
        client=f"storm-{number % STORM_CLIENTS}",
        incarnation="storm",
        sequence=number // STORM_CLIENTS + 1,
        window_start_ms=at_ms - 1_000,
        window_end_ms=at_ms,
        interval_ms=1_000,
        flows=(),
        pools=(),
    )
    return encode(event, time_ms=at_ms)


async def _slow_consumer(scene: Scene) -> None:
    """All that controllers read comes late, while a storm goes on."""
    links = [scene.world.kafka_links[name] for name in CONTROLLERS]
    for link in links:
        link.slow(SLOWED_S)
    try:
        sent, _, answered_s = await _send_storm(scene)
        slowed = sum(link.slowed for link in links)
    finally:
        for link in links:
            link.mend()
    scene.prove(f"{sent} records behind links that delayed {slowed} blocks")
    scene.measure(ANSWERED_DURING.what, answered_s)
    scene.measure(CAUGHT_UP.what, await until_caught_up(scene, WITHIN_S))


async def _consumer_stopped(scene: Scene) -> None:
    """The standby, which has partitions too, stands still for longer than its session lasts."""
    name = scene.world.other(scene.leader())
    child = scene.world.controllers[name]
    state = await paused(child)
    await scene.last(BEHIND_S)
    scene.prove(f"{name}, which stood by with its partitions, is {state} (SIGSTOP) for {BEHIND_S:g} s")
    scene.measure(CAUGHT_UP.what, await until_caught_up(scene, WITHIN_S))
    child.resume()


def _poison() -> list[tuple[bytes | None, bytes | None, CloudHeaders]]:
    """One record of each kind that must become a dead letter."""
    _, body, headers = idle_client(1)
    cloud: CloudHeaders = list(headers)
    json_cloud = [(name, b"application/json" if name == "content-type" else value) for name, value in cloud]
    twice: CloudHeaders = [*cloud, ("ce_type", b"tieline.capacity.v1")]
    odd: tuple[str, bytes | None] = (RawName(b"\xff\xfe caf\xe9"), b"1")
    not_a_number = msgspec.json.encode({"window_start_ms": 0}).replace(b"0", b"NaN")
    return [
        (b"no headers", b"rubbish", []),
        (b"a header that is not UTF-8", b"rubbish", [odd]),
        (b"msgpack bomb", b"\x91" * NESTED, cloud),
        (b"msgpack sizes", b"\xdd\xff\xff\xff\xff", cloud),
        (b"json bomb", b"[" * NESTED, json_cloud),
        (b"NaN", not_a_number, json_cloud),
        (b"tombstone", None, cloud),
        (b"duplicate headers", body, twice),
        (b"half a body", body[: len(body) // 2], cloud),
        (b"headers without values", body, [(name, None) for name, _ in cloud]),
        (b"empty", b"", cloud),
    ]


async def _send_poison(scene: Scene) -> int:
    """Sends every kind to every partition. Returns how many records that were."""
    records = _poison()
    for partition in range(TOPICS.reports.partitions):
        data = batch(*records)
        if (code := await produce(scene.world.bootstrap, TOPIC, data, partition)) != NO_ERROR:
            raise ChaosError(f"Kafka did not take the poison: error {code}")
    return TOPICS.reports.partitions * len(records)


async def _until_lettered(scene: Scene, letters: NewLetters, count: int) -> float:
    """Until so many records have a dead letter. Returns after how many seconds."""

    async def all_there() -> bool:
        return len(await letters.reasons()) >= count

    return await scene.until(all_there, WITHIN_S, f"dead letters of {count} records")


async def _poison_of_every_kind(scene: Scene) -> None:
    topic = TOPICS.reports
    await set_config(scene, topic, {**topic.config, "compression.type": "producer"})
    letters = await letters_from_now(scene)
    count = await _send_poison(scene)
    await produce(scene.world.bootstrap, TOPIC, bomb(BOMB_BYTES))
    count += 1
    scene.prove(f"{count} records of {len(_poison()) + 1} kinds appended to {TOPIC}")
    scene.measure(CAUGHT_UP.what, await until_caught_up(scene, WITHIN_S))

    scene.measure(LETTERS.what, await _until_lettered(scene, letters, count))
    if len(reasons := await letters.reasons()) > count:
        raise ChaosError(f"{count} records were poison, and dead letters have {summary(reasons)}")
    await set_config(scene, topic, topic.config)


@asynccontextmanager
async def _letters_refused(scene: Scene, how: str) -> Any:
    """The topic of dead letters is missing, takes nothing of any size, or takes no writes."""
    topic = TOPICS.deadletter
    if how == "missing":
        async with admin_of(scene) as admin:
            await admin.delete_topics([topic.name])
    elif how == "full":
        await set_config(scene, topic, {**topic.config, "max.message.bytes": "50"})
    else:
        await forbid_writes(scene.world.bootstrap, topic.name)
    try:
        yield
    finally:
        if how == "missing":
            async with admin_of(scene) as admin:
                await create(admin, [topic])
        elif how == "full":
            await set_config(scene, topic, topic.config)
        else:
            await allow_writes(scene.world.bootstrap, topic.name)


def _no_letters(how: str) -> Callable[[Scene], Awaitable[None]]:
    async def act(scene: Scene) -> None:
        letters = await letters_from_now(scene, topic_is_new=how == "missing")
        async with _letters_refused(scene, how):
            count = await _send_poison(scene)
            scene.measure(CAUGHT_UP.what, await until_caught_up(scene, WITHIN_S))

            async def told() -> Sequence[str]:
                return [row.trouble for row in await progress(scene) if row.letters_waiting]

            await scene.until(told, WITHIN_S, "letters that wait, in the progress rows")
            scene.prove(f"{count} letters wait: {(await told())[0][:120]}")

        scene.measure(LETTERS.what, await _until_lettered(scene, letters, count))

    return act


FAULTS = (
    ChaosFault(
        "storm",
        f"{STORM_PER_S} reports of clients a second for {STORM_S:g} s",
        _storm,
        promises=(ANSWERED_DURING, CAUGHT_UP),
        calm_within_s=90,
    ),
    ChaosFault(
        "slow-consumer",
        "the storm again, while all that controllers read comes 200 ms late",
        _slow_consumer,
        promises=(ANSWERED_DURING, CAUGHT_UP),
        calm_within_s=90,
    ),
    ChaosFault(
        "consumer-stopped",
        "the standby stands still with its partitions for longer than its session",
        _consumer_stopped,
        promises=(CAUGHT_UP,),
        calm_within_s=90,
    ),
    ChaosFault(
        "poison",
        "headers that are not UTF-8, msgpack and JSON bombs, NaN, tombstones, duplicate headers and more",
        _poison_of_every_kind,
        promises=(CAUGHT_UP, LETTERS),
    ),
    *(
        ChaosFault(
            f"dead-letters-{how}",
            f"poison of every kind while the topic of dead letters {words}",
            _no_letters(how),
            promises=(CAUGHT_UP, LETTERS),
            calm_within_s=90,
        )
        for how, words in (
            ("missing", "is missing"),
            ("full", "takes no record of any size"),
            ("read-only", "takes no writes"),
        )
    ),
)
