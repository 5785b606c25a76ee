"""Writes a world in the language of tests/scenarios, as far as that language can say it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import msgspec
import yaml

from lab.sim.spec import FuzzWorld, Kind, Occurrence

FOR_GOOD_S = 3_600
NORMAL_MS = 200

Line = Callable[[Occurrence], str]


def _for(occurrence: Occurrence) -> str:
    return f"for {occurrence.for_s or FOR_GOOD_S}s"


def _errors(occurrence: Occurrence) -> str:
    return f"report {occurrence.target} errors={occurrence.value:.0%} as={occurrence.word}"


BEGINS: dict[Kind, Line] = {
    "demand": lambda o: f"demand {o.target} {o.value:g}",
    "errors": _errors,
    "hang": lambda o: f"hang {o.target}",
    "slow": lambda o: f"slow {o.target} {o.value:.0f}ms",
    "serves": lambda o: f"serves {o.target} {o.value:g}",
    "capacity": lambda o: f"capacity {o.target} {o.value:g}",
    "group_capacity": lambda o: f"group {o.target} {o.value:g}",
    "planned": lambda o: f"planned {o.target} {o.value:g} in 30s",
    "silence": lambda o: f"silence {o.target}",
    "clients_silent": lambda _: "silence clients",
    "lag": lambda _: "lag",
    "status": lambda o: f"status {o.target} {o.word} {_for(o)}",
    "maintenance": lambda o: f"maintenance {o.target} in {o.value:.0f}s {_for(o)}",
    "declined": lambda o: f"declined {o.target} {_for(o)}",
    "drain": lambda o: f"drain {o.target} {_for(o)}",
    "freeze": lambda o: f"freeze {o.target} {_for(o)}",
    "verdict": lambda o: f"verdict {o.target} {o.word} {_for(o)}",
    "override": lambda o: f"override {o.word} of {o.target} {_for(o)}",
    "approve": lambda o: f"approve {o.target} {_for(o)}",
    "failback": lambda o: f"failback {o.target} {_for(o)}",
    "take_over": lambda _: "takeover",
    "own_network": lambda o: f"cut-off {o.target}",
    "lying_probe": lambda o: f"probes {o.target} errors=100% as={o.word}",
}
ENDS: dict[Kind, Callable[[FuzzWorld, Occurrence], str]] = {
    "demand": lambda world, o: f"demand {o.target} {world.demand.get(o.target, 0):g}",
    "errors": lambda _, o: f"report {o.target} errors=0%",
    "hang": lambda _, o: f"answer {o.target}",
    "slow": lambda _, o: f"slow {o.target} {NORMAL_MS}ms",
    "serves": lambda _, o: f"serves {o.target} all",
    "capacity": lambda world, o: f"capacity {o.target} {_limit(world, o.target):g}",
    "group_capacity": lambda world, o: f"group {o.target} {_group(world, o.target):g}",
    "silence": lambda _, o: f"hear {o.target}",
    "clients_silent": lambda *_: "hear clients",
    "lag": lambda *_: "caught-up",
    "own_network": lambda _, o: f"reconnect {o.target}",
    "lying_probe": lambda _, o: f"report {o.target} errors=0%",
}


def policy_text(world: FuzzWorld) -> str:
    """The world's policy as YAML."""
    return yaml.safe_dump(msgspec.to_builtins(world.policy), sort_keys=False)


def scenario_text(world: FuzzWorld, name: str) -> str:
    """The scenario, with its policy as policies/NAME.yaml. What the language can't say stands in comments."""
    lines = [f"policy {name}", *_unsaid(world), *_beginning(world)]
    moments = sorted({0, world.seconds, *(at_s for at_s, _ in _events(world) if at_s < world.seconds)})
    texts: dict[int, list[str]] = {}
    for at_s, text in _events(world):
        texts.setdefault(at_s, []).append(text)
    for at_s, next_s in pairwise(moments):
        lines += texts.get(at_s, [])
        lines += [f"tick {next_s - at_s}s"]
    return "\n".join([*lines, "plan", "states", "why"]) + "\n"


def _events(world: FuzzWorld) -> Iterator[tuple[int, str]]:
    for occurrence in world.occurrences:
        if (begin := BEGINS.get(occurrence.kind)) is None:
            yield occurrence.at_s, f"# can't be written here: {occurrence}"
            continue
        yield occurrence.at_s, begin(occurrence)
        if occurrence.for_s and (end := ENDS.get(occurrence.kind)) is not None:
            yield occurrence.at_s + occurrence.for_s, end(world, occurrence)


def _unsaid(world: FuzzWorld) -> Iterator[str]:
    if world.planned:
        yield "# the dispatch made plans"
    if world.delay_max_ms:
        yield f"# reports arrived up to {world.delay_max_ms} ms late"
    if world.noise:
        yield f"# demand varied by {world.noise:.0%} from second to second"


def _beginning(world: FuzzWorld) -> Iterator[str]:
    kinds = {source.kind for source in world.policy.sources}
    if "probe" not in kinds:
        yield "unprobed *"
    if "fleet" not in kinds:
        yield "capacity * none"
    for pool, share in world.real.items():
        if share != 1.0:
            yield f"serves {pool} {_limit(world, pool) * share:g}"
    yield f"reporters {len(world.shares)}"
    for route, units in world.demand.items():
        if units:
            yield f"demand {route} {units:g}"


def _limit(world: FuzzWorld, name: str) -> float:
    return next((pool.limit_units_per_s for pool in world.policy.pools if pool.id == name), 0.0)


def _group(world: FuzzWorld, name: str) -> float:
    return next((group.limit_units_per_s for group in world.policy.quota_groups if group.id == name), 0.0)
