"""What may befall the logs: retention passes, topics are created anew, a cluster is lost, a broker stalls.

Kafka is the truth. Where a log begins anew nobody can tell whether its tables are newer than what clients
hold: they keep theirs until a person says that the new history follows the old one (``tieline
adopt-lineage``).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.admin.records_to_delete import RecordsToDelete
from aiokafka.errors import KafkaError, TopicAlreadyExistsError
from msgspec.structs import replace

from controller.policy_file import load_policy
from lab.chaos.fault import ChaosError, ChaosFault, Promise, Scene
from lab.chaos.process_faults import ANSWERED
from lab.chaos.world import CONTROLLERS, NAMESPACE
from streams.app import IngestSettings
from streams.rows import Progress
from streams.tables import RedisTables
from tieline.topics import Topic, Topics

WITHIN_S = 40.0
CREATE_TRIES = 100
CAUGHT_UP = Promise("evidence read to its end", 30.0)
ADOPTED = Promise("clients go on after the command", 15.0)
TOPICS = Topics(NAMESPACE)


@asynccontextmanager
async def admin_of(scene: Scene) -> AsyncIterator[AIOKafkaAdminClient]:
    """Connected past all links."""
    admin = AIOKafkaAdminClient(bootstrap_servers=scene.world.bootstrap)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


async def set_config(scene: Scene, topic: Topic, config: dict[str, str]) -> None:
    """Gives a topic these settings and no others."""
    async with admin_of(scene) as admin:
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic.name, config)])


async def create(admin: AIOKafkaAdminClient, topics: Sequence[Topic]) -> None:
    """Creates topics that were just deleted. Raises ChaosError if the broker does not get that far."""
    for topic in topics:
        for _ in range(CREATE_TRIES):
            try:
                new = NewTopic(topic.name, topic.partitions, 1, topic_configs=topic.config)
                answer = await admin.create_topics([new])
                if answer.topic_errors[0][1] == 0:
                    break
            except (TopicAlreadyExistsError, KafkaError):
                pass
            await asyncio.sleep(0.1)
        else:
            raise ChaosError(f"{topic.name} could not be created again")


async def progress(scene: Scene) -> tuple[Progress, ...]:
    """How far each partition of the evidence is read, by the tables in Redis."""
    async with scene.redis() as redis:
        keys = IngestSettings(scene.world.bootstrap, NAMESPACE).keys
        return (await RedisTables(redis, keys).read()).progress


def evidence_places() -> list[TopicPartition]:
    """Every partition of the topics that carry evidence."""
    topics = (TOPICS.reports, TOPICS.demand, TOPICS.capacity, TOPICS.statements)
    return [TopicPartition(topic.name, number) for topic in topics for number in range(topic.partitions)]


async def until_caught_up(scene: Scene, within_s: float = WITHIN_S) -> float:
    """Until the ends of all partitions of the evidence, as they are now, are read."""
    ends = await end_offsets(scene, evidence_places())

    async def caught_up() -> bool:
        rows = {(row.topic, row.partition): row for row in await progress(scene)}
        return all(
            not end or ((row := rows.get((place.topic, place.partition))) and row.next_offset >= end)
            for place, end in ends.items()
        )

    return await scene.until(caught_up, within_s, "the end of the evidence")


async def end_offsets(scene: Scene, places: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
    """One above the last record of each partition."""
    consumer = AIOKafkaConsumer(bootstrap_servers=scene.world.bootstrap)
    await consumer.start()
    try:
        ends: dict[TopicPartition, int] = await consumer.end_offsets(list(places))
        return ends
    finally:
        await consumer.stop()


async def _evidence_recreated(scene: Scene) -> None:
    topic = TOPICS.reports
    before = await end_offsets(scene, [TopicPartition(topic.name, number) for number in range(4)])
    async with admin_of(scene) as admin:
        await admin.delete_topics([topic.name])
        await create(admin, [topic])
    after = await end_offsets(scene, list(before))
    scene.prove(f"{topic.name} had {sum(before.values())} records and begins anew with {sum(after.values())}")
    scene.measure(ANSWERED.what, await scene.order_takes(WITHIN_S))

    async def read_anew() -> bool:
        rows = [row for row in await progress(scene) if row.topic == topic.name]
        return bool(rows) and all(row.caught_up for row in rows) and any(row.next_offset for row in rows)

    await scene.until(read_anew, WITHIN_S, "reports on the new topic")


async def _retention_passed(scene: Scene) -> None:
    """Both controllers are away while all that retention may delete is deleted."""
    for child in scene.world.controllers.values():
        await child.stop()
    logs = (
        TOPICS.reports,
        TOPICS.demand,
        TOPICS.commands,
        TOPICS.leader,
        TOPICS.controllers,
        TOPICS.decisions,
    )
    places = [TopicPartition(topic.name, number) for topic in logs for number in range(topic.partitions)]
    ends = await end_offsets(scene, places)
    async with admin_of(scene) as admin:
        await admin.delete_records({place: RecordsToDelete(end) for place, end in ends.items()})
    scene.prove(f"{sum(ends.values())} records of {len(logs)} topics deleted while no controller ran")
    await _controllers_answer_again(scene)


async def _transactions(scene: Scene) -> None:
    """Producers that write evidence in transactions; their markers take offsets."""
    topic = TOPICS.reports.name
    producer = AIOKafkaProducer(
        bootstrap_servers=scene.world.bootstrap, transactional_id=f"chaos-{scene.began_ms}"
    )
    await producer.start()
    try:
        for number in range(8):
            await producer.begin_transaction()
            for partition in range(4):
                await producer.send(topic, b"rubbish", key=b"chaos", partition=partition)
            await (producer.abort_transaction() if number % 2 else producer.commit_transaction())
    finally:
        await producer.stop()
    ends = await end_offsets(scene, [TopicPartition(topic, number) for number in range(4)])
    scene.prove(f"4 transactions committed and 4 aborted on {topic}, whose ends are {sorted(ends.values())}")
    scene.measure(CAUGHT_UP.what, await until_caught_up(scene))


async def _routes_recreated(scene: Scene) -> None:
    """The routes log begins anew. Controllers end, and say LINEAGE when they are started again."""
    topic = TOPICS.routes
    async with admin_of(scene) as admin:
        await admin.delete_topics([topic.name])
        await create(admin, [topic])
    ends = await end_offsets(scene, [TopicPartition(topic.name, 0)])
    scene.prove(f"{topic.name} was deleted and created again; its end is {sum(ends.values())}")
    await _lost_history(scene)


async def _orders_recreated(scene: Scene) -> None:
    """The log of orders begins anew. Controllers end, and their successors read it from its beginning."""
    topic = TOPICS.commands
    place = TopicPartition(topic.name, 0)
    await scene.order_takes(WITHIN_S)
    before = (await end_offsets(scene, [place]))[place]
    async with admin_of(scene) as admin:
        await admin.delete_topics([topic.name])
        await create(admin, [topic])
    after = (await end_offsets(scene, [place]))[place]
    scene.prove(f"{topic.name} ended at {before} and begins anew at {after}")
    await _until_controllers_end(scene)
    await _controllers_answer_again(scene)


async def _controllers_answer_again(scene: Scene) -> None:
    """Starts the controllers and gives an order."""
    for name in CONTROLLERS:
        await scene.world.start_controller(name)
    await scene.until_next_epoch(2 * WITHIN_S)
    scene.measure(ANSWERED.what, await scene.order_takes(WITHIN_S))


async def _until_controllers_end(scene: Scene) -> None:
    controllers = scene.world.controllers
    await scene.until(
        lambda: not any(child.running for child in controllers.values()), WITHIN_S, "the end of controllers"
    )


async def _cluster_replaced(scene: Scene) -> None:
    """Kafka comes back as another cluster without any topic."""
    kafka = scene.world.kafka
    before = _cluster_id(scene)
    await kafka.kill()
    await asyncio.to_thread(kafka.become_another_cluster)
    await kafka.start()
    if (after := _cluster_id(scene)) == before:
        raise ChaosError(f"the id of the cluster is {after} as before")
    scene.prove(f"the id of the cluster was {before} and is {after}")
    await _lost_history(scene)


def _cluster_id(scene: Scene) -> str:
    text = (scene.world.kafka.place / "data" / "meta.properties").read_text()
    return next(line.partition("=")[2] for line in text.splitlines() if line.startswith("cluster.id"))


async def _lost_history(scene: Scene) -> None:
    """Clients keep their table; a new lineage and one command let them go on."""
    controllers = scene.world.controllers
    await _until_controllers_end(scene)
    view = scene.recorder.redis
    assert view is not None
    assert view.generation is not None
    await scene.until_clients_have(view.generation, WITHIN_S)  # it may have been on its way to them
    tables_before = scene.held_by_clients()
    for name in CONTROLLERS:
        await scene.world.start_controller(name)

    async def told() -> bool:
        return "LINEAGE" in (await scene.tieline("status")).text

    await scene.until(told, 2 * WITHIN_S, "LINEAGE in tieline status")
    scene.prove("tieline status says LINEAGE")
    if scene.held_by_clients() != tables_before:
        raise ChaosError("a client did not keep its table")
    for child in controllers.values():
        await child.stop()
    policy = load_policy(scene.world.policy_path)
    scene.world.write_policy(replace(policy, lineage=f"{policy.lineage.split('.')[0]}.{scene.began_ms}"))
    await scene.recorder.reopen_routes()
    for name in CONTROLLERS:
        await scene.world.start_controller(name)
    await scene.until(lambda: scene.world.leader(), 2 * WITHIN_S, "a leader of the new lineage")
    await scene.until(
        lambda: (
            scene.recorder.newest and scene.recorder.newest.generation.lineage != tables_before[0].lineage
        ),
        WITHIN_S,
        "a table of the new lineage",
    )
    ended = await scene.tieline("adopt-lineage", "--reason", "Kafka was lost")
    if ended.status:
        raise ChaosError(f"tieline adopt-lineage failed: {ended.text[:300]}")
    newest = scene.recorder.newest
    assert newest is not None
    scene.measure(ADOPTED.what, await scene.until_clients_have(newest.generation, WITHIN_S))


FAULTS = (
    ChaosFault(
        "evidence-recreated",
        "the topic of reports is deleted and created again, with offsets at 0",
        _evidence_recreated,
        promises=(ANSWERED,),
        calm_within_s=90,
    ),
    ChaosFault(
        "orders-recreated",
        "the log of orders is deleted and created again, with offsets at 0",
        _orders_recreated,
        promises=(ANSWERED,),
        calm_within_s=120,
    ),
    ChaosFault(
        "retention-passed",
        "all that retention may delete is deleted while no controller runs",
        _retention_passed,
        promises=(ANSWERED,),
        calm_within_s=120,
    ),
    ChaosFault(
        "transactions",
        "producers write evidence in transactions, some of them aborted",
        _transactions,
        promises=(CAUGHT_UP,),
    ),
    ChaosFault(
        "routes-recreated",
        "the routes log is deleted and created again, with offsets at 0",
        _routes_recreated,
        promises=(ADOPTED,),
        calm_within_s=120,
    ),
    ChaosFault(
        "cluster-replaced",
        "Kafka comes back as another cluster, without any topic",
        _cluster_replaced,
        promises=(ADOPTED,),
        calm_within_s=120,
    ),
)
