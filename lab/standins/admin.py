"""The admin port of a stand-in process: faults, capacity, state and log, as JSON over HTTP.

``POST /faults`` a FaultOrder; ``DELETE /faults[?id=N][&kind=K]``; ``POST /capacity`` a CapacityOrder;
``GET /state``; ``GET /log[?offset=BYTES]`` answers whole lines, and the next offset in ``x-next-offset``.
"""

from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from aiohttp import web
from msgspec import Meta, Struct

from lab.standins import faults
from lab.standins.config import TokensPerSecond
from lab.standins.faults import FaultError

if TYPE_CHECKING:
    from lab.standins.host import Host

ADMIN_REQUEST_MAX_BYTES = 64 * 1024
_JSON = "application/json"


class CapacityOrder(Struct, frozen=True, forbid_unknown_fields=True):
    """A new capacity for ``pools`` (None: all).

    It is ``tokens_per_s``, or ``factor`` times the configured capacity. ``concurrency_max`` limits the
    requests under way.
    """

    pools: Annotated[tuple[str, ...], Meta(min_length=1, max_length=200)] | None = None
    tokens_per_s: TokensPerSecond | None = None
    factor: Annotated[float, Meta(ge=0, le=100)] | None = None
    concurrency_max: Annotated[int, Meta(ge=1, le=100_000)] | None = None

    def capacity(self, configured: float, current: float) -> float:
        """Tokens/s after this order, of a pool with these before it."""
        if self.tokens_per_s is not None:
            return self.tokens_per_s
        return configured * self.factor if self.factor is not None else current


def parse_capacity(body: bytes) -> CapacityOrder:
    """Reads a capacity order from a JSON body. Raises FaultError."""
    try:
        order = msgspec.json.decode(body, type=CapacityOrder)
    except msgspec.MsgspecError as error:
        raise FaultError(f"The capacity order is wrong: {error}.") from None
    if order.tokens_per_s is not None and order.factor is not None:
        raise FaultError("Give either tokens_per_s or factor, not both.")
    if order.tokens_per_s is None and order.factor is None and order.concurrency_max is None:
        raise FaultError("Give tokens_per_s, factor or concurrency_max.")
    return order


class Admin:
    """Answers every request to the admin port."""

    def __init__(self, host: "Host") -> None:
        self._host = host

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answers one request. A wrong order gets status 400 and one sentence."""
        try:
            match request.method, request.path:
                case "POST", "/faults":
                    return await self._order_fault(request)
                case "DELETE", "/faults":
                    return await self._clear_faults(request)
                case "POST", "/capacity":
                    return _answer(
                        {"capacity": self._host.change_capacity(parse_capacity(await request.read()))}
                    )
                case "GET", "/state":
                    return _answer(self._host.state())
                case "GET", "/log":
                    return self._log(request)
                case _:
                    return _answer({"error": f"There is no {request.method} {request.path}."}, status=404)
        except FaultError as error:
            return _answer({"error": str(error)}, status=400)
        except web.HTTPRequestEntityTooLarge:
            return _answer(
                {"error": f"The order is larger than {ADMIN_REQUEST_MAX_BYTES} bytes."}, status=413
            )

    async def _order_fault(self, request: web.Request) -> web.Response:
        order = faults.parse_order(await request.read(), frozenset(self._host.pools))
        return _answer(await self._host.order_fault(order), status=201)

    async def _clear_faults(self, request: web.Request) -> web.Response:
        for name in sorted(set(request.query) - {"id", "kind"}):
            raise FaultError(f"There is no parameter {name}; there are id and kind.")
        kind = request.query.get("kind")
        if kind is not None and kind not in faults.KINDS:
            raise FaultError(f"There is no fault {kind}; there are {', '.join(faults.KINDS)}.")
        matches = await self._host.clear_faults(fault_id=_number(request, "id"), kind=kind)
        return _answer({"cleared": matches})

    def _log(self, request: web.Request) -> web.Response:
        offset = _number(request, "offset") or 0
        lines = self._host.journal.read(offset)
        headers = {"x-next-offset": str(offset + len(lines))}
        return web.Response(body=lines, content_type="application/jsonl", headers=headers)


def _number(request: web.Request, name: str) -> int | None:
    text = request.query.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 15):
        raise FaultError(f"Parameter {name} must be a whole number, not {text!r}.")
    return int(text)


def _answer(body: Any, *, status: int = 200) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(body), content_type=_JSON)
