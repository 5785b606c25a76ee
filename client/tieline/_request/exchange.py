"""Sans I/O. One caller's request through the attempts machine: the only loop that retries.

An exchange is a generator, as its attempts are: it yields what is to be done and returns the reply. It holds
for blocking and for asynchronous callers alike, and runs in tests without a socket. Locks are held for
moments between two effects, never across one.
"""

from collections.abc import Collection
from random import getrandbits
from typing import TYPE_CHECKING

from msgspec.structs import replace

from tieline._http.messages import HttpRequest
from tieline._request.attempt import Call, FindHolders, Pause, Steps
from tieline._request.billed_timeouts import digest_of, is_resend, shape_of
from tieline._request.body import read_body, unbound
from tieline._request.limits import COSTLY_AFTER_MS, Resending
from tieline._request.options import options_for
from tieline._request.reply import (
    Opening,
    Reply,
    at_their_limits,
    configuration_fault,
    final_failure,
    refusal,
    success,
    timed_out_again,
)
from tieline._request.retry_rule import Action, Attempts, GiveUp, Refuse, Send, Wait, Why, Wish
from tieline._request.ties import FREE, route_of, ties_of
from tieline._request.timed_attempt import TimedAttempts, Tools
from tieline._routing.room import NO_TICKET
from tieline._routing.route import Needs, Reason, Route, Shed
from tieline._routing.slices import needs_of
from tieline.backoff import Backoff
from tieline.events import ResultClass

if TYPE_CHECKING:
    from tieline._request.tracing import Tracing

DEADLINE_DEFAULT_MS = 600_000
WAITING_MAX = 1_000
# Waits before a pool is asked again. Each is shortened by up to half at random: the first takes 0.5 to 1 s.
AGAIN_FIRST_S = 1.0
AGAIN_LONGEST_S = 8.0
# Routes for which no other pool would do.
_NOTHING = frozenset({""})  # excludes no pool, and makes a choice one that sheds nothing
_ONLY_THERE = frozenset({Reason.HALF_OPEN, Reason.HELD})


