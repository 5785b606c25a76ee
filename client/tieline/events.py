"""The event contract: what travels on Tieline's Kafka topics.

Every event is a frozen, tagged msgspec struct; the tag (``type`` in the body) is also the CloudEvents type
without its ``tieline.`` prefix. Durations and instants are integers in milliseconds (instants since the Unix
epoch); load is in the policy's load unit (by default tokens), rates are per second. The type of each field
states its limits. ``cloudevents.encode`` and ``decode`` check an event against them and by ``misfits``. The
reasons, and what is done with each event, are in docs/events.md.

These fields mean the same in every event:

- ``source``: the producer, by the name that the policy has for it;
- ``incarnation``: a random name of one process of the producer, compared for equality only;
- ``sequence``: within an incarnation and stream, higher by at least one in each event;
- ``provider``, ``region``: what the event is about;
- ``window_start_ms`` to ``window_end_ms``: the time in which it was observed;
- ``interval_ms``: how long until the next event of this stream;
- ``issued_ms``: when the source stated it;
- ``text``: for people.
"""

from enum import StrEnum
from typing import Annotated, Literal, TypeAlias, get_args

from msgspec import Meta, Struct

from tieline.event_fields import (
    Count,
    Digest,
    DurationMs,
    InstantMs,
    IntervalMs,
    LatencyMs,
    Name,
    OrderScope,
    PoolId,
    ProviderId,
    Rate,
    RegionId,
    RuleName,
    Sequence,
    Share,
    Text,
    Units,
)
from tieline.leader_events import Claimed, Heartbeat, Resigned
from tieline.offers import OfferAnswer, OfferedCapacity, OfferRequest

POOLS_PER_EVENT_MAX = 2_000
FLOWS_PER_EVENT_MAX = 5_000
CLAIMS_PER_EVENT_MAX = 500
STALE_AFTER_INTERVALS = 3.0
STALE_AFTER_MIN_MS = 15_000
STALE_AFTER_MAX_MS = 900_000
_WAITING_ORDER = r"^([A-Za-z0-9][A-Za-z0-9._+:-]{0,95}#[0-9a-f]{16})?\Z"


class ResultClass(StrEnum):
    """How one attempt at a pool ended. Only the classes of ``HEALTH_FAILURES`` speak about health."""

    OK = "ok"
    THROTTLED = "throttled"  # 429: capacity, not health
    SERVER_ERROR = "server_error"  # 5xx
    TIMEOUT = "timeout"  # 408, no first token in time
    CONNECT = "connect"  # refused, unreachable, reset before the first byte
    AUTH = "auth"  # 401, 402, every request refused: configuration
    NOT_FOUND = "not_found"  # the model is unknown there: configuration
    CLIENT_ERROR = "client_error"  # 400, 413, 422, content filter, 403 or 404 for one request
    CUT = "cut"  # stream broken after its first token


HEALTH_FAILURES = frozenset(
    {ResultClass.SERVER_ERROR, ResultClass.TIMEOUT, ResultClass.CONNECT, ResultClass.CUT}
)
CONFIGURATION_FAULTS = frozenset({ResultClass.AUTH, ResultClass.NOT_FOUND})


class Outcomes(Struct, frozen=True, omit_defaults=True, gc=False):
    """Attempts in one window, counted by result class. The field names are the values of ``ResultClass``."""

    ok: Count = 0
    throttled: Count = 0
    server_error: Count = 0
    timeout: Count = 0
    connect: Count = 0
    auth: Count = 0
    not_found: Count = 0
    client_error: Count = 0
    cut: Count = 0

    @property
    def health_failures(self) -> int:
        """Attempts of the classes in ``HEALTH_FAILURES``."""
        return self.server_error + self.timeout + self.connect + self.cut

    @property
    def health_attempts(self) -> int:
        """Attempts that speak about health: the successes and the health failures."""
        return self.ok + self.health_failures

    @property
    def configuration_faults(self) -> int:
        """Attempts of the classes in ``CONFIGURATION_FAULTS``."""
        return self.auth + self.not_found


