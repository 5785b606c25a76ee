"""The leader is stopped at the two moments that matter most, each of them ten times.

They are: with a publication on its way to Kafka, and between its append and its projection. A link shows when
the moment has come (``Link.hold_when``). Another controller leads meanwhile, and what the stopped one sends
afterwards, or has sent before, must change nothing.
"""

from __future__ import annotations

from controller.leading.routes_reader import RoutesReader
from controller.process.settings import Settings
from lab.chaos.fault import ChaosError, ChaosFault, Scene, paused
from lab.chaos.links import Link
from lab.chaos.process_faults import NEXT_TABLE, STOPPED_S
from lab.chaos.world import NAMESPACE
from tieline.topics import Topics

MOMENTS = 10
WITHIN_S = 30.0
ROUTES_TOPIC = Topics(NAMESPACE).routes.name.encode()
PRODUCE = b"\x00\x00"  # the number of Kafka's request that appends, after the four bytes of its length


def _holds_append(block: bytes) -> bool:
    """Whether these bytes begin with a request that appends to the routes log."""
    return block[4:6] == PRODUCE and ROUTES_TOPIC in block


async def _stopped_before_append(scene: Scene) -> None:
    for number in range(MOMENTS):
        name = scene.leader()
        link = scene.world.kafka_links[name]
        link.hold_when(_holds_append)
        await _stop_at(scene, name, link, "has not appended yet", drop=bool(number % 2))


async def _stopped_before_projection(scene: Scene) -> None:
    for number in range(MOMENTS):
        name = scene.leader()
        link = scene.world.redis_links[name]
        link.hold()
        await _stop_at(scene, name, link, "has appended and not projected", drop=bool(number % 2))


async def _stop_at(scene: Scene, name: str, link: Link, moment: str, *, drop: bool) -> None:
    """Stops the leader once its link holds something, for ten seconds; the other leads meanwhile.

    What the link holds arrives late, or never if it is to ``drop`` it.
    """
    child = scene.world.controllers[name]
    scene.first_publication = len(scene.recorder.publications)
    command = await scene.order()
    is_append = moment.startswith("has not")
    await scene.until(
        lambda: link.waiting and (is_append or _answered(scene, command.id)), WITHIN_S, "the moment"
    )
    state = await paused(child)
    appended = len(scene.new_publications())
    scene.proofs[:] = [
        *scene.proofs[:2],
        f"{name} is {state}, {moment}: {link.waiting} blocks in the link, {appended} records appended",
    ]
    took_s = await scene.until_next_epoch(WITHIN_S)
    scene.measure(NEXT_TABLE.what, took_s)
    await scene.last(max(0.0, STOPPED_S - took_s))
    if drop:
        link.cut()
    link.mend()
    child.resume()
    await scene.until(lambda: scene.world.leader() == scene.world.other(name), WITHIN_S, "one leader")
    newest = scene.recorder.newest
    assert newest is not None
    await scene.until(lambda: _redis_has_newest(scene), WITHIN_S, "the newest table in Redis")
    await scene.until_clients_have(newest.generation, WITHIN_S)
    await scene.until(lambda: _stands_by(scene, name), WITHIN_S, "the stopped controller as a standby")
    await _require_rebuilt(scene)


async def _require_rebuilt(scene: Scene) -> None:
    """What is rebuilt from Kafka alone is the table of the newer epoch, which Redis and clients have."""
    await scene.until(lambda: _redis_has_newest(scene), WITHIN_S, "the newest table in Redis")
    async with RoutesReader(Settings(scene.world.bootstrap, namespace=NAMESPACE)) as routes:
        rebuilt = routes.newest()
    newest = scene.recorder.newest
    assert newest is not None
    if rebuilt is None or rebuilt.generation.epoch != newest.generation.epoch:
        raise ChaosError(f"Kafka gives {rebuilt and rebuilt.generation}, in force is {newest.generation}")


def _answered(scene: Scene, order_id: str) -> bool:
    return any(
        item.record is not None and item.record.answer_to(order_id) is not None
        for item in scene.new_publications()
    )


def _redis_has_newest(scene: Scene) -> bool:
    view, newest = scene.recorder.redis, scene.recorder.newest
    return view is not None and newest is not None and view.generation == newest.generation


def _stands_by(scene: Scene, name: str) -> bool:
    words = [
        line["event"]
        for line in scene.world.logs[name].read()
        if line["event"] in ("leads now", "stands by now")
    ]
    return words[-1:] == ["stands by now"]


FAULTS = (
    ChaosFault(
        "leader-stopped-before-append",
        f"the leader is stopped for 10 s while its append is on the way, {MOMENTS} times; every other "
        "append arrives late",
        _stopped_before_append,
        promises=(NEXT_TABLE,),
    ),
    ChaosFault(
        "leader-stopped-before-projection",
        f"the leader is stopped for 10 s between append and projection, {MOMENTS} times; every other "
        "projection arrives late",
        _stopped_before_projection,
        promises=(NEXT_TABLE,),
    ),
)
