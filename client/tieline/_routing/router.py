"""Where the next request goes: the table in force, the pools this process keeps away from, and compiled
choices.

No I/O. ``pick`` reads one compiled choice and nothing else; choices are compiled anew when the table is
swapped or a pool goes out or comes back, never by a pick of one that exists. Times are monotonic
milliseconds.
"""

import random
from collections.abc import Callable, Collection
from threading import RLock
from typing import Any

from msgspec.structs import replace

from tieline._health.ejection import TRIAL_FIRST_S, TRIAL_LONGEST_S, Out, PoolHealth
from tieline._health.usual import Usual
from tieline._health.verdicts import Verdicts
from tieline._routing.budget import Pace, Turn
from tieline._routing.choices import ChoiceKey, Choices
from tieline._routing.compile import compile_choice, target_of
from tieline._routing.explain import explain
from tieline._routing.fallback import PoolQuery, after_losses, with_fallbacks
from tieline._routing.pick import Choice
from tieline._routing.route import Needs, Outcome, Reason, Route, Shed, Target
from tieline._routing.slices import (
    Candidate,
    ClientTable,
    awaits_trial,
    candidates,
    may_leave,
    normalise,
    sharing_state,
    weighted,
)
from tieline.backoff import Backoff
from tieline.blame import Blame
from tieline.events import ResultClass
from tieline.table import Slice

EjectionListener = Callable[[str, Out], None]


