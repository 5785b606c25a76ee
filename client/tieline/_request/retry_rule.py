"""PURE, sans I/O. One request as a machine: how an attempt ended goes in, what to do next comes out.

At most three attempts in total, one deadline over all of them, one retry loop only. Failover happens before
the first output token reaches the caller; whoever drives the machine stops asking once that is out.

How an attempt ended is a ``Reading``. ``elsewhere`` allows another pool, which always comes first. ``again``
allows the same pool: with nowhere else to go the request waits a little, longer each time and as long as that
pool asked for at least, and is sent there once more. A pool whose answer allows neither is not asked again.

    begin() -> Send | Wait | Refuse
    Send -> the attempt failed -> failed(reading) -> Send | Wait | GiveUp
    Wait -> the time has passed -> resume() -> Send | Wait | GiveUp | Refuse

A retry is paid for in one of two ways. Leaving a pool that still succeeds takes a token of the retry budget,
so that retries can't multiply the load. Leaving a pool that has had no success for a while, or that has
turned the request away, multiplies nothing and so is free; but then many requests may leave at once. While
there are tokens those pay for moving at once; then each waits for its turn at the pool that takes over
(``Pacing.reserve``).
"""

from collections.abc import Callable, Collection
from enum import StrEnum
from typing import Protocol, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from tieline._routing.budget import RetryBudget, Turn
from tieline._routing.route import Needs, Reason, Route, Shed
from tieline.blame import Blame
from tieline.events import ResultClass
from tieline.providers.answers import Reading, Topic

ATTEMPTS_MAX = 3
WAIT_MAX_MS = 30_000
_NO_EXCLUSION = ("",)  # excludes no pool, but still says that this is no first attempt
_MAY_BE_UNDER_WAY = frozenset({ResultClass.TIMEOUT, ResultClass.CUT})


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

    def reserve(self, pool: str, now_ms: int, wait_max_ms: int) -> Turn | None: ...
    def look(self, turn: Turn, now_ms: int) -> int: ...


class Why(StrEnum):
    """Why a request ends with the failure it last met."""

    CALLER = "caller"  # the caller's own error
    PROVIDER = "provider"  # the provider says that the request should not be tried again
    BILLED = "may_be_billed"  # a costly request that was sent may be under way still
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
    """Wait so long, then ``resume``: every pool is at its limit, the one that is to take over has no room
    yet, or the same pool is asked again. The wait fits the deadline."""

    wait_ms: int


class GiveUp(Struct, frozen=True):
    """Hand a provider's own failure to the caller; or, where no provider has answered and no pool is left,
    ``shed``, which names why each is out."""

    why: Why
    shed: Shed | None = None


class Refuse(Struct, frozen=True):
    """Nothing was sent, and nothing will be."""

    shed: Shed


Action: TypeAlias = Send | Wait | GiveUp | Refuse


class Wish(Struct, frozen=True):
    """What the caller asked for. ``deadline_ms`` is an instant of the monotonic clock. ``bound``: it refers
    to what one pool holds, and can't be served elsewhere. ``seeks``: it is not known which pool that is, so
    that one which does not have it leads to another."""

    model: str
    deadline_ms: int
    session: str | None = None
    needs: Needs | None = None
    origin: str | None = None
    bound: bool = False
    seeks: bool = False
    attempts_max: int = ATTEMPTS_MAX


