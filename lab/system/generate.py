"""A seed becomes a world of the whole system: policy, load, what befalls pools, and faults of machines.

Everything is drawn in a fixed order from generators of random numbers that the seed begins, so a seed always
gives the same world. Trouble comes first and then a quiet time, after which all must have come to rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

from msgspec.structs import replace

from controller.core.policy.lawful import origins_of
from controller.core.policy.policy import Policy
from lab.sim.generate import generate
from lab.sim.spec import FuzzWorld, Occurrence
from lab.system.policies import SMALL, wide_policy
from lab.system.spec import CONTROLLERS, FaultKind, MachineFault, SystemWorld
from lab.system.troubles import troubles

LENGTHS_S = (0.5, 2.0, 5.0, 12.0)
FIRST_S = 6  # both controllers have started and clients have a table
TROUBLE_S = (4, 4, 5, 6, 6, 8, 8, 10, 10, 12, 12, 15, 20, 30, 60)
QUIET_S = (30,) * 155 + (180,) * 4 + (480,)  # only after long ones the planner must have come to rest, too
STILL_SHARE, STILL_S, STIR_S = 0.06, 70, 25
LOSSES: tuple[FaultKind, ...] = ("killed", "stopped", "killed_at_append", "killed_at_projection")
CLIENTS = (2, 2, 3)
REQUESTS_PER_S = (0.5,) * 12 + (1.0,) * 8 + (2.0,) * 3 + (10.0,)
EVENT_TOPICS = ("reports", "statements", "capacity", "demand")
UNFIT: frozenset[str] = frozenset({"take_over", "lag"})
"""Kinds of occurrences that belong to the planner's own simulation alone: here real processes do that."""


def generate_system(seed: str) -> SystemWorld:
    """The world of a seed."""
    still = Random(f"still {seed}")
    if still.random() < STILL_SHARE:
        return _still_world(still, seed)
    random = Random(f"system {seed}")
    trouble_s, quiet_s = random.choice(TROUBLE_S), random.choice(QUIET_S)
    last_s = FIRST_S + trouble_s
    fuzz = _load(random, seed, last_s + quiet_s, last_s)
    count = random.choice((0, 1, 2, 3, 4, 6, 8))
    faults = sorted((_fault(random, last_s) for _ in range(count)), key=lambda fault: fault.at_s)
    return SystemWorld(
        seed,
        fuzz,
        tuple(faults),
        quiet_s=quiet_s,
        partitions=random.choice((1, 2)),
        requests_per_s=random.choice(REQUESTS_PER_S),
    )


def _still_world(random: Random, seed: str) -> SystemWorld:
    """A world in which nothing happens until all has come to rest; then somebody falls silent, or the leader
    is lost, or both. Nothing may move for that."""
    policy = wide_policy(random, SMALL)
    fuzz = generate(f"system-{seed}", STILL_S + STIR_S + min(QUIET_S), policy)
    silence = Occurrence("silence", STILL_S, random.choice(policy.sources).id, for_s=STIR_S)
    deaf = Occurrence("clients_silent", STILL_S, value=random.choice((0.5, 1.0)), for_s=STIR_S)
    loss = MachineFault(
        random.choice(LOSSES), STILL_S + random.uniform(0, 3), "leader", for_s=random.choice(LENGTHS_S)
    )
    world = replace(
        fuzz,
        demand=_of_routes(policy, fuzz.demand),
        occurrences=random.choice(((), (silence,), (silence,), (deaf,))),
        delay_max_ms=0,
        noise=0.0,
        shares=_shares(random, fuzz.shares),
        real=dict.fromkeys(fuzz.real, 1.0),
    )
    faults = random.choice(((), (loss,), (loss,)))
    return SystemWorld(seed, world, faults, quiet_s=min(QUIET_S))


def _of_routes(policy: Policy, demand: Mapping[str, float]) -> dict[str, float]:
    """The demand of the routes that there are."""
    routes = {f"{item.id}/{origin.id}" for item in policy.workloads for origin in origins_of(policy, item)}
    return {route: units for route, units in demand.items() if route in routes}


def _load(random: Random, seed: str, seconds: int, last_s: int) -> FuzzWorld:
    """Policy, demand and occurrences: those of the planner's own simulation, and wider ones."""
    policy = wide_policy(random)
    fuzz = generate(f"system-{seed}", seconds, policy)
    shares = _shares(random, fuzz.shares)
    befalls = [_within(random, item, last_s) for item in fuzz.occurrences if item.kind not in UNFIT]
    befalls += troubles(random, policy, fuzz.demand, len(shares), FIRST_S, last_s)
    return replace(
        fuzz,
        demand=_of_routes(policy, fuzz.demand),
        occurrences=tuple(sorted(befalls, key=lambda occurrence: occurrence.at_s)),
        delay_max_ms=0,
        noise=0.0,
        shares=shares,
    )


def _shares(random: Random, shares: tuple[float, ...]) -> tuple[float, ...]:
    """Those of a few clients: each is a process, and what few of them see many see too."""
    few = shares[: random.choice(CLIENTS)]
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
    elif kind in OF_A_TOPIC:
        target = random.choice(EVENT_TOPICS)
    if kind == "broker_clock_ahead":
        target = str(random.randrange(3))
    if kind in VALUES:
        value = random.choice(VALUES[kind])
    return MachineFault(kind, at_s, target, value=value, for_s=for_s)


KINDS: tuple[FaultKind, ...] = (
    "killed", "killed", "killed", "stopped", "stopped", "stopped", "killed_at_append", "killed_at_append",
    "killed_at_append", "stopped_at_append", "stopped_at_append", "stopped_at_append", "killed_at_projection",
    "killed_at_projection", "killed_at_claim", "killed_at_claim", "stopped_at_claim", "stopped_at_claim",
    "cut_from_kafka", "cut_from_kafka", "cut_from_redis", "slow", "slow",
    "kafka_down", "redis_down", "redis_emptied", "redis_taken_back", "redis_read_only", "redis_full",
    "clock_ahead", "broker_clock_ahead", "letters_refused", "hints_lost", "unread_partition",
    "topic_recreated", "records_repeated", "old_records", "poison", "clocks_apart",
)  # fmt: skip
AIMED: frozenset[FaultKind] = frozenset({
    "killed", "stopped", "killed_at_append", "stopped_at_append", "killed_at_projection", "killed_at_claim",
    "stopped_at_claim", "cut_from_kafka", "cut_from_redis", "slow", "clock_ahead",
})  # fmt: skip
OF_A_TOPIC: frozenset[FaultKind] = frozenset({"unread_partition", "topic_recreated", "old_records"})
VALUES: dict[FaultKind, tuple[float, ...]] = {
    "slow": (20.0, 200.0, 1_500.0),
    "redis_taken_back": (1.0, 3.0, 10.0),
    "clock_ahead": (-60_000.0, -8_000.0, 8_000.0, 60_000.0),
    "broker_clock_ahead": (-30_000.0, -3_000.0, 3_000.0, 30_000.0),
    "clocks_apart": (500.0, 5_000.0, 20_000.0),
    "records_repeated": (100.0, 2_000.0, 10_000.0),
    "unread_partition": (0.0, 1.0),
}
"""By kind: milliseconds, seconds, or the number of a partition."""
