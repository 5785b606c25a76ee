"""The policy: what may be used, by whom, how much, and by which thresholds. One frozen value.

Shapes only; ``lawful.py`` says what follows from them for each route, ``check.py`` what must hold between
them, ``controller/policy_file.py`` reads them from YAML. Load is in ``clients.load_unit`` (default tokens)
per second, shares are fractions of one, durations milliseconds. Thresholds default to the design's values.
"""

from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta, Struct

from tieline.events import (
    STALE_AFTER_INTERVALS,
    STALE_AFTER_MAX_MS,
    STALE_AFTER_MIN_MS,
    Count,
    LatencyMs,
    Name,
    PoolId,
    ProviderId,
    Rate,
    stale_after_ms,
)
from tieline.table import Adapter, ClientSettings, Criticality, ModelOffer, checksum

Fraction = Annotated[float, Meta(ge=0, le=1, description="a share, e.g. 0.8")]
Factor = Annotated[float, Meta(ge=1, le=1_000)]
Period = Annotated[int, Meta(ge=0, le=31 * 86_400_000, description="milliseconds")]
Positive = Annotated[int, Meta(ge=1, le=1_000_000)]
Band = Annotated[float, Meta(gt=0, le=60_000)]
RampSteps = Annotated[tuple[Fraction, ...], Meta(min_length=1, max_length=20)]
Place = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}\Z", description="a short name, e.g. eu")]
Endpoint = Annotated[
    str,
    Meta(
        pattern=r"^https?://[^\s@$\{\}]+\Z",
        max_length=2_000,
        description="a plain http(s) address without user, password or variables, e.g. https://host/openai/v1",
    ),
]
SourceScope = Annotated[str, Meta(pattern=r"^(\*|[a-z0-9][a-z0-9._-]*(/[A-Za-z0-9._:-]+){0,2})\Z")]

Mode: TypeAlias = Literal["observe", "recommend", "act"]
Failback: TypeAlias = Literal["auto", "manual"]
SourceKind: TypeAlias = Literal["client", "probe", "status", "fleet", "quota"]
SpendPeriod: TypeAlias = Literal["month", "quarter", "year"]

PROVIDERS_MAX = 64
POOLS_MAX = 10_000
WORKLOADS_MAX = 500
ORIGINS_MAX = 100


class Provider(Struct, frozen=True, omit_defaults=True):
    """A cloud. ``mode``: observe says what would be done, recommend waits for approval, act does it."""

    id: ProviderId
    mode: Mode = "act"
    failback: Failback = "auto"


class QuotaGroup(Struct, frozen=True, omit_defaults=True):
    """Pools that share limits: a subscription, a model's regional quota. The tightest of them counts."""

    id: Name
    limit_units_per_s: Rate
    requests_per_s: Rate | None = None
    concurrency: Count | None = None


class Pool(Struct, frozen=True, omit_defaults=True):
    """One endpoint that can be routed to: ``provider/region/deployment``.

    ``committed_units_per_s`` is paid for whether used or not; ``limit_units_per_s`` is all that it can ever
    give, burst included. ``requests_per_s`` and ``concurrency`` (requests in flight) limit it as well, if
    given; the tightest counts. ``price_per_million_units`` is what burst costs. ``credential`` names one.
    """

    id: PoolId
    geography: Place
    url: Endpoint
    models: Annotated[tuple[ModelOffer, ...], Meta(min_length=1, max_length=200)]
    limit_units_per_s: Rate
    committed_units_per_s: Rate = 0.0
    price_per_million_units: Rate = 0.0
    adapter: Adapter = "openai"
    credential: Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]{0,96}\Z")] = ""
    quota_group: str = ""
    domains: tuple[Name, ...] = ()
    latency_ms: dict[Place, LatencyMs] = {}
    requests_per_s: Rate | None = None
    concurrency: Count | None = None

    @property
    def assumed_units_per_s(self) -> float:
        """The capacity to count on while nobody states it: what is committed, or the limit if nothing is."""
        return self.committed_units_per_s or self.limit_units_per_s

    @property
    def provider(self) -> str:
        return self.id.split("/", 1)[0]

    @property
    def region(self) -> str:
        return self.id.split("/", 2)[1]


class Origin(Struct, frozen=True, omit_defaults=True):
    """Where requests start. ``allowed_geographies``: where data from here may go at all; empty: anywhere."""

    id: Place
    allowed_geographies: tuple[Place, ...] = ()


class Workload(Struct, frozen=True, omit_defaults=True):
    """A class of traffic. A pool serves it only if it offers every one of ``models``, each with room for
    ``context_tokens`` and all ``features``. Single requests may ask for more: their client sees to that.

    Empty sets allow everything. ``allowed_geographies`` holds for every origin and
    ``allowed_geographies_by_origin`` narrows it further; the origin's own residency always holds as well.
    ``expected_units_per_s`` by origin is used only until clients report demand. ``last_resort``: pools, best
    first, on which a client may try a request for which it has nothing left; each counts for the origins for
    which it is lawful.
    """

    id: Name
    criticality: Criticality
    models: Annotated[tuple[Name, ...], Meta(min_length=1, max_length=200)]
    origins: tuple[Place, ...] = ()
    allowed_providers: tuple[ProviderId, ...] = ()
    exclusive_provider: ProviderId | None = None
    allowed_geographies: tuple[Place, ...] = ()
    allowed_geographies_by_origin: dict[Place, tuple[Place, ...]] = {}
    pinned_pools: tuple[PoolId, ...] = ()
    provider_share_max: dict[ProviderId, Fraction] = {}
    expected_units_per_s: dict[Place, Rate] = {}
    context_tokens: Count = 0
    features: tuple[str, ...] = ()
    last_resort: tuple[PoolId, ...] = ()


