"""Runs faults one after the other in one world, with calm between them, and judges each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from aiokafka.errors import KafkaError
from redis.exceptions import RedisError

from controller.core.model.reasons import State
from controller.process.clock import now_ms, stopwatch_s
from controller.process.errors import UserError
from lab.chaos.checker import NEVER_MS, Evidence, Finding, check
from lab.chaos.fault import ChaosError, ChaosFault, Scene
from lab.chaos.world import CONTROLLERS, World
from lab.errors import ChildError, StackError
from lab.standins import ledger

# What a fault may stumble over without keeping the others from being tried.
STUMBLES = (UserError, ChildError, StackError, KafkaError, RedisError, OSError, TimeoutError, AssertionError)
START_WITHIN_S = 120.0
SETTLE_WITHIN_S = 45.0
LOOK_EVERY_S = 0.1
QUIET_S = 1.0
NOTED_WITHIN_S = 0.5  # what a caller has noted by then is known here
STATUS_FRESH_MS = 3_000
FIT_WORDS = ("this controller is fit to lead", "this controller is not fit to lead")
PROBE_PREFIX = "tieline-probe"


class ChaosVerdict(NamedTuple):
    """What came of one fault. ``measures``: by promise. ``failures``: everything that was not as promised."""

    fault: ChaosFault
    proofs: tuple[str, ...]
    measures: dict[str, float]
    finding: Finding
    calm_s: float
    took_s: float
    failures: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether every promise was kept and the fault was in force."""
        return not self.failures


class Chaos:
    """A world and its faults. ``say`` hears of the progress; ``patience`` multiplies all bounds on time."""

    def __init__(self, directory: Path, say: Callable[[str], None], *, patience: float, clocks: bool) -> None:
        self._directory = directory
        self._say = say
        self._patience = patience
        self._clocks = clocks
        self._worlds = 0
        self._world: World | None = None

    async def run(self, faults: Sequence[ChaosFault]) -> list[ChaosVerdict]:
        """A verdict for each. After one that failed the world is made anew."""
        verdicts = []
        try:
            for fault in faults:
                verdict = await self._one(fault)
                verdicts.append(verdict)
                if not verdict.passed:
                    await self.close()
        finally:
            await self.close()
        return verdicts

    async def close(self) -> None:
        """Ends the world."""
        world, self._world = self._world, None
        if world is not None:
            await world.stop()

    async def _one(self, fault: ChaosFault) -> ChaosVerdict:
        world = await self._calm_world(fault.brokers)
        self._say(f"{fault.name}: {fault.does}")
        scene = Scene(world, self._patience)
        failures: list[str] = []
        until_ms = NEVER_MS
        began_s = stopwatch_s()
        try:
            await fault.act(scene)
        except STUMBLES as error:
            failures.append(f"{type(error).__name__}: {error}")
        undone_s = stopwatch_s()
        if not failures:
            try:
                await self._until_calm(world, fault.calm_within_s * self._patience)
            except ChaosError as error:
                failures.append(str(error))
        calm_s = stopwatch_s() - undone_s
        try:
            until_ms = await self._until_settled(scene)
            if not failures:
                await scene.until(lambda: not unrest(world), SETTLE_WITHIN_S, "Redis with the newest table")
        except ChaosError as error:
            failures.append(str(error))
        finding = check(_evidence(world, scene, fault, until_ms))
        failures += [*finding.breaches, *self._broken(fault, scene)]
        for line in (*scene.proofs, *failures):
            self._say(f"  {line}")
        return ChaosVerdict(
            fault,
            tuple(scene.proofs),
            scene.measures,
            finding=finding,
            calm_s=calm_s,
            took_s=stopwatch_s() - began_s,
            failures=tuple(failures),
        )

    def _broken(self, fault: ChaosFault, scene: Scene) -> list[str]:
        """Bounds that were not kept, and a proof that is missing."""
        broken = [] if scene.proofs else ["nothing proves that the fault was in force"]
        for promise in fault.promises:
            value = scene.measures.get(promise.what)
            bound = promise.at_most * (self._patience if promise.unit == "s" else 1)
            if value is None:
                broken.append(f"{promise.what} was not measured")
            elif value > bound:
                broken.append(f"{promise.what}: {value:.1f} {promise.unit}, promised are {bound:g}")
        return broken

    async def _calm_world(self, brokers: int) -> World:
        if self._world is not None and self._world.brokers != brokers:
            await self.close()
        if self._world is None:
            self._worlds += 1
            directory = self._directory / f"world-{self._worlds}"
            directory.mkdir(parents=True)
            self._say(f"starting everything in {directory}")
            self._world = World(directory, patience=self._patience, with_clocks=self._clocks, brokers=brokers)
            await self._world.start()
            await self._until_calm(self._world, START_WITHIN_S * self._patience)
        return self._world

    async def _until_calm(self, world: World, within_s: float) -> None:
        """Until everything has been well for a second."""
        began_s = stopwatch_s()
        calm_since_s: float | None = None
        while True:
            why = unrest(world)
            at_s = stopwatch_s()
            calm_since_s = None if why else calm_since_s or at_s
            if calm_since_s is not None and at_s - calm_since_s >= QUIET_S:
                return
            if at_s - began_s > within_s:
                raise ChaosError(f"no calm within {within_s:g} s: {why}")
            await asyncio.sleep(LOOK_EVERY_S)

    async def _until_settled(self, scene: Scene) -> int:
        """Until every request that was sent before now has ended. Returns now, in Unix ms."""
        until_ms = now_ms()
        await asyncio.sleep(NOTED_WITHIN_S)
        lives = [life for life in scene.recorder.lives.values() if not life.killed]
        waiting = {life.name: life.unended() for life in lives}
        await scene.until(
            lambda: not any(life.unended() & waiting[life.name] for life in lives),
            SETTLE_WITHIN_S,
            "the end of every request",
        )
        return until_ms


