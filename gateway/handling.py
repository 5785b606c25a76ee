"""What becomes of one request: who calls, where it belongs, its body, and the reply.

Each request runs in a task of its own. When its caller goes away the task is cancelled, and with it the
request to the provider.
"""

import asyncio
from collections.abc import Callable, Mapping

from aiohttp import web

from controller.process.clock import monotonic_ms, stopwatch_s
from controller.process.wrong_secrets import WrongSecrets
from gateway.callers import Caller, Callers, token_shown
from gateway.draining import TOLD_TEXT, Drain
from gateway.fairness import FairShares
from gateway.limits import Limits, expected_units
from gateway.placing import ORIGIN_HEADER, WORKLOAD_HEADER, Misplaced, Place, Placing
from gateway.refusals import model_list, refused
from gateway.relaying import send_reply
from gateway.visit import LEFT, Visit
from tieline.forwarding import Forwarder, Headers, Reply, SpoolError, Upload, received

MODELS = "/models"
LIVEZ, READYZ = "/livez", "/readyz"
# What tells of the caller's side of the gateway, and is none of a provider's business.
_OURS = frozenset({b"forwarded", b"via", b"x-real-ip"})
_OURS_BEGIN = b"x-forwarded-"


class BodyTooLargeError(Exception):
    """A body has more bytes than the file allows."""