class Router:
    """Thread-safe; ``pick`` takes no lock. ``phase`` in [0, 1) differs between processes. ``why_no_table``:
    what to say while there is none. ``usual``: how long answers take. ``chance`` gives numbers from 0 to 1,
    so that many processes that left a pool together don't try it together. Listeners are called in the thread
    of whoever reports, ``on_ejection`` with the lock held."""

    def __init__(
        self,
        workload: str,
        origin: str,
        *,
        clock: Callable[[], int],
        phase: float,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.workload = workload
        self.origin = origin
        self.why_no_table = "the client is not running: use `async with`, `with`, or start()"
        self.on_ejection: list[EjectionListener] = []
        self.on_outcome: list[Callable[[Target, Outcome], None]] = []
        self._clock = clock
        self._phase = phase
        self._lock = RLock()
        self._table: ClientTable | None = None
        self._choices = Choices(origin)
        self._plain = self._choices.plain  # the same mapping: one look less for each pick
        self.usual = Usual()
        self._verdicts = Verdicts(lambda: Backoff(TRIAL_FIRST_S, TRIAL_LONGEST_S, chance=chance))
        self._pace = Pace(lambda pool, now_ms: self.health(pool).successes_per_s(now_ms))

    @property
    def table(self) -> ClientTable | None:
        """The table in force."""
        return self._table

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
        left the route may be a fallback (the table's last resort, by its ``reason``), as long as that has
        room.
        """
        if needs is None and not exclude:
            choice = self._plain.get(model)
            if choice is not None:
                return choice.next() if session is None else choice.for_session(session)
        result = self.choose(model, session=session, needs=needs, exclude=exclude)
        if isinstance(result, Shed) and result.fallbacks:
            return self._fall_back(result, is_retry=bool(exclude))
        return result

    def choose(
        self,
        model: str,
        *,
        session: str | None = None,
        needs: Needs | None = None,
        exclude: Collection[str] = (),
        origin: str | None = None,
    ) -> Route | Shed:
        """``pick`` for any of the client's origins, which leaves fallbacks to the caller: it may try each at
        its pool's pace (``reserve``). If it tries none, the request was ``turned_away``."""
        choice = (
            self._plain.get(model) if needs is None and (origin is None or origin == self.origin) else None
        )
        if choice is not None and not exclude:
            return choice.next() if session is None else choice.for_session(session)
        with self._lock:
            return self._choose(model, session, needs, exclude=exclude, origin=origin or self.origin)

    def holder(
        self, pool: str, model: str, *, exclude: Collection[str] = (), origin: str | None = None
    ) -> Route | Shed:
        """The pool that holds what a request refers to, or one that shares its endpoint and credential:
        weights don't matter. The holder comes first, and also when all of them are out, as there is no
        other."""
        origin = origin or self.origin
        with self._lock:
            part = None if self._table is None else self._table.parts.get(origin)
            if self._table is None or part is None:
                return self._nowhere(origin)
            rows = [
                row
                for row in sharing_state(part, pool, model, out_of=self._verdicts.out_of)
                if row.info.pool not in exclude
            ]
            count = self._choices.count(origin)
            count.offered += not exclude
            if not rows:
                count.shed += not exclude
                return Shed(Reason.NO_POOL, f"{pool} can't be asked, and no other pool shares its state")
            row = next((row for row in rows if row.out is None), rows[0])
            return Route(self._target(row, model, origin), Reason.HELD)

    def reserve(self, pool: str, now_ms: int, wait_max_ms: int) -> Turn | None:
        """When the pool takes one more request that others have dropped; see ``Pace``."""
        with self._lock:
            return self._pace.reserve(pool, now_ms, wait_max_ms)

    def look(self, turn: Turn, now_ms: int) -> int:
        """Milliseconds until the next look at whether the turn has come up; 0: it has."""
        with self._lock:
            return self._pace.look(turn, now_ms)

    def took_over(self, pool: str) -> None:
        """The pool has answered a request that another has dropped: it has room for more."""
        now_ms = self._clock()
        with self._lock:
            self._pace.answered(pool, now_ms)

    def turned_away(self, origin: str) -> None:
        """A request for which there were fallbacks has not been sent."""
        with self._lock:
            self._choices.count(origin).shed += 1

    def _choose(
        self, model: str, session: str | None, needs: Needs | None, *, exclude: Collection[str], origin: str
    ) -> Route | Shed:
        now_ms = self._clock()
        self.tick(now_ms)
        part = None if self._table is None else self._table.parts.get(origin)
        if part is None:
            return self._nowhere(origin)
        key = ChoiceKey(origin, model, normalise(part, needs))
        choice = self._choice(key, part, now_ms)
        if exclude:
            result = choice.excluding(exclude)
            if isinstance(result, Shed):
                query = self._query(key, part)
                result = after_losses(query, exclude) or with_fallbacks(query, choice, exclude, now_ms=now_ms)
            return result
        if self._verdicts.due and (probe := self._probe(key, part, now_ms)) is not None:
            self._choices.count(origin).offered += 1
            return probe
        result = choice.next() if session is None else choice.for_session(session)
        if choice.empty:
            result = with_fallbacks(self._query(key, part), choice, (), now_ms=now_ms)
            # The choice has counted it as shed; whether it is shows when its fallbacks were tried
            # (``turned_away``).
            self._choices.count(origin).shed -= bool(result.fallbacks)
            if result.retry_after_ms is not None:
                self._choices.drop(
                    key
                )  # its time counts from when it was compiled: compile it anew next time
        return result

    def _fall_back(self, shed: Shed, *, is_retry: bool) -> Route | Shed:
        """The first of the fallbacks whose pool has room now: a pick waits for nothing."""
        now_ms = self._clock()
        for route in shed.fallbacks:
            if self.reserve(route.pool, now_ms, 1) is not None:
                return route
        if not is_retry:
            self.turned_away(self.origin)
        full = (f"{route.pool}: no room now" for route in shed.fallbacks)
        return replace(shed, why=(*shed.why, *full), fallbacks=())

    def _nowhere(self, origin: str) -> Shed:
        count = self._choices.count(origin)
        count.offered += 1
        count.shed += 1
        if self._table is None:
            text = "no route table has been received yet, and there is no last good one"
            return Shed(Reason.NO_TABLE, f"{text}: {self.why_no_table}")
        text = f"this client follows no route {self.workload}/{origin}: name the origin in its `origins=`"
        return Shed(Reason.NO_ROUTE, text)

    def _choice(self, key: ChoiceKey, part: Slice, now_ms: int) -> Choice:
        choice = self._choices.get(key)
        if choice is None:
            assert self._table is not None
            choice, affinity = compile_choice(
                part,
                key.model,
                key.needs,
                generation=self._table.generation,
                out_of=self._verdicts.out_of,
                share_of=self._verdicts.share,
                turned_away=self._verdicts.turned_away,
                report=self.report,
                phase=self._choices.phase(key, self._phase),
                affinity=self._choices.affinity(key),
                now_ms=now_ms,
            )
            self._choices.put(key, choice, affinity)
        is_plain = key.origin == self.origin and key.needs is None and not choice.empty
        if is_plain and not (self._verdicts.due and awaits_trial(part, key.model, self._verdicts.awaits)):
            self._plain[key.model] = choice
        return choice

    def _query(self, key: ChoiceKey, part: Slice) -> PoolQuery:
        return PoolQuery(
            part=part,
            model=key.model,
            needs=key.needs,
            out_of=self._verdicts.out_of,
            target_of=lambda row: self._target(row, key.model, key.origin),
            phase=self._phase,
        )

    def _target(self, row: Candidate, model: str, origin: str) -> Target:
        assert self._table is not None
        return target_of(row, model, origin, generation=str(self._table.generation), report=self.report)

    def _probe(self, key: ChoiceKey, part: Slice, now_ms: int) -> Route | None:
        """The request that finds out whether a pool whose time is over is back, if this one may go there."""
        pools = weighted(part, part.route.split)
        for row in candidates(pools, key.model, key.needs, out_of=lambda _pool, _model: None):
            if not self._verdicts.trial(row.info.pool, key.model, now_ms):
                continue
            self._refresh(now_ms)
            return Route(self._target(row, key.model, key.origin), Reason.HALF_OPEN)
        return None

    def outs(self) -> dict[str, Out]:
        """Every pool that this process keeps away from, wholly or for a model."""
        with self._lock:
            return self._verdicts.outs()

    def health(self, pool: str) -> PoolHealth:
        """The pool's record, begun at its first use."""
        return self._verdicts.health(pool)

    def report(self, target: Target, outcome: Outcome) -> None:
        """One request by ``target`` has ended."""
        self.record(
            target.pool,
            target.model,
            outcome.result,
            retry_after_ms=outcome.retry_after_ms,
            blame=outcome.blame,
            subject=outcome.subject,
        )
        if outcome.result is ResultClass.OK:
            self.usual.learn(
                target.pool, target.model, first_token_ms=outcome.first_token_ms, whole_ms=outcome.whole_ms
            )
        for listener in self.on_outcome:
            listener(target, outcome)

    def record(
        self,
        pool: str,
        model: str,
        result: ResultClass,
        *,
        retry_after_ms: int | None = None,
        blame: Blame | None = None,
        subject: int = 0,
    ) -> None:
        """Take in what one attempt says about its pool; may eject it or take it back. ``blame``, ``subject``:
        as in ``Outcome``."""
        now_ms = self._clock()
        with self._lock:
            if result in (ResultClass.THROTTLED, ResultClass.TIMEOUT):
                self._pace.full(pool, now_ms)
            changed, out = self._verdicts.record(
                pool,
                model,
                result,
                now_ms,
                retry_after_ms=retry_after_ms,
                may_leave=self._may_leave,
                blame=blame,
                subject=subject,
            )
            if changed:
                self._changed(pool, out, now_ms)

    def is_impatient(self, target: Target, waited_ms: int, *, is_stream: bool) -> bool:
        """Whether a caller who gave up after so long says nothing about the pool: it served others meanwhile,
        and its answers may take so long."""
        at_ms = self.health(target.pool).last_success_ms
        served = at_ms is not None and at_ms >= self._clock() - waited_ms
        return served and not self.usual.is_hang(target.pool, target.model, waited_ms, is_stream=is_stream)

    def unanswered(self, pool: str) -> None:
        """A caller gave up before the pool could be called hung."""
        now_ms = self._clock()
        with self._lock:
            self._verdicts.health(pool).unanswered(now_ms)

    def alive(self, pool: str) -> None:
        """A stream from the pool has given its first output: enough for a half-open pool to come back."""
        now_ms = self._clock()
        with self._lock:
            if self._verdicts.alive(pool, now_ms):
                self._changed(pool, None, now_ms)

    def tick(self, now_ms: int) -> None:
        """Let pools whose time is over come back."""
        due_ms = self._verdicts.next_due_ms
        if due_ms is None or now_ms < due_ms:
            return
        with self._lock:
            carried = set() if self._table is None else self._table.carried()
            if self._verdicts.tick(now_ms, carried):
                self._choices.forget()

    @property
    def next_due_ms(self) -> int | None:
        """When ``tick`` has something to do."""
        return self._verdicts.next_due_ms

    def apply(self, table: ClientTable) -> None:
        """Swap the table. Ejections stay, except those of pools whose address or credential has changed."""
        with self._lock:
            before, self._table = self._table, table
            self._verdicts.swap({} if before is None else before.addresses(), table.addresses())
            self._choices.forget()
            self._refresh(self._clock())

    def secret_is_back(self, credential: str) -> None:
        """A secret that could not be had is there again: pools that are out for it may be tried at once."""
        with self._lock:
            self._verdicts.hasten(credential, self._clock())
            self._refresh(self._clock())

    def after_fork(self) -> None:
        """In a child process: the table and what was learnt of pools stay; counts are the parent's."""
        self._lock = RLock()
        self._choices.after_fork()

    def take_counts(self) -> dict[str, tuple[int, int]]:
        """Origin -> (requests offered, shed) since the last call."""
        with self._lock:
            return self._choices.take_counts()

    def explain(self) -> list[dict[str, Any]]:
        """Which pool is out, why and until when; the rows of ``tieline._routing.explain.explain``."""
        with self._lock:
            return [] if self._table is None else explain(self._table, self._verdicts, self._clock())

    def _may_leave(self, pool: str, health: PoolHealth) -> bool:
        return self._table is not None and may_leave(self._table, pool, health, out_of=self._verdicts.out_of)

    def _changed(self, pool: str, out: Out | None, now_ms: int) -> None:
        self._choices.forget()
        self._refresh(now_ms)
        if out is not None:
            for listener in self.on_ejection:
                listener(pool, out)

    def _refresh(self, now_ms: int) -> None:
        """After any change. While a pool awaits the request that finds out, every pick takes the long way."""
        self._verdicts.refresh(now_ms)
        if self._verdicts.due:
            self._plain.clear()
