"""Where the next request goes, and what is made of how it ended: the one thread-safe object that requests
share.

No I/O. ``pick`` reads one compiled choice and nothing else; whatever can't be answered so goes to the
``Chooser`` under the lock. Times are monotonic milliseconds.
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
from tieline._routing.chooser import Chooser
from tieline._routing.explain import explain
from tieline._routing.room import RateLimits, Rooms, Ticket
from tieline._routing.route import Needs, Outcome, Route, Shed, Target
from tieline._routing.shares import Shares
from tieline._routing.slices import ClientTable, may_leave
from tieline.backoff import Backoff
from tieline.blame import Blame
from tieline.events import ResultClass

LOOK_LATEST_MS = 500  # until the next look whether a pool has room, as an answer may tell of some
EjectionListener = Callable[[str, Out], None]


class Router:
    """Thread-safe; ``pick`` takes no lock. ``phase`` in [0, 1) differs between processes. ``usual``: how long
    answers take. ``chance`` gives numbers from 0 to 1, so that many processes that left a pool together don't
    try it together. Listeners are called in the thread of whoever reports, ``on_ejection`` and ``on_hang``
    with the lock held. ``on_hang`` is told of a pool that hangs and that the table gives no weight any more:
    it gets no further requests that could eject it."""

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
        self.on_ejection: list[EjectionListener] = []
        self.on_hang: list[Callable[[str], None]] = []
        self.on_outcome: list[Callable[[Target, Outcome], None]] = []
        self._clock = clock
        self._lock = RLock()
        self.usual = Usual()
        self._verdicts = Verdicts(lambda: Backoff(TRIAL_FIRST_S, TRIAL_LONGEST_S, chance=chance))
        self._chooser = Chooser(workload, origin, verdicts=self._verdicts, phase=phase, report=self.report)
        self._plain = self._chooser.choices.plain  # the same mapping: one look less for each pick
        self._rooms = Rooms()
        self._pace = Pace(lambda pool, now_ms: self.health(pool).successes_per_s(now_ms))

    @property
    def table(self) -> ClientTable | None:
        """The table in force."""
        return self._chooser.table

    @property
    def why_no_table(self) -> str:
        """What requests are told while there is no table."""
        return self._chooser.why_no_table

    @why_no_table.setter
    def why_no_table(self, text: str) -> None:
        self._chooser.why_no_table = text

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
        now_ms = self._clock()
        with self._lock:
            self.tick(now_ms)
            return self._chooser.choose(
                model, session, needs, exclude=exclude, origin=origin or self.origin, now_ms=now_ms
            )

    def holder(
        self, pool: str, model: str, *, exclude: Collection[str] = (), origin: str | None = None
    ) -> Route | Shed:
        """The pool that holds what a request refers to; see ``Chooser.holder``."""
        with self._lock:
            return self._chooser.holder(pool, model, exclude=exclude, origin=origin or self.origin)

    def shares(self, model: str, origin: str) -> Shares:
        """How requests for the model are to be divided now by somebody else who sends them."""
        now_ms = self._clock()
        with self._lock:
            self.tick(now_ms)
            return self._chooser.shares(model, origin, now_ms)

    def hear(self, pool: str, outcome: Outcome, *, model: str, origin: str) -> bool:
        """How a request ended that somebody else sent to the pool; the answer of one that may be tried again
        finds out whether it is back. False: the table in force has no such pool for this model and origin."""
        now_ms = self._clock()
        with self._lock:
            target = self._chooser.target(pool, model, origin)
            if target is None:
                return False
            if self._verdicts.trial(pool, model, now_ms):
                self._chooser.refresh(now_ms)
        self.report(target, outcome)
        return True

    def count(self, origin: str, requests: int, *, shed: int = 0) -> None:
        """Somebody else was asked for so many requests, and has turned ``shed`` of them away."""
        with self._lock:
            count = self._chooser.choices.count(origin)
            count.offered += requests
            count.shed += shed

    def reserve(self, pool: str, now_ms: int, wait_max_ms: int) -> Turn | None:
        """When the pool takes one more request that others have dropped; see ``Pace``. Not before it has room
        by its rate-limit headers."""
        with self._lock:
            if self._rooms.pool_wait_ms(pool, now_ms) >= wait_max_ms:
                return None
            return self._pace.reserve(pool, now_ms, wait_max_ms)

    def look(self, turn: Turn, now_ms: int) -> int:
        """Milliseconds until the next look at whether the turn has come up; 0: it has."""
        with self._lock:
            wait_ms = self._pace.look(turn, now_ms)
            room_ms = min(self._rooms.pool_wait_ms(turn.pool, now_ms), LOOK_LATEST_MS)
            return max(wait_ms, room_ms)

    def take_room(self, target: Target, units: float) -> Ticket:
        """A request of so many units leaves for the target."""
        now_ms = self._clock()
        with self._lock:
            return self._rooms.take(target.pool, target.model, units, now_ms)

    def note_room(
        self, target: Target, ticket: Ticket, limits: RateLimits | None, *, refused: bool
    ) -> float | None:
        """The ticket's request has ended; what its answer's headers say is left there. See ``Rooms.note``."""
        now_ms = self._clock()
        with self._lock:
            self._rooms.settle(target.pool, target.model, ticket)
            if limits is None:
                return None
            return self._rooms.note(target.pool, target.model, ticket, limits, refused=refused, now_ms=now_ms)

    def has_room(self, target: Target, units: float, now_ms: int) -> bool:
        """Whether the target has room for such a request, by its rate-limit headers."""
        return self._rooms.wait_ms(target.pool, target.model, units, now_ms) == 0

    def without_room(self, model: str, units: float, now_ms: int) -> dict[str, int]:
        """The pools without room for such a request -> milliseconds until they have some."""
        with self._lock:
            return self._rooms.lacking(model, units, now_ms)

    def took_over(self, pool: str) -> None:
        """The pool has answered a request that another has dropped: it has room for more."""
        now_ms = self._clock()
        with self._lock:
            self._pace.answered(pool, now_ms)

    def turned_away(self, origin: str) -> None:
        """A request for which there were fallbacks has not been sent."""
        with self._lock:
            self._chooser.choices.count(origin).shed += 1

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

    def outs(self) -> dict[str, Out]:
        """Every pool that this process keeps away from, wholly or for a model."""
        with self._lock:
            return self._verdicts.outs()

    def health(self, pool: str) -> PoolHealth:
        """The pool's record, begun at its first use."""
        return self._verdicts.health(pool)

    def report(self, target: Target, outcome: Outcome, *, is_timed: bool = False) -> None:
        """One request by ``target`` has ended. ``is_timed``: ``timed`` has been told how long it took."""
        if not is_timed and outcome.result is ResultClass.OK:
            for took_ms, is_stream in ((outcome.first_token_ms, True), (outcome.whole_ms, False)):
                if took_ms is not None:
                    self.timed(target, took_ms, is_stream=is_stream)
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
            if result is ResultClass.TIMEOUT and self.table is not None:
                self._tell_hangs({pool} & self._verdicts.hanging(now_ms) - self.table.carried())

    def timed(self, target: Target, took_ms: float, *, is_stream: bool) -> None:
        """The first output of a stream, or a whole answer, took so long, or was given up after so long. A
        pool that is far slower than usual gets a smaller share."""
        now_ms = self._clock()
        with self._lock:
            changed = self._verdicts.slowness.learn(
                target.pool, target.model, took_ms, is_stream=is_stream, now_ms=now_ms
            )
            if changed:
                self._changed(target.pool, None, now_ms)

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
            carried = set() if self.table is None else self.table.carried()
            if self._verdicts.tick(now_ms, carried):
                self._chooser.choices.forget()

    @property
    def next_due_ms(self) -> int | None:
        """When ``tick`` has something to do."""
        return self._verdicts.next_due_ms

    def apply(self, table: ClientTable) -> None:
        """Swap the table. Ejections stay, except those of pools whose address or credential has changed."""
        now_ms = self._clock()
        with self._lock:
            hanging = self._verdicts.hanging(now_ms)
            self._chooser.apply(table, now_ms)
            self._tell_hangs(hanging - table.carried() if hanging else ())

    def _tell_hangs(self, pools: Collection[str]) -> None:
        for pool in pools:
            for listener in self.on_hang:
                listener(pool)

    def secret_is_back(self, credential: str) -> None:
        """A secret that could not be had is there again: pools that are out for it may be tried at once."""
        with self._lock:
            self._verdicts.hasten(credential, self._clock())
            self._chooser.refresh(self._clock())

    def after_fork(self) -> None:
        """In a child process: the table and what was learnt of pools stay; counts, and what is on its way,
        are the parent's."""
        self._lock = RLock()
        self._rooms = Rooms()
        self._chooser.choices.after_fork()

    def take_counts(self) -> dict[str, tuple[int, int]]:
        """Origin -> (requests offered, shed) since the last call."""
        with self._lock:
            return self._chooser.choices.take_counts()

    def explain(self) -> list[dict[str, Any]]:
        """Which pool is out, why and until when; the rows of ``tieline._routing.explain.explain``."""
        with self._lock:
            return (
                [] if self.table is None else explain(self.table, self._verdicts, self._rooms, self._clock())
            )

    def _may_leave(self, pool: str, health: PoolHealth) -> bool:
        return self.table is not None and may_leave(self.table, pool, health, out_of=self._verdicts.out_of)

    def _changed(self, pool: str, out: Out | None, now_ms: int) -> None:
        self._chooser.choices.forget()
        self._chooser.refresh(now_ms)
        if out is not None:
            for listener in self.on_ejection:
                listener(pool, out)
