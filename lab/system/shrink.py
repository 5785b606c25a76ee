"""Makes a run that fails smaller: whatever is not needed for the same breach goes, piece by piece."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from lab.sim.shrink import smaller_worlds, smallest
from lab.system.spec import SystemWorld
from lab.system.world import run

RUNS_MAX = 80
SHORT_QUIET_S = 30


def shrink_system(world: SystemWorld, invariant: str, *, runs_max: int = RUNS_MAX) -> SystemWorld:
    """The smallest world that the same invariant breaks in, as far as ``runs_max`` runs lead."""

    def failing(candidate: SystemWorld) -> SystemWorld | None:
        is_broken = any(breach.invariant == invariant for breach in run(candidate).breaches)
        return candidate if is_broken else None

    return smallest(world, smaller, failing, runs_max=runs_max)


def story(world: SystemWorld) -> list[str]:
    """What happens in a world, in words, a line each, in order."""
    policy, fuzz = world.fuzz.policy, world.fuzz
    events: list[tuple[float, str, float]] = [
        (item.at_s, f"{item.kind} {item.target} {item.value or ''} {item.word}", item.for_s)
        for item in fuzz.occurrences
    ]
    events += [
        (fault.at_s, f"{fault.kind} {fault.target} {fault.value or ''}", fault.for_s)
        for fault in world.faults
    ]
    lines = [
        f"providers {len(policy.providers)}, pools {len(policy.pools)}, workloads {len(policy.workloads)}, "
        f"origins {len(policy.origins)}, clients {len(fuzz.shares)}, seconds {world.seconds}"
    ]
    for at_s, text, for_s in sorted(events):
        lines.append(f"  at {at_s:g} s, for {for_s:g} s: {' '.join(text.split())}")
    return lines


def smaller(world: SystemWorld) -> Iterator[SystemWorld]:
    """The same world without one thing each; what matters least comes first."""
    for place in range(len(world.faults)):
        yield replace(world, faults=world.faults[:place] + world.faults[place + 1 :])
    if world.quiet_s > SHORT_QUIET_S:
        seconds = world.seconds - world.quiet_s + SHORT_QUIET_S
        yield replace(world, fuzz=replace(world.fuzz, seconds=seconds), quiet_s=SHORT_QUIET_S)
    if len(world.fuzz.shares) > 1:
        yield replace(world, fuzz=replace(world.fuzz, shares=(1.0,)))
    for fuzz in smaller_worlds(world.fuzz):
        yield replace(world, fuzz=fuzz)
