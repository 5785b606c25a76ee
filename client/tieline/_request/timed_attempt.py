"""Sans I/O. Each attempt of one request with its time limits: sends it, reports how it ended, and remembers
what it has shown.

A generator of effects, as ``attempt`` is, which it runs. What an attempt says goes four ways: to the router
(the pool's health, and the report), to ``refusals``, to ``holders``, and with the reply to the ``relay``.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from tieline._http.flights import Flight, Flights
from tieline._http.messages import HttpRequest
from tieline._request.attempt import NO_TRACE, Call, Steps, attempt
from tieline._request.billed_timeouts import BilledTimeouts, digest_of, shape_of
from tieline._request.destinations import Destinations
from tieline._request.limits import Waiting, idle_ms, waiting_for_stream, waiting_for_trial, waiting_for_whole
from tieline._request.memory import Estimator, Holders, SharedHolders
from tieline._request.recovery import Recovery, sent_anew
from tieline._request.refusals import Refusals
from tieline._request.relay import Relay
from tieline._request.reply import Opening
from tieline._request.retry_rule import Send
from tieline._request.ties import ids_in_stream, ids_to_learn
from tieline._routing.budget import RetryBudget
from tieline._routing.room import Ticket
from tieline._routing.route import Outcome, Reason, Target
from tieline._routing.router import Router
from tieline.blame import Blame
from tieline.events import ResultClass
from tieline.providers.answers import QUOTA_GONE
from tieline.providers.streams import Phase
from tieline.table import ClientSettings

if TYPE_CHECKING:
    from tieline._request.tracing import AttemptSpan, RequestSpan, Tracing

_MOVED = frozenset({Reason.FAILOVER, Reason.LAST_RESORT})


class Meter(Protocol):
    """Counts load asked for and load shed."""

    def offered(self, origin: str, units: float) -> None: ...
    def shed(self, origin: str, units: float) -> None: ...


class Tools(Struct):
    """What exchanges work with. ``lock`` guards ``budget``, ``holders``, ``refusals``, ``billed_timeouts``
    and ``waiting``. ``refused(name, token)``: a provider refused this token of the credential.
    ``destinations``: where secrets may go. ``clock`` is monotonic, ``epoch_ms`` the wall clock. ``caller``
    identifies the task or thread that it is called in. ``shared``: what other processes know of holders;
    None where nothing is shared. ``tracing``: where spans go, None for nowhere."""

    router: Router
    flights: Flights
    budget: RetryBudget
    holders: Holders
    refusals: Refusals
    billed_timeouts: BilledTimeouts
    estimator: Estimator
    meter: Meter
    settings: Callable[[], ClientSettings]
    refused: Callable[[str, str], None]
    destinations: Destinations
    clock: Callable[[], int]
    epoch_ms: Callable[[], int]
    caller: Callable[[], int]
    lock: AbstractContextManager[object]
    recovery: Recovery = Recovery()
    shared: SharedHolders | None = None
    waiting: int = 0  # requests that wait for a pool's turn or Retry-After now
    tracing: "Tracing | None" = None


class TimedAttempts:
    """The attempts of one call. ``restarts``: a stream that breaks may be sent anew, up to ``attempts_max``
    in all."""

    def __init__(self, tools: Tools, call: Call, *, restarts: bool, attempts_max: int) -> None:
        self._tools = tools
        self._call = call
        self._restarts = restarts
        self._attempts_max = attempts_max
        self._renewed = False  # a token, for this request
        self._trace = NO_TRACE
        self.span: RequestSpan | None = None  # of the request, where it is traced

    def is_fruitless(self, pool: str) -> bool:
        """Whether leaving the pool multiplies no load; see ``PoolHealth.fruitless``."""
        return self._tools.router.health(pool).fruitless(self._tools.clock())

    def _limits(self, target: Target, send: Send, part_ms: int | None) -> Waiting:
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
            part_ms=part_ms,
            is_costly=call.is_costly,
        )

    def send(self, send: Send, part_ms: int | None, ticket: Ticket) -> Steps[tuple[Opening, bool]]:
        """Sends, waits for the first output, reports. Gives (how far it came, whether it was called back); an
        attempt on its way can be called back until its first output. ``ticket``: its place in the pool's
        room."""
        steps = self._send(send, part_ms, ticket)
        return steps if self.span is None else self._traced(steps, self.span.attempt(send.route))

    def _traced(self, steps: Steps[tuple[Opening, bool]], span: "AttemptSpan") -> Steps[tuple[Opening, bool]]:
        self._trace, began_ms = span.headers, self._tools.clock()
        try:
            opening, called_back = yield from steps
        except BaseException:
            span.left()
            raise
        span.ended(opening, (self._tools.clock() - began_ms) / 1_000)
        return opening, called_back

    def _send(self, send: Send, part_ms: int | None, ticket: Ticket) -> Steps[tuple[Opening, bool]]:
        tools, call, target = self._tools, self._call, send.route.target
        began_ms, waiting = tools.clock(), self._limits(target, send, part_ms)
        if send.route.reason is Reason.HALF_OPEN:
            lately_ms = tools.router.usual.lately_ms(target.pool, target.model, is_stream=call.body.stream)
            waiting = waiting_for_trial(waiting, tools.settings(), lately_ms)
        flight = tools.flights.begin(target.pool, began_ms)
        flight.due_ms = began_ms + waiting.silence_ms
        flight.sending_ms, flight.latest_ms = waiting.silence_ms, began_ms + send.left_ms

        def lives(phase: Phase) -> None:
            if phase is Phase.OUTPUT:
                flight.due_ms = min(tools.clock() + self._idle_ms(target), began_ms + send.left_ms)
            else:
                flight.due_ms = min(tools.clock() + waiting.silence_ms, began_ms + waiting.whole_ms)

        safely = partial(attempt, destinations=tools.destinations, trace=self._trace)
        once = partial(safely, call, target, flight, lives=lives)
        opening: Opening | None = None
        try:
            opening = yield from once(tools.epoch_ms())
            if opening.token is not None and self._may_renew(opening):
                self._renewed = True
                tools.refused(target.credential, opening.token.value)
                opening = yield from once(tools.epoch_ms())
        finally:
            flight.abandon = None
            if opening is None or opening.answer is None:
                tools.flights.end(flight)
            left = self._note_room(target, opening, ticket)
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
            self._relay(target, opening, flight, left)
            return opening, False
        is_refused = opening.reading.blame is Blame.ACCOUNT and opening.reading != QUOTA_GONE
        if opening.token is not None and is_refused:
            tools.refused(target.credential, opening.token.value)
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
            self._report(target, opening, flight, limit_ms=waiting.silence_ms, left=left)
        return opening, flight.abandoned

    def _note_room(self, target: Target, opening: Opening | None, ticket: Ticket) -> float | None:
        """Takes in what the answer's headers say is left; gives the share."""
        limits = opening.rate_limits if opening is not None else None
        refused = opening is not None and opening.result is ResultClass.THROTTLED
        return self._tools.router.note_room(target, ticket, limits, refused=refused)

    def _may_renew(self, opening: Opening) -> bool:
        """Whether a token was refused that may only be an old one: it is renewed once, at no attempt's
        cost."""
        refused = opening.reading.blame is Blame.ACCOUNT and opening.reading.again
        return refused and not self._renewed

    def _learn(self, target: Target, opening: Opening) -> None:
        """Remember what the pool holds: what the request referred to, and what it will refer to."""
        self._remember(target, ids_to_learn(self._call.body, self._call.request.path, opening))

    def _remember(self, target: Target, ids: tuple[str, ...]) -> None:
        if ids:
            tools = self._tools
            with tools.lock:
                news = tools.holders.learn(ids, target.pool)
            if news and tools.shared is not None:
                tools.shared.learned(news, target.pool)

    def remember_timeout(self) -> None:
        """The call ends in a time-out of the caller's HTTP library, and may be billed: no SDK may send it
        again."""
        tools, request = self._tools, self._call.request
        shape, digest = shape_of(request, tools.caller()), digest_of(request)
        with tools.lock:
            tools.billed_timeouts.remember(shape, digest, tools.clock())

    def _report(
        self, target: Target, opening: Opening, flight: Flight, *, limit_ms: int, left: float | None
    ) -> None:
        """How an attempt ended whose answer came whole, or not at all."""
        tools, call, units = self._tools, self._call, 0.0
        took_ms = tools.clock() - flight.began_ms
        if opening.result is ResultClass.OK:
            body_bytes = call.body.text_bytes
            units = tools.estimator.expect(body_bytes, call.body.output_tokens_max)
            if opening.usage is not None:
                tools.estimator.learn(body_bytes, *opening.usage)
                units = float(sum(opening.usage))
            if opening.reply is not None:
                opening.reply.usage, opening.reply.units = opening.usage, units
        # What a provider does not hold says nothing about the pool, however many requests ask for such.
        refused = opening.reading.blame is Blame.REQUEST and not call.body.refers
        outcome = Outcome(
            opening.result,
            units,
            retry_after_ms=opening.retry_after_ms,
            blame=opening.reading.blame,
            subject=hash((call.request.method, call.request.path, call.request.body)) if refused else 0,
            waited_ms=took_ms,
            limit_ms=limit_ms,
            whole_ms=float(took_ms) if opening.result is ResultClass.OK else None,
            rate_limit_left=left,
        )
        if opening.result in (ResultClass.OK, ResultClass.TIMEOUT):
            is_stream = call.body.stream and opening.result is not ResultClass.OK
            tools.router.timed(target, took_ms, is_stream=is_stream)
        tools.router.report(target, outcome, is_timed=True)

    def _relay(self, target: Target, opening: Opening, flight: Flight, left: float | None) -> None:
        """Puts into the reply what hands on the rest of its answer, and reports how that ends."""
        tools, body_bytes = self._tools, self._call.body.text_bytes
        first_at_ms, reader = tools.clock(), opening.reader
        reply = opening.reply
        assert opening.answer is not None
        assert reply is not None
        tools.router.alive(target.pool)
        if reader is not None and not opening.is_held:
            tools.router.timed(target, first_at_ms - flight.began_ms, is_stream=True)

        def finish(result: ResultClass) -> None:
            if result is ResultClass.CUT and self._call.is_costly and tools.clock() >= flight.due_ms:
                self.remember_timeout()  # it stalls, and the caller's HTTP library calls that a time-out
            tools.flights.end(flight)
            self._remember(target, ids_in_stream(self._call.request.path, reader))
            usage, events = (reader.usage, reader.events) if reader is not None else (None, 0)
            units = reply.units = tools.estimator.streamed(body_bytes, usage, events)
            is_timed = reader is not None and not opening.is_held
            per_token_ms = (tools.clock() - first_at_ms) / (events - 1) if is_timed and events > 2 else None
            first_ms = float(first_at_ms - flight.began_ms) if is_timed else None
            outcome = Outcome(
                result, units, first_token_ms=first_ms, per_token_ms=per_token_ms, rate_limit_left=left
            )
            tools.router.report(target, outcome, is_timed=True)

        reply.relay = Relay(
            opening.answer,
            opening.prefix,
            reader,
            flight=flight,
            idle_ms=self._idle_ms(target),
            clock=tools.clock,
            finish=finish,
            restart=partial(self._restart, target.pool) if self._restarts else None,
        )

    def _idle_ms(self, target: Target) -> int:
        return idle_ms(self._tools.settings(), target.offer, self._call.request.timeout_s)

    def _restart(self, pool: str) -> HttpRequest | None:
        """The request as it may be sent anew after its stream from this pool broke; None if it may not."""
        tools, call, now_ms = self._tools, self._call, self._tools.clock()
        if len(call.request.left) + 1 >= self._attempts_max:
            return None
        if not self.is_fruitless(pool):
            with tools.lock:
                if tools.budget.left(now_ms) < 1:
                    return None
                tools.budget.take(now_ms)
        return sent_anew(call.request, pool, call.request_id)
