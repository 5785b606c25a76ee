"""PURE: the faults that can be switched on, and which of them strikes a request."""

from collections.abc import Iterable
from typing import Annotated, Literal, TypeAlias, get_args

import msgspec
from msgspec import Meta, Struct

from lab.standins.load import uniform_pair

FaultKind: TypeAlias = Literal[
    "503", "429", "400", "401", "404",
    "hang", "refuse", "reset",
    "slow_first_token", "cut", "end_without_done", "error_event",
]  # fmt: skip
KINDS: tuple[str, ...] = get_args(FaultKind)
STATUS_KINDS = frozenset({"503", "429", "400", "401", "404"})
# These strike before any capacity is used; the others spoil an answer.
PREEMPTING_KINDS = STATUS_KINDS | {"hang", "reset"}
STREAM_KINDS = frozenset({"end_without_done", "error_event"})  # they spoil streams only
ACTIVE_MAX = 100
_SPECIFIC: dict[str, frozenset[str]] = {
    "503": frozenset({"retry_after_ms"}),
    "429": frozenset({"retry_after_ms"}),
    "slow_first_token": frozenset({"delay_ms"}),
    "cut": frozenset({"after_chunks"}),
    "end_without_done": frozenset({"after_chunks"}),
    "error_event": frozenset({"after_chunks", "error_code"}),
}
_PortionOfRequests = Annotated[float, Meta(gt=0, le=1)]


class FaultOrder(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A fault as ordered: its kind, its pools and model (None: all), and its share of the requests.

    ``delay_ms`` belongs to slow_first_token. ``after_chunks``, the content chunks sent before the fault
    strikes, belongs to cut, end_without_done and error_event; ``error_code`` to error_event; and
    ``retry_after_ms`` to 429 and 503. ``refuse`` closes the whole socket, so it takes neither share nor
    model.
    """

    kind: FaultKind
    pools: Annotated[tuple[str, ...], Meta(min_length=1, max_length=200)] | None = None
    model: Annotated[str, Meta(min_length=1, max_length=200)] | None = None
    share: _PortionOfRequests = 1.0
    delay_ms: Annotated[int, Meta(ge=1, le=600_000)] | None = None
    after_chunks: Annotated[int, Meta(ge=0, le=10_000)] | None = None
    retry_after_ms: Annotated[int, Meta(ge=1, le=3_600_000)] | None = None
    error_code: Annotated[str, Meta(min_length=1, max_length=100)] | None = None


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
    for field in ("delay_ms", "after_chunks", "retry_after_ms", "error_code"):
        if getattr(order, field) is not None and field not in allowed:
            raise FaultError(f"Field {field} has no meaning for fault {order.kind}: leave it out.")
    if order.kind == "slow_first_token" and order.delay_ms is None:
        raise FaultError("Fault slow_first_token needs delay_ms.")
    if order.kind == "refuse" and (order.model is not None or order.share != 1.0):
        raise FaultError("Fault refuse closes the whole socket: it takes no model and no share.")


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

    def meets(self, pool: str, model: str, key: str) -> FaultOrder | None:
        """The first fault that strikes this request.

        For a share, the same ``key`` always decides the same.
        """
        for fault in self._active:
            order = fault.order
            if order.kind == "refuse" or not _covers(order, pool):
                continue
            if order.model is not None and order.model != model:
                continue
            if order.share >= 1.0 or uniform_pair(self.seed, f"{fault.id}|{key}")[0] < order.share:
                return order
        return None


def _covers(order: FaultOrder, pool: str) -> bool:
    return order.pools is None or pool in order.pools


def _fits(fault: ActiveFault, fault_id: int | None, kind: str | None) -> bool:
    return (fault_id is None or fault.id == fault_id) and (kind is None or fault.order.kind == kind)