class PoolObservation(Struct, frozen=True, omit_defaults=True, gc=False):
    """What one source observed of one pool in one window; ``None`` means not measured.

    Quantiles are nearest rank (``tieline.quantiles``). ``first_token_*``: from sending the request to its
    first output. ``per_token_p50_ms``: of each request's mean time between the tokens after the first.
    ``in_flight``: requests that have not ended; ``oldest_in_flight_ms``: how long the oldest of them has
    waited. ``rate_limit_left``: the share of the provider's limit that was left by the rate-limit headers of
    its answers, as their mean weighted by load. The findings of docs/concepts.md are made from it.
    """

    pool: PoolId
    outcomes: Outcomes = Outcomes()
    units: Units = 0.0  # load served in the window
    first_token_p50_ms: LatencyMs | None = None
    first_token_p99_ms: LatencyMs | None = None
    per_token_p50_ms: LatencyMs | None = None
    in_flight: Count = 0
    oldest_in_flight_ms: DurationMs = 0
    ejected: ResultClass | None = None  # why this process keeps away from the pool, if it does
    rate_limit_left: Share | None = None


class Report(Struct, frozen=True, tag_field="type", tag="report.v1"):
    """What a prober or gateway observed in one window, of every pool that it watches in one region."""

    source: Name
    provider: ProviderId
    region: ProviderId
    incarnation: Name
    sequence: Sequence
    window_start_ms: InstantMs
    window_end_ms: InstantMs
    interval_ms: IntervalMs
    pools: Annotated[tuple[PoolObservation, ...], Meta(max_length=POOLS_PER_EVENT_MAX)]


ClaimState: TypeAlias = Literal["operational", "degraded", "down", "maintenance", "declined"]
StatementKind: TypeAlias = Literal["status", "maintenance", "declined", "verdict"]


class Claim(Struct, frozen=True, omit_defaults=True, gc=False):
    """A source claims that ``pools`` are in ``state`` from ``starts_ms`` (None: now) until ``expires_ms``.
    Without pools the claim is about the whole region."""

    state: ClaimState
    expires_ms: InstantMs
    starts_ms: InstantMs | None = None
    pools: Annotated[tuple[PoolId, ...], Meta(max_length=POOLS_PER_EVENT_MAX)] = ()
    text: Text = ""


class Statement(Struct, frozen=True, tag_field="type", tag="statement.v1"):
    """All that a source claims of one ``kind`` about one region. It replaces the source's previous statement
    of that kind and region; one without claims retracts it."""

    source: Name
    provider: ProviderId
    region: RegionId
    kind: StatementKind
    incarnation: Name
    sequence: Sequence
    issued_ms: InstantMs
    claims: Annotated[tuple[Claim, ...], Meta(max_length=CLAIMS_PER_EVENT_MAX)] = ()


class PoolCapacity(Struct, frozen=True, omit_defaults=True, gc=False):
    """Limits of one pool. ``limit_units_per_s``: all that can be used now; ``committed_units_per_s``: the
    part of it that is paid for already; ``in_use_units_per_s``: what is used. ``requests_per_s`` and
    ``concurrency`` (requests in flight) are further limits: the tightest one counts. The price is in the
    policy's currency. None: not known, or no such limit."""

    pool: PoolId
    limit_units_per_s: Rate
    committed_units_per_s: Rate | None = None  # None: as the policy says
    in_use_units_per_s: Rate | None = None
    requests_per_s: Rate | None = None
    concurrency: Count | None = None
    price_per_million_units: Rate | None = None


class GroupCapacity(Struct, frozen=True, omit_defaults=True, gc=False):
    """Limits that the pools of a quota ``group`` of the policy share; fields as in ``PoolCapacity``."""

    group: Name
    limit_units_per_s: Rate
    in_use_units_per_s: Rate | None = None
    requests_per_s: Rate | None = None
    concurrency: Count | None = None


class PlannedChange(Struct, frozen=True, omit_defaults=True, gc=False):
    """A limit of a pool that will apply from ``from_ms`` until ``until_ms`` (None: for good)."""

    pool: PoolId
    from_ms: InstantMs
    limit_units_per_s: Rate
    until_ms: InstantMs | None = None
    text: Text = ""


class Capacity(Struct, frozen=True, tag_field="type", tag="capacity.v1"):
    """The limits that a source states for the ``pools`` of one region and their quota ``groups``; they count
    until ``expires_ms``. ``planned``: limits that will apply later."""

    source: Name
    provider: ProviderId
    region: ProviderId
    incarnation: Name
    sequence: Sequence
    issued_ms: InstantMs
    expires_ms: InstantMs
    pools: Annotated[tuple[PoolCapacity, ...], Meta(max_length=POOLS_PER_EVENT_MAX)]
    groups: Annotated[tuple[GroupCapacity, ...], Meta(max_length=POOLS_PER_EVENT_MAX)] = ()
    planned: Annotated[tuple[PlannedChange, ...], Meta(max_length=POOLS_PER_EVENT_MAX)] = ()


