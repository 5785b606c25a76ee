"""A synthetic installation for the planner's benchmarks: pools over four clouds and eight countries."""

from controller.core.model.dispatch_plan import Problem
from controller.core.moves.draft import whole
from controller.core.policy.compiled import compile_policy
from controller.core.policy.policy import Origin, Policy, Pool, Provider, QuotaGroup, Workload
from tieline.table import CRITICALITIES, MILLION, ModelOffer, Split

PROVIDERS = ("azure", "coreweave", "gcp", "oci")
PLACES = ("us", "eu", "uk", "jp", "in", "br", "au", "ca")
MODELS = ("chat-large", "chat-small", "embed")
COMMITTED = 1_000.0
LIMIT = 1_600.0
FILLED = 0.55  # demand of what is committed


def policy_of(pools: int, workloads: int, origins: int, filled: float = FILLED) -> Policy:
    """Pools spread evenly; half of the origins are bound to their own country and the next, one workload in
    ten to one provider; every fifth pool shares a quota."""
    places = PLACES[:origins]
    offered = {name: ModelOffer(name, name) for name in MODELS}
    made = []
    for number in range(pools):
        provider = PROVIDERS[number % len(PROVIDERS)]
        place = number // len(PROVIDERS) % len(places)
        models = MODELS if number % 3 else MODELS[:2]
        made.append(
            Pool(
                f"{provider}/{places[place]}-{number // 256}/d{number}",
                places[place],
                "https://example.invalid/v1",
                tuple(offered[name] for name in models),
                LIMIT,
                COMMITTED,
                2.0 + (number * 7 % 50) / 10,
                quota_group=f"q{number % 4}-{place}" if number % 5 == 0 else "",
                domains=(f"edge-{number % 4 // 2}", f"family-{number % 3}"),
                latency_ms={
                    origin: 10.0 + 40.0 * abs(i - place) + number % 17 for i, origin in enumerate(places)
                },
            )
        )
    groups = sorted({pool.quota_group for pool in made if pool.quota_group})
    share = filled * COMMITTED * pools / (workloads * len(places))
    works = tuple(
        Workload(
            f"w{number}",
            CRITICALITIES[number % 4],
            (MODELS[number % len(MODELS)],),
            exclusive_provider=PROVIDERS[number % 4] if number % 10 == 9 else None,
            expected_units_per_s={
                place: share * (0.5 + (number + i) % 3 / 2) for i, place in enumerate(places)
            },
        )
        for number in range(workloads)
    )
    bound = tuple(
        Origin(place, (place, places[(i + 1) % len(places)]) if i % 2 else ())
        for i, place in enumerate(places)
    )
    return Policy(
        "bench",
        places,
        bound,
        tuple(Provider(name) for name in PROVIDERS),
        tuple(made),
        works,
        tuple(
            QuotaGroup(name, sum(p.limit_units_per_s for p in made if p.quota_group == name) * 0.9)
            for name in groups
        ),
    )


def problem_under(policy: Policy, held: tuple[Split, ...] | None = None) -> Problem:
    """All pools healthy. Without ``held`` every route lies evenly on all its lawful pools."""
    compiled = compile_policy(policy)
    if held is None:
        held = tuple(
            Split(route.lawful, tuple(whole([1.0] * len(route.lawful), MILLION))) for route in compiled.routes
        )
    return Problem(
        compiled.version,
        1_800_000_000_000,
        tuple(route.expected_units_per_s for route in compiled.routes),
        held,
        tuple(pool.limit_units_per_s * policy.headroom for pool in policy.pools),
        tuple(pool.committed_units_per_s * policy.headroom for pool in policy.pools),
        (0,) * len(policy.pools),
        tuple(group.limit_units_per_s * policy.headroom for group in policy.quota_groups),
    )
