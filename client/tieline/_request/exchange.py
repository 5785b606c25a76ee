"""Sans I/O. One caller's request through the attempts machine: the only loop that retries.

An exchange is a generator, as its attempts are: it yields what is to be done and returns the reply. It holds
for blocking and for asynchronous callers alike, and runs in tests without a socket. Locks are held for
moments between two effects, never across one.
"""

import os
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from functools import partial
from typing import Protocol

from msgspec import Struct

from tieline._http.flights import Flight, Flights
from tieline._http.messages import HttpRequest
from tieline._request.attempt import Call, Pause, Steps, attempt
from tieline._request.body import read_body, unbound
from tieline._request.limits import (
    COSTLY_AFTER_MS,
    Resending,
    Waiting,
    idle_ms,
    waiting_for_stream,
    waiting_for_trial,
    waiting_for_whole,
)
from tieline._request.memory import Estimator, Holders
from tieline._request.options import options_for
from tieline._request.recovery import Recovery, sent_anew
from tieline._request.refusals import Refusals
from tieline._request.relay import Relay
from tieline._request.reply import Opening, Reply, configuration_fault, final_failure, refusal, success
from tieline._request.retry_rule import Attempts, GiveUp, Refuse, Send, Wait, Why, Wish
from tieline._request.ties import FREE, ids_in_end, ids_to_learn, route_of, ties_of
from tieline._routing.budget import RetryBudget
from tieline._routing.route import Needs, Outcome, Reason, Route, Shed, Target
from tieline._routing.router import Router
from tieline.backoff import Backoff
from tieline.blame import Blame
from tieline.events import ResultClass
from tieline.providers.answers import QUOTA_GONE
from tieline.providers.streams import Phase
from tieline.table import ClientSettings

DEADLINE_DEFAULT_MS = 600_000
WAITING_MAX = 1_000
# Waits before a pool is asked again. Each is shortened by up to half at random: the first takes 0.5 to 1 s.
AGAIN_FIRST_S = 1.0
AGAIN_LONGEST_S = 8.0
_MOVED = frozenset({Reason.FAILOVER, Reason.LAST_RESORT})


class Meter(Protocol):
    """Counts load asked for and load shed."""

    def offered(self, origin: str, units: float) -> None: ...
    def shed(self, origin: str, units: float) -> None: ...


class Tools(Struct):
    """What exchanges work with. ``lock`` guards ``budget``, ``holders``, ``refusals`` and ``waiting``.
    ``refused(name)``: a provider refused the secret of this name. ``clock`` is monotonic, ``epoch_ms`` the
    wall clock."""

    router: Router
    flights: Flights
    budget: RetryBudget
    holders: Holders
    refusals: Refusals
    estimator: Estimator
    meter: Meter
    settings: Callable[[], ClientSettings]
    refused: Callable[[str], None]
    clock: Callable[[], int]
    epoch_ms: Callable[[], int]
    lock: AbstractContextManager[object]
    recovery: Recovery = Recovery()
    waiting: int = 0  # requests that wait for a pool's turn or Retry-After now


