"""PURE: a run's policy, stand-ins and callers, derived from a policy file; whatever differs is named.

Pools keep their ids, geographies and contracts. Addresses become those of stand-ins, capacities are scaled to
the load that a small machine can send, and times are shortened where a run could not wait for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import yaml
from msgspec import Struct
from msgspec.structs import replace

from controller.core.policy.lawful import lawful_pools, origins_of
from controller.core.policy.policy import Policy, Pool, Source
from lab.demo.caller import CallerConfig, Share
from lab.standins.config import KafkaConfig, Latency, PoolConfig, StandinConfig

STANDIN_SOURCE = "standins"
PROBER_SOURCE = "demo-prober"
CAPACITY_EVERY_S = 20.0  # and at once when it changes; the claim holds three times as long
BASE_LATENCY_MS = 40.0
TOKEN_MS = 2.0
CHUNK_TOKENS = 16
BURST_S = 3.0  # providers count tokens over seconds to a minute, not instants


class Pace(Struct, frozen=True):
    """How a run differs from the shipped settings.

    ``load``: the callers' load over what the policy's workloads expect, which scales all capacities.
    """

    requests_per_s: float = 70.0
    token_scale: float = 0.2
    load: float = 1.2
    callers: int = 2
    thresholds: dict[str, int] = {}
    clients: dict[str, int] = {}


DEMO = Pace(
    thresholds={
        "hold_down_min_ms": 5_000,
        "ramp_step_min_ms": 2_000,
        "clear_after_ms": 3_000,
        "no_progress_min_ms": 4_000,
    },
    clients={"first_token_timeout_ms": 4_000, "idle_timeout_ms": 5_000},
)
FAST = replace(
    DEMO,
    requests_per_s=40.0,
    thresholds={**DEMO.thresholds, "hold_down_min_ms": 3_000, "ramp_step_min_ms": 1_000},
    clients={"first_token_timeout_ms": 2_500, "idle_timeout_ms": 3_000},
)

INCIDENT = Pace(requests_per_s=40.0, load=1.0)


class Difference(Struct, frozen=True):
    """A setting of the run: ``name`` is ``used`` instead of ``shipped``."""

    name: str
    used: Any
    shipped: Any

    def __str__(self) -> str:
        return f"demo: {self.name} {self.used} instead of {self.shipped}"


class Plan(Struct, frozen=True):
    """A run before any process exists. ``capacity_scale``: stand-ins' over the file's capacities."""

    policy: Policy
    capacity_scale: float
    differences: tuple[Difference, ...]
    pace: Pace


def plan(policy: Policy, pace: Pace, mean_tokens: float, *, only: Sequence[str] = ()) -> Plan:
    """The run's policy, its addresses not yet known. ``mean_tokens``: of the trace's requests, unscaled.

    ``only``: pools that take part (all). Every route must keep a lawful pool, else ValueError.
    """
    pools = tuple(pool for pool in policy.pools if not only or pool.id in only)
    demand = pace.requests_per_s * mean_tokens * pace.token_scale
    expected = sum(sum(one.expected_units_per_s.values()) for one in policy.workloads)
    if not expected:
        raise ValueError("the policy expects no load: give its workloads expected_units_per_s")
    scale = demand / pace.load / expected
    thresholds = replace(policy.thresholds, **pace.thresholds)
    clients = replace(policy.clients, **pace.clients)
    used = replace(
        policy,
        pools=tuple(_scaled(pool, scale) for pool in pools),
        quota_groups=tuple(
            replace(group, limit_units_per_s=group.limit_units_per_s * scale) for group in policy.quota_groups
        ),
        workloads=tuple(
            replace(one, expected_units_per_s=_times(one.expected_units_per_s, scale * pace.load))
            for one in policy.workloads
        ),
        committed_spend=(),
        thresholds=thresholds,
        clients=clients,
        sources=_with_own(policy.sources),
    )
    for workload in used.workloads:
        for origin in origins_of(used, workload):
            if not lawful_pools(used, workload, origin):
                raise ValueError(f"no pool left for {workload.id}/{origin.id}")
    differences = [
        *_differences("thresholds", policy.thresholds, thresholds),
        *_differences("clients", policy.clients, clients),
        Difference("capacities", f"x {scale:.2f}", "x 1 (to the load that this machine sends)"),
    ]
    return Plan(used, scale, tuple(differences), pace)


def _scaled(pool: Pool, scale: float) -> Pool:
    return replace(
        pool,
        adapter="openai",
        credential="",
        committed_units_per_s=pool.committed_units_per_s * scale,
        limit_units_per_s=pool.limit_units_per_s * scale,
    )


def _times(by_origin: Mapping[str, float], factor: float) -> dict[str, float]:
    return {origin: units * factor for origin, units in by_origin.items()}


def _with_own(sources: Iterable[Source]) -> tuple[Source, ...]:
    own = (Source(STANDIN_SOURCE, "fleet"), Source(PROBER_SOURCE, "probe", vantage="demo"))
    return (*(one for one in sources if one.id not in {source.id for source in own}), *own)


def _differences(where: str, shipped: Struct, used: Struct) -> list[Difference]:
    return [
        Difference(f"{where}.{name}", getattr(used, name), getattr(shipped, name))
        for name in used.__struct_fields__
        if getattr(used, name) != getattr(shipped, name)
    ]


def standins(planned: Plan, *, log_dir: str, kafka: str, namespace: str) -> tuple[StandinConfig, ...]:
    """One process for each provider-region, sorted."""
    homes: dict[tuple[str, str], list[Pool]] = {}
    for pool in planned.policy.pools:
        homes.setdefault((pool.provider, pool.region), []).append(pool)
    return tuple(
        StandinConfig(
            provider=provider,
            region=region,
            pools=tuple(_standin_pool(pool) for pool in homes[provider, region]),
            log_dir=log_dir,
            kafka=KafkaConfig(kafka, namespace, STANDIN_SOURCE, CAPACITY_EVERY_S),
        )
        for provider, region in sorted(homes)
    )


def _standin_pool(pool: Pool) -> PoolConfig:
    return PoolConfig(
        deployment=pool.id.split("/", 2)[2],
        models=tuple(dict.fromkeys(offer.name for offer in pool.models)),
        tokens_per_s=pool.limit_units_per_s,
        burst_s=BURST_S,
        latency=Latency(first_token_ms=BASE_LATENCY_MS + _nearest_ms(pool), token_ms=TOKEN_MS),
        chunk_tokens=CHUNK_TOKENS,
    )


def _nearest_ms(pool: Pool) -> float:
    return min(pool.latency_ms.values(), default=0.0)


def addressed(policy: Policy, urls: Mapping[str, str]) -> Policy:
    """The policy with the stand-ins' addresses."""
    return replace(policy, pools=tuple(replace(pool, url=urls[pool.id]) for pool in policy.pools))


def as_yaml(policy: Policy) -> str:
    """The policy as a file that ``tieline`` reads."""
    return yaml.safe_dump(msgspec.to_builtins(policy), sort_keys=False, allow_unicode=True, width=100)


def shares(policy: Policy) -> tuple[Share, ...]:
    """The mix of requests, as the policy's workloads expect it."""
    return tuple(
        Share(one.id, origin, units, one.models[0])
        for one in policy.workloads
        for origin, units in sorted(one.expected_units_per_s.items())
        if units > 0
    )


def callers(
    planned: Plan, trace_rows: int, *, redis: str, kafka: str, namespace: str, directory: str
) -> tuple[CallerConfig, ...]:
    """The calling processes; each begins at another place of the trace."""
    count = planned.pace.callers
    return tuple(
        CallerConfig(
            name=f"app-{number + 1}",
            redis=redis,
            kafka=kafka,
            namespace=namespace,
            notes=f"{directory}/app-{number + 1}.jsonl",
            shares=shares(planned.policy),
            rate_per_s=planned.pace.requests_per_s / count,
            token_scale=planned.pace.token_scale,
            first=number * trace_rows // count,
        )
        for number in range(count)
    )