class Source(Struct, frozen=True, omit_defaults=True):
    """A registered producer of events. ``scope``: what it may speak about, ``*`` for everything."""

    id: Name
    kind: SourceKind
    vantage: str = ""
    scope: SourceScope = "*"


class CommittedSpend(Struct, frozen=True, omit_defaults=True):
    """What is bought from a provider in a period, paid whether used or not: in units or in money."""

    provider: ProviderId
    period: SpendPeriod
    units: Rate | None = None
    money: Rate | None = None


class Thresholds(Struct, frozen=True, omit_defaults=True):
    """Every number that the rules use, by name."""

    requests_min: Positive = 20  # fewer requests in the window tell nothing by themselves
    requests_few_min: Positive = 3  # so many tell when another source agrees
    window_ms: Period = 10_000  # the longest look back at clients' outcomes
    failing_share_down: Fraction = 0.5
    failing_share_degraded: Fraction = 0.1
    failing_share_clear: Fraction = 0.05  # below it a degraded pool is healthy again
    reporters_min: Positive = 3  # or half of those that exist
    reporter_share_max: Fraction = 0.25  # of the evidence of one pool, or an even share among fewer than four
    probe_requests_min: Positive = 1
    no_progress_factor: Factor = 3.0  # x the pool's own 99th percentile of first tokens
    no_progress_min_ms: Period = 10_000
    slow_factor: Factor = 3.0  # x what its median first token uses to take: slow ...
    slow_min_ms: Period = 1_000  # ... and by no less than this
    usual_period_ms: Period = 600_000  # what is usual is changed at most so often
    client_error_share: Fraction = 0.5  # refused as the callers' fault: from here on its siblings are asked
    client_error_clear: Fraction = 0.1  # below it a sibling serves the same callers
    stale_factor: Factor = STALE_AFTER_INTERVALS
    stale_min_ms: Period = STALE_AFTER_MIN_MS
    stale_max_ms: Period = STALE_AFTER_MAX_MS
    clear_after_ms: Period = 10_000  # good evidence must last this long before degraded ends
    hold_down_min_ms: Period = 30_000
    hold_down_max_ms: Period = 300_000
    hold_down_cap_ms: Period = 3_600_000
    relapse_window_ms: Period = 3_600_000
    ramp_steps: RampSteps = (0.01, 0.1, 0.25, 0.5, 1.0)
    ramp_step_min_ms: Period = 30_000
    trickle_share: Fraction = 0.005
    trickle_every_ms: Annotated[int, Meta(ge=1, le=3_600_000)] = 10_000  # at least one request in this time
    trickle_share_max: Fraction = 0.05  # of one route, all its standby pools together
    shift_share_max: Fraction = 0.1  # voluntary: of a route's demand ...
    shift_period_ms: Period = 10_000  # ... in this time
    shift_share_min: Fraction = 0.05  # a smaller voluntary difference is left alone
    reversal_ms: Period = 300_000  # what has moved is not moved back by choice so long
    overload_tolerance: Fraction = 0.05  # above usable before load is forced away
    throttled_share: Fraction = 0.05  # of requests: from here on throttling is a limit
    throttled_hold_ms: Period = 30_000  # what throttling showed holds so long ...
    lump_share: Fraction = 0.25  # stated capacity that grows by more of what is known is ramped ...
    lump_known_ms: Period = 600_000  # ... and what was stated so long ago is known no more
    throttled_regain: Factor = 1.1  # ... and then grows by this factor each shift period
    latency_band_ms: Band = 50.0  # pools within one band count as equally near
    first_table_share: Fraction = 0.5  # of committed capacity, for the first table of a lineage
    providers_lost_share: Fraction = 0.5  # beyond it, pools that still succeed stay in ...
    lost_trickle_share: Fraction = 0.01  # ... and of each route so much where nothing succeeds

    def stale_after_ms(self, interval_ms: int) -> int:
        """For how long a report counts whose source promised the next one after ``interval_ms``."""
        return stale_after_ms(
            interval_ms,
            intervals=self.stale_factor,
            at_least_ms=self.stale_min_ms,
            at_most_ms=self.stale_max_ms,
        )


class Policy(Struct, frozen=True, omit_defaults=True):
    """Everything that an installation is allowed and told to do."""

    lineage: Name
    geographies: Annotated[tuple[Place, ...], Meta(min_length=1, max_length=100)]
    origins: Annotated[tuple[Origin, ...], Meta(min_length=1, max_length=ORIGINS_MAX)]
    providers: Annotated[tuple[Provider, ...], Meta(min_length=1, max_length=PROVIDERS_MAX)]
    pools: Annotated[tuple[Pool, ...], Meta(min_length=1, max_length=POOLS_MAX)]
    workloads: Annotated[tuple[Workload, ...], Meta(min_length=1, max_length=WORKLOADS_MAX)]
    quota_groups: tuple[QuotaGroup, ...] = ()
    sources: tuple[Source, ...] = ()
    committed_spend: tuple[CommittedSpend, ...] = ()
    first_refusal: ProviderId | None = None  # whose burst is used before any other's
    headroom: Annotated[float, Meta(gt=0, le=1)] = 0.8
    thresholds: Thresholds = Thresholds()
    clients: ClientSettings = ClientSettings()


_encoder = msgspec.msgpack.Encoder(order="deterministic")


def encode_policy(policy: Policy) -> bytes:
    """The policy's canonical encoding: the same policy gives the same bytes."""
    return _encoder.encode(policy)


def version_of(policy: Policy) -> str:
    """The digest of the policy's canonical encoding, 32 hex digits."""
    return checksum(encode_policy(policy))