class Attempts:
    """The machine of one request. Times are monotonic milliseconds.

    ``count``: attempts so far. ``endings``: pool -> how its last attempt ended, in words that name the pool.
    ``next_wait_ms``: the next wait before a pool is asked again.
    """

    def __init__(
        self,
        wish: Wish,
        choose: Choose,
        budget: RetryBudget,
        *,
        pacing: Pacing,
        next_wait_ms: Callable[[], int],
    ) -> None:
        self.count = 0
        self.endings: dict[str, str] = {}
        self._wish = wish
        self._choose = choose
        self._budget = budget
        self._pacing = pacing
        self._next_wait_ms = next_wait_ms
        self._needs = wish.needs
        self._tried: list[str] = []
        self._spent: set[str] = set()  # pools that would answer this request no differently
        self._not_before_ms: dict[str, int] = {}  # what each asked for by Retry-After
        self._reason = Reason.WEIGHTED  # of the last attempt's route
        self._context_tokens = 0  # of the last attempt's route; 0: the table does not say
        self._turn: Turn | None = None  # the place of this request while it waits for a pool's room
        self._turn_until_ms = 0
        self._waited = False  # for a Retry-After: once a request
        self._in_line = False  # others wait for the same Retry-After

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
        if self._turn is not None and (wait_ms := self._pacing.look(self._turn, now_ms)):
            if now_ms + wait_ms < self._turn_until_ms:
                return Wait(wait_ms)
            if self._tried and not self._waited:
                return GiveUp(Why.BUDGET)
        moves = not self._wish.bound and (self._tried or self._turn is not None)
        choice = self._choose_other(self._tried or _NO_EXCLUSION) if moves else self._choose_first()
        if isinstance(choice, Route):
            return self._send_in_turn(choice, now_ms)
        if (action := self._fall_back(choice, now_ms)) is not None:
            return action
        again = self._choose_again() if moves and self._tried else choice
        if isinstance(again, Route):
            return self._send_in_turn(again, now_ms)
        shed = self._explained(choice)
        return GiveUp(Why.NO_OTHER, shed) if self._tried else Refuse(shed)

    def failed(
        self,
        reading: Reading,
        now_ms: int,
        *,
        fruitless: Callable[[str], bool],
        called_back: bool = False,
        retry_after_ms: int | None = None,
        because: str = "",
        final: Why | None = None,
    ) -> Action:
        """The action after the last attempt ended as ``reading`` says, with nothing handed to the caller.

        ``because``: what the result does not say. ``fruitless(pool)``: it has had no success for a while.
        Leaving such a pool for one that has costs no token, nor does being ``called_back`` from one that
        stalls; both go at the other pool's pace. ``final``: why there must be no other attempt.
        """
        self._note(reading, because, retry_after_ms, now_ms)
        if final is not None:
            return GiveUp(final)
        if (end := self._end(reading, retry_after_ms, now_ms)) is not None:
            return end
        # A pool that turns a request away has not worked on it: moving it multiplies nothing.
        not_worked_on = reading.result is ResultClass.THROTTLED or self._seeks_on(reading)
        free = called_back or not_worked_on or fruitless(self._tried[-1])
        choice = self._choose_other(self._tried)
        if isinstance(choice, Route):
            return self._retry(choice, now_ms, free=free and not fruitless(choice.pool))
        again = self._choose_again()
        # One that still serves is tried again before a wait for the last resort, but not in the end.
        may_wait = isinstance(again, Shed) or fruitless(again.pool) or self._is_last_attempt()
        action = self._fall_back_from(choice, now_ms, free=free, at_once=not may_wait)
        if action is not None:
            return action
        if isinstance(again, Route):
            return self._ask_again(again.pool, now_ms)
        if reading.result is ResultClass.THROTTLED and (wait := self._wait(choice.retry_after_ms, now_ms)):
            return wait
        return GiveUp(Why.CALLER if reading.blame is Blame.CALLER else Why.NO_OTHER, self._explained(choice))

    def may_leave(self) -> bool:
        """Whether this request may go to another pool if the attempt under way fails."""
        if self._wish.bound or self.count >= self._wish.attempts_max:
            return False
        choice = self._choose_other(self._tried)
        return isinstance(choice, Route) or bool(choice.fallbacks)

    def _end(self, reading: Reading, retry_after_ms: int | None, now_ms: int) -> Action | None:
        """What forbids another pool, whichever pools there are; None if nothing does."""
        if not (reading.elsewhere or reading.again):
            return GiveUp(Why.CALLER if reading.blame is Blame.CALLER else Why.PROVIDER)
        if reading.topic is Topic.CONTEXT and not self._ask_for_more_context():
            return GiveUp(Why.CALLER)
        if self.count >= self._wish.attempts_max:
            return GiveUp(Why.BOUND if self._wish.bound else Why.ATTEMPTS)
        if now_ms >= self._wish.deadline_ms:
            return GiveUp(Why.DEADLINE)
        if self._wish.bound and not self._seeks_on(reading):
            return self._end_of_bound(reading, retry_after_ms, now_ms)
        return None

    def _seeks_on(self, reading: Reading) -> bool:
        """Whether the request looks for what one pool holds, and this one does not have it."""
        return self._wish.seeks and reading.blame is Blame.REQUEST

    def _end_of_bound(self, reading: Reading, retry_after_ms: int | None, now_ms: int) -> Action:
        """There is only the one pool. It is asked again, unless what it was asked may be under way there."""
        if reading.result is ResultClass.THROTTLED:
            return self._wait(retry_after_ms, now_ms) or GiveUp(Why.BOUND)
        if reading.again and reading.result not in _MAY_BE_UNDER_WAY:
            return self._ask_again(self._tried[-1], now_ms)
        return GiveUp(Why.BOUND)

    def _ask_again(self, pool: str, now_ms: int) -> Action:
        """Wait a little before a pool that has failed this request is asked again: for a token."""
        wait_ms = max(self._next_wait_ms(), self._not_before_ms.get(pool, 0) - now_ms)
        if wait_ms >= self._room_ms(now_ms):
            return GiveUp(Why.DEADLINE if wait_ms <= WAIT_MAX_MS else Why.NO_OTHER)
        self._in_line = pool in self._not_before_ms
        return Wait(wait_ms) if self._budget.take(now_ms) else GiveUp(Why.BUDGET)

    def _ask_for_more_context(self) -> bool:
        """From now on only pools with a longer context than the last one's are asked. False if the table
        does not say how long that is: then none is known to be longer."""
        context_tokens = self._context_tokens
        if context_tokens == 0:
            return False
        self._needs = replace(self._needs or Needs(), context_tokens=context_tokens + 1)
        return True

    def _retry(self, route: Route, now_ms: int, *, free: bool) -> Action:
        """For no token if the pool has room now, else for a token, else at the pool's pace."""
        has_room = free and self._pacing.reserve(route.pool, now_ms, 1) is not None
        if has_room or self._budget.take(now_ms):
            return self._send(route, now_ms)
        return (free and self._wait_for_turn(route, now_ms)) or GiveUp(Why.BUDGET)

    def _send_in_turn(self, route: Route, now_ms: int) -> Action:
        """Of those who waited for the same Retry-After only as many go at once as the pool has room for, the
        others one after the other; one whose turn would come too late goes all the same."""
        if not self._in_line or self._pacing.reserve(route.pool, now_ms, 1) is not None:
            return self._send(route, now_ms)
        self._in_line = False
        return self._wait_for_turn(route, now_ms) or self._send(route, now_ms)

    def _wait_for_turn(self, route: Route, now_ms: int) -> Wait | None:
        """A place in the line before the pool, if its turn comes in time."""
        room_ms = self._room_ms(now_ms)
        turn = self._pacing.reserve(route.pool, now_ms, room_ms)
        if turn is None:
            return None
        self._turn, self._turn_until_ms = turn, now_ms + room_ms
        return Wait(max(1, turn.wait_ms))

    def _is_last_attempt(self) -> bool:
        return self.count + 1 == self._wish.attempts_max

    def _choose_first(self) -> Route | Shed:
        wish = self._wish
        return self._choose(wish.model, session=wish.session, needs=self._needs, origin=wish.origin)

    def _choose_other(self, exclude: Collection[str]) -> Route | Shed:
        wish = self._wish
        return self._choose(wish.model, needs=self._needs, origin=wish.origin, exclude=exclude)

    def _choose_again(self) -> Route | Shed:
        """A pool that was tried and may answer differently, but not the one that has just failed. When that
        is the only such one that is in, that one."""
        choice = self._choose_other({*self._spent, self._tried[-1]})
        return choice if isinstance(choice, Route) else self._choose_other(self._spent or _NO_EXCLUSION)

    def _fall_back(self, shed: Shed, now_ms: int, *, at_once: bool = False) -> Action | None:
        """The table's fallbacks, when no pool of the split is left: the first of them that has room now, else
        (unless it must be ``at_once``) the first that has in time and before a pool that is at its limit is
        back."""
        turn, self._turn = self._turn, None
        if self._wish.bound:
            return None
        room_ms = self._room_ms(now_ms)
        if shed.retry_after_ms is not None and not self._waited:
            room_ms = min(room_ms, shed.retry_after_ms)
        for route in shed.fallbacks:
            if turn is not None and route.pool == turn.pool:
                return self._send(route, now_ms)
        for wait_max_ms in (1,) if at_once else (1, room_ms):
            for route in shed.fallbacks:
                turn = self._pacing.reserve(route.pool, now_ms, wait_max_ms)
                if turn is not None and turn.wait_ms == 0:
                    return self._send(route, now_ms)
                if turn is not None:
                    self._turn, self._turn_until_ms = turn, now_ms + wait_max_ms
                    return Wait(turn.wait_ms)
        return None

    def _fall_back_from(self, shed: Shed, now_ms: int, *, free: bool, at_once: bool) -> Action | None:
        """The same as a retry: for a token, unless it leaves a pool that has had no success."""
        if not free and self._budget.left(now_ms) < 1:
            return None
        action = self._fall_back(shed, now_ms, at_once=at_once)
        if action is not None and not free:
            self._budget.take(now_ms)
        return action

    def _note(self, reading: Reading, because: str, retry_after_ms: int | None, now_ms: int) -> None:
        pool = self._tried[-1]
        if not reading.again:
            self._spent.add(pool)
        if retry_after_ms is not None:
            self._not_before_ms[pool] = now_ms + retry_after_ms
        ending = f"{reading.result}, {because}" if because else f"{reading.result}"
        last_resort = " (last resort)" if self._reason is Reason.LAST_RESORT else ""
        self.endings[pool] = f"{pool}: {ending}{last_resort}"

    def _explained(self, shed: Shed) -> Shed:
        """The same with how each attempt ended, and which fallback has no room in time."""
        why = {line.partition(": ")[0]: line for line in shed.why}
        why |= {route.pool: f"{route.pool}: no room in time" for route in shed.fallbacks}
        return replace(shed, why=tuple((why | self.endings).values()))

    def _send(self, route: Route, now_ms: int) -> Send:
        self.count += 1
        self._turn, self._in_line = None, False
        self._tried.append(route.pool)
        self._reason = route.reason
        self._context_tokens = route.target.offer.context_tokens if route.target.offer is not None else 0
        return Send(route, max(1, self._wish.deadline_ms - now_ms))

    def _wait(self, wait_ms: int | None, now_ms: int) -> Wait | None:
        """For a Retry-After: once a request, and only if it fits."""
        if wait_ms is None or self._waited or wait_ms >= self._room_ms(now_ms):
            return None
        self._waited = self._in_line = True
        return Wait(max(1, wait_ms))

    def _room_ms(self, now_ms: int) -> int:
        """How long a wait may be, exclusive."""
        return min(WAIT_MAX_MS + 1, self._wish.deadline_ms - now_ms)