class Exchange:
    """One caller's request: up to three attempts, one deadline."""

    def __init__(self, tools: Tools, request: HttpRequest) -> None:
        options = options_for(request.named)
        body = read_body(request.body, request.path, request.headers, form_fields=request.fields)
        if options.unbind:
            body = unbound(body, request.path)
        self._tools = tools
        recovery = tools.recovery.of_request(options.stream_recovery)
        settings = tools.settings()
        self._call = Call(
            request,
            body,
            request.named.get("x-request-id") or f"{getrandbits(128):032x}",
            retry_empty=settings.empty_answers == "retry",
            held_bytes_max=recovery.held_bytes_max,
        )
        self._began_ms = tools.clock()
        self._fault = options.fault
        self._units = tools.estimator.expect(body.text_bytes, body.output_tokens_max)
        self._backoff: Backoff | None = None
        self._room_at_ms: int | None = None  # when a pool should have room that had none
        self._ticket = NO_TICKET  # of the last attempt
        self._origin = options.origin or tools.router.origin
        self._ties = FREE
        allowed_s = options.deadline or request.timeout_s
        # Pools that it comes from, and those that are known to refuse a parameter of it.
        self._passed_over = frozenset(request.left)
        if not tools.refusals.is_empty and body.fields is not None:
            with tools.lock:
                self._passed_over |= tools.refusals.refusing(body.model, body.fields, self._began_ms)
        self._is_declared = allowed_s is not None
        self._may_be_billed = False  # some attempt has ended that was dear
        self._resending = Resending()
        self._wish = Wish(
            model=body.model,
            deadline_ms=self._began_ms + (int(allowed_s * 1_000) if allowed_s else DEADLINE_DEFAULT_MS),
            session=options.session,
            needs=needs_of(request.path, options.needs),
            origin=options.origin,
            attempts_max=settings.attempts_max,
        )
        self._timed = TimedAttempts(
            tools,
            self._call,
            restarts=recovery.mode == "restart",
            attempts_max=settings.attempts_max,
        )

    def run(self) -> Steps[Reply]:
        """Always an HTTP answer, never an exception of the control plane."""
        tracing = self._tools.tracing
        return self._run() if tracing is None else self._traced(tracing)

    def _traced(self, tracing: "Tracing") -> Steps[Reply]:
        span = self._timed.span = tracing.begin(self._call)
        try:
            reply = yield from self._run()
        except BaseException:
            span.left()
            raise
        span.replied(reply)
        return reply

    def _run(self) -> Steps[Reply]:
        tools, units = self._tools, self._units
        if self._fault:
            return refusal(Shed(Reason.BAD_OPTION, self._fault))
        if not tools.billed_timeouts.is_empty and self._is_billed_resend():
            return timed_out_again()
        if self._call.body.refers:
            yield from self._tie()
        attempts = Attempts(
            self._wish,
            self._choose,
            tools.budget,
            pacing=tools.router,
            next_wait_ms=self._next_wait_ms,
        )
        tools.meter.offered(self._origin, units)
        with tools.lock:
            action = self._leaving(attempts.begin(self._began_ms))
        ends: list[tuple[Opening, Route]] = []
        while True:
            match action:
                case Send(route=route):
                    part_ms = self._part_ms(action, attempts)
                    began_ms = tools.clock()
                    opening, called_back = yield from self._timed.send(action, part_ms, self._ticket)
                    if opening.result is ResultClass.OK and opening.reply is not None:
                        return success(opening.reply, route, attempts)
                    ends.append((opening, route))
                    with tools.lock:
                        next_action = attempts.failed(
                            opening.reading,
                            tools.clock(),
                            fruitless=self._timed.is_fruitless,
                            called_back=called_back,
                            retry_after_ms=opening.retry_after_ms,
                            because=configuration_fault(route.target, opening),
                            final=self._final(
                                opening,
                                tools.clock() - began_ms,
                                called_back or route.reason is Reason.HALF_OPEN,
                            ),
                        )
                        action = self._leaving(next_action)
                case Wait(wait_ms=wait_ms):
                    yield from self._wait(wait_ms)
                    with tools.lock:
                        action = self._leaving(attempts.resume(tools.clock()))
                case GiveUp() if ends:
                    return self._failure(ends, attempts, action)
                case Refuse(shed=shed):
                    tools.meter.shed(self._origin, units)
                    if shed.fallbacks or self._room_at_ms is not None:  # it was counted as sent
                        tools.router.turned_away(self._origin)
                    return refusal(shed)
                case _:
                    raise AssertionError(f"the attempts machine gave {action} before any attempt")

    def _failure(self, ends: list[tuple[Opening, Route]], attempts: Attempts, end: GiveUp) -> Reply:
        is_over = self._is_declared and self._tools.clock() >= self._wish.deadline_ms
        reply = final_failure(ends, attempts, end=end, is_over=is_over, holder_text=self._ties.text)
        if reply.timed_out and self._may_be_billed:
            self._timed.remember_timeout()
        return reply

    def _is_billed_resend(self) -> bool:
        """Whether an SDK sends again what timed out, and may be billed."""
        tools, request = self._tools, self._call.request
        shape = shape_of(request, tools.caller())
        with tools.lock:
            if not tools.billed_timeouts.may_have(shape, self._began_ms):
                return False
        digest = digest_of(request)
        with tools.lock:
            return tools.billed_timeouts.refuses(shape, digest, is_resend=is_resend(request))

    def _leaving(self, action: Action) -> Action:
        """The action; what is to be sent has taken its place in the pool's room before another request, in
        another thread, is decided on."""
        if isinstance(action, Send):
            self._ticket = self._tools.router.take_room(action.route.target, self._units)
        return action

    def _tie(self) -> Steps[None]:
        """Finds out where the request may go, which refers to what some pool holds. Other processes are asked
        only if nothing of it is known here."""
        tools, body = self._tools, self._call.body
        with tools.lock:
            is_known = bool(tools.holders.pools_of(body.refers))
        if not is_known and tools.shared is not None:
            pools: dict[str, str] = yield FindHolders(body.refers)
            with tools.lock:
                for name, pool in pools.items():
                    tools.holders.learn((name,), pool)
        with tools.lock:
            self._ties = ties_of(body, tools.holders, tools.router, origin=self._origin)
        self._wish = replace(self._wish, bound=self._ties.bound, seeks=self._ties.seeks)

    def _choose(
        self,
        model: str,
        *,
        session: str | None = None,
        needs: Needs | None = None,
        exclude: Collection[str] = (),
        origin: str | None = None,
    ) -> Route | Shed:
        """The choice of a pool that has room by its rate-limit headers. If none has, the request is told when
        one should; if it comes then it waits for its turn there."""
        choice = self._choose_by_weight(model, session=session, needs=needs, exclude=exclude, origin=origin)
        router, now_ms = self._tools.router, self._tools.clock()
        if isinstance(choice, Shed):
            fallbacks = tuple(
                route for route in choice.fallbacks if router.has_room(route.target, self._units, now_ms)
            )
            return choice if len(fallbacks) == len(choice.fallbacks) else replace(choice, fallbacks=fallbacks)
        is_due = self._room_at_ms is not None and now_ms >= self._room_at_ms
        if is_due or choice.reason in _ONLY_THERE or router.has_room(choice.target, self._units, now_ms):
            return choice
        waits = router.without_room(model, self._units, now_ms)
        if choice.pool not in waits:  # another request's answer has just told of room
            return choice
        other = self._choose_by_weight(model, needs=needs, exclude={*exclude, *waits}, origin=origin)
        if isinstance(other, Route):
            return other
        shed = at_their_limits(other, waits, choice.pool)
        self._room_at_ms = now_ms + (shed.retry_after_ms or 0)
        return shed

    def _choose_by_weight(
        self,
        model: str,
        *,
        session: str | None = None,
        needs: Needs | None = None,
        exclude: Collection[str] = (),
        origin: str | None = None,
    ) -> Route | Shed:
        """The router's choice. A pool that has as many requests on their way as it may is passed over. A
        request for what one pool holds goes there, whatever the weights."""
        router, full = self._tools.router, self._tools.flights.full
        passed_over = self._passed_over
        if passed_over:
            full = full | passed_over
        if self._ties.pool is not None:
            return route_of(self._ties, router, model=model, exclude=exclude, origin=origin)
        if exclude:
            return router.choose(
                model, needs=needs, exclude={*exclude, *full} if full else exclude, origin=origin
            )
        choice = self._shared_out(router.choose(model, session=session, needs=needs, origin=origin))
        if full and (choice.pool in full if isinstance(choice, Route) else choice.fallbacks):
            other = router.choose(model, needs=needs, exclude=full, origin=origin)
            return choice if passed_over and isinstance(other, Shed) else other
        return choice

    def _shared_out(self, choice: Route | Shed) -> Route | Shed:
        """The choice, but for the share that the table sheds where the sender has decided on whom that falls.
        The sequence of picks goes on as for any request, so that what is counted as shed stays the table's
        share."""
        decided, wish = self._call.request.is_shed, self._wish
        if decided is None or isinstance(choice, Route) is not decided or choice.reason in _ONLY_THERE:
            return choice
        if isinstance(choice, Route):
            return Shed(
                Reason.SHED, "the table sheds a part of this workload, and this caller's requests are it"
            )
        if choice.reason is not Reason.SHED:
            return choice
        other = self._tools.router.choose(wish.model, needs=wish.needs, exclude=_NOTHING, origin=wish.origin)
        return Route(other.target, Reason.WEIGHTED) if isinstance(other, Route) else other

    def _next_wait_ms(self) -> int:
        """The next wait before a pool is asked again that has failed this request."""
        if self._backoff is None:
            self._backoff = Backoff(AGAIN_FIRST_S, AGAIN_LONGEST_S)
        return int(self._backoff.next_s() * 1_000)

    def _wait(self, wait_ms: int) -> Steps[None]:
        """Waits, unless a thousand other requests of this process wait already: those would all come at
        once."""
        tools = self._tools
        with tools.lock:
            if tools.waiting >= WAITING_MAX:
                return
            tools.waiting += 1
        try:
            yield Pause(wait_ms)
        finally:
            with tools.lock:
                tools.waiting -= 1

    def _part_ms(self, send: Send, attempts: Attempts) -> int | None:
        """This attempt's part of a time-out that the caller declared: half if it may be left for another."""
        if not self._is_declared:
            return None
        divides = not self._call.is_costly and attempts.may_leave()
        return max(1, send.left_ms // 2) if divides else send.left_ms

    def _final(self, opening: Opening, waited_ms: int, called_back: bool) -> Why | None:
        """Why the request must not be sent again; None if it may be."""
        call, has_answer = self._call, opening.reply is not None
        if not (call.is_costly or (not call.body.stream and waited_ms > COSTLY_AFTER_MS)):
            return None
        self._may_be_billed = True
        may = self._resending.may(opening.result, waited_ms, was_ended=has_answer or called_back)
        return None if may else Why.BILLED
