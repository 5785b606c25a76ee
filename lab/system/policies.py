"""Policies that use every field: two to six providers, two to forty pools, one to eight workloads.

Most faults show in a small world already, and many small worlds run in the time of a large one: more than
half of the policies have at most four pools and two workloads, and only one in fifty is large. Numbers of the
policy vary only where the invariants do not count on their usual value.
"""

from __future__ import annotations

from random import Random
from typing import NamedTuple

from controller.core.policy.check import faults
from controller.core.policy.offer_rules import OfferRules
from controller.core.policy.policy import (
    CommittedSpend,
    Failback,
    Mode,
    Origin,
    Policy,
    Pool,
    Provider,
    QuotaGroup,
    RecoveryObjective,
    Source,
    Workload,
)
from controller.core.policy.thresholds import Thresholds
from tieline.table import CRITICALITIES, Adapter, ClientSettings, ModelOffer


class Sizes(NamedTuple):
    """How many of each a policy may have."""

    pools: tuple[int, ...]
    workloads: tuple[int, ...]
    origins: tuple[int, ...]


PROVIDERS = ("azure", "gcp", "oci", "coreweave", "lambda", "nebius")
PLACES = ("eu", "us", "jp", "uk", "br", "au")
MODELS = ("gpt", "small", "embed")
FEATURES = ("tools", "vision", "json")
ADAPTERS: tuple[Adapter, ...] = ("openai", "openai", "azure", "vertex", "oci")
MODES: tuple[Mode, ...] = ("act",) * 14 + ("observe", "recommend")
FAILBACKS: tuple[Failback, ...] = ("auto",) * 7 + ("manual",)
TINY = Sizes(pools=(2, 3, 3, 4), workloads=(1, 1, 2), origins=(1, 1, 2))
SMALL = Sizes(pools=(3, 4, 5, 6, 8), workloads=(1, 1, 2, 3), origins=(1, 1, 2, 3))
LARGE = Sizes(pools=(12, 20, 40), workloads=(4, 6, 8), origins=(2, 4, 6))
TINY_SHARE, LARGE_SHARE = 0.55, 0.02  # of all worlds; the others are small
SAME_MODELS: tuple[dict[str, tuple[str, ...]], ...] = ({}, {"embed": ("embed", "embed-2")})
LIMITS = (200.0, 500.0, 1_000.0, 2_000.0)
REQUEST_UNITS = 10.0  # as ``lab.sim.reports`` counts them
ROOMY = 3.0  # a limit of requests that is as far above the limit of units never binds
ATTEMPTS_MAX = 1_000


def wide_policy(random: Random, sizes: Sizes | None = None) -> Policy:
    """A policy without faults, of these sizes or mostly of the smallest ones."""
    sizes = sizes or _sizes(random.random())
    pools = random.choice(sizes.pools)
    for _ in range(ATTEMPTS_MAX):
        policy = _policy(random, sizes, pools)
        if not faults(policy):
            return policy
    raise ValueError(f"no lawful policy in {ATTEMPTS_MAX} attempts")


def _sizes(chance: float) -> Sizes:
    """The sizes of a world, by a number between 0 and 1."""
    if chance < LARGE_SHARE:
        return LARGE
    return TINY if chance < LARGE_SHARE + TINY_SHARE else SMALL


def _policy(random: Random, sizes: Sizes, pool_count: int) -> Policy:
    providers = PROVIDERS[: random.randint(2, 6)]
    places = PLACES[: random.choice((1, 2, 2, 3))]
    origins = tuple(_origin(random, place, places) for place in PLACES[: random.choice(sizes.origins)])
    groups = tuple(_group(random, number) for number in range(random.choice((0, 1, 1, 2))))
    pools = tuple(
        _pool(random, number, providers, places, origins=origins, groups=groups)
        for number in range(pool_count)
    )
    workloads = tuple(
        _workload(random, number, places, origins=origins, pools=pools)
        for number in range(random.choice(sizes.workloads))
    )
    return Policy(
        lineage="sim",
        geographies=places,
        origins=origins,
        providers=tuple(Provider(name, random.choice(MODES), random.choice(FAILBACKS)) for name in providers),
        pools=pools,
        workloads=workloads,
        quota_groups=groups,
        sources=_sources(random, pools),
        committed_spend=_spend(random, providers[0]),
        first_refusal=random.choice((None, None, providers[0])),
        headroom=random.choice((0.8, 0.8, 0.9)),
        thresholds=_thresholds(random),
        clients=ClientSettings(
            first_token_timeout_ms=random.choice((10_000, 10_000, 3_000)),
            idle_timeout_ms=random.choice((10_000, 5_000)),
            empty_answers=random.choice(("serve", "serve", "retry")),
        ),
        same_model=random.choice(SAME_MODELS),
        offers=random.choice((None, None, OfferRules(short_for_ms=5_000, growth=0.2))),
        objectives=random.choice(((), (RecoveryObjective("*", recovery_s=30, return_s=60),))),
    )


def _origin(random: Random, place: str, places: tuple[str, ...]) -> Origin:
    allowed = random.choice(((), (), (place,))) if place in places else ()
    return Origin(place, allowed)


def _group(random: Random, number: int) -> QuotaGroup:
    """Each later group lies around the one before, as the flow of the checker needs it."""
    limit = random.choice((400.0, 1_000.0, 3_000.0)) * (1 + number)
    return QuotaGroup(
        f"quota{number or ''}",
        limit,
        requests_per_s=random.choice((None, None, ROOMY * limit / REQUEST_UNITS)),
        concurrency=random.choice((None, None, 100_000)),
    )


