"""PURE, sans I/O. One request as a machine: how an attempt ended goes in, what to do next comes out.

At most three attempts in total, one deadline over all of them, one retry loop only. Failover happens before
the first output token reaches the caller; whoever drives the machine stops asking once that is out.
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
_NOBODY = ("",)  # excludes no pool, but still says that this is no first attempt


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
    """Every pool is at its limit, or the one that is to take over has no room yet; the wait fits the
    deadline. Then ``resume``."""

    wait_ms: int


class GiveUp(Struct, frozen=True):
    """Hand the last failure to the caller; or ``nothing``: why each pool is out, where none is left."""

    why: Why
    nothing: Shed | None = None


class Refuse(Struct, frozen=True):
    """Nothing was sent, and nothing will be."""

    shed: Shed


Action: TypeAlias = Send | Wait | GiveUp | Refuse


class Wish(Struct, frozen=True):
    """What the caller asked for. ``deadline_ms`` is an instant of the monotonic clock."""

    model: str
    deadline_ms: int
    session: str | None = None
    needs: Needs | None = None
    origin: str | None = None
    bound: bool = False
    attempts_max: int = ATTEMPTS_MAX


class Attempts:
    """The machine of one request."""

    def __init__(self, wish: Wish, choose: Choose, budget: RetryBudget, pacing: Pacing) -> None:
        self.count = 0
        self.met: dict[str, str] = {}  # pool -> how its last attempt ended, in words that name it
        self._wish = wish
        self._choose = choose
        self._budget = budget
        self._pacing = pacing
        self._tried: list[str] = []
        self._reason = Reason.WEIGHTED  # of the last attempt's route
        self._place = ""  # the pool that keeps a place for this request
        self._waited = False

    def begin(self, now_ms: int) -> Action:
        """The first action."""
        self._budget.request(now_ms)
        found = self._first()
        if isinstance(found, Route):
            return self._send(found, now_ms)
        left = self._left(found, now_ms) or self._wait(found.retry_after_ms, now_ms)
        return left or Refuse(self._named(found))

    def resume(self, now_ms: int) -> Action:
        """After a ``Wait``."""
        moves = not self._wish.bound and (self._tried or self._place)
        found = self._elsewhere(self._tried or _NOBODY) if moves else self._first()
        if isinstance(found, Route):
            return self._send(found, now_ms)
        if (left := self._left(found, now_ms)) is not None:
            return left
        again = self._again() if moves and self._tried else found
        if isinstance(again, Route):
            return self._send(again, now_ms)
        nothing = self._named(found)
        return GiveUp(Why.NO_OTHER, nothing) if self._tried else Refuse(nothing)

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
        """The last attempt ended so (``because``: what its result does not say), with nothing handed to the
        caller.

        ``fruitless(pool)``: it has had no success for a while. Leaving such a pool for one that has costs no
        token, nor does being ``called_back`` from one that stalls; both go at the other pool's pace.
        """
        self._note(result, because)
        if result is ResultClass.CLIENT_ERROR:
            return GiveUp(Why.CALLER)
        most = self._wish.attempts_max
        if self.count >= most:
            return GiveUp(Why.ATTEMPTS)
        if now_ms >= self._wish.deadline_ms:
            return GiveUp(Why.DEADLINE)
        if self._wish.bound:
            wait = self._wait(retry_after_ms, now_ms) if result is ResultClass.THROTTLED else None
            return wait or GiveUp(Why.BOUND)
        free = called_back or fruitless(self._tried[-1])
        found = self._elsewhere(self._tried)
        if isinstance(found, Shed):
            again = self._again()
            # One that still serves is tried again before a wait for the last resort, but not in the end.
            may_wait = isinstance(again, Shed) or fruitless(again.pool) or self.count + 1 == most
            if (left := self._left_for(found, now_ms, free=free, at_once=not may_wait)) is not None:
                return left
            if isinstance(again, Shed):
                wait = self._wait(found.retry_after_ms, now_ms) if result is ResultClass.THROTTLED else None
                return wait or GiveUp(Why.NO_OTHER, self._named(found))
            found = again
        if free and not fruitless(found.pool):
            wait_ms = self._pacing.reserve(found.pool, now_ms, self._room_ms(now_ms))
            if wait_ms == 0:
                return self._send(found, now_ms)
            if wait_ms is not None:
                return Wait(wait_ms)
        if not self._budget.take(now_ms):
            return GiveUp(Why.BUDGET)
        return self._send(found, now_ms)

    def _first(self) -> Route | Shed:
        wish = self._wish
        return self._choose(wish.model, session=wish.session, needs=wish.needs, origin=wish.origin)

    def _elsewhere(self, exclude: Collection[str]) -> Route | Shed:
        wish = self._wish
        return self._choose(wish.model, needs=wish.needs, origin=wish.origin, exclude=exclude)

    def _again(self) -> Route | Shed:
        """A pool that was tried, but not the one that has just failed; when it is the only one that is in,
        that one: a connection that went stale should not fail a request."""
        found = self._elsewhere(self._tried[-1:])
        return found if isinstance(found, Route) else self._elsewhere(_NOBODY)

    def _left(self, nothing: Shed, now_ms: int, *, at_once: bool = False) -> Action | None:
        """By what is left when no pool is: the first of them that has room now, else (unless it must be
        ``at_once``) the first that has in time, and before a pool that is at its limit is back."""
        kept, self._place = self._place, ""
        if self._wish.bound:
            return None
        room_ms = self._room_ms(now_ms)
        if nothing.retry_after_ms is not None and not self._waited:
            room_ms = min(room_ms, nothing.retry_after_ms)
        for route in nothing.left:
            if route.pool == kept:
                return self._send(route, now_ms)
        for wait_max_ms in (1,) if at_once else (1, room_ms):
            for route in nothing.left:
                wait_ms = self._pacing.reserve(route.pool, now_ms, wait_max_ms)
                if wait_ms == 0:
                    return self._send(route, now_ms)
                if wait_ms is not None:
                    self._place = route.pool
                    return Wait(wait_ms)
        return None

    def _left_for(self, nothing: Shed, now_ms: int, *, free: bool, at_once: bool) -> Action | None:
        """The same as a retry: for a token, unless it leaves a pool that has had no success."""
        if not free and self._budget.left(now_ms) < 1:
            return None
        left = self._left(nothing, now_ms, at_once=at_once)
        if left is not None and not free:
            self._budget.take(now_ms)
        return left

    def _note(self, result: ResultClass, because: str) -> None:
        pool = self._tried[-1]
        said = f"{result}, {because}" if because else f"{result}"
        self.met[pool] = f"{pool}: {said}{' (last resort)' if self._reason is Reason.LAST_RESORT else ''}"

    def _named(self, nothing: Shed) -> Shed:
        """With how each attempt ended, and who has no room in time."""
        why = {line.partition(": ")[0]: line for line in nothing.why}
        why |= {route.pool: f"{route.pool}: no room in time" for route in nothing.left}
        return replace(nothing, why=tuple((why | self.met).values()))

    def _send(self, route: Route, now_ms: int) -> Send:
        self.count += 1
        self._tried.append(route.pool)
        self._reason = route.reason
        return Send(route, max(1, self._wish.deadline_ms - now_ms))

    def _wait(self, wait_ms: int | None, now_ms: int) -> Wait | None:
        """Once a request, and only if it fits."""
        if wait_ms is None or self._waited or wait_ms >= self._room_ms(now_ms):
            return None
        self._waited = True
        return Wait(max(1, wait_ms))

    def _room_ms(self, now_ms: int) -> int:
        """How long a wait may be."""
        return min(WAIT_MAX_MS + 1, self._wish.deadline_ms - now_ms)
