"""PURE: a run's policy, stand-ins and callers, derived from a policy file. Every difference to it is named.

Pools keep their ids, geographies and contracts. Addresses become those of stand-ins. Capacities are scaled to
the load that a small machine can send. Times are shortened where a run can't wait for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import yaml
from msgspec import Struct
from msgspec.structs import replace

from controller.core.policy.lawful import lawful_pools, origins_of
from controller.core.policy.offer_rules import OfferRules
from controller.core.policy.policy import Policy, Pool, Source
from controller.process.errors import UserError
from lab.demo.caller import CallerConfig
from lab.demo.pacing import Share
from lab.standins.config import KafkaConfig, Latency, PoolConfig, StandinConfig

STANDIN_SOURCE = "standins"
PROBER_SOURCE = "demo-prober"
CAPACITY_EVERY_S = 20.0  # and at once when it changes; an event holds for three times as long
BASE_LATENCY_MS = 40.0
TOKEN_MS = 2.0
CHUNK_TOKENS = 16
BURST_S = 3.0  # providers count tokens over some seconds up to a minute, not at every instant


class Pace(Struct, frozen=True):
    """How a run differs from the shipped settings.

    ``load``: the load that the callers send over the load that the workloads expect; it scales all
    capacities. ``thresholds`` and ``clients``: settings of the policy that the run replaces. With ``offers``
    the run asks for capacity, ``first_refusal`` first.
    """

    requests_per_s: float = 70.0
    token_scale: float = 0.2
    load: float = 1.2
    callers: int = 2
    thresholds: dict[str, int] = {}
    clients: dict[str, int] = {}
    offers: OfferRules | None = None
    first_refusal: str | None = None


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
        return f"{self.name}: {self.used} instead of {self.shipped}"


class Plan(Struct, frozen=True):
    """A run before any process exists. ``capacity_scale``: a stand-in's capacity over the file's."""

    policy: Policy
    capacity_scale: float
    differences: tuple[Difference, ...]
    pace: Pace


def plan(policy: Policy, pace: Pace, mean_tokens: float, *, only: Sequence[str] = ()) -> Plan:
    """The plan of a run; its pools have no addresses yet.

    ``mean_tokens``: tokens of a mean request of the trace, before ``pace`` scales them. ``only``: the ids of
    the pools that take part; empty means all. Raises UserError if the policy expects no load, or if a route
    is left without a lawful pool.
    """
    expected = sum(sum(workload.expected_units_per_s.values()) for workload in policy.workloads)
    if not expected:
        raise UserError("the policy expects no load: give its workloads expected_units_per_s")
    scale = pace.requests_per_s * mean_tokens * pace.token_scale / pace.load / expected
    run_policy = _run_policy(policy, pace, scale, only=only)
    for workload in run_policy.workloads:
        for origin in origins_of(run_policy, workload):
            if not lawful_pools(run_policy, workload, origin):
                raise UserError(f"no pool of the run may serve {workload.id}/{origin.id}: let more take part")
    differences = (
        *_differences("thresholds", policy.thresholds, run_policy.thresholds),
        *_differences("clients", policy.clients, run_policy.clients),
        *_differences("offers", policy.offers or OfferRules(), run_policy.offers or OfferRules()),
        Difference("capacities", f"x {scale:.2f}", "x 1 (they fit the load that this machine sends)"),
    )
    return Plan(run_policy, scale, differences, pace=pace)


def _run_policy(policy: Policy, pace: Pace, scale: float, *, only: Sequence[str]) -> Policy:
    return replace(
        policy,
        pools=tuple(_scaled_pool(pool, scale) for pool in policy.pools if not only or pool.id in only),
        quota_groups=tuple(
            replace(group, limit_units_per_s=group.limit_units_per_s * scale) for group in policy.quota_groups
        ),
        workloads=tuple(
            replace(
                workload,
                expected_units_per_s={
                    origin: units * scale * pace.load
                    for origin, units in workload.expected_units_per_s.items()
                },
            )
            for workload in policy.workloads
        ),
        committed_spend=(),
        offers=pace.offers or policy.offers,
        first_refusal=pace.first_refusal or policy.first_refusal,
        thresholds=replace(policy.thresholds, **pace.thresholds),
        clients=replace(policy.clients, **pace.clients),
        sources=_with_own_sources(policy.sources),
    )


def _scaled_pool(pool: Pool, scale: float) -> Pool:
    return replace(
        pool,
        adapter="openai",
        credential="",
        committed_units_per_s=pool.committed_units_per_s * scale,
        limit_units_per_s=pool.limit_units_per_s * scale,
    )


def _with_own_sources(sources: Iterable[Source]) -> tuple[Source, ...]:
    own = (Source(STANDIN_SOURCE, "fleet"), Source(PROBER_SOURCE, "probe", vantage="demo"))
    own_ids = {source.id for source in own}
    return (*(source for source in sources if source.id not in own_ids), *own)


def _differences(where: str, shipped: Struct, used: Struct) -> list[Difference]:
    return [
        Difference(f"{where}.{name}", getattr(used, name), getattr(shipped, name))
        for name in used.__struct_fields__
        if getattr(used, name) != getattr(shipped, name)
    ]


def standins(run: Plan, *, log_dir: str, kafka: str, namespace: str) -> tuple[StandinConfig, ...]:
    """One process for each provider-region, sorted."""
    pools_by_region: dict[tuple[str, str], list[Pool]] = {}
    for pool in run.policy.pools:
        pools_by_region.setdefault((pool.provider, pool.region), []).append(pool)
    return tuple(
        StandinConfig(
            provider=provider,
            region=region,
            pools=tuple(_standin_pool(pool) for pool in pools),
            log_dir=log_dir,
            kafka=KafkaConfig(kafka, namespace, STANDIN_SOURCE, interval_s=CAPACITY_EVERY_S),
        )
        for (provider, region), pools in sorted(pools_by_region.items())
    )


def _standin_pool(pool: Pool) -> PoolConfig:
    distance_ms = min(pool.latency_ms.values(), default=0.0)
    return PoolConfig(
        deployment=pool.id.split("/", 2)[2],
        models=tuple(dict.fromkeys(offer.name for offer in pool.models)),
        tokens_per_s=pool.limit_units_per_s,
        burst_s=BURST_S,
        latency=Latency(first_token_ms=BASE_LATENCY_MS + distance_ms, token_ms=TOKEN_MS),
        chunk_tokens=CHUNK_TOKENS,
    )


def addressed(policy: Policy, urls: Mapping[str, str]) -> Policy:
    """The policy with the stand-ins' addresses; ``urls``: pool id -> URL."""
    return replace(policy, pools=tuple(replace(pool, url=urls[pool.id]) for pool in policy.pools))