class Flow(Struct, frozen=True, omit_defaults=True, gc=False):
    """What one client was asked to serve of one (workload, origin) in one window. ``requests`` and
    ``offered_units``: all of it; ``shed_requests`` and ``shed_units``: the part that was turned away."""

    workload: Name
    origin: Name
    requests: Count = 0
    offered_units: Units = 0.0
    shed_requests: Count = 0
    shed_units: Units = 0.0


ClientState: TypeAlias = Literal["initializing", "live", "stale", "last_good", "off"]


class Demand(Struct, frozen=True, tag_field="type", tag="demand.v1"):
    """A client's report of one window: offered load, outcomes by pool, and the table in force.

    ``generation``: ``lineage:epoch:seq``, empty when the client has no table. ``state``: that of its
    ``Status``; ``off`` in the last report of a client that closes. ``urgent``: the report was sent at once,
    because the client has just ejected a pool or put an urgent generation in force. ``flows``: one for each
    origin. ``pools`` count attempts: a request that failed over counts at two pools. ``version``: that of the
    client library; empty where it is not known.
    """

    client: Name
    incarnation: Name
    sequence: Sequence
    window_start_ms: InstantMs
    window_end_ms: InstantMs
    interval_ms: IntervalMs
    generation: Annotated[str, Meta(max_length=200)] = ""
    state: ClientState = "live"
    urgent: bool = False
    flows: Annotated[tuple[Flow, ...], Meta(max_length=FLOWS_PER_EVENT_MAX)] = ()
    pools: Annotated[tuple[PoolObservation, ...], Meta(max_length=POOLS_PER_EVENT_MAX)] = ()
    version: Annotated[str, Meta(max_length=64)] = ""


Verb: TypeAlias = Literal[
    "drain", "undrain", "freeze", "unfreeze", "override", "restore",
    "verdict", "retract", "approve", "revoke", "failback", "countersign",
    "evacuate", "pin", "unpin", "failover", "mode", "accept", "decline", "drill",
]  # fmt: skip
TAKES_BACK: dict[str, tuple[str, ...]] = {
    "undrain": ("drain", "evacuate", "drill"),
    "unfreeze": ("freeze",),
    "restore": ("override",),
    "retract": ("verdict",),
    "revoke": ("approve",),
    "unpin": ("pin", "failover"),
}
WITHOUT_END = (*TAKES_BACK, "countersign")
OF_THE_WHOLE_TABLE = ("freeze", "unfreeze", "override", "restore", "countersign")
OF_A_WORKLOAD = ("pin", "unpin", "failover")
OF_AN_OFFER = ("accept", "decline")
OrderedMode: TypeAlias = Literal["", "observe", "recommend", "act", "policy"]


class Command(Struct, frozen=True, tag_field="type", tag="command.v1"):
    """An operator's order. It has an actor, a reason and, unless its verb is in ``WITHOUT_END``, an expiry.

    ``drain`` takes pools out of routing at once, ``evacuate`` as fast as other pools have room. ``drill`` is
    an evacuation for practice, which the controller ends by itself at the first sign of harm. ``freeze``
    forbids moves by choice. ``override`` lifts one ``guard``. ``verdict`` puts ``state`` in the place of the
    state that was found. ``approve`` lets the controller act on a provider that is in the mode ``recommend``.
    ``failback`` lets pools return that wait for it. ``pin`` lets a ``workload`` use only the pools that it is
    pinned to; ``failover`` moves it to one pool, as far as that has room. ``mode`` puts another ``mode`` in
    the place of a provider's own; ``policy`` ends that, without an expiry. ``accept`` and ``decline`` answer
    the capacity request ``offer`` for a provider; ``offered`` is what it gives on the pool of the scope.

    ``TAKES_BACK`` names the verbs that end others: each ends every order of those kinds with exactly this
    scope (and guard or workload). The scope ``*`` is the whole table, for ``OF_THE_WHOLE_TABLE`` only.
    ``countersign`` agrees to an order of the same scope that waits for a second person; its
    ``countersigns`` names that order as ``id#fingerprint`` (``order_signing.fingerprint`` of its signature).
    ``signature`` is written as ``order_signing`` says. It is empty in the unsigned development mode, which
    every output names.
    """

    id: Name
    verb: Verb
    scope: OrderScope
    actor: Annotated[str, Meta(min_length=1, max_length=200)]
    reason: Annotated[str, Meta(min_length=1, max_length=2_000)]
    issued_ms: InstantMs
    expires_ms: InstantMs | None = None
    signature: Annotated[str, Meta(max_length=2_000)] = ""
    guard: Annotated[str, Meta(pattern=r"^[a-z_]{0,64}\Z")] = ""
    state: Literal["", "healthy", "degraded", "down"] = ""
    countersigns: Annotated[str, Meta(pattern=_WAITING_ORDER)] = ""
    workload: Annotated[str, Meta(pattern=r"^([A-Za-z0-9][A-Za-z0-9._+:-]{0,95})?\Z")] = ""
    mode: OrderedMode = ""
    offer: Annotated[str, Meta(pattern=r"^([A-Za-z0-9][A-Za-z0-9._+:-]{0,95})?\Z")] = ""
    offered: OfferedCapacity | None = None


