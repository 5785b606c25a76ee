"""Three brokers: one of them is killed, stopped, or has a clock that is wrong.

Every record is on all brokers and is acknowledged once two of them have it, so one broker may be lost with
nothing lost. Each partition carries the time of the broker that leads it, so one wrong clock makes some
evidence look old or new while the rest is right.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiokafka import AIOKafkaProducer

from controller.process.clock import now_ms
from lab.chaos.event_faults import idle_client
from lab.chaos.fault import ChaosError, ChaosFault, Promise, Scene, paused, process_state
from lab.chaos.kafka_faults import TOPICS
from lab.chaos.process_faults import ANSWERED, LEFT, STANDIN, pool_left, until_pool_carries
from lab.stack.kafka import Kafka

BROKERS = 3
WITHIN_S = 60.0
LASTS_S = 8.0
STEP_MS = 30_000
APART_MS = STEP_MS // 2  # a record that is at least this far off carries the wrong clock
PROVEN_MIN = 2
GAP = Promise(LEFT.what, 15.0)
# A stopped broker's connections stay open: first its session ends (9 s), then requests to it time out.
ANSWERED_BY_OTHERS = Promise("order answered by the other brokers", 30.0)


async def _killed_with_provider(scene: Scene) -> None:
    """The broker that leads the routes log and a provider's server are lost at the same moment."""
    await until_pool_carries(scene)
    broker = await scene.world.cluster.leader_of(TOPICS.routes.name)
    standin = scene.world.standins[STANDIN]
    pid = broker.pid
    await broker.kill()
    await standin.kill()
    scene.prove(
        f"{broker.name}, which led {TOPICS.routes.name}, is {process_state(pid)}, and the stand-in "
        f"{STANDIN} is {process_state(standin.pid)} (SIGKILL)"
    )
    scene.measure(GAP.what, await pool_left(scene))
    await scene.world.revive_standin(STANDIN)
    await broker.start()
    await _until_whole(scene)
    scene.measure(ANSWERED.what, await scene.order_takes(WITHIN_S))


async def _stopped(scene: Scene) -> None:
    """The broker that leads the routes log stands still until the others lead without it."""
    broker = await scene.world.cluster.leader_of(TOPICS.routes.name)
    state = await paused(broker)
    scene.prove(f"{broker.name}, which led {TOPICS.routes.name}, is {state} (SIGSTOP)")
    try:
        scene.measure(ANSWERED_BY_OTHERS.what, await scene.order_takes(WITHIN_S))
        await scene.last(LASTS_S)
    finally:
        broker.resume()
    await _until_whole(scene)
    scene.measure(ANSWERED.what, await scene.order_takes(WITHIN_S))


async def _until_whole(scene: Scene) -> None:
    """Until every broker has all of the routes log again."""

    async def whole() -> bool:
        return await scene.world.cluster.is_whole(TOPICS.routes.name)

    await scene.until(whole, WITHIN_S, "all brokers in step")


def _one_clock_steps(step_ms: int) -> Callable[[Scene], Awaitable[None]]:
    """The clock of each broker in turn, while the other two are right."""

    async def act(scene: Scene) -> None:
        for broker in scene.world.cluster.nodes:
            clock = scene.world.clocks[f"kafka-{broker.number}"]
            clock.set_ahead(step_ms)
            try:
                await _prove_clock(scene, broker)
                await scene.last(LASTS_S)
            finally:
                clock.set_ahead(0)
            scene.measure(ANSWERED.what, await scene.order_takes(WITHIN_S))
        if len(scene.proofs) < PROVEN_MIN:
            raise ChaosError("too few brokers led anything while their clocks were wrong")

    return act


async def _prove_clock(scene: Scene, broker: Kafka) -> None:
    """A record to each partition of the clients' reports: those that this broker leads carry its time."""
    topic, apart_ms = TOPICS.demand, {}
    async with AIOKafkaProducer(bootstrap_servers=scene.world.bootstrap) as producer:
        for partition in range(topic.partitions):
            key, value, headers = idle_client(partition)
            sent = await producer.send_and_wait(
                topic.name, value, key=key, partition=partition, headers=headers
            )
            apart_ms[partition] = sent.timestamp - now_ms()
    wrong = [partition for partition, ms in apart_ms.items() if abs(ms) > APART_MS]
    if not wrong:
        return  # it leads none of them since another fault
    by_s = apart_ms[wrong[0]] / 1_000
    scene.prove(f"{broker.name}: records in {len(wrong)} of {len(apart_ms)} partitions are {by_s:+.0f} s off")


FAULTS = (
    *(
        ChaosFault(
            f"one-clock-of-three-{words}",
            f"each broker of three in turn has a clock that is 30 s {words}, for {LASTS_S:g} s",
            _one_clock_steps(step_ms),
            promises=(Promise(ANSWERED.what, 60.0),),
            calm_within_s=180,
            clocks=True,
            brokers=BROKERS,
        )
        for words, step_ms in (("ahead", STEP_MS), ("behind", -STEP_MS))
    ),
    ChaosFault(
        "broker-killed-with-provider",
        f"SIGKILL of one broker of three and of the provider's server {STANDIN}, at the same moment",
        _killed_with_provider,
        promises=(GAP, ANSWERED),
        calm_within_s=120,
        clocks=True,
        brokers=BROKERS,
    ),
    ChaosFault(
        "broker-stopped",
        "SIGSTOP of one broker of three",
        _stopped,
        promises=(ANSWERED_BY_OTHERS, ANSWERED),
        calm_within_s=120,
        clocks=True,
        brokers=BROKERS,
    ),
)
