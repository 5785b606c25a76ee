"""Makes a world that fails smaller: whatever is not needed for the same breach goes, piece by piece."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from msgspec.structs import replace

from controller.core.policy.check import faults
from controller.core.policy.policy import Policy
from lab.sim.invariants import Breach
from lab.sim.run import run
from lab.sim.spec import FuzzWorld

RUNS_MAX = 150
World = TypeVar("World")


def smallest(
    world: World,
    smaller: Callable[[World], Iterable[World]],
    failing: Callable[[World], World | None],
    *,
    runs_max: int,
) -> World:
    """The smallest world that still fails, as far as ``runs_max`` runs lead. ``failing``: the world to go on
    with if a candidate fails, or None."""
    runs = 0
    next_world: World | None = world
    while next_world is not None:
        world, next_world = next_world, None
        for candidate in smaller(world):
            if runs >= runs_max:
                return world
            runs += 1
            if (next_world := failing(candidate)) is not None:
                break
    return world


def shrink(world: FuzzWorld, invariant: str, *, runs_max: int = RUNS_MAX) -> FuzzWorld:
    """The smallest world that the same invariant breaks in, as far as ``runs_max`` runs lead."""

    def failing(candidate: FuzzWorld) -> FuzzWorld | None:
        if (breach := breach_of(candidate, invariant)) is None:
            return None
        shorter = replace(candidate, seconds=breach.second + 1)
        # Its patience may run beyond its first second.
        return candidate if breach_of(shorter, invariant) is None else shorter

    return smallest(world, smaller_worlds, failing, runs_max=runs_max)


def breach_of(world: FuzzWorld, invariant: str) -> Breach | None:
    """The world's breach of that invariant, if there is one."""
    breaches = run(world, until=invariant).breaches
    return next((breach for breach in breaches if breach.invariant == invariant), None)


def smaller_worlds(world: FuzzWorld) -> Iterator[FuzzWorld]:
    """The same world without one thing each; what matters least comes first."""
    count = len(world.occurrences)
    if count > 3:
        yield replace(world, occurrences=world.occurrences[: count // 2])
        yield replace(world, occurrences=world.occurrences[count // 2 :])
    for index in reversed(range(count)):
        yield replace(world, occurrences=world.occurrences[:index] + world.occurrences[index + 1 :])
    if world.noise or world.delay_max_ms or world.planned:
        yield replace(world, noise=0.0, delay_max_ms=0, planned=False)
        yield replace(world, noise=0.0, delay_max_ms=0)
    if any(share != 1.0 for share in world.real.values()):
        yield replace(world, real=dict.fromkeys(world.real, 1.0))
    for policy in _smaller_policies(world.policy):
        is_whole = policy.workloads and policy.pools and policy.origins
        if is_whole and not faults(policy):
            names = {
                f"{workload.id}/{origin.id}" for workload in policy.workloads for origin in policy.origins
            }
            demand = {route: units for route, units in world.demand.items() if route in names}
            real = {pool.id: world.real[pool.id] for pool in policy.pools}
            yield replace(world, policy=policy, demand=demand, real=real)


def _smaller_policies(policy: Policy) -> Iterator[Policy]:
    for index in range(len(policy.workloads)):
        yield replace(policy, workloads=policy.workloads[:index] + policy.workloads[index + 1 :])
    for index, pool in enumerate(policy.pools):
        workloads = tuple(
            replace(workload, pinned_pools=tuple(pin for pin in workload.pinned_pools if pin != pool.id))
            for workload in policy.workloads
        )
        pools = policy.pools[:index] + policy.pools[index + 1 :]
        used = {other.provider for other in pools}
        providers = tuple(provider for provider in policy.providers if provider.id in used)
        yield replace(policy, pools=pools, workloads=workloads, providers=providers)
    for index in range(len(policy.origins)):
        yield replace(policy, origins=policy.origins[:index] + policy.origins[index + 1 :])
    for index in range(len(policy.sources)):
        yield replace(policy, sources=policy.sources[:index] + policy.sources[index + 1 :])
