"""PURE, sans I/O. One request as a machine: how an attempt ended goes in, what to do next comes out.

At most three attempts in total, one deadline over all of them, one retry loop only. Failover happens before
the first output token reaches the caller; whoever drives the machine stops asking once that is out.
"""

from collections.abc import Callable, Collection
from enum import StrEnum
from typing import Protocol, TypeAlias

from msgspec import Struct

from tieline._budget import Pace, RetryBudget
from tieline._route import Needs, Reason, Route, Shed
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
    """Hand the last failure to the caller."""

    why: Why


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

    def __init__(self, wish: Wish, choose: Choose, budget: RetryBudget, pace: Pace) -> None:
        self.count = 0
        self._wish = wish
        self._choose = choose
        self._budget = budget
        self._pace = pace
        self._tried: list[str] = []
        self._waited = False

    def begin(self, now_ms: int) -> Action:
        """The first action."""
        self._budget.request(now_ms)
        wish = self._wish
        found = self._choose(wish.model, session=wish.session, needs=wish.needs, origin=wish.origin)
        if isinstance(found, Route):
            return self._send(found, now_ms)
        return self._wait(found.retry_after_ms, now_ms) or Refuse(found)

    def resume(self, now_ms: int) -> Action:
        """After a ``Wait``."""
        if self._tried and not self._wish.bound:
            found = self._next()
        else:
            wish = self._wish
            found = self._choose(wish.model, session=wish.session, needs=wish.needs, origin=wish.origin)
        if isinstance(found, Route):
            return self._send(found, now_ms)
        return GiveUp(Why.NO_OTHER) if self._tried else Refuse(found)

    def failed(
        self,
        result: ResultClass,
        now_ms: int,
        *,
        fruitless: Callable[[str], bool],
        called_back: bool = False,
        retry_after_ms: int | None = None,
    ) -> Action:
        """The last attempt ended so, with nothing handed to the caller.

        ``fruitless(pool)``: it has had no success for a while. Leaving such a pool for one that has costs no
        token, nor does being ``called_back`` from one that stalls; both go at the other pool's ``Pace``.
        """
        if result is ResultClass.CLIENT_ERROR:
            return GiveUp(Why.CALLER)
        if self.count >= self._wish.attempts_max:
            return GiveUp(Why.ATTEMPTS)
        if now_ms >= self._wish.deadline_ms:
            return GiveUp(Why.DEADLINE)
        if self._wish.bound:
            wait = self._wait(retry_after_ms, now_ms) if result is ResultClass.THROTTLED else None
            return wait or GiveUp(Why.BOUND)
        found = self._next()
        if isinstance(found, Shed):
            if result is ResultClass.THROTTLED:
                return self._wait(found.retry_after_ms, now_ms) or GiveUp(Why.NO_OTHER)
            return GiveUp(Why.NO_OTHER)
        if (called_back or fruitless(self._tried[-1])) and not fruitless(found.pool):
            wait_ms = self._pace.reserve(found.pool, now_ms, self._room_ms(now_ms))
            if wait_ms == 0:
                return self._send(found, now_ms)
            if wait_ms is not None:
                return Wait(wait_ms)
        if not self._budget.take(now_ms):
            return GiveUp(Why.BUDGET)
        return self._send(found, now_ms)

    def _next(self) -> Route | Shed:
        """A pool not tried yet; when all were, one that was, but not the one that has just failed; when it
        is the only one that is in, that one: a connection that went stale should not fail a request."""
        wish = self._wish
        found: Route | Shed = Shed(Reason.NO_POOL)
        for exclude in (self._tried, self._tried[-1:], _NOBODY):
            found = self._choose(wish.model, needs=wish.needs, origin=wish.origin, exclude=exclude)
            if isinstance(found, Route):
                break
        return found

    def _send(self, route: Route, now_ms: int) -> Send:
        self.count += 1
        self._tried.append(route.pool)
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
