"""A synthetic installation for the planner's benchmarks: pools over four clouds and eight countries."""

from typing import NamedTuple

from controller.core.model.dispatch_plan import Problem
from controller.core.moves.draft import GAINS, whole
from controller.core.policy.compiled import compile_policy
from controller.core.policy.policy import Origin, Policy, Pool, Provider, QuotaGroup, Workload
from tieline.table import CRITICALITIES, MILLION, ModelOffer, Split

PROVIDERS = ("azure", "coreweave", "gcp", "oci")
PLACES = ("us", "eu", "uk", "jp", "in", "br", "au", "ca")
MODELS = ("chat-large", "chat-small", "embed")
CONTEXT_STEP = 4_096
COMMITTED = 1_000.0
LIMIT = 1_600.0
FILLED = 0.55  # demand as a share of what is committed
GROUP_SHARE = 0.9  # of what the pools of a quota group may give together
NOW_MS = 1_800_000_000_000


class Size(NamedTuple):
    """How large an installation is."""

    pools: int
    workloads: int
    origins: int


def policy_of(size: Size, filled: float = FILLED, contexts: int = 0) -> Policy:
    """A policy of this size, with demand of ``filled`` times what is committed.

    Pools are spread evenly, and every fifth pool shares a quota. Half of the origins are bound to their own
    country and the next, and one workload in ten to one provider. With ``contexts`` pools offer, and
    workloads need, so many different contexts; in each place there are pools of all of them.
    """
    places = PLACES[: size.origins]
    pools = tuple(_pool(number, places, contexts) for number in range(size.pools))
    return Policy(
        lineage="bench",
        geographies=places,
        origins=tuple(
            Origin(place, (place, places[(i + 1) % len(places)]) if i % 2 else ())
            for i, place in enumerate(places)
        ),
        providers=tuple(Provider(name) for name in PROVIDERS),
        pools=pools,
        workloads=_workloads(size, places, filled, contexts),
        quota_groups=_quota_groups(pools),
    )


def _context_tokens(number: int, contexts: int) -> int:
    """0 states none: a pool takes any, a workload needs none."""
    return CONTEXT_STEP * (1 + number % contexts) if contexts else 0


def _pool(number: int, places: tuple[str, ...], contexts: int) -> Pool:
    context_tokens = _context_tokens(number // (len(PROVIDERS) * len(places)) * 5, contexts)
    provider = PROVIDERS[number % len(PROVIDERS)]
    home = number // len(PROVIDERS) % len(places)
    models = MODELS if number % 3 else MODELS[:2]
    return Pool(
        id=f"{provider}/{places[home]}-{number // 256}/d{number}",
        geography=places[home],
        url="https://example.invalid/v1",
        models=tuple(ModelOffer(name, name, context_tokens=context_tokens) for name in models),
        limit_units_per_s=LIMIT,
        committed_units_per_s=COMMITTED,
        price_per_million_units=2.0 + (number * 7 % 50) / 10,
        quota_group=_groups_of(number, home),
        domains=(f"edge-{number % 4 // 2}", f"family-{number % 3}"),
        latency_ms={origin: 10.0 + 40.0 * abs(i - home) + number % 17 for i, origin in enumerate(places)},
    )


def _groups_of(number: int, home: int) -> str | tuple[str, ...]:
    """One pool in five is in a quota group, and of these one in four in a wider one as well."""
    if number % 5:
        return ""
    name = f"q{number % 4}-{home}"
    return (name, f"wider-{home}") if number % 20 == 0 else name


def _workloads(size: Size, places: tuple[str, ...], filled: float, contexts: int) -> tuple[Workload, ...]:
    units = filled * COMMITTED * size.pools / (size.workloads * len(places))
    return tuple(
        Workload(
            id=f"w{number}",
            criticality=CRITICALITIES[number % 4],
            models=(MODELS[number % len(MODELS)],),
            context_tokens=_context_tokens(number, contexts),
            exclusive_provider=PROVIDERS[number % 4] if number % 10 == 9 else None,
            expected_units_per_s={
                place: units * (0.5 + (number + i) % 3 / 2) for i, place in enumerate(places)
            },
        )
        for number in range(size.workloads)
    )


def _quota_groups(pools: tuple[Pool, ...]) -> tuple[QuotaGroup, ...]:
    names = sorted({name for pool in pools for name in pool.quota_groups})
    limits = {name: sum(p.limit_units_per_s for p in pools if name in p.quota_groups) for name in names}
    return tuple(QuotaGroup(name, limits[name] * GROUP_SHARE) for name in names)


def problem_under(policy: Policy, in_force: tuple[Split, ...] | None = None) -> Problem:
    """All pools are healthy. Without ``in_force`` each route lies evenly on all its lawful pools."""
    compiled = compile_policy(policy)
    if in_force is None:
        in_force = tuple(
            Split(route.lawful, tuple(whole([1.0] * len(route.lawful), MILLION))) for route in compiled.routes
        )
    return Problem(
        policy_version=compiled.version,
        at_ms=NOW_MS,
        demand=tuple(route.expected_units_per_s for route in compiled.routes),
        in_force=in_force,
        usable=tuple(pool.limit_units_per_s * policy.headroom for pool in policy.pools),
        committed=tuple(pool.committed_units_per_s * policy.headroom for pool in policy.pools),
        grade=(GAINS,) * len(policy.pools),
        group_usable=tuple(group.limit_units_per_s * policy.headroom for group in policy.quota_groups),
    )
