"""The event contract: what travels on Tieline's Kafka topics.

Every event is a frozen, tagged msgspec struct; the tag (``type`` in the body) is also the CloudEvents type
without its ``tieline.`` prefix. Durations and instants are integers in milliseconds (instants since the Unix
epoch); load is in the policy's load unit (default tokens), rates are per second. The limits of each field are
in its type; ``cloudevents.encode`` and ``decode`` hold an event to them and to ``misfit``. Why it is so, and
what is made of each event, is in docs/events.md.

Fields that mean the same everywhere: ``source`` names a producer, as the policy registers it; within one
process of it a random ``incarnation`` (compared for equality only) and a ``sequence`` that rises by at least
one per event and stream. ``provider`` and ``region`` are what the event speaks of. ``window_start_ms`` to
``window_end_ms`` is when it was seen, ``interval_ms`` how long until the next, ``issued_ms`` when it was
said. ``text`` is for people.
"""

from enum import StrEnum
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct

POOLS_PER_EVENT_MAX = 2_000
FLOWS_PER_EVENT_MAX = 5_000
CLAIMS_PER_EVENT_MAX = 500
DURATION_MAX_MS = 31 * 86_400_000
LATENCY_MAX_MS = 3.6e6
STALE_AFTER_INTERVALS = 3.0
STALE_AFTER_MIN_MS = 15_000
STALE_AFTER_MAX_MS = 900_000

_NAME = r"^[A-Za-z0-9][A-Za-z0-9._+:-]{0,95}\Z"
_POOL = r"^[a-z0-9][a-z0-9._-]{0,63}/[a-z0-9][a-z0-9._-]{0,63}/[A-Za-z0-9][A-Za-z0-9._:-]{0,127}\Z"
_SCOPE = r"^[a-z0-9][a-z0-9._-]{0,63}(/[a-z0-9][a-z0-9._-]{0,63}(/[A-Za-z0-9][A-Za-z0-9._:-]{0,127})?)?\Z"
_ORDER_SCOPE = rf"^\*\Z|{_SCOPE}"
_REGION = r"^([a-z0-9][a-z0-9._-]{0,63}|\*)\Z"

Name = Annotated[str, Meta(pattern=_NAME)]
ProviderId = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}\Z")]
RegionId = Annotated[str, Meta(pattern=_REGION, description="`*` stands for every region of the provider")]
PoolId = Annotated[str, Meta(pattern=_POOL, description="provider/region/deployment")]
Scope = Annotated[str, Meta(pattern=_SCOPE, description="provider[/region[/deployment]]")]
OrderScope = Annotated[str, Meta(pattern=_ORDER_SCOPE, description="`*` or provider[/region[/deployment]]")]
Count = Annotated[int, Meta(ge=0, le=10**12)]
Units = Annotated[float, Meta(ge=0, le=1e15)]
Rate = Annotated[float, Meta(ge=0, le=1e12)]
DurationMs = Annotated[int, Meta(ge=0, le=DURATION_MAX_MS)]
LatencyMs = Annotated[float, Meta(ge=0, le=LATENCY_MAX_MS)]
InstantMs = Annotated[int, Meta(ge=1_500_000_000_000, le=4_100_000_000_000)]
IntervalMs = Annotated[int, Meta(ge=100, le=900_000)]
Sequence = Annotated[int, Meta(ge=0, le=2**53)]
Text = Annotated[str, Meta(max_length=2_000)]


class ResultClass(StrEnum):
    """How one attempt at a pool ended. Only the classes of ``HEALTH_FAILURES`` speak about health."""

    OK = "ok"
    THROTTLED = "throttled"  # 429: capacity, not health
    SERVER_ERROR = "server_error"  # 5xx
    TIMEOUT = "timeout"  # 408, no first token in time
    CONNECT = "connect"  # refused, unreachable, reset before the first byte
    AUTH = "auth"  # 401, 403: configuration
    NOT_FOUND = "not_found"  # 404 on the model: configuration
    CLIENT_ERROR = "client_error"  # 400, 413, 422, content filter: the caller's own
    CUT = "cut"  # stream broken after its first token


HEALTH_FAILURES = frozenset(
    {ResultClass.SERVER_ERROR, ResultClass.TIMEOUT, ResultClass.CONNECT, ResultClass.CUT}
)
CONFIGURATION_FAULTS = frozenset({ResultClass.AUTH, ResultClass.NOT_FOUND})


