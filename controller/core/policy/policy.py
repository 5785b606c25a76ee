"""The policy as values: what an installation has, and what it may do with it. One frozen ``Policy``.

Load is in units per second; ``clients.load_unit`` says what a unit is (tokens by default). Shares are
fractions of one, durations milliseconds, prices per million units in whatever money the policy counts.
"""

from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta, Struct

from controller.core.policy.offer_rules import OfferRules
from controller.core.policy.operators import PUBLIC_KEYS_MAX, ApprovalRule, Operator
from controller.core.policy.thresholds import Fraction, Thresholds
from tieline.errors import UNDECODABLE
from tieline.event_fields import Count, IntervalMs, LatencyMs, Name, PoolId, ProviderId, Rate
from tieline.table import Adapter, ClientSettings, Criticality, ModelOffer, checksum

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
Seconds = Annotated[int, Meta(ge=1, le=86_400)]
SourceKind: TypeAlias = Literal["client", "probe", "status", "fleet", "quota"]
SpendPeriod: TypeAlias = Literal["month", "quarter", "year", "term"]
Day = Annotated[
    str,
    Meta(pattern=r"^20\d\d-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])\Z", description="a day, e.g. '2026-11-01'"),
]

PROVIDERS_MAX = 64
POOLS_MAX = 10_000
WORKLOADS_MAX = 500
ORIGINS_MAX = 100
OPERATORS_MAX = 500
OBJECTIVES_MAX = 500


class Provider(Struct, frozen=True, omit_defaults=True):
    """A cloud. In mode ``observe`` the controller only says what it would do, in ``recommend`` it waits for
    an operator's approval, in ``act`` it acts. ``failback``: whether pools return by themselves."""

    id: ProviderId
    mode: Mode = "act"
    failback: Failback = "auto"


class QuotaGroup(Struct, frozen=True, omit_defaults=True):
    """Pools that share limits, such as those of a subscription or of a model's regional quota. The tightest
    limit counts. ``concurrency`` counts requests in flight."""

    id: Name
    limit_units_per_s: Rate
    requests_per_s: Rate | None = None
    concurrency: Count | None = None


class Pool(Struct, frozen=True, omit_defaults=True):
    """One endpoint that can be routed to: ``provider/region/deployment``.

    ``committed_units_per_s`` is paid for whether used or not; ``limit_units_per_s`` is all that the pool can
    give, burst included, and counts where no source could state another limit. ``requests_per_s`` and
    ``concurrency`` (requests in flight) limit it as well where they are stated; the tightest limit counts.
    ``price_per_million_units`` is the price of burst.
    ``credential`` is the name of a credential, never the secret. ``domains`` are what the pool fails with.
    ``quota_group``: the quota group that limits the pool, or several of them; all of them bind.
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
    quota_group: str | tuple[str, ...] = ""  # text alone for one, so that older policies keep their version
    domains: tuple[Name, ...] = ()
    latency_ms: dict[Place, LatencyMs] = {}
    requests_per_s: Rate | None = None
    concurrency: Count | None = None

    @property
    def assumed_units_per_s(self) -> float:
        """What a first table counts on in part: what is committed, or the limit if nothing is."""
        return self.committed_units_per_s or self.limit_units_per_s

    @property
    def quota_groups(self) -> tuple[str, ...]:
        """The quota groups that limit the pool, in the policy's order; empty without any."""
        if isinstance(self.quota_group, tuple):
            return self.quota_group
        return (self.quota_group,) if self.quota_group else ()

    @property
    def provider(self) -> str:
        return self.id.split("/", 1)[0]

    @property
    def region(self) -> str:
        return self.id.split("/", 2)[1]


class Origin(Struct, frozen=True, omit_defaults=True):
    """Where requests start. Data from here may go to ``allowed_geographies`` only; empty means anywhere."""

    id: Place
    allowed_geographies: tuple[Place, ...] = ()


