"""Where the next request goes: the table held, the pools this process keeps away from, and compiled
choices.

No I/O. ``pick`` reads one compiled choice and nothing else; choices are compiled anew when the table is
swapped or a pool goes out or comes back, never by a pick of one that exists. Times are monotonic
milliseconds.
"""

from collections.abc import Callable, Collection
from threading import RLock
from typing import Any, Protocol

from msgspec.structs import replace

from tieline._health.ejection import Out, PoolHealth
from tieline._health.verdicts import Endpoint, Verdicts
from tieline._routing import compile as compiling
from tieline._routing.affinity import Affinity
from tieline._routing.budget import Pace
from tieline._routing.compile import Candidate, Held
from tieline._routing.explain import explained
from tieline._routing.left import Request, beyond, left
from tieline._routing.pick import Choice
from tieline._routing.route import Needs, Outcome, Reason, Route, Shed, Target
from tieline.events import ResultClass
from tieline.table import Slice

CHOICES_MAX = 512
PARTIAL_SHARE_MAX = 0.5
_Key = tuple[str, str, Needs | None]  # origin, model, normalised needs
EjectionListener = Callable[[str, Out], None]


class Pick(Protocol):
    """The shape of ``Router.pick``, which see."""

    def __call__(
        self,
        model: str,
        *,
        session: str | None = None,
        needs: Needs | None = None,
        exclude: Collection[str] = (),
    ) -> Route | Shed: ...