class PolicyChange(Struct, frozen=True, tag_field="type", tag="policy.v1"):
    """An operator puts another policy in force. It counts if its ``parent`` is the policy in force at its
    place in the log, so of two changes of one parent the first wins.

    ``number``: that of the new policy, one above its parent's; the first policy of a lineage has 0.
    ``parent`` and ``version``: digests of the canonical encodings of the policy before and of the new one.
    ``policy`` and ``parent_policy``: those encodings, compressed by zlib. ``forced``: names of the rules that
    the operator set aside. ``signature``: as in ``Command``.
    """

    id: Name
    actor: Annotated[str, Meta(min_length=1, max_length=200)]
    reason: Annotated[str, Meta(min_length=1, max_length=2_000)]
    issued_ms: InstantMs
    number: Annotated[int, Meta(ge=1, le=2**53)]
    parent: Digest
    version: Digest
    policy: Annotated[bytes, Meta(max_length=1_000_000)]
    parent_policy: Annotated[bytes, Meta(max_length=1_000_000)]
    forced: Annotated[tuple[RuleName, ...], Meta(max_length=20)] = ()
    signature: Annotated[str, Meta(max_length=2_000)] = ""


Event: TypeAlias = (
    Report
    | Statement
    | Capacity
    | Demand
    | Command
    | PolicyChange
    | OfferRequest
    | OfferAnswer
    | Claimed
    | Heartbeat
    | Resigned
)
EVENT_TYPES: tuple[type[Event], ...] = get_args(Event)


def stale_after_ms(
    interval_ms: int,
    *,
    intervals: float = STALE_AFTER_INTERVALS,
    at_least_ms: int = STALE_AFTER_MIN_MS,
    at_most_ms: int = STALE_AFTER_MAX_MS,
) -> int:
    """For how long after its window a report counts whose source promised the next after ``interval_ms``.

    Three intervals, at least 15 s and at most 15 min; the controller's policy may state other numbers.
    """
    return min(max(at_least_ms, round(intervals * interval_ms)), at_most_ms)


def expires_ms(event: Event) -> int | None:
    """When an event is of no more use to anybody (Unix time), None if that never happens.

    Reports and demand go stale (``stale_after_ms``); other events say when they expire.
    """
    match event:
        case Report() | Demand():
            return event.window_end_ms + stale_after_ms(event.interval_ms)
        case Capacity() | Command():
            return event.expires_ms
        case Statement(claims=claims) if claims:
            return max(claim.expires_ms for claim in claims)
        case _:
            return None


def taken_back(order: Command) -> tuple[str, ...]:
    """The verbs whose orders this one only takes back; empty for an order that lasts."""
    return ("mode",) if order.mode == "policy" else TAKES_BACK.get(order.verb, ())


def pool_of(scope: str) -> tuple[str, str]:
    """(provider, region) of a pool's id or of the scope ``provider/region``."""
    provider, region, *_ = scope.split("/", 2)
    return provider, region


def in_scope(pool: str, scope: str) -> bool:
    """Whether ``scope`` (provider[/region[/deployment]], or ``*`` for all) covers ``pool``."""
    return scope == "*" or pool == scope or pool.startswith(scope + "/")