def _pool(
    random: Random,
    number: int,
    providers: tuple[str, ...],
    places: tuple[str, ...],
    *,
    origins: tuple[Origin, ...],
    groups: tuple[QuotaGroup, ...],
) -> Pool:
    limit, adapter = random.choice(LIMITS), random.choice(ADAPTERS)
    names = [group.id for group in groups]
    first = random.choice((len(names), len(names), *range(len(names)))) if names else 0
    models = random.choice((MODELS, MODELS[:2], MODELS[:2], MODELS[:1]))
    context_tokens = random.choice((0, 0, 8_000, 128_000))
    features = FEATURES[: random.choice((0, 2, 3, 3))]
    return Pool(
        f"{random.choice(providers)}/r{random.randint(0, 2)}/d{number}",
        random.choice(places),
        f"https://pool-{number}.invalid/v1",
        models=tuple(
            ModelOffer(model, model, context_tokens=context_tokens, features=features) for model in models
        ),
        limit_units_per_s=limit,
        committed_units_per_s=random.choice((0.0, 0.4, 0.8, 1.0)) * limit,
        price_per_million_units=random.choice((1.0, 2.0, 5.0)),
        adapter=adapter,
        credential=random.choice(("", "", f"key-{adapter}")),  # a key is for one kind of provider only
        quota_group=names[first] if first == len(names) - 1 else tuple(names[first:]),
        domains=tuple(random.sample(("edge", "identity", "model-a", "model-b"), random.choice((0, 0, 1, 2)))),
        latency_ms={origin.id: random.choice((20.0, 80.0, 160.0)) for origin in origins},
        requests_per_s=random.choice((None, None, None, ROOMY * limit / REQUEST_UNITS)),
        concurrency=random.choice((None, None, None, 100_000)),
    )


def _workload(
    random: Random,
    number: int,
    places: tuple[str, ...],
    *,
    origins: tuple[Origin, ...],
    pools: tuple[Pool, ...],
) -> Workload:
    providers = sorted({pool.provider for pool in pools})
    names = [pool.id for pool in pools]
    own = tuple(random.sample([origin.id for origin in origins], random.randint(1, len(origins))))
    return Workload(
        f"w{number}",
        random.choice(CRITICALITIES),
        models=random.choice((MODELS[:1], MODELS[:1], MODELS[1:2], MODELS[:2], MODELS[2:])),
        origins=random.choice(((), (), own)),
        allowed_providers=random.choice(((), (), (), tuple(providers[:2]))),
        exclusive_provider=random.choice((None,) * 9 + (providers[0],)),
        allowed_geographies=random.choice(((), (), (), places[:1])),
        allowed_geographies_by_origin=random.choice(({}, {}, {}, {origins[0].id: places[-1:]})),
        pinned_pools=random.choice(((), (), (), tuple(name for name in names if random.random() < 0.5))),
        provider_share_max=random.choice(({}, {}, {}, {providers[0]: 0.5})),
        expected_units_per_s={origin.id: random.choice((0.0, 200.0)) for origin in origins},
        context_tokens=random.choice((0, 0, 0, 4_000, 32_000)),
        features=random.choice(((), (), (), FEATURES[:1])),
        last_resort=random.choice(((), (), tuple(random.sample(names, 1)))),
    )


def _sources(random: Random, pools: tuple[Pool, ...]) -> tuple[Source, ...]:
    """Probers, of which one may see a provider only, a fleet, and a status page; now and then some of them
    are missing."""
    scope = random.choice(("*", "*", pools[0].provider))
    sources = (
        Source("prober", "probe", vantage="eu-1", interval_max_ms=random.choice((None, 5_000))),
        Source("prober-2", "probe", vantage="us-1", scope=scope),
        Source("fleet", "fleet"),
    )
    start = random.choice((0, 0, 1, 2))
    return (*sources[start : random.choice((2, 3, 3, 3))], Source("status", "status"))


def _spend(random: Random, provider: str) -> tuple[CommittedSpend, ...]:
    month = CommittedSpend(provider, "month", units=1e9)
    term = CommittedSpend(provider, "term", money=1e6, starts="2026-01-01", ends="2031-01-01")
    return random.choice(((), (), (month,), (term,)))


def _thresholds(random: Random) -> Thresholds:
    if random.random() < 0.5:
        return Thresholds(drill_quiet_ms=5_000)
    return Thresholds(
        requests_min=random.choice((5, 20, 50)),
        reporters_min=random.choice((1, 3)),
        failing_share_down=random.choice((0.4, 0.5, 0.7)),
        slow_min_ms=random.choice((500, 1_000)),
        hold_down_min_ms=random.choice((5_000, 30_000)),
        ramp_steps=random.choice(((0.01, 0.1, 0.25, 0.5, 1.0), (0.1, 0.5, 1.0))),
        ramp_step_min_ms=random.choice((5_000, 30_000)),
        trickle_share=random.choice((0.005, 0.01)),
        plan_fresh_ms=random.choice((10_000, 30_000)),
        shift_share_max=random.choice((0.05, 0.1)),
        reversal_ms=300_000,
        lump_share=random.choice((0.1, 0.25, 0.5)),
        latency_band_ms=random.choice((20.0, 50.0)),
        first_table_share=random.choice((0.3, 0.5)),
        on_loss_after_ms=random.choice((500, 1_000)),
        on_loss_period_ms=random.choice((20_000, 60_000)),
        drill_quiet_ms=5_000,
    )