def unrest(world: World) -> str:
    """What is not as it should be; empty when all is well."""
    if (failure := world.recorder.failure()) is not None:
        raise ChaosError(f"the recorder has ended: {failure!r}")
    record, view = world.recorder.newest, world.recorder.redis
    if record is None:
        return "nothing is published"
    if (leader := world.leader()) is None:
        return "no controller leads"
    for name in CONTROLLERS:
        if why := _controller_trouble(world, name):
            return why
    if _decides(world, leader) is False:
        return f"{leader} does not decide yet"
    if view is None or view.generation != record.generation:
        return f"Redis holds {view.generation or view.trouble if view else 'nothing'}"
    memories = record.memory.pools if record.memory is not None else {}
    ill = [name for name, memory in memories.items() if memory.state is not State.HEALTHY]
    if ill or len(memories) < len(world.policy.pools):
        return f"not healthy: {', '.join(ill) or 'pools of which nothing is known'}"
    return _client_trouble(world)


def _controller_trouble(world: World, name: str) -> str:
    child = world.controllers[name]
    if not child.running:
        return f"{name} has ended: {child.last_words()}"
    fit = [line["event"] for line in world.logs[name].read() if line["event"] in ("starting", *FIT_WORDS)]
    return "" if fit[-1:] == [FIT_WORDS[0]] else f"{name} is not fit to lead"


def _decides(world: World, leader: str) -> bool:
    words = [
        line["event"]
        for line in world.logs[leader].read()
        if line["event"] in ("leads now", "decides now", "stands by now")
    ]
    return words[-1:] == ["decides now"]


def _client_trouble(world: World) -> str:
    at_ms = now_ms()
    for life, caller in world.callers.items():
        if world.recorder.lives[life].killed:
            continue
        if not caller.running:
            return f"the caller {life} has ended: {caller.last_words()}"
        statuses = world.recorder.lives[life].newest_status
        if not statuses:
            return f"the caller {life} has said nothing yet"
        for workload, status in statuses.items():
            if status.state != "live" or status.error or at_ms - status.at_ms > STATUS_FRESH_MS:
                return f"{life} {workload} is {status.state} {status.error}"
    return ""


def _evidence(world: World, scene: Scene, fault: ChaosFault, until_ms: int) -> Evidence:
    recorder = world.recorder
    lines = [line for line in recorder.log_lines if line.at_ms >= scene.began_ms]
    attempts = [item for item in ledger.attempts(lines) if not item.id.startswith(PROBE_PREFIX)]
    began_ms = scene.began_ms
    before = [view for view in recorder.redis_views if view.seen_ms < began_ms][-1:]
    return Evidence(
        world.policy,
        recorder.publications,
        scene.first_at_start,
        redis_views=[*before, *(view for view in recorder.redis_views if view.seen_ms >= began_ms)],
        lives=list(recorder.lives.values()),
        attempts=attempts,
        began_ms=began_ms,
        until_ms=until_ms,
        redis_may_go_back=fault.redis_may_go_back,
    )
