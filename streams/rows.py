"""What one field of a live table holds. Shared by the agents that write rows and the core that reads them.

Rows are packed with msgpack as arrays, so the order of the fields is part of the stored format. A row
remembers where in Kafka it comes from, so that late, repeated and reordered records change nothing. Instants
are milliseconds since the Unix epoch.
"""

from typing import TypeAlias

from msgspec import Struct

from tieline.events import STALE_AFTER_MAX_MS, Demand, Outcomes, ResultClass
from tieline.registration import RegisteredEvent

RowEvent: TypeAlias = RegisteredEvent
IngestEvent: TypeAlias = RowEvent | Demand

GAP_MAX_MS = 10_000  # between the end of a window and its append: more is a wrong clock or a delay
DUPLICATE_FOR_MS = STALE_AFTER_MAX_MS  # the longest any report may count


class Position(Struct, frozen=True, array_like=True, gc=False):
    """A record's place in Kafka. ``topic_id`` changes when a topic is recreated."""

    topic_id: str
    partition: int
    offset: int

    def shares_log(self, other: "Position") -> bool:
        """Whether the two offsets can be compared: they belong to the same partition of the same topic."""
        return self.topic_id == other.topic_id and self.partition == other.partition


class Row(Struct, frozen=True, array_like=True):
    """The last accepted event of one (source, region), or (source, region, kind) for statements.

    ``evidence_ms`` = min(append time, end of window + 2 s): a producer's clock can make evidence older,
    never younger. ``gap_ms`` is append time minus end of window (or issue). ``retired`` holds the last few
    incarnations of the source that this row no longer takes; ``duplicate`` says that two of them alternate.
    Until ``settled_ms`` the last incarnation but one may still show that it is alive.
    """

    event: RowEvent
    position: Position
    append_ms: int
    evidence_ms: int
    gap_ms: int = 0
    retired: tuple[str, ...] = ()
    duplicate: bool = False
    duplicate_ms: int = 0  # append time of the last sign of two producers
    settled_ms: int = 0

    def is_duplicated(self, at_ms: int) -> bool:
        """Whether two producers used the row's source name, no longer ago than a report can count."""
        return self.duplicate and at_ms - self.duplicate_ms < DUPLICATE_FOR_MS


class FlowSum(Struct, frozen=True, array_like=True, gc=False):
    """Offered and shed load of one (workload, origin) in one second.

    ``doubtful_units``: the part of the offered that is not credible, as its clients are served far less.
    ``unheard_units`` and ``unheard_requests``, beside the offered: load of clients that have fallen silent
    without a goodbye and may go on serving. See clients.py.
    """

    workload: str
    origin: str
    requests: int
    offered_units: float
    shed_requests: int
    shed_units: float
    doubtful_units: float = 0.0
    unheard_units: float = 0.0
    unheard_requests: float = 0.0


class ReporterShare(Struct, frozen=True, array_like=True, gc=False):
    """One reporter's part of a sum: listed for the largest few, so that a reporter can be capped."""

    client: str
    outcomes: Outcomes


class PoolSum(Struct, frozen=True, array_like=True, gc=False):
    """Clients' outcomes at one pool in one second.

    ``reporters`` counts clients with at least one attempt, ``failing`` those that had failures of a class and
    no success (one count per class). ``largest`` holds up to four reporters, those with the most attempts.
    ``users`` counts clients with attempts or requests in flight there, ``stuck`` those of them whose oldest
    request has waited for long while none of their requests succeeds. ``used_up_units``: each client's units
    times the share of its rate limit that is used up; clients whose answers don't say so add nothing.
    """

    pool: str
    outcomes: Outcomes
    units: float
    reporters: int
    failing: Outcomes
    ejected_by: int = 0
    in_flight: int = 0
    oldest_in_flight_ms: int = 0
    first_token_p50_ms: float | None = None
    first_token_p99_ms: float | None = None
    per_token_p50_ms: float | None = None
    largest: tuple[ReporterShare, ...] = ()
    users: int = 0
    stuck: int = 0
    used_up_units: float = 0.0


class Ejection(Struct, frozen=True, array_like=True, gc=False):
    """A client has left a pool because of failures of this class; listed until it reports otherwise."""

    client: str
    pool: str
    result: ResultClass
    since_ms: int
    until_ms: int  # the ejection is dropped then, unless the client reports again


class DemandSecond(Struct, frozen=True, array_like=True):
    """All clients of one partition of the demand topic in one second of evidence time.

    ``newcomers``: what clients saw that are known for less than a minute, apart from ``pools``; there are
    ``new_clients`` of them among ``clients``.
    """

    second_ms: int  # start of the second
    clients: int
    flows: tuple[FlowSum, ...]
    pools: tuple[PoolSum, ...]
    excluded: int = 0  # clients whose own network fails (``demand.is_of_its_own``): only their load counts
    newcomers: tuple[PoolSum, ...] = ()
    new_clients: int = 0


class Doubt(Struct, frozen=True, array_like=True, gc=False):
    """A client whose reports are not credible, as of ``at_ms``.

    ``units_per_s``: load that it claims beyond what it is served. ``strange``: flows that the policy does not
    name. ``lies``: it says that it was served more than all pools can give together.
    """

    client: str
    units_per_s: float
    strange: int
    lies: bool
    at_ms: int


class DemandRow(Struct, frozen=True, array_like=True):
    """The recent seconds of one partition, oldest first, and the position up to which they are summed.

    ``silent``: how many clients have fallen silent without a goodbye, beside those that ``generations``
    counts; None in rows of processes that did not know it.
    """

    position: Position
    seconds: tuple[DemandSecond, ...]
    ejections: tuple[Ejection, ...] = ()
    generations: dict[str, int] = {}  # generation of the table in use -> number of clients
    doubts: tuple[Doubt, ...] = ()  # of the last minute, the largest few
    silent: int | None = None


class Progress(Struct, frozen=True, array_like=True, gc=False):
    """How far one partition is consumed: ``next_offset`` of ``end_offset`` at ``at_ms`` (controller's clock).

    ``clock_offset_ms`` is the running minimum of arrival minus append time: the distance between the
    controller's clock and the broker's, plus the shortest time on the way. ``topic_id`` says of which topic
    the offsets are: a recreated topic has another id, and its offsets begin again. ``behind_since_ms``: since
    when the partition has not been read to its end (0: it is). ``letters_waiting``: dead letters of this
    partition that the dead-letter topic has not taken. ``trouble``: what is in the way, in words.
    ``stale_share``: the share of the topic's reports that this process skipped as stale lately, from 0 to 1.
    """

    topic: str
    partition: int
    next_offset: int
    end_offset: int
    at_ms: int
    clock_offset_ms: int = 0
    topic_id: str = ""
    behind_since_ms: int = 0
    letters_waiting: int = 0
    trouble: str = ""
    stale_share: float = 0.0

    @property
    def caught_up(self) -> bool:
        """Whether everything that the partition contained then has been consumed."""
        return self.next_offset >= self.end_offset
