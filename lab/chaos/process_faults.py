"""Each process is killed and stopped: controllers, Kafka, Valkey, prober, a stand-in, a caller.

The leader is also stopped at the two moments that matter most: with a publication on its way to Kafka, and
between its append and its projection. A link shows when the moment has come (``Link.hold_when``).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from controller.leading.routes_reader import RoutesReader
from controller.process.settings import Settings
from lab.chaos.fault import ChaosError, ChaosFault, Promise, Scene, paused, process_state
from lab.chaos.links import Link
from lab.chaos.world import NAMESPACE
from lab.stack.server import Server
from tieline.topics import Topics

NEXT_TABLE = Promise("next table", 5.0)
ANSWERED = Promise("order answered afterwards", 15.0)
STOPPED_S = 10.0
AWAY_S = 5.0
MOMENTS = 10
WITHIN_S = 30.0
STANDIN = "gcp/us-central1"
ROUTES_TOPIC = Topics(NAMESPACE).routes.name.encode()
PRODUCE = b"\x00\x00"  # the number of Kafka's request that appends, after the four bytes of its length


async def _leader_killed(scene: Scene) -> None:
    name = scene.leader()
    child = scene.world.controllers[name]
    await child.kill()
    scene.prove(f"{name}, which led, is {process_state(child.pid)} (SIGKILL)")
    scene.measure(NEXT_TABLE.what, await scene.until_next_epoch(WITHIN_S))
    await scene.world.start_controller(name)


async def _leader_stopped(scene: Scene) -> None:
    name = scene.leader()
    child = scene.world.controllers[name]
    state = await paused(child)
    scene.prove(f"{name}, which led, is {state} (SIGSTOP for {STOPPED_S:g} s)")
    took_s = await scene.until_next_epoch(WITHIN_S)
    scene.measure(NEXT_TABLE.what, took_s)
    await scene.last(max(0.0, STOPPED_S - took_s))
    child.resume()
    scene.measure(ANSWERED.what, await scene.order_takes(WITHIN_S))


async def _standby_killed(scene: Scene) -> None:
    name = scene.world.other(scene.leader())
    child = scene.world.controllers[name]
    await child.kill()
    scene.prove(f"{name}, which stood by, is {process_state(child.pid)} (SIGKILL)")
    scene.measure(ANSWERED.what, await scene.order_takes(WITHIN_S))
    await scene.world.start_controller(name)


async def _both_controllers_killed(scene: Scene) -> None:
    for name, child in scene.world.controllers.items():
        await child.kill()
        scene.prove(f"{name} is {process_state(child.pid)} (SIGKILL)")
    await scene.last(AWAY_S)
    if not scene.answered_since(scene.began_ms):
        raise ChaosError("no request was answered without controllers")
    for name in scene.world.controllers:
        await scene.world.start_controller(name)
    await scene.until_next_epoch(2 * WITHIN_S)


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
    async with RoutesReader(Settings(scene.world.kafka.bootstrap, namespace=NAMESPACE)) as routes:
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


def _server_killed(which: str) -> Callable[[Scene], Awaitable[None]]:
    async def act(scene: Scene) -> None:
        server: Server = getattr(scene.world, which)
        pid = server.pid
        await server.kill()
        scene.prove(f"{server.name} is {process_state(pid)} (SIGKILL) for {AWAY_S:g} s")
        at_ms = scene.began_ms
        await scene.last(AWAY_S)
        if not scene.answered_since(at_ms):
            raise ChaosError(f"no request was answered without {server.name}")
        await server.start()
        scene.measure(ANSWERED.what, await scene.order_takes(2 * WITHIN_S))

    return act


def _server_stopped(which: str) -> Callable[[Scene], Awaitable[None]]:
    async def act(scene: Scene) -> None:
        server: Server = getattr(scene.world, which)
        state = await paused(server)
        scene.prove(f"{server.name} is {state} (SIGSTOP) for {AWAY_S:g} s")
        await scene.last(AWAY_S)
        server.resume()
        scene.measure(ANSWERED.what, await scene.order_takes(2 * WITHIN_S))

    return act


async def _prober_killed(scene: Scene) -> None:
    child = scene.world.prober
    await child.kill()
    scene.prove(f"the prober is {process_state(child.pid)} (SIGKILL) for {AWAY_S:g} s")
    await scene.last(AWAY_S)
    await scene.world.start_prober()


async def _prober_stopped(scene: Scene) -> None:
    child = scene.world.prober
    state = await paused(child)
    scene.prove(f"the prober is {state} (SIGSTOP) for {STOPPED_S:g} s")
    await scene.last(STOPPED_S)
    child.resume()


def _share(scene: Scene, region: str) -> int:
    """The largest part, per million, that any route gives to the pools of a region."""
    record = scene.recorder.newest
    if record is None or record.table is None:
        return 0
    table = record.table
    return max(
        sum(
            weight
            for index, weight in zip(route.split.pools, route.split.weights, strict=True)
            if table.pools[index].pool.startswith(region + "/")
        )
        for route in table.routes
    )


LEFT = Promise("pool left by the table", 5.0)
LEFT_SILENT = Promise(LEFT.what, 6.0)  # clients wait 2.5 s for a first token, and report what they saw
LEFT_PARTS = 20_000


async def _standin_killed(scene: Scene) -> None:
    process = scene.world.standins[STANDIN]
    await process.kill()
    scene.prove(f"the stand-in {STANDIN} is {process_state(process.pid)} (SIGKILL)")
    scene.measure(LEFT.what, await scene.until(lambda: _share(scene, STANDIN) <= LEFT_PARTS, 30, "a move"))
    await scene.world.revive_standin(STANDIN)


async def _standin_stopped(scene: Scene) -> None:
    process = scene.world.standins[STANDIN]
    state = await paused(process)
    scene.prove(f"the stand-in {STANDIN} is {state} (SIGSTOP)")
    scene.measure(LEFT.what, await scene.until(lambda: _share(scene, STANDIN) <= LEFT_PARTS, 30, "a move"))
    process.resume()


def _first_caller(scene: Scene) -> str:
    return next(life for life, caller in scene.world.callers.items() if caller.running)


async def _caller_killed(scene: Scene) -> None:
    life = _first_caller(scene)
    child = scene.world.callers[life]
    scene.recorder.lives[life].killed = True
    await child.kill()
    scene.prove(f"the caller {life} is {process_state(child.pid)} (SIGKILL)")
    number = int(life.removeprefix("app-").split(".")[0]) - 1
    new = await scene.world.start_caller(number)
    took_s = await scene.until(
        lambda: scene.recorder.lives[new].answered_since(0), WITHIN_S, "an answer for the next life"
    )
    scene.measure("first answer of the next life", took_s)


async def _caller_stopped(scene: Scene) -> None:
    life = _first_caller(scene)
    child = scene.world.callers[life]
    state = await paused(child)
    scene.prove(f"the caller {life} is {state} (SIGSTOP) for {AWAY_S:g} s")
    await scene.last(AWAY_S)
    child.resume()


FAULTS = (
    ChaosFault("leader-killed", "SIGKILL of the leading controller", _leader_killed, promises=(NEXT_TABLE,)),
    ChaosFault(
        "leader-stopped",
        "SIGSTOP of the leading controller for 10 s",
        _leader_stopped,
        promises=(NEXT_TABLE, ANSWERED),
    ),
    ChaosFault("standby-killed", "SIGKILL of the standby", _standby_killed, promises=(ANSWERED,)),
    ChaosFault(
        "controllers-killed", "SIGKILL of all controllers for 5 s", _both_controllers_killed, calm_within_s=90
    ),
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
    ChaosFault("kafka-killed", "SIGKILL of Kafka for 5 s", _server_killed("kafka"), promises=(ANSWERED,)),
    ChaosFault("kafka-stopped", "SIGSTOP of Kafka for 5 s", _server_stopped("kafka"), promises=(ANSWERED,)),
    ChaosFault(
        "redis-killed",
        "SIGKILL of Redis for 5 s; it comes back empty",
        _server_killed("valkey"),
        promises=(ANSWERED,),
    ),
    ChaosFault("redis-stopped", "SIGSTOP of Redis for 5 s", _server_stopped("valkey"), promises=(ANSWERED,)),
    ChaosFault("prober-killed", "SIGKILL of the prober for 5 s", _prober_killed),
    ChaosFault("prober-stopped", "SIGSTOP of the prober for 10 s", _prober_stopped),
    ChaosFault(
        "provider-killed",
        f"SIGKILL of the provider's server {STANDIN}",
        _standin_killed,
        promises=(LEFT,),
        calm_within_s=120,
    ),
    ChaosFault(
        "provider-stopped",
        f"SIGSTOP of the provider's server {STANDIN}",
        _standin_stopped,
        promises=(LEFT_SILENT,),
        calm_within_s=120,
    ),
    ChaosFault(
        "client-killed",
        "SIGKILL of a calling process; the next one begins with its last good table",
        _caller_killed,
        promises=(Promise("first answer of the next life", 10.0),),
    ),
    ChaosFault("client-stopped", "SIGSTOP of a calling process for 5 s", _caller_stopped),
)
