"""PURE: the faults that can be switched on, and which of them strikes a request."""

from collections.abc import Iterable
from typing import Annotated, Literal, NamedTuple, TypeAlias, get_args

import msgspec
from msgspec import Meta, Struct

from lab.standins.load import uniform_pair
from lab.standins.streams import Dialect, ErrorShape

FaultKind: TypeAlias = Literal[
    "503", "429", "400", "401", "404", "status", "token_revoked", "burst",
    "hang", "refuse", "reset", "stale_connections",
    "slow_first_token", "stall", "cut", "body",
    "end_without_done", "error_event", "dialect",
]  # fmt: skip
SpoiltBody: TypeAlias = Literal["empty", "html", "broken_json", "error_only"]
KINDS: tuple[str, ...] = get_args(FaultKind)
STATUS_KINDS = frozenset({"503", "429", "400", "401", "404", "status", "token_revoked", "burst"})
# These strike before any capacity is used; the others spoil an answer.
PREEMPTING_KINDS = STATUS_KINDS | {"hang", "reset", "stale_connections"}
STREAM_KINDS = frozenset({"end_without_done", "error_event"})  # they break streams only
ACTIVE_MAX = 100
# Which fields have a meaning for which kind; "!" marks those that it needs.
_SPECIFIC: dict[str, frozenset[str]] = {
    kind: frozenset(fields.split())
    for kind, fields in {
        **dict.fromkeys(("503", "429", "400", "401", "404"), "retry_after_ms headers"),
        "status": "status! retry_after_ms error_code message headers",
        "burst": "requests_per_s! retry_after_ms headers",
        "token_revoked": "headers",
        "slow_first_token": "delay_ms!",
        "stall": "after_chunks",
        "cut": "after_chunks",
        "body": "content!",
        "end_without_done": "after_chunks",
        "error_event": "after_chunks error_code shape",
        "dialect": "dialect!",
    }.items()
}
_OPTIONS = frozenset(name.rstrip("!") for names in _SPECIFIC.values() for name in names)
_PortionOfRequests = Annotated[float, Meta(gt=0, le=1)]
_Text = Annotated[str, Meta(min_length=1, max_length=200)]
_HeaderValue = Annotated[str, Meta(max_length=500, pattern=r"^[ -~]*\Z")]
_HeaderName = Annotated[str, Meta(max_length=100, pattern=r"^[A-Za-z0-9-]+\Z")]