class Outcomes(Struct, frozen=True, omit_defaults=True, gc=False):
    """Attempts in one window, counted by result class. Field names are ``ResultClass`` values, which see."""

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
    """What one source saw of one pool in one window; ``None`` means not measured.

    Quantiles are nearest rank (``tieline.quantiles``): ``first_token_*`` from sending to the first output,
    ``per_token_p50_ms`` of each request's mean between those after it. ``in_flight``: requests without an end
    yet; ``oldest_in_flight_ms``: how long the oldest of them has waited. Feeds the findings of
    docs/concepts.md.
    """

    pool: PoolId
    outcomes: Outcomes = Outcomes()
    units: Units = 0.0  # load served in the window
    first_token_p50_ms: LatencyMs | None = None
    first_token_p99_ms: LatencyMs | None = None
    per_token_p50_ms: LatencyMs | None = None
    in_flight: Count = 0
    oldest_in_flight_ms: DurationMs = 0
    ejected: ResultClass | None = None  # the class for which this process has left the pool, if it has


class Report(Struct, frozen=True, tag_field="type", tag="report.v1"):
    """What a prober or gateway saw in one window of every pool it watches in one region."""

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
    """One thing (``state``) a source claims from ``starts_ms`` (None: now) until ``expires_ms``. No pools
    named: the whole region."""

    state: ClaimState
    expires_ms: InstantMs
    starts_ms: InstantMs | None = None
    pools: Annotated[tuple[PoolId, ...], Meta(max_length=POOLS_PER_EVENT_MAX)] = ()
    text: Text = ""


class Statement(Struct, frozen=True, tag_field="type", tag="statement.v1"):
    """A source's whole view of one region, of one ``kind``; one without claims retracts what it said
    before."""

    source: Name
    provider: ProviderId
    region: RegionId
    kind: StatementKind
    incarnation: Name
    sequence: Sequence
    issued_ms: InstantMs
    claims: Annotated[tuple[Claim, ...], Meta(max_length=CLAIMS_PER_EVENT_MAX)] = ()


class PoolCapacity(Struct, frozen=True, omit_defaults=True, gc=False):
    """Limits of one pool: ``limit`` is usable now in all, ``committed`` the part of it already paid for,
    ``in_use`` what is taken of it. ``requests_per_s`` and ``concurrency`` (requests in flight) limit as well:
    the tightest counts. The price is in the policy's money. None: not known, or no such limit."""

    pool: PoolId
    limit_units_per_s: Rate
    committed_units_per_s: Rate | None = None  # None: as the policy says
    in_use_units_per_s: Rate | None = None
    requests_per_s: Rate | None = None
    concurrency: Count | None = None
    price_per_million_units: Rate | None = None


class GroupCapacity(Struct, frozen=True, omit_defaults=True, gc=False):
    """Limits shared by the pools of a quota ``group`` of the policy; fields as in ``PoolCapacity``."""

    group: Name
    limit_units_per_s: Rate
    in_use_units_per_s: Rate | None = None
    requests_per_s: Rate | None = None
    concurrency: Count | None = None


class PlannedChange(Struct, frozen=True, omit_defaults=True, gc=False):
    """A limit of a pool that will hold from ``from_ms`` until ``until_ms`` (None: for good)."""

    pool: PoolId
    from_ms: InstantMs
    limit_units_per_s: Rate
    until_ms: InstantMs | None = None
    text: Text = ""


class Capacity(Struct, frozen=True, tag_field="type", tag="capacity.v1"):
    """Limits that a source claims for the ``pools`` of one region and their quota ``groups`` until
    ``expires_ms``, and those ``planned`` for later."""

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
    """What one client was asked to serve of one (workload, origin) in one window: ``offered`` in all,
    ``shed`` turned away, in requests and load."""

    workload: Name
    origin: Name
    requests: Count = 0
    offered_units: Units = 0.0
    shed_requests: Count = 0
    shed_units: Units = 0.0


class Demand(Struct, frozen=True, tag_field="type", tag="demand.v1"):
    """A client's report of one window: offered load, outcomes by pool, and the table it holds.

    ``generation`` is ``lineage:epoch:seq`` or empty when the client holds no table; ``state`` is that of its
    ``Status``. ``urgent`` marks a report sent at once because the client has just ejected a pool or applied
    an urgent generation. ``flows`` by origin, ``pools`` by attempt: a request that failed over is in two of
    them.
    """

    client: Name
    incarnation: Name
    sequence: Sequence
    window_start_ms: InstantMs
    window_end_ms: InstantMs
    interval_ms: IntervalMs
    generation: Annotated[str, Meta(max_length=200)] = ""
    state: Literal["initializing", "live", "stale", "last_good", "off"] = "live"
    urgent: bool = False
    flows: Annotated[tuple[Flow, ...], Meta(max_length=FLOWS_PER_EVENT_MAX)] = ()
    pools: Annotated[tuple[PoolObservation, ...], Meta(max_length=POOLS_PER_EVENT_MAX)] = ()