def as_yaml(policy: Policy) -> str:
    """The policy as a file that ``tieline`` reads."""
    return yaml.safe_dump(msgspec.to_builtins(policy), sort_keys=False, allow_unicode=True, width=100)


def shares(policy: Policy) -> tuple[Share, ...]:
    """The mix of requests that the policy's workloads expect."""
    return tuple(
        Share(workload.id, origin, units, model=workload.models[0])
        for workload in policy.workloads
        for origin, units in sorted(workload.expected_units_per_s.items())
        if units > 0
    )


def callers(
    run: Plan,
    trace_rows: int,
    *,
    redis: str,
    kafka: str,
    namespace: str,
    directory: str,
    through: str = "",
) -> tuple[CallerConfig, ...]:
    """The calling processes. Each begins at another row of the trace, which has ``trace_rows``.
    ``through``: the base URL of a proxy, empty for none."""
    count = run.pace.callers
    return tuple(
        CallerConfig(
            name=f"app-{number + 1}",
            redis=redis,
            kafka=kafka,
            namespace=namespace,
            notes=f"{directory}/app-{number + 1}.jsonl",
            shares=shares(run.policy),
            rate_per_s=run.pace.requests_per_s / count,
            token_scale=run.pace.token_scale,
            first=number * trace_rows // count,
            through=through,
        )
        for number in range(count)
    )
