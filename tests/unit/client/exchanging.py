"""Runs exchanges without a socket: a script says what each pool does, the test sees what was sent."""

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from typing import Any

import msgspec

from tests.unit.client.made_tables import MODEL, Time
from tieline._http.flights import Flights
from tieline._http.messages import Headers, HttpRequest, WireError
from tieline._reports.window import DemandWindow
from tieline._request.attempt import FindHolders, GetSecret, Open, Pause, Read, Sign
from tieline._request.billed_timeouts import BilledTimeouts
from tieline._request.destinations import Destinations
from tieline._request.exchange import Exchange
from tieline._request.memory import Estimator, Holders
from tieline._request.refusals import Refusals
from tieline._request.reply import Reply
from tieline._request.timed_attempt import Tools
from tieline._routing.budget import RetryBudget
from tieline._routing.router import Router
from tieline._transports.runners import signed
from tieline.credentials import Credentials, MissingCredentialError
from tieline.events import ResultClass
from tieline.table import ClientSettings

JSON: Headers = [(b"Content-Type", b"application/json")]
EVENTS: Headers = [(b"content-type", b"text/event-stream; charset=utf-8")]
ROLE = b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n'
WORD = b'data: {"choices":[{"index":0,"delta":{"content":"Hi"}}]}\n\n'
DONE = b"data: [DONE]\n\n"
WHOLE = b'{"id":"chatcmpl-1","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4}}'


class Answer:
    """What a pool answers: pieces of a body; an error among them is what reading gives then."""

    def __init__(self, status: int, headers: Headers, *pieces: bytes | WireError) -> None:
        self.status, self.headers = status, headers
        self.closed = 0
        self._pieces = iter(pieces)

    def read(self) -> bytes:
        piece = next(self._pieces, b"")
        if isinstance(piece, WireError):
            raise piece
        return piece

    def close(self) -> None:
        self.closed += 1


Reaction = Answer | WireError
Does = Callable[[Open], Reaction]


def answers(status: int = 200, body: bytes = WHOLE, **headers: str) -> Does:
    """A pool that always gives this whole answer."""
    more = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return lambda _open: Answer(status, [*JSON, *more], body)


def streams(*pieces: bytes | WireError) -> Does:
    """A pool that always gives this stream."""
    return lambda _open: Answer(200, EVENTS, *pieces)


def fails(result: ResultClass) -> Does:
    """A pool whose connections fail so, before any answer."""
    return lambda _open: WireError(result, f"made to fail: {result}")


class Bench:
    """A router, tools, and pools that do what the test says; time passes only when something waits."""

    def __init__(self, routing: Router, time: Time, **pools: Does) -> None:
        self.time, self.router = time, routing
        self.pools = {f"{name}/r/x": does for name, does in pools.items()}
        self.sent: list[tuple[str, Open]] = []
        self.answers: list[Answer] = []
        self.waited_ms: list[int] = []
        self.looked_up: list[tuple[str, ...]] = []
        self.known_elsewhere: dict[str, str] = {}  # id -> pool, as other processes would tell
        self.window, self.holders, self.budget = DemandWindow(), Holders(), RetryBudget()
        self.settings = ClientSettings()
        self.caller = 1
        self.credentials = Credentials({"known": "secret"}, time)
        self.flights = Flights()
        routing.on_outcome.append(self.window.observe)
        self.tools = Tools(
            router=routing,
            flights=self.flights,
            budget=self.budget,
            holders=self.holders,
            refusals=Refusals(),
            billed_timeouts=BilledTimeouts(),
            estimator=Estimator(),
            meter=self.window,
            settings=lambda: self.settings,
            refused=lambda _name, _token: None,
            destinations=Destinations(self.credentials.hosts_of),
            clock=time,
            epoch_ms=time,
            caller=lambda: self.caller,
            lock=nullcontext(),
        )

    def ask(
        self,
        path: str = "/chat/completions",
        *,
        headers: dict[str, str] | None = None,
        timeout_s: float | None = None,
        **fields: Any,
    ) -> Reply:
        """One request through an exchange. ``timeout_s``: what its HTTP client declares."""
        named = headers or {}
        raw = [(name.encode(), value.encode()) for name, value in named.items()]
        body = msgspec.json.encode({"model": MODEL, **fields})
        request = HttpRequest("POST", path, raw, body=body, named=named, timeout_s=timeout_s)
        return self.send(request)

    def send(self, request: HttpRequest) -> Reply:
        """This request through an exchange."""
        exchange = Exchange(self.tools, request).run()
        value: Any = None
        try:
            do = next(exchange)
            while True:
                try:
                    value = self._do(do)
                except (WireError, MissingCredentialError) as error:
                    do = exchange.throw(error)
                else:
                    do = exchange.send(value)
        except StopIteration as done:
            reply: Reply = done.value
            return reply

    def _do(self, do: Any) -> Any:
        match do:
            case Open():
                return self._open(do)
            case Read(answer=answer):
                return answer.read()
            case FindHolders(ids=ids):
                self.looked_up.append(ids)
                return {name: self.known_elsewhere[name] for name in ids if name in self.known_elsewhere}
            case GetSecret(name=name):
                return self.credentials.at_hand(name)
            case Sign():
                return signed(do)
            case Pause(wait_ms=wait_ms):
                self.waited_ms.append(wait_ms)
                self.time.pass_ms(wait_ms)
                self.router.tick(self.time())
                return None

    def _open(self, do: Open) -> Answer:
        pool = do.flight.pool
        self.sent.append((pool, do))
        reaction = self.pools[pool](do)
        if isinstance(reaction, WireError):
            if reaction.result is ResultClass.TIMEOUT and not do.flight.abandoned:
                self.time.now_ms = max(self.time.now_ms, do.flight.due_ms)
            raise reaction
        self.answers.append(reaction)
        return reaction

    def counts(self) -> dict[str, dict[str, int]]:
        """Outcomes by pool since the last look."""
        _, rows = self.window.take("chat", {}, {}, Flights(), self.time())
        return {
            row.pool: {name: n for name, n in msgspec.structs.asdict(row.outcomes).items() if n}
            for row in rows
        }


def header(reply: Reply, name: str) -> str | None:
    """One of the reply's headers."""
    values: Iterable[bytes] = (value for key, value in reply.headers if key.lower() == name.encode())
    return next((value.decode() for value in values), None)
