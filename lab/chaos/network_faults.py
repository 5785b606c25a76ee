"""The ways between the parts are cut, held still, slowed down and made lossy.

What one part sees of a broken network is a connection that is reset, that goes silent, or that is slow. The
links do all three; a lost packet is one that TCP sends again, so that its block comes later.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from lab.chaos.fault import ChaosError, ChaosFault, Promise, Scene
from lab.chaos.links import Link
from lab.chaos.process_faults import ANSWERED, NEXT_TABLE
from lab.chaos.world import CALLERS, PROBER, STANDINS

LASTS_S = 4.0
LONG_S = 14.0  # longer than clients take for a source to be stale
WITHIN_S = 40.0
DELAY_S = 0.1
LOSS = 0.05
ANSWERED_DURING = Promise("order answered during the fault", 15.0)
STALE = Promise("clients say stale", 15.0)


def _leaders_links(scene: Scene, *, kafka: bool, redis: bool) -> list[Link]:
    name = scene.leader()
    world = scene.world
    return [
        links[name] for links, wanted in ((world.kafka_links, kafka), (world.redis_links, redis)) if wanted
    ]


def _state(link: Link, how: str) -> str:
    """What shows that a link is cut or held still."""
    sign = f"{link.refused} connections refused" if how == "cut" else f"{link.waiting} blocks held"
    return f"the link from {link.name} is {how}: {sign}"


async def _leader_off(scene: Scene, links: list[Link], how: str) -> None:
    """The leader's ways to Kafka are broken: the other leads, and the first one stands by."""
    for link in links:
        link.cut() if how == "cut" else link.hold()
    scene.measure(NEXT_TABLE.what, await scene.until_next_epoch(WITHIN_S))
    await scene.until(lambda: any(link.refused or link.waiting for link in links), WITHIN_S, "a proof")
    for link in links:
        scene.prove(_state(link, how))
    await scene.last(2.0)
    for link in links:
        link.mend()
    scene.measure(ANSWERED.what, await scene.order_takes(WITHIN_S))


async def _leader_cut_from_kafka(scene: Scene) -> None:
    await _leader_off(scene, _leaders_links(scene, kafka=True, redis=False), "cut")


async def _leader_held_from_kafka(scene: Scene) -> None:
    await _leader_off(scene, _leaders_links(scene, kafka=True, redis=False), "held still")


async def _leader_alone(scene: Scene) -> None:
    await _leader_off(scene, _leaders_links(scene, kafka=True, redis=True), "cut")


def _redis_broken(how: str) -> Callable[[Scene], Awaitable[None]]:
    """The leader can't reach Redis. It yields to the controller that can."""

    async def act(scene: Scene) -> None:
        [link] = _leaders_links(scene, kafka=False, redis=True)
        link.cut() if how == "cut" else link.hold()
        scene.measure(ANSWERED_DURING.what, await scene.order_takes(WITHIN_S))
        await scene.until(lambda: link.refused or link.waiting, WITHIN_S, "a proof")
        scene.prove(_state(link, how))
        await scene.until_next_epoch(WITHIN_S)
        link.mend()

    return act


def _callers_broken(how: str) -> Callable[[Scene], Awaitable[None]]:
    """All callers lose Kafka and Redis. They go on with their table and say that it is stale."""

    async def act(scene: Scene) -> None:
        links = [scene.world.kafka_links[CALLERS], scene.world.redis_links[CALLERS]]
        for link in links:
            link.cut() if how == "cut" else link.hold()
        took_s = await scene.until(lambda: scene.states_of_clients() == {"stale"}, WITHIN_S, "stale clients")
        scene.measure(STALE.what, took_s)
        for link in links:
            scene.prove(_state(link, how))
        before = scene.answered_since(scene.began_ms)
        await scene.until(
            lambda: scene.answered_since(scene.began_ms) > before + 20, WITHIN_S, "answers on a stale table"
        )
        for link in links:
            link.mend()

    return act


def _part_cut(part: str) -> Callable[[Scene], Awaitable[None]]:
    """A source of events can't reach Kafka: silence moves nothing."""

    async def act(scene: Scene) -> None:
        link = scene.world.kafka_links[part]
        link.cut()
        await scene.until(lambda: link.refused, WITHIN_S, "a refused connection")
        await scene.last(LONG_S)
        scene.prove(_state(link, "cut"))
        link.mend()

    return act


async def _all_slow(scene: Scene, delay_s: float, loss: float) -> None:
    links = [*scene.world.kafka_links.values(), *scene.world.redis_links.values()]
    for link in links:
        link.slow(delay_s, loss)
    try:
        scene.measure(ANSWERED_DURING.what, await scene.order_takes(WITHIN_S))
        newest = scene.recorder.newest
        assert newest is not None
        await scene.until_clients_have(newest.generation, WITHIN_S)
        await scene.last(LASTS_S)
        slowed = sum(link.slowed for link in links)
    finally:
        for link in links:
            link.mend()
    if not slowed:
        raise ChaosError("no block was slowed down")
    scene.prove(f"{slowed} blocks on {len(links)} links came at least {delay_s * 1000:.0f} ms later")


async def _delay(scene: Scene) -> None:
    await _all_slow(scene, DELAY_S, 0.0)


async def _loss(scene: Scene) -> None:
    await _all_slow(scene, 0.005, LOSS)


FAULTS = (
    ChaosFault(
        "leader-cut-from-kafka",
        "the leader's connections to Kafka are reset and refused",
        _leader_cut_from_kafka,
        promises=(NEXT_TABLE, ANSWERED),
        calm_within_s=90,
    ),
    ChaosFault(
        "leader-held-from-kafka",
        "nothing passes between the leader and Kafka; connections stay open",
        _leader_held_from_kafka,
        promises=(NEXT_TABLE, ANSWERED),
        calm_within_s=90,
    ),
    ChaosFault(
        "leader-cut-off",
        "the leader reaches neither Kafka nor Redis",
        _leader_alone,
        promises=(NEXT_TABLE, ANSWERED),
        calm_within_s=90,
    ),
    ChaosFault(
        "leader-cut-from-redis",
        "the leader's connections to Redis are reset and refused",
        _redis_broken("cut"),
        promises=(ANSWERED_DURING,),
    ),
    ChaosFault(
        "leader-held-from-redis",
        "nothing passes between the leader and Redis; connections stay open",
        _redis_broken("held still"),
        promises=(ANSWERED_DURING,),
    ),
    ChaosFault(
        "clients-cut-off",
        "clients reach neither Kafka nor Redis",
        _callers_broken("cut"),
        promises=(STALE,),
        calm_within_s=90,
    ),
    ChaosFault(
        "clients-held-off",
        "nothing passes between clients and Kafka or Redis; connections stay open",
        _callers_broken("held still"),
        promises=(STALE,),
        calm_within_s=90,
    ),
    ChaosFault(
        "prober-cut-off",
        "the prober can't reach Kafka for 14 s",
        _part_cut(PROBER),
        promises=(),
        calm_within_s=90,
    ),
    ChaosFault(
        "capacity-cut-off",
        "sources of capacity can't reach Kafka for 14 s",
        _part_cut(STANDINS),
        promises=(),
        calm_within_s=90,
    ),
    ChaosFault("delay", "100 ms more on every way to Kafka and Redis", _delay, promises=(ANSWERED_DURING,)),
    ChaosFault(
        "loss", "one block in 20 on every way is sent again after 200 ms", _loss, promises=(ANSWERED_DURING,)
    ),
)