class Router:
    """Thread-safe; ``pick`` takes no lock. ``phase`` in [0, 1) differs between processes."""

    def __init__(self, workload: str, origin: str, *, clock: Callable[[], int], phase: float) -> None:
        self.workload = workload
        self.origin = origin
        self.why_no_table = "the client is not running: use `async with`, `with`, or start()"
        self.on_ejection: list[EjectionListener] = []
        self.on_outcome: list[Callable[[Target, Outcome], None]] = []
        self._clock = clock
        self._phase = phase
        self._lock = RLock()
        self._held: Held | None = None
        self._plain: dict[str, Choice] = {}  # model -> choice: what the fast path knows
        self._choices: dict[_Key, Choice] = {}
        self._affinities: dict[_Key, Affinity] = {}
        self._phases: dict[_Key, float] = {}
        self._verdicts = Verdicts()
        self._pace = Pace(lambda pool, now_ms: self.health(pool).successes_per_s(now_ms))
        self._counted: dict[str, list[int]] = {}  # origin -> picks and sheds of choices that are gone

    @property
    def held(self) -> Held | None:
        """The table in force."""
        return self._held

    def pick(
        self,
        model: str,
        *,
        session: str | None = None,
        needs: Needs | None = None,
        exclude: Collection[str] = (),
    ) -> Route | Shed:
        """Where a request for ``model`` goes. In memory, about a microsecond, never raises for want of a
        table.

        ``session`` keeps a conversation on its pool; pools that don't meet ``needs`` or are in ``exclude``
        are out. With ``exclude`` it is a retry: it is not counted as offered and not shed. When no pool is
        left the route may be the table's last resort, by its ``reason``, as long as that has room.
        """
        if needs is None and not exclude:
            choice = self._plain.get(model)
            if choice is not None:
                return choice.next() if session is None else choice.for_session(session)
        found = self.choose(model, session=session, needs=needs, exclude=exclude)
        return (
            self._at_once(found, retry=bool(exclude))
            if isinstance(found, Shed) and found.fallbacks
            else found
        )

    def choose(
        self,
        model: str,
        *,
        session: str | None = None,
        needs: Needs | None = None,
        exclude: Collection[str] = (),
        origin: str | None = None,
    ) -> Route | Shed:
        """``pick`` for any of the client's origins, the long way. What is ``left`` when there is no route the
        caller may try at each pool's pace (``reserve``); if it doesn't, the request was ``turned_away``."""
        choice = (
            self._plain.get(model) if needs is None and (origin is None or origin == self.origin) else None
        )
        if choice is not None and not exclude:
            return choice.next() if session is None else choice.for_session(session)
        with self._lock:
            return self._choose(model, session, needs, exclude, origin or self.origin)

    def holder(self, pool: str, model: str, *, origin: str | None = None) -> Route | Shed:
        """The pool that holds what a request refers to: weights and ejections don't matter, there is no
        other."""
        origin = origin or self.origin
        with self._lock:
            part = None if self._held is None else self._held.parts.get(origin)
            if self._held is None or part is None:
                return self._nowhere(origin)
            count = self._count(origin)
            count[0] += 1
            row = compiling.only(part, pool, model)
            if row is None:
                count[1] += 1
                return Shed(Reason.NO_POOL, f"{pool} holds what this request refers to, and has no route now")
            found = compiling.target(row, model, origin, str(self._held.generation), self.report)
            return Route(found, Reason.HELD)

    def _choose(
        self, model: str, session: str | None, needs: Needs | None, exclude: Collection[str], origin: str
    ) -> Route | Shed:
        now_ms = self._clock()
        self.tick(now_ms)
        part = None if self._held is None else self._held.parts.get(origin)
        if part is None:
            return self._nowhere(origin)
        key = (origin, model, compiling.normalise(part, needs))
        choice = self._choice(key, part, now_ms)
        if exclude:
            result = choice.excluding(exclude)
            if isinstance(result, Shed):
                request = self._request(key, part)
                result = beyond(request, exclude) or left(request, choice, exclude, now_ms)
            return result
        if self._verdicts.due and (probe := self._probe(key, part, now_ms)) is not None:
            self._count(origin)[0] += 1
            return probe
        result = choice.next() if session is None else choice.for_session(session)
        if choice.empty:
            result = left(self._request(key, part), choice, (), now_ms)
            self._count(origin)[1] -= bool(result.fallbacks)  # who turns it away in the end says so
            if result.retry_after_ms is not None:
                self._drop(key)  # it was right when the choice was compiled: say it anew the next time
        return result

    def reserve(self, pool: str, now_ms: int, wait_max_ms: int) -> int | None:
        """When the pool takes one more request that others have dropped; see ``Pace``."""
        with self._lock:
            return self._pace.reserve(pool, now_ms, wait_max_ms)

    def turned_away(self, origin: str) -> None:
        """A request for which something was left has not been sent."""
        with self._lock:
            self._count(origin)[1] += 1

    def _at_once(self, nothing: Shed, *, retry: bool) -> Route | Shed:
        """The first of what is left whose pool has room now: a pick waits for nothing."""
        now_ms = self._clock()
        for route in nothing.fallbacks:
            if self.reserve(route.pool, now_ms, 1) is not None:
                return route
        if not retry:
            self.turned_away(self.origin)
        full = (f"{route.pool}: no room now" for route in nothing.fallbacks)
        return replace(nothing, why=(*nothing.why, *full), fallbacks=())

    def _nowhere(self, origin: str) -> Shed:
        count = self._count(origin)
        count[0] += 1
        count[1] += 1
        if self._held is None:
            text = "no route table has been received yet, and there is no last good one"
            return Shed(Reason.NO_TABLE, f"{text}: {self.why_no_table}")
        text = f"this client follows no route {self.workload}/{origin}: name the origin in its `origins=`"
        return Shed(Reason.NO_ROUTE, text)

    def _choice(self, key: _Key, part: Slice, now_ms: int) -> Choice:
        choice = self._choices.get(key)
        if choice is None:
            if len(self._choices) >= CHOICES_MAX:
                self._forget_choices()
            assert self._held is not None
            choice, self._affinities[key] = compiling.compile_choice(
                part,
                key[1],
                key[2],
                generation=self._held.generation,
                out_of=self._verdicts.out_of,
                kept_back=self._verdicts.kept_back,
                report=self.report,
                phase=self._phases.get(key, self._phase),
                affinity=self._affinities.get(key),
                now_ms=now_ms,
            )
            self._choices[key] = choice
        plain = key[0] == self.origin and key[2] is None and not choice.empty
        if plain and not self._awaits_probe(part, key[1]):
            self._plain[key[1]] = choice
        return choice

    def _awaits_probe(self, part: Slice, model: str) -> bool:
        return any(
            info.pool in self._verdicts.due
            and (not model or compiling.offer_for(info, model, None) is not None)
            for info, _ in (compiling.weighted(part, part.route.split) if self._verdicts.due else ())
        )

    def _request(self, key: _Key, part: Slice) -> Request:
        assert self._held is not None
        stamp = str(self._held.generation)

        def aim(row: Candidate) -> Target:
            return compiling.target(row, key[1], key[0], stamp, self.report)

        return Request(part, key[1], key[2], self._verdicts.out_of, aim, self._phase)

    def _probe(self, key: _Key, part: Slice, now_ms: int) -> Route | None:
        """The request that finds out whether a pool whose time is over is back, if this one may go there."""
        assert self._held is not None
        pools = compiling.weighted(part, part.route.split)
        rows = compiling.candidates(pools, key[1], key[2], lambda _pool, _model: None)
        for row in rows:
            health = self._verdicts.known(row.info.pool)
            if row.info.pool not in self._verdicts.due or health is None or not health.due(now_ms):
                continue
            health.probe(now_ms)
            self._refresh(now_ms)
            found = compiling.target(row, key[1], key[0], str(self._held.generation), self.report)
            return Route(found, Reason.HALF_OPEN)
        return None

    def outs(self) -> dict[str, Out]:
        """Every pool that this process keeps away from, wholly or for a model."""
        with self._lock:
            return self._verdicts.outs()

    def health(self, pool: str) -> PoolHealth:
        """The pool's record, made at its first use."""
        return self._verdicts.health(pool)

    def report(self, target: Target, outcome: Outcome) -> None:
        """One request by ``target`` has ended so."""
        self.record(target.pool, target.model, outcome.result, retry_after_ms=outcome.retry_after_ms)
        for listener in self.on_outcome:
            listener(target, outcome)

    def record(
        self, pool: str, model: str, result: ResultClass, *, retry_after_ms: int | None = None
    ) -> None:
        """What one attempt says about its pool; may eject it or take it back."""
        now_ms = self._clock()
        with self._lock:
            changed, out = self._verdicts.record(
                pool, model, result, now_ms, retry_after_ms=retry_after_ms, may_leave=self._may_leave
            )
            if changed:
                self._changed(pool, out, now_ms)

    def alive(self, pool: str) -> None:
        """A stream from the pool has begun to speak: enough for a half-open pool to come back."""
        now_ms = self._clock()
        with self._lock:
            if self._verdicts.alive(pool, now_ms):
                self._changed(pool, None, now_ms)

    def _may_leave(self, pool: str, health: PoolHealth) -> bool:
        """Whether the others can bear it: never the last pool of a model, and for partial failure never
        more than half of a route's weight."""
        if self._held is None:
            return False
        leaving = Out(ResultClass.SERVER_ERROR, 0, 0)

        def out_of(other: str, model: str) -> Out | None:
            return leaving if other == pool else self._verdicts.out_of(other, model)

        for part in self._held.parts.values():
            info = next((info for info in part.pools if info.pool == pool), None)
            if info is None:
                continue
            if health.partial and compiling.out_share(part, out_of) > PARTIAL_SHARE_MAX:
                return False
            models = [offer.model for offer in info.models] or [""]
            if not all(compiling.survives(part, model, out_of) for model in models):
                return False
        return True

    def tick(self, now_ms: int) -> None:
        """Let pools whose time is over come back."""
        due_ms = self._verdicts.next_due_ms
        if due_ms is None or now_ms < due_ms:
            return
        with self._lock:
            if self._verdicts.tick(now_ms, self._carried()):
                self._forget_choices()

    @property
    def next_due_ms(self) -> int | None:
        """When ``tick`` has something to do."""
        return self._verdicts.next_due_ms

    def apply(self, held: Held) -> None:
        """Swap the table. Ejections stay, except those for a fault of configuration that has been changed."""
        with self._lock:
            before, self._held = self._held, held
            self._verdicts.swap(_endpoints(before), _endpoints(held))
            self._forget_choices()
            self._refresh(self._clock())

    def _carried(self) -> set[str]:
        parts = () if self._held is None else self._held.parts.values()
        return {info.pool for part in parts for info, _ in compiling.weighted(part, part.route.split)}

    def after_fork(self) -> None:
        """In a child process: the table and what was learnt of pools stay; counts are the parent's."""
        self._lock = RLock()
        self._plain, self._choices = {}, {}
        self._counted.clear()

    def take_counts(self) -> dict[str, tuple[int, int]]:
        """Origin -> (requests offered, shed) since the last call."""
        with self._lock:
            for key, choice in self._choices.items():
                self._add_counts(key[0], choice)
            taken = {origin: (count[0], count[1]) for origin, count in sorted(self._counted.items())}
            self._counted.clear()
            return taken

    def explain(self) -> list[dict[str, Any]]:
        """See ``explained``."""
        with self._lock:
            held = self._held
            return explained(held, self._verdicts, self._clock()) if held is not None else []

    def _changed(self, pool: str, out: Out | None, now_ms: int) -> None:
        self._forget_choices()
        self._refresh(now_ms)
        if out is not None:
            for listener in self.on_ejection:
                listener(pool, out)

    def _refresh(self, now_ms: int) -> None:
        self._verdicts.refresh(now_ms)
        if self._verdicts.due:
            self._plain = {}

    def _forget_choices(self) -> None:
        self._plain = {}
        for key in list(self._choices):
            self._drop(key)

    def _drop(self, key: _Key) -> None:
        choice = self._choices.pop(key, None)
        if key[0] == self.origin:
            self._plain.pop(key[1], None)
        if choice is not None:
            self._add_counts(key[0], choice)
            self._phases[key] = choice.phase

    def _add_counts(self, origin: str, choice: Choice) -> None:
        picks, sheds = choice.take_counts()
        if picks:
            count = self._count(origin)
            count[0] += picks
            count[1] += sheds

    def _count(self, origin: str) -> list[int]:
        return self._counted.setdefault(origin, [0, 0])


def _endpoints(held: Held | None) -> dict[str, Endpoint]:
    parts = () if held is None else held.parts.values()
    return {info.pool: (info.url, info.adapter, info.credential) for part in parts for info in part.pools}