class Handling:
    """Answers requests. ``callers`` and ``limits``, which are of these callers, may be replaced while it
    runs. ``unready``: why no request should come here now, "" while they may. ``note``: told of every request
    once it has ended."""

    def __init__(
        self,
        callers: Callers,
        placing: Placing,
        forwarders: Mapping[str, Forwarder],
        *,
        drain: Drain,
        body_max_bytes: int,
        unready: Callable[[], str],
        limits: Limits,
        note: Callable[[Visit], None],
    ) -> None:
        self.callers = callers
        self._placing = placing
        self._forwarders = forwarders
        self._drain = drain
        self._body_max_bytes = body_max_bytes
        self._unready = unready
        self.limits = limits
        self._note = note
        self._shares: dict[tuple[str, str], FairShares] = {}
        self._wrong_tokens = WrongSecrets()

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """The response to one request; of a stream when it has been written."""
        target = request.raw_path
        if target in (LIVEZ, READYZ):
            complaint = self._unready() if target == READYZ else ""
            return web.Response(text=f"{complaint or 'ok'}\n", status=503 if complaint else 200)
        path = target.partition("?")[0]
        visit = Visit(stopwatch_s(), request.method, path, peer=request.remote or "")
        reply: Reply | None = None
        try:
            with self._drain.under_way(visit, _abort_of(request)):
                reply = await self._reply(request, visit)
                return await send_reply(request, reply, visit, self._drain)
        except asyncio.CancelledError:
            visit.ended = LEFT
            raise
        finally:
            if visit.let_in is not None and reply is not None:
                caller, expected = visit.let_in
                self.limits.settle(caller, reply.units - expected)
            self._note(visit)

    async def _reply(self, request: web.BaseRequest, visit: Visit) -> Reply:
        if self._drain.refuses:
            return refused(503, "draining", "this gateway is about to end: try again", retry_after_ms=0)
        headers = list(request.raw_headers)
        caller = self._caller(headers, visit.peer)
        if isinstance(caller, Reply):
            return caller
        visit.caller = caller.name
        place = self._placing.place(
            request.raw_path,
            caller,
            workload=_value(headers, WORKLOAD_HEADER),
            origin=_value(headers, ORIGIN_HEADER),
        )
        if isinstance(place, Misplaced):
            return refused(place.status, place.code, place.text)
        visit.workload, visit.origin = place.workload, place.origin
        if request.method == "GET" and place.path.partition("?")[0] == MODELS:
            return model_list(sorted(self._forwarders[place.workload].models(place.origin)))
        now_ms, units = monotonic_ms(), _expected(request)
        if wait_ms := self.limits.take(caller, units, now_ms):
            text = f"{caller.name} has reached its limit of requests or units"
            return refused(429, "limit", text, retry_after_ms=wait_ms)
        visit.let_in = caller, units
        return await self._forwarded(
            request, headers, place, is_shed=self._is_shed(place, visit.let_in, now_ms)
        )

    def _is_shed(self, place: Place, let_in: tuple[Caller, float], now_ms: int) -> bool | None:
        """Whether what the table sheds of this workload falls on this request; None while it sheds
        nothing."""
        caller, units = let_in
        shares = self._shares.setdefault((place.workload, place.origin), FairShares())
        shed_share = self._forwarders[place.workload].shed_share(place.origin)
        return shares.decide(caller.name, caller.weight, units, shed_share=shed_share, now_ms=now_ms)

    def _caller(self, headers: Headers, peer: str) -> Caller | Reply:
        """Who calls. After too many wrong tokens from an address even a valid one is refused there, because
        the answer would tell it apart."""
        shown, now_ms = token_shown(headers), monotonic_ms()
        if wait_ms := self._wrong_tokens.wait_ms(peer, now_ms):
            text = "too many wrong tokens came from this address"
            return refused(429, "wrong_tokens", text, retry_after_ms=wait_ms)
        caller = self.callers.find(shown)
        if caller is None:
            if shown:
                self._wrong_tokens.fail(peer, now_ms, shown)
            text = "a valid token of this gateway is needed: Authorization: Bearer TOKEN"
            return refused(401, "token", text)
        return caller

    async def _forwarded(
        self, request: web.BaseRequest, headers: Headers, place: Place, *, is_shed: bool | None
    ) -> Reply:
        try:
            upload = await self._upload(request, headers)
            outgoing = received(
                request.method,
                place.path,
                _passed_on(headers),
                upload,
                origin=place.origin,
                is_shed=is_shed,
            )
            return await self._forwarders[place.workload].send(outgoing)
        except BodyTooLargeError:
            text = f"the body has more than {self._body_max_bytes} bytes"
            return refused(413, "body_too_large", text)
        except SpoolError as error:
            return refused(507, "no_room", str(error))
        except asyncio.CancelledError:
            if not self._drain.is_over:
                raise
            return refused(503, "draining", TOLD_TEXT)

    async def _upload(self, request: web.BaseRequest, headers: Headers) -> Upload:
        """The body, as it comes. Others get their turn after each piece that is written to a file."""
        upload, size = Upload(headers), 0
        if (request.content_length or 0) > self._body_max_bytes:
            raise BodyTooLargeError
        _let_continue(request, headers)
        async for piece in request.content.iter_any():
            size += len(piece)
            if size > self._body_max_bytes:
                raise BodyTooLargeError
            if upload.add(piece):
                await asyncio.sleep(0)
        return upload


def _expected(request: web.BaseRequest) -> float:
    """The units that a request will probably take. What is no JSON, such as a sound, says nothing of them."""
    is_json = request.content_type == "application/json"
    return expected_units((request.content_length or 0) if is_json else 0)


def _abort_of(request: web.BaseRequest) -> Callable[[], None]:
    """What breaks the connection of a request at once."""

    def abort() -> None:
        if request.transport is not None:
            request.transport.abort()

    return abort


def _let_continue(request: web.BaseRequest, headers: Headers) -> None:
    """A caller who waits before it sends a large body, as curl does, may send it now."""
    if _value(headers, b"expect").lower() == "100-continue" and request.transport is not None:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")


def _value(headers: Headers, name: bytes) -> str:
    return next((value.decode("latin-1") for each, value in headers if each.lower() == name), "")


def _passed_on(headers: Headers) -> Headers:
    """The headers without those that proxies before the gateway have added."""
    return [
        line
        for line in headers
        if (name := line[0].lower()) not in _OURS and not name.startswith(_OURS_BEGIN)
    ]