class Workload(Struct, frozen=True, omit_defaults=True):
    """A class of traffic. A pool may serve it only if it offers every model of ``models``, each with a
    context of ``context_tokens`` and all ``features``. If a request needs more, its client sees to that.

    Empty tuples allow everything. ``allowed_geographies`` holds for every origin and
    ``allowed_geographies_by_origin`` narrows it further; the origin's own residency always holds as well.
    ``expected_units_per_s`` by origin counts only until clients report demand. ``last_resort``: pools, the
    best first, on which a client may try a request for which it has nothing left; each counts for the origins
    for which it is lawful.
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
    """A registered producer of events. It may report on pools within ``scope``; ``*`` stands for all. A
    longer interval than ``interval_max_ms`` in its reports counts as this one. With ``public_keys``, as those
    of operators are written, only events that one of them signed are its own."""

    id: Name
    kind: SourceKind
    vantage: str = ""
    scope: SourceScope = "*"
    interval_max_ms: IntervalMs | None = None
    public_keys: Annotated[tuple[str, ...], Meta(max_length=PUBLIC_KEYS_MAX)] = ()


class CommittedSpend(Struct, frozen=True, omit_defaults=True):
    """What is bought from a provider for a period and paid whether used or not: either units or money.

    Months, quarters and years are those of the calendar. A ``term`` is any other time, such as five years: it
    lasts from the day ``starts`` until the day ``ends``, which is not part of it. All days are of UTC.
    """

    provider: ProviderId
    period: SpendPeriod
    units: Rate | None = None
    money: Rate | None = None
    starts: Day | None = None
    ends: Day | None = None


class RecoveryObjective(Struct, frozen=True, omit_defaults=True):
    """How soon clients must have left the pools of ``scope`` in a drill, and how soon they must be back after
    it, where that is stated. The objective of the narrowest scope that covers a drill counts."""

    scope: SourceScope
    recovery_s: Seconds
    return_s: Seconds | None = None


class Policy(Struct, frozen=True, omit_defaults=True):
    """Everything that an installation has and is allowed to do.

    ``lineage`` names the history of Kafka that tables are numbered in. ``first_refusal``: the provider whose
    burst is used before any other's. ``headroom``: the share of a pool's capacity that may be used.
    ``same_model``: for a logical embedding model, names under which providers offer one and the same model.
    ``operators``: who may give which orders; with any, every order must be signed. ``approvals``: orders that
    more than one of them must sign. ``offers``: when providers are asked for more capacity; None: never.
    ``objectives``: what drills are measured against.
    """

    lineage: Name
    geographies: Annotated[tuple[Place, ...], Meta(min_length=1, max_length=100)]
    origins: Annotated[tuple[Origin, ...], Meta(min_length=1, max_length=ORIGINS_MAX)]
    providers: Annotated[tuple[Provider, ...], Meta(min_length=1, max_length=PROVIDERS_MAX)]
    pools: Annotated[tuple[Pool, ...], Meta(min_length=1, max_length=POOLS_MAX)]
    workloads: Annotated[tuple[Workload, ...], Meta(min_length=1, max_length=WORKLOADS_MAX)]
    quota_groups: tuple[QuotaGroup, ...] = ()
    sources: tuple[Source, ...] = ()
    committed_spend: tuple[CommittedSpend, ...] = ()
    first_refusal: ProviderId | None = None
    headroom: Annotated[float, Meta(gt=0, le=1)] = 0.8
    thresholds: Thresholds = Thresholds()
    clients: ClientSettings = ClientSettings()
    same_model: dict[Name, tuple[str, ...]] = {}
    operators: Annotated[tuple[Operator, ...], Meta(max_length=OPERATORS_MAX)] = ()
    approvals: Annotated[tuple[ApprovalRule, ...], Meta(max_length=OPERATORS_MAX)] = ()
    offers: OfferRules | None = None
    objectives: Annotated[tuple[RecoveryObjective, ...], Meta(max_length=OBJECTIVES_MAX)] = ()


_MAP_16, _SHORT_MAP, _SHORT_MAP_FIELDS = 0xDE, 0x80, 16  # of the msgpack specification
_encoder = msgspec.msgpack.Encoder(order="deterministic")
_decoder = msgspec.msgpack.Decoder(Policy)


def encode_policy(policy: Policy) -> bytes:
    """The policy's canonical encoding: the same policy gives the same bytes, whatever fields later versions
    add."""
    data = _encoder.encode(policy)
    # msgspec chooses the size of a map's header by the fields of the class. The short form is for what is
    # written, as it was when the class had fewer fields; or each policy would have another version.
    if data[0] == _MAP_16 and (count := int.from_bytes(data[1:3], "big")) < _SHORT_MAP_FIELDS:
        return bytes([_SHORT_MAP | count]) + data[3:]
    return data


def decode_policy(data: bytes) -> Policy:
    """The policy in these bytes. Raises MsgspecError."""
    try:
        return _decoder.decode(data)
    except UNDECODABLE as error:
        raise msgspec.DecodeError(str(error)) from None


def version_of(policy: Policy) -> str:
    """The digest of the policy's canonical encoding, 32 hex digits."""
    return checksum(encode_policy(policy))
