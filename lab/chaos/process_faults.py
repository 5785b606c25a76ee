"""Each process is killed and stopped: controllers, solver, Kafka, Valkey, prober, a stand-in, a caller.

Whatever ends or stands still, requests go on, and the others take over its work. ``moment_faults`` stops the
leader at the moments that matter most.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

from lab.chaos.fault import ChaosError, ChaosFault, Promise, Scene, paused, process_state
from lab.stack.server import Server

NEXT_TABLE = Promise("next table", 5.0)
ANSWERED = Promise("order answered afterwards", 15.0)
ANSWERED_WITHOUT_SOLVER = Promise("order answered without the solver", 15.0)
ANOTHER_SOLVER = Promise("another solver", 30.0)  # it is asked every 5 s, and may take 10 s to reply
STOPPED_S = 10.0
AWAY_S = 5.0
WITHIN_S = 30.0
STANDIN = "gcp/us-central1"


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
CARRIES_PARTS = 50_000
CARRIES_WITHIN_S = 120.0  # after an earlier fault its part grows step by step


async def pool_left(scene: Scene) -> float:
    """Until the newest table sends no more than a trickle to the stand-in. Returns after how many seconds."""
    return await scene.until(lambda: _share(scene, STANDIN) <= LEFT_PARTS, WITHIN_S, "a move")


async def until_pool_carries(scene: Scene) -> None:
    """Until requests go to the stand-in, so that there is something to lose there."""
    await scene.until(lambda: _share(scene, STANDIN) >= CARRIES_PARTS, CARRIES_WITHIN_S, "load on the pool")


async def _standin_killed(scene: Scene) -> None:
    await until_pool_carries(scene)
    process = scene.world.standins[STANDIN]
    await process.kill()
    scene.prove(f"the stand-in {STANDIN} is {process_state(process.pid)} (SIGKILL)")
    scene.measure(LEFT.what, await pool_left(scene))
    await scene.world.revive_standin(STANDIN)


async def _standin_stopped(scene: Scene) -> None:
    await until_pool_carries(scene)
    process = scene.world.standins[STANDIN]
    state = await paused(process)
    scene.prove(f"the stand-in {STANDIN} is {state} (SIGSTOP)")
    scene.measure(LEFT.what, await pool_left(scene))
    process.resume()


def _solver_of(scene: Scene) -> int:
    """The solver process that the leader has started. Raises ChaosError if there is none."""
    leader = scene.world.controllers[scene.leader()].pid
    for child in Path(f"/proc/{leader}/task/{leader}/children").read_text().split():
        if b"controller.dispatch" in Path(f"/proc/{child}/cmdline").read_bytes():
            return int(child)
    raise ChaosError("the leader has no solver process")


def _solver_struck(signal_number: signal.Signals) -> Callable[[Scene], Awaitable[None]]:
    """The leader's solver is killed or stopped: the leader goes on with its last plan, and starts another."""

    async def act(scene: Scene) -> None:
        name, pid = scene.leader(), _solver_of(scene)
        os.kill(pid, signal_number)
        await scene.until(lambda: process_state(pid) != "running", WITHIN_S, "the end of the solver")
        scene.prove(f"the solver of {name} is {process_state(pid)} ({signal_number.name})")
        scene.measure(ANSWERED_WITHOUT_SOLVER.what, await scene.order_takes(WITHIN_S))
        took_s = await scene.until(lambda: _has_another_solver(scene, pid), WITHIN_S, "another solver")
        scene.measure(ANOTHER_SOLVER.what, took_s)
        if scene.leader() != name:
            raise ChaosError(f"{name} lost the lead with its solver")

    return act


def _has_another_solver(scene: Scene, pid: int) -> bool:
    try:
        return _solver_of(scene) != pid
    except (ChaosError, OSError):
        return False


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
    ChaosFault("kafka-killed", "SIGKILL of Kafka for 5 s", _server_killed("kafka"), promises=(ANSWERED,)),
    ChaosFault("kafka-stopped", "SIGSTOP of Kafka for 5 s", _server_stopped("kafka"), promises=(ANSWERED,)),
    ChaosFault(
        "redis-killed",
        "SIGKILL of Redis for 5 s; it comes back empty",
        _server_killed("valkey"),
        promises=(ANSWERED,),
    ),
    ChaosFault("redis-stopped", "SIGSTOP of Redis for 5 s", _server_stopped("valkey"), promises=(ANSWERED,)),
    ChaosFault(
        "solver-killed",
        "SIGKILL of the leader's solver process",
        _solver_struck(signal.SIGKILL),
        promises=(ANSWERED_WITHOUT_SOLVER, ANOTHER_SOLVER),
    ),
    ChaosFault(
        "solver-stopped",
        "SIGSTOP of the leader's solver process, until the leader ends it",
        _solver_struck(signal.SIGSTOP),
        promises=(ANSWERED_WITHOUT_SOLVER, ANOTHER_SOLVER),
    ),
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
