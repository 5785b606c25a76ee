"""Policies and evidence for the tests of the core, with everything that does not matter filled in."""

from controller.core.evidence.client_sums import ClientOutcomes
from controller.core.evidence.gather import Evidence
from controller.core.evidence.heard_sources import Probe
from controller.core.moves.draft import GAINS, Draft, DraftLimits
from controller.core.policy.compiled import CompiledPolicy, compile_policy
from controller.core.policy.policy import Origin, Policy, Pool, Provider, QuotaGroup, Source, Workload
from controller.core.policy.thresholds import Thresholds
from tieline.table import Criticality, ModelOffer

NOW_MS = 1_800_000_000_000
LIMITS = Thresholds()


def pool(
    name: str,
    *,
    geography: str = "eu",
    models: tuple[str, ...] = ("m",),
    committed: float = 100.0,
    limit: float = 100.0,
    price: float = 1.0,
    group: str | tuple[str, ...] = "",
    latency_ms: float = 10.0,
) -> Pool:
    """``azure/sweden`` becomes the pool azure/sweden/d."""
    return Pool(
        f"{name}/d",
        geography,
        "http://host",
        tuple(ModelOffer(model, model) for model in models),
        limit,
        committed,
        price,
        quota_group=group,
        latency_ms={"eu": latency_ms},
    )


def workload(
    name: str, criticality: Criticality = "critical", *, exclusive: str | None = None, **more: object
) -> Workload:
    """One that needs the model m."""
    return Workload(name, criticality, ("m",), exclusive_provider=exclusive, **more)  # type: ignore[arg-type]


def policy(
    pools: tuple[Pool, ...],
    workloads: tuple[Workload, ...] = (),
    *,
    origins: tuple[Origin, ...] = (Origin("eu"),),
    sources: tuple[Source, ...] = (),
    groups: tuple[QuotaGroup, ...] = (),
    headroom: float = 1.0,
    thresholds: Thresholds = LIMITS,
) -> Policy:
    """Whatever providers the pools name; one critical workload unless others are given."""
    providers = tuple(Provider(name) for name in sorted({one.provider for one in pools}))
    return Policy(
        "test",
        ("eu", "us", "uk"),
        origins,
        providers,
        pools,
        workloads or (workload("chat"),),
        groups,
        sources,
        headroom=headroom,
        thresholds=thresholds,
    )


def draft(
    compiled: CompiledPolicy | Policy,
    demand: dict[str, float],
    weights: dict[str, dict[str, int]] | None = None,
) -> Draft:
    """Demand and weights by route name (``chat/eu``) and pool; what the weights lack is shed."""
    compiled = compile_policy(compiled) if isinstance(compiled, Policy) else compiled
    given = weights or {}
    rows = [
        {compiled.pool_index[f"{name}/d"]: parts for name, parts in given.get(route.name, {}).items()}
        for route in compiled.routes
    ]
    return Draft(
        compiled,
        [demand.get(route.name, 0.0) for route in compiled.routes],
        rows,
        [1_000_000 - sum(row.values()) for row in rows],
    )


def limits(
    compiled: CompiledPolicy, *, grades: dict[str, int] | None = None, scale: float = 1.0
) -> DraftLimits:
    """Every pool at its policy's limit and gaining, unless said otherwise."""
    pools = compiled.policy.pools
    said = {f"{name}/d": grade for name, grade in (grades or {}).items()}
    return DraftLimits(
        [one.limit_units_per_s * scale for one in pools],
        [one.committed_units_per_s * scale for one in pools],
        [said.get(one.id, GAINS) for one in pools],
        [group.limit_units_per_s for group in compiled.policy.quota_groups],
    )


def clients(ok: int = 0, failures: int = 0, **more: float) -> ClientOutcomes:
    """Four clients' outcomes in the last two seconds; all of them fail if most requests do."""
    values: dict[str, object] = {
        "requests": ok + failures,
        "failures": failures,
        "auth": 0,
        "not_found": 0,
        "ok": ok,
        "throttled": 0,
        "reporters": 4,
        "failing": 4 if failures > ok else 0,
        "failing_configuration": 0,
        "in_flight": 0,
        "oldest_in_flight_ms": 0,
        "first_token_p99_ms": 400.0,
        "units": 100.0,
        "span_ms": 2_000,
        "latest_ms": NOW_MS - 2_000,
        **more,
    }
    return ClientOutcomes(**values)  # type: ignore[arg-type]


def probe(source: str = "prober", *, ok: int = 0, failures: int = 0, auth: int = 0) -> Probe:
    """One prober's word."""
    return Probe(source, ok + failures, failures, auth, 0, NOW_MS - 500)


def seen(
    said: ClientOutcomes | None = None, *probes: Probe, ejected_by: int = 0, clients_heard: int = 4
) -> Evidence:
    """What is known of one pool."""
    return Evidence(said, probes, ejected_by, clients_heard, NOW_MS - 1_000 if ejected_by else 0)
