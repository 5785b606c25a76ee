"""PURE, sans I/O. One request as a machine: how an attempt ended goes in, what to do next comes out.

At most three attempts in total, one deadline over all of them, one retry loop only. Failover happens before
the first output token reaches the caller; whoever drives the machine stops asking once that is out.

    begin() -> Send | Wait | Refuse
    Send -> the attempt failed -> failed() -> Send | Wait | GiveUp
    Wait -> the time has passed -> resume() -> Send | Wait | GiveUp | Refuse

A retry is paid for in one of two ways. Leaving a pool that still succeeds takes a token of the retry budget,
so that retries can't multiply the load. Leaving a pool that has had no success for a while multiplies
nothing, as that pool serves nothing, and so is free; but then all its requests leave at once, and each waits
for its turn at the pool that takes over (``Pacing.reserve``).
"""

from collections.abc import Callable, Collection
from enum import StrEnum
from typing import Protocol, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from tieline._routing.budget import RetryBudget
from tieline._routing.route import Needs, Reason, Route, Shed
from tieline.events import ResultClass

ATTEMPTS_MAX = 3
WAIT_MAX_MS = 30_000
_NO_EXCLUSION = ("",)  # excludes no pool, but still says that this is no first attempt


class Choose(Protocol):
    """Where an attempt goes; ``exclude`` names pools already tried."""

    def __call__(
        self,
        model: str,
        *,
        session: str | None = None,
        needs: Needs | None = None,
        exclude: Collection[str] = (),
        origin: str | None = None,
    ) -> Route | Shed: ...


class Pacing(Protocol):
    """When a pool takes one more request that others have dropped; see ``Pace``."""

    def reserve(self, pool: str, now_ms: int, wait_max_ms: int) -> int | None: ...


class Why(StrEnum):
    """Why a request ends with the failure it last met."""

    CALLER = "caller"  # the caller's own error
    ATTEMPTS = "attempts"
    DEADLINE = "deadline"
    BUDGET = "retry_budget"
    BOUND = "bound"  # the state it refers to lives in one pool
    NO_OTHER = "no_other_pool"


class Send(Struct, frozen=True):
    """Try this route; the attempt may take ``left_ms`` at most."""

    route: Route
    left_ms: int


class Wait(Struct, frozen=True):
    """Wait so long, then ``resume``: every pool is at its limit, or the one that is to take over has no room
    yet. The wait fits the deadline."""

    wait_ms: int


class GiveUp(Struct, frozen=True):
    """Hand the last failure to the caller; or, where no pool is left, ``shed``, which names why each is
    out."""

    why: Why
    shed: Shed | None = None


class Refuse(Struct, frozen=True):
    """Nothing was sent, and nothing will be."""

    shed: Shed


Action: TypeAlias = Send | Wait | GiveUp | Refuse


class Wish(Struct, frozen=True):
    """What the caller asked for. ``deadline_ms`` is an instant of the monotonic clock. ``bound``: it refers
    to what one pool holds, and can't be served elsewhere."""

    model: str
    deadline_ms: int
    session: str | None = None
    needs: Needs | None = None
    origin: str | None = None
    bound: bool = False
    attempts_max: int = ATTEMPTS_MAX


