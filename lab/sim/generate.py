"""A seed becomes a world: a policy that uses every feature, demand, and what befalls it.

Everything is drawn from one generator of random numbers in a fixed order, so a seed always gives the same
world.
"""

from __future__ import annotations

from random import Random

from msgspec.structs import replace

from controller.core.policy.check import faults
from controller.core.policy.policy import (
    CommittedSpend,
    Mode,
    Origin,
    Policy,
    Pool,
    Provider,
    QuotaGroup,
    Source,
    Workload,
)
from lab.sim.occurrences import occurrences
from lab.sim.spec import FuzzWorld
from tieline.table import CRITICALITIES, ModelOffer

PROVIDERS = ("azure", "gcp", "oci", "coreweave")
PLACES = ("eu", "us")
MODELS = ("gpt", "small")
ATTEMPTS_MAX = 1_000
CLIENTS_MAX = 8
# Worlds of smaller seeds stay what they were when their breaches were mended: no pool is in two quota groups.
WIDER_GROUPS_FROM_SEED = 100_000


def generate(seed: str, seconds: int, policy: Policy | None = None) -> FuzzWorld:
    """The world of a seed, ``seconds`` long, with this policy or one that is drawn; it has no faults."""
    random = Random(seed)
    policy = policy or _lawful_policy(random, seed)
    if seed.isdigit() and int(seed) >= WIDER_GROUPS_FROM_SEED:
        policy = _with_wider_group(random, policy)
    demand = _demand(random, policy)
    clients = random.randint(3, CLIENTS_MAX)
    weights = [random.choice((1.0, 1.0, 1.0, 4.0)) for _ in range(clients)]
    real = {pool.id: random.choice((1.0, 1.0, 1.0, 1.2, 0.8)) for pool in policy.pools}
    return FuzzWorld(
        seed=seed,
        policy=policy,
        demand=demand,
        occurrences=occurrences(random, policy, demand, seconds, clients),
        seconds=seconds,
        shares=tuple(weight / sum(weights) for weight in weights),
        real=real,
        delay_max_ms=random.choice((0, 0, 300, 1_000, 2_500)),
        noise=random.choice((0.0, 0.0, 0.02)),
        planned=random.random() < 0.5,
    )


def _lawful_policy(random: Random, seed: str) -> Policy:
    for _ in range(ATTEMPTS_MAX):
        policy = _policy(random)
        if not faults(policy):
            return policy
    raise ValueError(f"seed {seed} gave no lawful policy in {ATTEMPTS_MAX} attempts")


def _policy(random: Random) -> Policy:
    providers = PROVIDERS[: random.randint(2, 4)]
    pools = tuple(_pool(random, number, providers) for number in range(random.randint(2, 8)))
    origins = tuple(Origin(place, random.choice(((), (), (place,)))) for place in PLACES)
    count = random.randint(1, 4)
    return Policy(
        lineage="fuzz",
        geographies=PLACES,
        origins=origins[: random.randint(1, 2)],
        providers=tuple(_provider(random, name) for name in providers),
        pools=pools,
        workloads=tuple(_workload(random, number, providers, pools) for number in range(count)),
        quota_groups=(QuotaGroup("quota", random.choice((400.0, 1_000.0, 3_000.0))),),
        sources=_sources(random),
        committed_spend=_spend(random, providers[0]),
        first_refusal=random.choice((None, None, providers[0])),
        headroom=random.choice((0.8, 0.8, 0.9)),
    )


def _with_wider_group(random: Random, policy: Policy) -> Policy:
    """The same with a second quota group around the first one, in which some of the other pools are, too."""
    pools = [
        replace(pool, quota_group=(pool.quota_group, "wider")) if pool.quota_group
        else replace(pool, quota_group=random.choice(("", "wider")))
        for pool in policy.pools
    ]  # fmt: skip
    wider = QuotaGroup("wider", random.choice((600.0, 1_500.0, 4_000.0)))
    return replace(policy, pools=tuple(pools), quota_groups=(*policy.quota_groups, wider))


def _provider(random: Random, name: str) -> Provider:
    modes: tuple[Mode, ...] = ("act",) * 14 + ("observe", "recommend")
    mode = random.choice(modes)
    return Provider(name, mode=mode, failback=random.choice(("auto",) * 7 + ("manual",)))


def _pool(random: Random, number: int, providers: tuple[str, ...]) -> Pool:
    limit = random.choice((200.0, 500.0, 1_000.0, 2_000.0))
    return Pool(
        f"{random.choice(providers)}/r{random.randint(0, 2)}/d{number}",
        random.choice(PLACES),
        "https://example.invalid/v1",
        models=tuple(ModelOffer(model, model) for model in random.choice((MODELS, MODELS, MODELS[:1]))),
        limit_units_per_s=limit,
        committed_units_per_s=random.choice((0.0, 0.4, 0.8, 1.0)) * limit,
        price_per_million_units=random.choice((1.0, 2.0, 5.0)),
        quota_group=random.choice(("", "", "", "quota")),
        domains=random.choice(((), (), ("edge",))),
        latency_ms={place: random.choice((20.0, 80.0, 160.0)) for place in PLACES},
    )


def _workload(random: Random, number: int, providers: tuple[str, ...], pools: tuple[Pool, ...]) -> Workload:
    pinned = tuple(pool.id for pool in pools if random.random() < 0.4)
    return Workload(
        f"w{number}",
        random.choice(CRITICALITIES),
        models=(random.choice(MODELS),),
        exclusive_provider=random.choice((None,) * 7 + (providers[0],)),
        allowed_geographies=random.choice(((), (), (), ("eu",))),
        pinned_pools=random.choice(((), (), (), pinned)),
        provider_share_max=random.choice(({}, {}, {}, {providers[0]: 0.5})),
        expected_units_per_s={place: random.choice((0.0, 200.0)) for place in PLACES},
    )


def _sources(random: Random) -> tuple[Source, ...]:
    sources = (Source("prober", "probe"), Source("prober-2", "probe"), Source("fleet", "fleet"))
    start = random.choice((0, 0, 1, 2))
    return (*sources[start : random.choice((2, 3, 3))], Source("status", "status"))


def _spend(random: Random, provider: str) -> tuple[CommittedSpend, ...]:
    spend = CommittedSpend(provider, "month", units=1e9)
    return random.choice(((), (), (spend,)))


def _demand(random: Random, policy: Policy) -> dict[str, float]:
    """Demand by route: all together some share of what the pools may carry, now and then more."""
    total = sum(pool.limit_units_per_s for pool in policy.pools) * policy.headroom
    names = [f"{workload.id}/{origin.id}" for workload in policy.workloads for origin in policy.origins]
    weights = [random.choice((0.0, 1.0, 1.0, 3.0)) for _ in names]
    scale = total * random.choice((0.2, 0.5, 0.7, 0.9, 1.2)) / max(sum(weights), 1.0)
    return {name: round(weight * scale) * 1.0 for name, weight in zip(names, weights, strict=True)}