class FaultOrder(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A fault as ordered: its kind, its pools and model (None: all), and its share of the requests.

    ``word`` limits it to requests whose body contains this word, ``path`` to those whose path ends so.

    - *Refusals.* ``status``: any status from 400 to 599, with ``error_code``, ``message`` and ``headers``.
      The kinds that are numbers are short for common ones. ``retry_after_ms`` gives them a Retry-After.
      ``token_revoked``: 401 for the first secret that comes, until another one comes. ``burst``: 429 beyond
      ``requests_per_s``.
    - *Connections.* ``refuse`` closes the whole socket, so it takes no share and no filter.
      ``stale_connections``: each connection carries one request; the next on it is reset, as on one that the
      server has closed while it was idle.
    - *Spoilt answers.* ``body``: status 200, and ``content`` instead of an answer. ``slow_first_token`` comes
      ``delay_ms`` later. After ``after_chunks`` events with content, ``cut`` breaks the connection, ``stall``
      goes silent, ``end_without_done`` ends the body, and ``error_event`` sends an error of this ``shape``
      with this ``error_code`` and ends the body.
    - *No fault.* ``dialect``: complete streams as other servers write them (``streams.in_dialect``).
    """

    kind: FaultKind
    pools: Annotated[tuple[str, ...], Meta(min_length=1, max_length=200)] | None = None
    model: _Text | None = None
    word: _Text | None = None
    path: _Text | None = None
    share: _PortionOfRequests = 1.0
    delay_ms: Annotated[int, Meta(ge=1, le=600_000)] | None = None
    after_chunks: Annotated[int, Meta(ge=0, le=10_000)] | None = None
    retry_after_ms: Annotated[int, Meta(ge=1, le=3_600_000)] | None = None
    error_code: Annotated[str, Meta(min_length=1, max_length=100)] | None = None
    message: Annotated[str, Meta(max_length=1_000)] | None = None
    status: Annotated[int, Meta(ge=400, le=599)] | None = None
    headers: dict[_HeaderName, _HeaderValue] | None = None
    requests_per_s: Annotated[float, Meta(gt=0, le=1e6)] | None = None
    content: SpoiltBody | None = None
    shape: ErrorShape | None = None
    dialect: Dialect | None = None


class Arrival(NamedTuple):
    """What faults look at of a request. ``key``: decides, for a share, always the same. ``is_first``: nothing
    came before it on its connection."""

    pool: str
    model: str
    key: str
    path: str = ""
    body: bytes = b""
    is_first: bool = False


class ActiveFault(Struct, frozen=True):
    """A fault that is on; ``id`` is what clears it."""

    id: int
    order: FaultOrder


class FaultError(ValueError):
    """The order can't be carried out; the message is one sentence for the person who gave it."""


def parse_order(body: bytes, served_pools: frozenset[str]) -> FaultOrder:
    """Reads a fault order from a JSON body. Raises FaultError."""
    try:
        order = msgspec.json.decode(body, type=FaultOrder)
    except msgspec.MsgspecError as error:
        raise FaultError(f"The fault order is wrong: {error}.") from None
    require_served(order.pools, served_pools)
    _check_fields(order)
    return order


def require_served(pools: Iterable[str] | None, served_pools: Iterable[str]) -> None:
    """Raises FaultError when one of ``pools`` is not one of those served."""
    served = sorted(served_pools)
    for pool in sorted(set(pools or ()).difference(served)):
        raise FaultError(f"Pool {pool} is not served here; the pools served are {', '.join(served)}.")


def _check_fields(order: FaultOrder) -> None:
    allowed = _SPECIFIC.get(order.kind, frozenset())
    for field in sorted(_OPTIONS):
        is_given, needed = getattr(order, field) is not None, f"{field}!" in allowed
        if is_given and not needed and field not in allowed:
            raise FaultError(f"Field {field} has no meaning for fault {order.kind}: leave it out.")
        if needed and not is_given:
            raise FaultError(f"Fault {order.kind} needs {field}.")
    filters = (order.model, order.word, order.path)
    if order.kind == "refuse" and (filters != (None, None, None) or order.share != 1.0):
        raise FaultError("Fault refuse closes the whole socket: it takes no model, word, path and no share.")


class FaultBook:
    """The faults that are on, in the order in which they were ordered."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._next_id = 1
        self._active: list[ActiveFault] = []

    @property
    def active(self) -> tuple[ActiveFault, ...]:
        """The faults that are on, the first ordered first."""
        return tuple(self._active)

    def add(self, order: FaultOrder) -> ActiveFault:
        """Switches a fault on. Raises FaultError if a hundred are on."""
        if len(self._active) >= ACTIVE_MAX:
            raise FaultError(f"{ACTIVE_MAX} faults are on already: clear some first.")
        fault = ActiveFault(self._next_id, order)
        self._next_id += 1
        self._active.append(fault)
        return fault

    def clear(self, *, fault_id: int | None = None, kind: str | None = None) -> tuple[ActiveFault, ...]:
        """Switches off the faults that fit both arguments (None fits all); returns them."""
        matches = [fault for fault in self._active if _fits(fault, fault_id, kind)]
        self._active = [fault for fault in self._active if fault not in matches]
        return tuple(matches)

    def refused_pools(self, pools: Iterable[str]) -> frozenset[str]:
        """Those of ``pools`` whose listening socket has to be closed now."""
        refusing = [fault.order for fault in self._active if fault.order.kind == "refuse"]
        return frozenset(pool for pool in pools if any(_covers(order, pool) for order in refusing))

    def meets(self, arrival: Arrival) -> FaultOrder | None:
        """The first fault that strikes this request."""
        for fault in self._active:
            order = fault.order
            if order.kind == "refuse" or not _concerns(order, arrival):
                continue
            if order.share >= 1.0 or uniform_pair(self.seed, f"{fault.id}|{arrival.key}")[0] < order.share:
                return order
        return None


def _covers(order: FaultOrder, pool: str) -> bool:
    return order.pools is None or pool in order.pools


def _concerns(order: FaultOrder, arrival: Arrival) -> bool:
    return (
        _covers(order, arrival.pool)
        and order.model in (None, arrival.model)
        and (order.path is None or arrival.path.endswith(order.path))
        and (order.word is None or order.word.encode() in arrival.body)
        and not (order.kind == "stale_connections" and arrival.is_first)
    )


def _fits(fault: ActiveFault, fault_id: int | None, kind: str | None) -> bool:
    return (fault_id is None or fault.id == fault_id) and (kind is None or fault.order.kind == kind)