class Exchange:
    """One caller's request: up to three attempts, one deadline."""

    def __init__(self, tools: Tools, request: HttpRequest) -> None:
        options, body = options_for(request.named), read_body(request.body, request.path, request.headers)
        if options.unbind:
            body = unbound(body, request.path)
        self._tools = tools
        self._recovery = tools.recovery.of_request(options.stream_recovery)
        settings = tools.settings()
        self._call = Call(
            request,
            body,
            request.named.get("x-request-id") or os.urandom(16).hex(),
            retry_empty=settings.empty_answers == "retry",
            held_bytes_max=self._recovery.held_bytes_max,
        )
        self._began_ms = tools.clock()
        self._fault = options.fault
        self._backoff: Backoff | None = None
        self._renewed = False  # a token, for this request
        self._origin = options.origin or tools.router.origin
        self._ties = FREE
        if body.refers:
            with tools.lock:
                self._ties = ties_of(body, tools.holders, tools.router, origin=self._origin)
        allowed_s = options.deadline or request.timeout_s
        # Pools that it comes from, and those that are known to refuse a parameter of it.
        self._passed_over = set(request.left)
        if not tools.refusals.is_empty and body.fields is not None:
            with tools.lock:
                self._passed_over |= tools.refusals.refusing(body.model, body.fields, self._began_ms)
        self._is_declared = allowed_s is not None
        self._resending = Resending()
        self._wish = Wish(
            model=body.model,
            deadline_ms=self._began_ms + (int(allowed_s * 1_000) if allowed_s else DEADLINE_DEFAULT_MS),
            session=options.session,
            needs=options.needs,
            origin=options.origin,
            bound=self._ties.bound,
            attempts_max=settings.attempts_max,
        )

    def run(self) -> Steps[Reply]:
        """Always an HTTP answer, never an exception of the control plane."""
        tools, call = self._tools, self._call
        if self._fault:
            return refusal(Shed(Reason.BAD_OPTION, self._fault))
        attempts = Attempts(
            self._wish,
            self._choose,
            tools.budget,
            pacing=tools.router,
            next_wait_ms=self._next_wait_ms,
        )
        units = tools.estimator.expect(call.body.text_bytes, call.body.output_tokens_max)
        tools.meter.offered(self._origin, units)
        with tools.lock:
            action = attempts.begin(self._began_ms)
        ends: list[tuple[Opening, Route]] = []
        while True:
            match action:
                case Send(route=route):
                    part_ms = self._part_ms(action, attempts)
                    began_ms = tools.clock()
                    opening, called_back = yield from self._attempt(action, part_ms)
                    if opening.result is ResultClass.OK and opening.reply is not None:
                        return success(opening.reply, route, attempts)
                    ends.append((opening, route))
                    with tools.lock:
                        action = attempts.failed(
                            opening.reading,
                            tools.clock(),
                            fruitless=self._fruitless,
                            called_back=called_back,
                            retry_after_ms=opening.retry_after_ms,
                            because=configuration_fault(route.target, opening),
                            final=self._final(
                                opening,
                                tools.clock() - began_ms,
                                called_back or route.reason is Reason.HALF_OPEN,
                            ),
                        )
                case Wait(wait_ms=wait_ms):
                    yield from self._wait(wait_ms)
                    with tools.lock:
                        action = attempts.resume(tools.clock())
                case GiveUp() if ends:
                    is_over = self._is_declared and tools.clock() >= self._wish.deadline_ms
                    return final_failure(
                        ends, attempts, end=action, is_over=is_over, holder_text=self._ties.text
                    )
                case Refuse(shed=shed):
                    tools.meter.shed(self._origin, units)
                    if shed.fallbacks:
                        tools.router.turned_away(self._origin)
                    return refusal(shed)
                case _:
                    raise AssertionError(f"the attempts machine gave {action} before any attempt")

    def _choose(
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
        choice = router.choose(model, session=session, needs=needs, origin=origin)
        if full and (choice.pool in full if isinstance(choice, Route) else choice.fallbacks):
            other = router.choose(model, needs=needs, exclude=full, origin=origin)
            return choice if passed_over and isinstance(other, Shed) else other
        return choice

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

    def _waiting(self, target: Target, send: Send, part_ms: int | None) -> Waiting:
        call, settings, usual = self._call, self._tools.settings(), self._tools.router.usual
        if call.body.stream:
            usual_ms = usual.first_token_ms(target.pool, target.model)
            return waiting_for_stream(settings, target.offer, usual_ms, left_ms=send.left_ms, part_ms=part_ms)
        return waiting_for_whole(
            settings,
            target.offer,
            usual.whole_ms(target.pool, target.model),
            output_tokens_max=call.body.output_tokens_max,
            left_ms=send.left_ms,
            part_ms=send.left_ms if part_ms is None and call.is_costly else part_ms,
        )

    def _final(self, opening: Opening, waited_ms: int, called_back: bool) -> Why | None:
        """Why the request must not be sent again; None if it may be."""
        call, has_answer = self._call, opening.reply is not None
        if not (call.is_costly or (not call.body.stream and waited_ms > COSTLY_AFTER_MS)):
            return None
        may = self._resending.may(opening.result, waited_ms, was_ended=has_answer or called_back)
        return None if may else Why.BILLED

    def _attempt(self, send: Send, part_ms: int | None) -> Steps[tuple[Opening, bool]]:
        """Sends, waits for the first output, reports. Gives (how far it came, whether it was called back); an
        attempt on its way can be called back until its first output."""
        tools, call, target = self._tools, self._call, send.route.target
        began_ms, waiting = tools.clock(), self._waiting(target, send, part_ms)
        if send.route.reason is Reason.HALF_OPEN:
            lately_ms = tools.router.usual.lately_ms(target.pool, target.model, is_stream=call.body.stream)
            waiting = waiting_for_trial(waiting, tools.settings(), lately_ms)
        flight = tools.flights.begin(target.pool, began_ms)
        flight.due_ms = began_ms + waiting.silence_ms

        def lives(phase: Phase) -> None:
            if phase is Phase.OUTPUT:
                flight.due_ms = min(tools.clock() + self._idle_ms(target), began_ms + send.left_ms)
            else:
                flight.due_ms = min(tools.clock() + waiting.silence_ms, began_ms + waiting.whole_ms)

        opening: Opening | None = None
        try:
            opening = yield from attempt(call, target, flight, tools.epoch_ms(), lives=lives)
            if self._may_renew(opening):
                self._renewed = True
                tools.refused(target.credential)
                opening = yield from attempt(call, target, flight, tools.epoch_ms(), lives=lives)
        finally:
            flight.abandon = None
            if opening is None or opening.answer is None:
                tools.flights.end(flight)
        if opening.result is ResultClass.OK:
            self._learn(target, opening)
            if send.route.reason in _MOVED:
                tools.router.took_over(target.pool)
        if opening.reading.topic is not None or not tools.refusals.is_empty:
            with tools.lock:
                opening.reading = tools.refusals.take_in(
                    target.pool, target.model, opening.reading, opening.error, tools.clock()
                )
        if opening.answer is not None:
            self._relay(target, opening, flight)
            return opening, False
        if opening.reading.blame is Blame.ACCOUNT and opening.is_token and opening.reading != QUOTA_GONE:
            tools.refused(target.credential)
        # A caller's own short deadline ended it, not the pool's limit: that says nothing about a pool which
        # served others meanwhile, unless it was long for that pool.
        impatient = (
            opening.result is ResultClass.TIMEOUT
            and waiting.silence_ms < waiting.own_ms
            and not flight.abandoned
            and tools.router.is_impatient(target, tools.clock() - began_ms, is_stream=call.body.stream)
        )
        if impatient:
            tools.router.unanswered(target.pool)
        else:
            self._report(target, opening, flight, limit_ms=waiting.silence_ms)
        return opening, flight.abandoned

    def _may_renew(self, opening: Opening) -> bool:
        """Whether a token was refused that may only be an old one: it is renewed once, at no attempt's
        cost."""
        refused = opening.reading.blame is Blame.ACCOUNT and opening.reading.again
        return refused and opening.is_token and not self._renewed

    def _fruitless(self, pool: str) -> bool:
        return self._tools.router.health(pool).fruitless(self._tools.clock())

    def _learn(self, target: Target, opening: Opening) -> None:
        """Remember what the pool holds: what the request referred to, and what it will refer to."""
        self._remember(target, ids_to_learn(self._call.body, self._call.request.path, opening))

    def _remember(self, target: Target, ids: tuple[str, ...]) -> None:
        if ids:
            with self._tools.lock:
                self._tools.holders.learn(ids, target.pool)

    def _report(self, target: Target, opening: Opening, flight: Flight, *, limit_ms: int) -> None:
        """How an attempt ended whose answer came whole, or not at all."""
        tools, call, units = self._tools, self._call, 0.0
        took_ms = tools.clock() - flight.began_ms
        if opening.result is ResultClass.OK:
            body_bytes = call.body.text_bytes
            units = tools.estimator.expect(body_bytes, call.body.output_tokens_max)
            if opening.usage is not None:
                tools.estimator.learn(body_bytes, *opening.usage)
                units = float(sum(opening.usage))
        refused = opening.reading.blame is Blame.REQUEST
        outcome = Outcome(
            opening.result,
            units,
            retry_after_ms=opening.retry_after_ms,
            blame=opening.reading.blame,
            subject=hash((call.request.method, call.request.path, call.request.body)) if refused else 0,
            waited_ms=took_ms,
            limit_ms=limit_ms,
            whole_ms=float(took_ms) if opening.result is ResultClass.OK else None,
        )
        tools.router.report(target, outcome)

    def _relay(self, target: Target, opening: Opening, flight: Flight) -> None:
        """Puts into the reply what hands on the rest of its answer, and reports how that ends."""
        tools, body_bytes = self._tools, self._call.body.text_bytes
        first_at_ms, reader = tools.clock(), opening.reader
        assert opening.answer is not None
        assert opening.reply is not None
        tools.router.alive(target.pool)

        def finish(result: ResultClass) -> None:
            tools.flights.end(flight)
            self._remember(target, ids_in_end(self._call.request.path, reader))
            usage, events = (reader.usage, reader.events) if reader is not None else (None, 0)
            units = tools.estimator.streamed(body_bytes, usage, events)
            is_timed = reader is not None and not opening.is_held
            per_token_ms = (tools.clock() - first_at_ms) / (events - 1) if is_timed and events > 2 else None
            first_ms = float(first_at_ms - flight.began_ms) if is_timed else None
            outcome = Outcome(result, units, first_token_ms=first_ms, per_token_ms=per_token_ms)
            tools.router.report(target, outcome)

        opening.reply.relay = Relay(
            opening.answer,
            opening.prefix,
            reader,
            flight=flight,
            idle_ms=self._idle_ms(target),
            clock=tools.clock,
            finish=finish,
            restart=partial(self._restart, target.pool) if self._recovery.mode == "restart" else None,
        )

    def _idle_ms(self, target: Target) -> int:
        return idle_ms(self._tools.settings(), target.offer, self._call.request.timeout_s)

    def _restart(self, pool: str) -> HttpRequest | None:
        """The request as it may be sent anew after its stream from this pool broke; None if it may not."""
        tools, call, now_ms = self._tools, self._call, self._tools.clock()
        if len(call.request.left) + 1 >= self._wish.attempts_max:
            return None
        if not self._fruitless(pool):
            with tools.lock:
                if tools.budget.left(now_ms) < 1:
                    return None
                tools.budget.take(now_ms)
        return sent_anew(call.request, pool, call.request_id)
