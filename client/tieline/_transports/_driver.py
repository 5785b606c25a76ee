"""Drives one request after another through the attempts machine: the only loop that retries."""

import asyncio
import contextlib
import os
from collections.abc import Callable, Collection
from functools import partial
from typing import Protocol

from msgspec import Struct

from tieline._attempts import Attempts, GiveUp, Refuse, Send, Wait, Why, Wish
from tieline._body import read_body
from tieline._budget import RetryBudget
from tieline._flights import Flight, Flights
from tieline._options import options_for
from tieline._route import Needs, Outcome, Route, Shed, Target
from tieline._router import Router
from tieline._sse import StreamReader
from tieline._transports._attempt import Call, Opening, Sender
from tieline._transports._neutral import Ask, Reply, failure, refusal
from tieline._transports._relay import Relay
from tieline._units import Estimator
from tieline.events import ResultClass
from tieline.table import ClientSettings

DEADLINE_DEFAULT_MS = 600_000
WHOLE_ANSWER_MS_PER_TOKEN = 50
WHOLE_ANSWER_TOKENS_DEFAULT = 1_000
WAITING_MAX = 1_000


class Meter(Protocol):
    """Counts load asked for and load shed."""

    def offered(self, origin: str, units: float) -> None: ...
    def shed(self, origin: str, units: float) -> None: ...


class Tools(Struct, frozen=True):
    """What the driver works with."""

    router: Router
    flights: Flights
    budget: RetryBudget
    estimator: Estimator
    meter: Meter
    sender: Sender
    settings: Callable[[], ClientSettings]
    clock: Callable[[], int]
    epoch_ms: Callable[[], int]


