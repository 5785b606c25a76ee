"""Switches the faults on and watches what the planner makes of the pools."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from lab.detect.cases import Case, Worst
from lab.detect.world import DEFAULT_TIMEOUT_MS, Place, World, placed, published_states, running

SPREAD_S = 0.5  # between two replicas of a fault, so that they begin at other instants between two probes
WATCHED_S = 40.0
FOUND_WITHIN_S = 160.0


class PoolDetection(NamedTuple):
    """One pool with a fault. ``states``: each state that it was in, with its reason, and after how many
    seconds of the fault that was published."""

    place: Place
    states: tuple[tuple[float, str, str], ...]

    def after_s(self, state: Worst) -> float | None:
        """The seconds until the pool was first in this state; None if it never was."""
        return next((after_s for after_s, name, _ in self.states if name == state), None)

    @property
    def worst(self) -> Worst:
        """The worst state that the pool was in."""
        names = {name for _, name, _ in self.states}
        return "down" if "down" in names else "degraded" if "degraded" in names else "healthy"

    @property
    def reason(self) -> str:
        """Why it was first in its worst state."""
        return next((reason for _, name, reason in self.states if name == self.worst), "")


class Detection(NamedTuple):
    """What became of one case in all its pools."""

    case: Case
    pools: tuple[PoolDetection, ...]

    @property
    def is_as_stated(self) -> bool:
        """Whether every pool came to the state that the case says, and to no worse one."""
        return all(pool.worst == self.case.worst for pool in self.pools)

    @property
    def seconds(self) -> list[float]:
        """The seconds until each pool that came to its worst state was in it."""
        times = [pool.after_s(pool.worst) for pool in self.pools if pool.worst != "healthy"]
        return [after_s for after_s in times if after_s is not None]


async def detect(
    cases: Sequence[Case],
    *,
    kafka: str,
    redis: str,
    namespace: str,
    directory: Path,
    watched_s: float = WATCHED_S,
    probe_timeout_ms: int = DEFAULT_TIMEOUT_MS,
) -> list[Detection]:
    """Tries all cases side by side. Faults that nobody finds are watched for ``watched_s``.

    ``probe_timeout_ms``: how long a first token may take. A machine that is slow or busy needs more of it,
    or a pool without a fault looks slow there. Raises ChildError when the installation does not come up, or
    a part of it ends.
    """
    places = placed(cases)
    async with running(
        places,
        kafka=kafka,
        redis=redis,
        namespace=namespace,
        directory=directory,
        probe_timeout_ms=probe_timeout_ms,
    ) as world:
        watch = _Watch(world)
        watching = asyncio.create_task(watch.run())
        try:
            await asyncio.gather(
                *(_strike(world, watch, place, delay_s) for place, delay_s in _delays(places))
            )
            await _until_found(world, watch, places, watched_s)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
        pools = [watch.detection(place) for place in places]
    return [Detection(case, tuple(pool for pool in pools if pool.place.case is case)) for case in cases]


def _delays(places: Sequence[Place]) -> list[tuple[Place, float]]:
    """Each place and when its fault begins: the replicas of a case one after the other."""
    return [(place, int(place.deployment.rsplit("-", 1)[1]) * SPREAD_S) for place in places]


async def _strike(world: World, watch: _Watch, place: Place, delay_s: float) -> None:
    await asyncio.sleep(delay_s)
    standin = world.standins[place.region]
    watch.begins(place.pool)
    match place.case.kind:
        case "killed":
            await standin.kill()
        case "paused":
            standin.pause()
        case kind:
            fields = {name: value for name, value in place.case.order.items() if name != "kind"}
            await standin.fault(kind, pools=[place.pool], **fields)


async def _until_found(world: World, watch: _Watch, places: Sequence[Place], watched_s: float) -> None:
    """Returns once every fault that is to be found was, and the others were watched for long enough."""
    loop = asyncio.get_running_loop()
    wanted = {place.pool: place.case.worst for place in places if place.case.worst != "healthy"}
    began_s = loop.time()
    while loop.time() < began_s + FOUND_WITHIN_S:
        world.require_running()
        all_found = all(watch.has_been(pool, worst) for pool, worst in wanted.items())
        if all_found and loop.time() >= began_s + watched_s:
            return
        await asyncio.sleep(0.1)


class _Watch:
    """Follows the published states of all pools, on the clock of the running loop."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._began_s: dict[str, float] = {}
        self._states: dict[str, list[tuple[float, str, str]]] = {}

    def begins(self, pool: str) -> None:
        """The fault of this pool begins now."""
        self._began_s[pool] = asyncio.get_running_loop().time()
        self._states[pool] = []

    def has_been(self, pool: str, state: str) -> bool:
        """Whether the pool was in this state since its fault began."""
        return any(name == state for _, name, _ in self._states.get(pool, ()))

    def detection(self, place: Place) -> PoolDetection:
        """All that was seen of the place's pool."""
        return PoolDetection(place, tuple(self._states[place.pool]))

    async def run(self) -> None:
        """Notes every change until cancelled."""
        routes, loop = self._world.routes, asyncio.get_running_loop()
        while True:
            offset = routes.next_offset
            memories = published_states(routes)
            now_s = loop.time()
            for pool, states in self._states.items():
                memory = memories[pool]
                last = states[-1][1] if states else "healthy"
                if memory.state != last:
                    states.append((now_s - self._began_s[pool], str(memory.state), str(memory.reason)))
            await routes.moved_past(offset, 1.0)