Verb: TypeAlias = Literal[
    "drain", "undrain", "freeze", "unfreeze", "override", "restore",
    "verdict", "retract", "approve", "revoke", "failback",
]  # fmt: skip
TAKES_BACK: dict[str, str] = {
    "undrain": "drain",
    "unfreeze": "freeze",
    "restore": "override",
    "retract": "verdict",
    "revoke": "approve",
}
OF_THE_WHOLE_TABLE = ("freeze", "unfreeze", "override", "restore")


class Command(Struct, frozen=True, tag_field="type", tag="command.v1"):
    """An operator's order: always with actor and reason, and but for taking one back with its expiry.

    ``drain`` takes pools out of routing, ``freeze`` forbids moves by choice, ``override`` lifts one
    ``guard``, ``verdict`` puts ``state`` in the place of what was found, ``approve`` lets a provider in mode
    recommend be acted on, ``failback`` lets pools return that wait for it. ``TAKES_BACK`` says what ends
    each: every order of that kind with exactly this scope (and guard). Scope ``*`` is the whole table, for
    freezes and overrides. ``signature`` is empty in the unsigned development mode, which every output names.
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


class Claimed(Struct, frozen=True, tag_field="type", tag="leader.claim.v1"):
    """A standby's claim to lead. ``names_epoch`` is the epoch it saw in force, ``last_heartbeat_offset`` the
    offset of that epoch's last heartbeat it saw. The claim's own offset becomes its epoch, if it is valid."""

    identity: Name
    names_epoch: Annotated[int, Meta(ge=-1, le=2**53)]
    last_heartbeat_offset: Annotated[int, Meta(ge=-1, le=2**53)]


class Heartbeat(Struct, frozen=True, tag_field="type", tag="leader.heartbeat.v1"):
    """The leader of ``epoch`` is alive."""

    identity: Name
    epoch: Sequence


class Resigned(Struct, frozen=True, tag_field="type", tag="leader.resigned.v1"):
    """The leader of ``epoch`` has stopped: the next claim need not wait."""

    identity: Name
    epoch: Sequence


Event: TypeAlias = Report | Statement | Capacity | Demand | Command | Claimed | Heartbeat | Resigned
EVENT_TYPES: tuple[type[Event], ...] = (
    Report,
    Statement,
    Capacity,
    Demand,
    Command,
    Claimed,
    Heartbeat,
    Resigned,
)


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


def pool_of(scope: str) -> tuple[str, str]:
    """The ``scope`` ``provider/region/...`` -> (provider, region)."""
    provider, region, *_ = scope.split("/", 2)
    return provider, region


def in_scope(pool: str, scope: str) -> bool:
    """Whether ``scope`` (provider[/region[/deployment]], or ``*`` for all) covers ``pool``."""
    return scope == "*" or pool == scope or pool.startswith(scope + "/")


def misfit(event: Event) -> str | None:
    """What contradicts itself in an event whose fields all have the right type, or None."""
    match event:
        case Report() | Capacity():
            home = f"{event.provider}/{event.region}"
            named = [row.pool for row in event.pools]
            if isinstance(event, Capacity):
                named += [row.pool for row in event.planned if row.pool not in named]
            return _foreign_or_twice(named, home) or _window_fault(event)
        case Statement():
            home = event.provider if event.region == "*" else f"{event.provider}/{event.region}"
            for claim in event.claims:
                if fault := _foreign_or_twice(list(claim.pools), home):
                    return fault
        case Demand():
            return _foreign_or_twice([row.pool for row in event.pools], "") or _window_fault(event)
        case Command():
            return _order_fault(event)
        case _:
            pass
    return None


def _order_fault(order: Command) -> str | None:
    verb = order.verb
    if verb not in TAKES_BACK and order.expires_ms is None:
        return f"{verb} needs expires_ms"
    if order.scope == "*" and verb not in OF_THE_WHOLE_TABLE:
        return f"{verb} needs a provider, a region or a pool as its scope"
    if bool(order.guard) != (verb in ("override", "restore")):
        return f"{verb} names no guard" if order.guard else f"{verb} needs guard"
    if bool(order.state) != (verb == "verdict"):
        return f"{verb} has no state" if order.state else f"{verb} needs state"
    return None


def _foreign_or_twice(pools: list[str], home: str) -> str | None:
    if len(set(pools)) != len(pools):
        return "a pool is named twice"
    if home:
        within = home + "/"
        for pool in pools:
            if not pool.startswith(within):
                return f"pool {pool} is not in {home}"
    return None


def _window_fault(event: Report | Capacity | Demand) -> str | None:
    if not isinstance(event, Capacity) and event.window_end_ms < event.window_start_ms:
        return "window_end_ms lies before window_start_ms"
    return None