class Driver:
    """Takes a caller's request, gives the reply: always an HTTP answer, never an exception of the control
    plane."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._waiting = 0

    async def send(self, ask: Ask) -> Reply:
        """One request, up to three attempts, one deadline."""
        tools, options, body = self._tools, options_for(ask.named), read_body(ask.body)
        now_ms = tools.clock()
        allowed_s = options.deadline or ask.timeout_s
        deadline_ms = now_ms + (int(allowed_s * 1_000) if allowed_s else DEADLINE_DEFAULT_MS)
        wish = Wish(
            body.model,
            deadline_ms,
            options.session,
            options.needs,
            options.origin,
            body.bound,
            tools.settings().attempts_max,
        )
        call = Call(ask, body, ask.named.get("x-request-id") or os.urandom(16).hex())
        attempts = Attempts(wish, self._choose, tools.budget)
        action = attempts.begin(now_ms)
        origin = options.origin or tools.router.origin
        units = tools.estimator.expect(len(ask.body), body.output_tokens_max)
        tools.meter.offered(origin, units)
        last: tuple[Opening, Route] | None = None
        while True:
            match action:
                case Send(route=route):
                    opening = await self._attempt(call, action)
                    if opening.result is ResultClass.OK and opening.reply is not None:
                        return self._stamp(opening.reply, route, attempts.count)
                    last = opening, route
                    action = attempts.failed(opening.result, tools.clock(), fruitless=self._fruitless)
                case Wait(wait_ms=wait_ms):
                    action = await self._wait(wait_ms, attempts)
                case GiveUp(why=why) if last is not None:
                    return self._final(*last, attempts.count, why)
                case Refuse(shed=shed):
                    tools.meter.shed(origin, units)
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
        """The router's choice; a pool that already holds all the requests it may is passed over."""
        choose, full = self._tools.router.choose, self._tools.flights.full
        if exclude:
            return choose(model, needs=needs, exclude={*exclude, *full} if full else exclude, origin=origin)
        found = choose(model, session=session, needs=needs, origin=origin)
        if full and isinstance(found, Route) and found.pool in full:
            return choose(model, needs=needs, exclude=full, origin=origin)
        return found

    async def _wait(self, wait_ms: int, attempts: Attempts) -> Send | Wait | GiveUp | Refuse:
        if self._waiting >= WAITING_MAX:
            return attempts.resume(self._tools.clock())
        self._waiting += 1
        try:
            await asyncio.sleep(wait_ms / 1_000)
        finally:
            self._waiting -= 1
        return attempts.resume(self._tools.clock())

    async def _attempt(self, call: Call, send: Send) -> Opening:
        """Sends, waits for the first output, reports. An attempt on its way can be called back until then."""
        tools, target = self._tools, send.route.target
        began_ms = tools.clock()
        first_ms = self._first_output_ms(call)
        flight = tools.flights.begin(target.pool, began_ms)
        try:
            async with asyncio.timeout(min(first_ms, send.left_ms) / 1_000) as scope:
                flight.abandon = partial(_expire_now, scope)
                try:
                    opening = await tools.sender.open(call, target, tools.epoch_ms())
                finally:
                    flight.abandon = None
        except TimeoutError:
            opening = Opening(ResultClass.TIMEOUT, f"no output within {tools.clock() - began_ms} ms")
        except BaseException:
            tools.flights.end(flight)
            raise
        if opening.answer is not None:
            self._relay(call, target, opening, flight)
            return opening
        tools.flights.end(flight)
        cut_short = opening.result is ResultClass.TIMEOUT and send.left_ms < first_ms and not flight.abandoned
        if not (cut_short and self._gave_output_since(target.pool, began_ms)):
            self._report(call, target, opening)
        return opening

    def _first_output_ms(self, call: Call) -> int:
        """How long a pool may stay silent: to the first token of a stream, or to the end of a whole answer,
        which has no first token to wait for, with 50 ms more for each token it may have."""
        limit_ms = self._tools.settings().first_token_timeout_ms
        if call.body.stream:
            return limit_ms
        tokens = call.body.output_tokens_max or WHOLE_ANSWER_TOKENS_DEFAULT
        return limit_ms + WHOLE_ANSWER_MS_PER_TOKEN * tokens

    def _fruitless(self, pool: str) -> bool:
        return self._tools.router.health(pool).fruitless(self._tools.clock())

    def _gave_output_since(self, pool: str, began_ms: int) -> bool:
        """A caller's short deadline says nothing about a pool that served others meanwhile."""
        at_ms = self._tools.router.health(pool).last_success_ms
        return at_ms is not None and at_ms >= began_ms

    def _report(self, call: Call, target: Target, opening: Opening) -> None:
        tools, units = self._tools, 0.0
        if opening.result is ResultClass.OK:
            body_bytes = len(call.ask.body)
            units = tools.estimator.expect(body_bytes, call.body.output_tokens_max)
            if opening.usage is not None:
                tools.estimator.learn(body_bytes, *opening.usage)
                units = float(sum(opening.usage))
        outcome = Outcome(opening.result, units, None, None, opening.retry_after_ms)
        tools.router.report(target, outcome)

    def _relay(self, call: Call, target: Target, opening: Opening, flight: Flight) -> None:
        tools, began_ms, first_at_ms = self._tools, flight.began_ms, self._tools.clock()
        assert opening.answer is not None
        assert opening.rest is not None
        assert opening.reply is not None
        tools.router.alive(target.pool)
        reader = opening.reader

        def finish(result: ResultClass) -> None:
            tools.flights.end(flight)
            body_bytes, now_ms = len(call.ask.body), tools.clock()
            units = _streamed_units(tools.estimator, reader, body_bytes)
            if reader is not None and reader.usage is not None:
                tools.estimator.learn(body_bytes, *reader.usage)
            events = reader.events if reader is not None else 0
            per_token_ms = (now_ms - first_at_ms) / (events - 1) if events > 2 else None
            first_ms = float(first_at_ms - began_ms) if reader is not None else None
            tools.router.report(target, Outcome(result, units, first_ms, per_token_ms))

        relay = Relay(
            opening.answer,
            opening.rest,
            opening.held,
            reader,
            idle_s=tools.settings().idle_timeout_ms / 1_000,
            finish=finish,
        )
        opening.reply.stream = relay
        opening.reply.close = relay.close

    def _stamp(self, reply: Reply, route: Route, count: int) -> Reply:
        reply.headers += [
            (b"x-tieline-pool", route.pool.encode()),
            (b"x-tieline-generation", route.generation.encode()),
            (b"x-tieline-attempts", str(count).encode()),
            (b"x-tieline-reason", route.reason.encode()),
        ]
        return reply

    def _final(self, opening: Opening, route: Route, count: int, why: Why) -> Reply:
        """The last failure as a normal HTTP response that no SDK tries again."""
        reply = opening.reply
        if reply is None:
            status = 504 if opening.result is ResultClass.TIMEOUT else 503
            text = f"{route.pool}: {opening.text} (attempt {count}, no other: {why})"
            reply = failure(status, text, f"tieline_{opening.result}", [])
        reply.headers = [
            (name, value) for name, value in reply.headers if name.lower() != b"x-should-retry"
        ] + [(b"x-should-retry", b"false"), (b"x-tieline-gave-up", why.encode())]
        return self._stamp(reply, route, count)


def _streamed_units(estimator: Estimator, reader: StreamReader | None, body_bytes: int) -> float:
    if reader is not None and reader.usage is not None:
        return float(sum(reader.usage))
    return estimator.prompt(body_bytes) + (reader.events if reader is not None else 0)


def _expire_now(scope: asyncio.Timeout) -> None:
    with contextlib.suppress(RuntimeError):  # its own time has run out in this very turn of the loop
        scope.reschedule(asyncio.get_running_loop().time())
