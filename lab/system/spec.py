"""A world of the whole system as plain data. The same data gives the same run."""

from __future__ import annotations

from random import Random
from typing import Literal, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from controller.core.policy.policy import Policy
from lab.sim.generate import generate
from lab.sim.spec import FuzzWorld, Occurrence

FaultKind: TypeAlias = Literal[
    "killed", "stopped", "killed_at_append", "stopped_at_append", "killed_at_projection", "killed_at_claim",
    "stopped_at_claim", "cut_from_kafka", "cut_from_redis", "slow", "kafka_down", "redis_down",
    "redis_emptied", "redis_taken_back", "redis_read_only", "redis_full", "clock_ahead", "broker_clock_ahead",
    "letters_refused",
]  # fmt: skip
CONTROLLERS = ("controller-a", "controller-b")
LENGTHS_S = (0.5, 2.0, 5.0, 12.0)
FIRST_S = 10
TROUBLE_S = (10, 15, 20, 20, 30, 60)
QUIET_S = (30,) * 15 + (180,)  # only after the long one the planner must have come to rest, too
CLIENTS_MAX = 3
REQUESTS_PER_S = (1.0, 1.0, 2.0, 2.0, 4.0, 15.0)
UNFIT: frozenset[str] = frozenset({"take_over", "lag", "approve", "override"})
"""Kinds of occurrences that belong to the planner's own simulation alone."""


class MachineFault(Struct, frozen=True, omit_defaults=True):
    """Something that happens to a machine at ``at_s``, for ``for_s`` seconds.

    ``target``: a process, ``leader`` for whichever leads then, or a broker's number; empty for a server.
    ``value``: milliseconds or seconds, as ``kind`` demands.
    """

    kind: FaultKind
    at_s: float
    target: str = ""
    value: float = 0.0
    for_s: float = 0.0


class SystemWorld(Struct, frozen=True):
    """``quiet_s``: how long nothing happens at the end, after which everything must have come to rest.
    ``partitions``: of each topic of events. ``requests_per_s``: of each client."""

    seed: str
    fuzz: FuzzWorld
    faults: tuple[MachineFault, ...]
    quiet_s: int
    partitions: int = 2
    requests_per_s: float = 1.0

    @property
    def seconds(self) -> int:
        """How long it runs."""
        return self.fuzz.seconds


def generate_system(seed: str) -> SystemWorld:
    """The world of a seed."""
    random = Random(f"system {seed}")
    trouble_s, quiet_s = random.choice(TROUBLE_S), random.choice(QUIET_S)
    seconds = FIRST_S + trouble_s + quiet_s
    fuzz = generate(f"system-{seed}", seconds)
    last_s = FIRST_S + trouble_s
    fuzz = replace(fuzz, policy=_with_endpoints(fuzz.policy))
    befalls = tuple(
        _within(random, occurrence, last_s) for occurrence in fuzz.occurrences if occurrence.kind not in UNFIT
    )
    count = random.choice((0, 1, 2, 2, 3, 4, 6))
    faults = sorted((_fault(random, last_s) for _ in range(count)), key=lambda fault: fault.at_s)
    world = replace(
        fuzz,
        seconds=seconds,
        occurrences=tuple(sorted(befalls, key=lambda occurrence: occurrence.at_s)),
        delay_max_ms=0,
        noise=0.0,
        shares=_shares(random, fuzz.shares),
    )
    return SystemWorld(
        seed,
        world,
        tuple(faults),
        quiet_s=quiet_s,
        partitions=random.choice((1, 2)),
        requests_per_s=random.choice(REQUESTS_PER_S),
    )


def _with_endpoints(policy: Policy) -> Policy:
    """Each pool has an endpoint of its own, so that it can be seen where a request has gone."""
    pools = (
        replace(pool, url=f"https://pool-{number}.invalid/v1") for number, pool in enumerate(policy.pools)
    )
    return replace(policy, pools=tuple(pools))


def _shares(random: Random, shares: tuple[float, ...]) -> tuple[float, ...]:
    """Those of a few clients: each is a process, and what few of them see many see too."""
    few = shares[: random.randint(2, CLIENTS_MAX)]
    return tuple(share / sum(few) for share in few)


def _within(random: Random, occurrence: Occurrence, last_s: int) -> Occurrence:
    """The same, over before the quiet time begins."""
    at_s = random.randint(FIRST_S, last_s - 2)
    for_s = min(occurrence.for_s or last_s, last_s - at_s)
    return replace(occurrence, at_s=at_s, for_s=max(for_s, 1))


def _fault(random: Random, last_s: int) -> MachineFault:
    kind: FaultKind = random.choice(KINDS)
    at_s = round(random.uniform(FIRST_S, last_s - 1), 3)
    for_s = min(random.choice(LENGTHS_S), last_s - at_s)
    target, value = "", 0.0
    if kind in AIMED:
        target = random.choice((*CONTROLLERS, "leader", "leader"))
    if kind == "slow":
        value = random.choice((20.0, 200.0, 1_500.0))
    elif kind == "redis_taken_back":
        value = random.choice((1.0, 3.0, 10.0))
    elif kind == "clock_ahead":
        value = random.choice((-60_000.0, -8_000.0, 8_000.0, 60_000.0))
    elif kind == "broker_clock_ahead":
        target, value = str(random.randrange(3)), random.choice((-30_000.0, -3_000.0, 3_000.0, 30_000.0))
    return MachineFault(kind, at_s, target, value=value, for_s=for_s)


KINDS: tuple[FaultKind, ...] = (
    "killed", "killed", "stopped", "stopped", "killed_at_append", "killed_at_append", "stopped_at_append",
    "killed_at_projection", "killed_at_claim", "stopped_at_claim", "cut_from_kafka", "cut_from_redis", "slow",
    "kafka_down", "redis_down", "redis_emptied", "redis_taken_back", "redis_read_only", "redis_full",
    "clock_ahead", "broker_clock_ahead", "letters_refused",
)  # fmt: skip
AIMED: frozenset[str] = frozenset({
    "killed", "stopped", "killed_at_append", "stopped_at_append", "killed_at_projection", "killed_at_claim",
    "stopped_at_claim", "cut_from_kafka", "cut_from_redis", "slow", "clock_ahead",
})  # fmt: skip