class Attempts:
    """The machine of one request. Times are monotonic milliseconds.

    ``count``: attempts so far. ``endings``: pool -> how its last attempt ended, in words that name the pool.
    """

    def __init__(self, wish: Wish, choose: Choose, budget: RetryBudget, *, pacing: Pacing) -> None:
        self.count = 0
        self.endings: dict[str, str] = {}
        self._wish = wish
        self._choose = choose
        self._budget = budget
        self._pacing = pacing
        self._tried: list[str] = []
        self._reason = Reason.WEIGHTED  # of the last attempt's route
        self._place = ""  # the pool that keeps a place for this request while it waits
        self._waited = False  # for a Retry-After: once a request

    def begin(self, now_ms: int) -> Action:
        """The first action."""
        self._budget.request(now_ms)
        choice = self._choose_first()
        if isinstance(choice, Route):
            return self._send(choice, now_ms)
        action = self._fall_back(choice, now_ms) or self._wait(choice.retry_after_ms, now_ms)
        return action or Refuse(self._explained(choice))

    def resume(self, now_ms: int) -> Action:
        """The action after a ``Wait``. What was decided before the wait is decided anew: a pool may be
        back."""
        moves = not self._wish.bound and (self._tried or self._place)
        choice = self._choose_other(self._tried or _NO_EXCLUSION) if moves else self._choose_first()
        if isinstance(choice, Route):
            return self._send(choice, now_ms)
        if (action := self._fall_back(choice, now_ms)) is not None:
            return action
        again = self._choose_again() if moves and self._tried else choice
        if isinstance(again, Route):
            return self._send(again, now_ms)
        shed = self._explained(choice)
        return GiveUp(Why.NO_OTHER, shed) if self._tried else Refuse(shed)

    def failed(
        self,
        result: ResultClass,
        now_ms: int,
        *,
        fruitless: Callable[[str], bool],
        called_back: bool = False,
        retry_after_ms: int | None = None,
        because: str = "",
    ) -> Action:
        """The action after the last attempt ended with ``result``, with nothing handed to the caller.

        ``because``: what the result does not say. ``fruitless(pool)``: it has had no success for a while.
        Leaving such a pool for one that has costs no token, nor does being ``called_back`` from one that
        stalls; both go at the other pool's pace.
        """
        self._note(result, because)
        if (end := self._end(result, retry_after_ms, now_ms)) is not None:
            return end
        free = called_back or fruitless(self._tried[-1])
        choice = self._choose_other(self._tried)
        if isinstance(choice, Shed):
            again = self._choose_again()
            # One that still serves is tried again before a wait for the last resort, but not in the end.
            may_wait = isinstance(again, Shed) or fruitless(again.pool) or self._is_last_attempt()
            action = self._fall_back_from(choice, now_ms, free=free, at_once=not may_wait)
            if action is not None:
                return action
            if isinstance(again, Shed):
                wait = self._wait(choice.retry_after_ms, now_ms) if result is ResultClass.THROTTLED else None
                return wait or GiveUp(Why.NO_OTHER, self._explained(choice))
            choice = again
        return self._retry(choice, now_ms, free=free and not fruitless(choice.pool))

    def _end(self, result: ResultClass, retry_after_ms: int | None, now_ms: int) -> Action | None:
        """What forbids another pool, whichever pools there are; None if nothing does."""
        if result is ResultClass.CLIENT_ERROR:
            return GiveUp(Why.CALLER)
        if self.count >= self._wish.attempts_max:
            return GiveUp(Why.ATTEMPTS)
        if now_ms >= self._wish.deadline_ms:
            return GiveUp(Why.DEADLINE)
        if self._wish.bound:
            wait = self._wait(retry_after_ms, now_ms) if result is ResultClass.THROTTLED else None
            return wait or GiveUp(Why.BOUND)
        return None

    def _retry(self, route: Route, now_ms: int, *, free: bool) -> Action:
        """For no token at the pool's pace, else for a token."""
        if free:
            wait_ms = self._pacing.reserve(route.pool, now_ms, self._room_ms(now_ms))
            if wait_ms == 0:
                return self._send(route, now_ms)
            if wait_ms is not None:
                return Wait(wait_ms)
        if not self._budget.take(now_ms):
            return GiveUp(Why.BUDGET)
        return self._send(route, now_ms)

    def _is_last_attempt(self) -> bool:
        return self.count + 1 == self._wish.attempts_max

    def _choose_first(self) -> Route | Shed:
        wish = self._wish
        return self._choose(wish.model, session=wish.session, needs=wish.needs, origin=wish.origin)

    def _choose_other(self, exclude: Collection[str]) -> Route | Shed:
        wish = self._wish
        return self._choose(wish.model, needs=wish.needs, origin=wish.origin, exclude=exclude)

    def _choose_again(self) -> Route | Shed:
        """A pool that was tried, but not the one that has just failed. When that is the only one that is in,
        that one: a connection that went stale should not fail a request."""
        choice = self._choose_other(self._tried[-1:])
        return choice if isinstance(choice, Route) else self._choose_other(_NO_EXCLUSION)

    def _fall_back(self, shed: Shed, now_ms: int, *, at_once: bool = False) -> Action | None:
        """The table's fallbacks, when no pool of the split is left: the first of them that has room now, else
        (unless it must be ``at_once``) the first that has in time and before a pool that is at its limit is
        back."""
        place, self._place = self._place, ""
        if self._wish.bound:
            return None
        room_ms = self._room_ms(now_ms)
        if shed.retry_after_ms is not None and not self._waited:
            room_ms = min(room_ms, shed.retry_after_ms)
        for route in shed.fallbacks:
            if route.pool == place:
                return self._send(route, now_ms)
        for wait_max_ms in (1,) if at_once else (1, room_ms):
            for route in shed.fallbacks:
                wait_ms = self._pacing.reserve(route.pool, now_ms, wait_max_ms)
                if wait_ms == 0:
                    return self._send(route, now_ms)
                if wait_ms is not None:
                    self._place = route.pool
                    return Wait(wait_ms)
        return None

    def _fall_back_from(self, shed: Shed, now_ms: int, *, free: bool, at_once: bool) -> Action | None:
        """The same as a retry: for a token, unless it leaves a pool that has had no success."""
        if not free and self._budget.left(now_ms) < 1:
            return None
        action = self._fall_back(shed, now_ms, at_once=at_once)
        if action is not None and not free:
            self._budget.take(now_ms)
        return action

    def _note(self, result: ResultClass, because: str) -> None:
        pool = self._tried[-1]
        ending = f"{result}, {because}" if because else f"{result}"
        last_resort = " (last resort)" if self._reason is Reason.LAST_RESORT else ""
        self.endings[pool] = f"{pool}: {ending}{last_resort}"

    def _explained(self, shed: Shed) -> Shed:
        """The same with how each attempt ended, and which fallback has no room in time."""
        why = {line.partition(": ")[0]: line for line in shed.why}
        why |= {route.pool: f"{route.pool}: no room in time" for route in shed.fallbacks}
        return replace(shed, why=tuple((why | self.endings).values()))

    def _send(self, route: Route, now_ms: int) -> Send:
        self.count += 1
        self._tried.append(route.pool)
        self._reason = route.reason
        return Send(route, max(1, self._wish.deadline_ms - now_ms))

    def _wait(self, wait_ms: int | None, now_ms: int) -> Wait | None:
        """For a Retry-After: once a request, and only if it fits."""
        if wait_ms is None or self._waited or wait_ms >= self._room_ms(now_ms):
            return None
        self._waited = True
        return Wait(max(1, wait_ms))

    def _room_ms(self, now_ms: int) -> int:
        """How long a wait may be, exclusive."""
        return min(WAIT_MAX_MS + 1, self._wish.deadline_ms - now_ms)
