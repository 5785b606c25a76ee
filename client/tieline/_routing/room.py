"""PURE. How many more requests each pool has room for, by the rate-limit headers of its answers. Not
thread-safe: the router has a lock. Times are monotonic milliseconds.

An answer says what was left when the provider took in its request. What this process has sent there since is
not counted in it, nor may be what was on its way then and had left just before: requests overtake each other.
So the room is what was left, less these, plus what has come back since. What comes back is the limit's own
refill: what is used up now, spread evenly over the time until the reset (a token bucket, as OpenAI and
Anthropic have it). A provider whose window starts anew all at once, or one whose key other processes use too,
answers 429 before that; each 429 halves the refill that is expected, and answers raise it again. At the reset
nothing is known any more, until the next answer.

A pool without room is passed over for one that has some; it is not out, and keeps its weight. Limits are
those of one secret: other clients, with other secrets, have their own.
"""

from msgspec import Struct

# Where no reset is stated (Azure counts requests over one to ten seconds), and the longest that counts.
RESET_DEFAULT_MS = 1_000
RESET_MAX_MS = 300_000
LIMIT_LEARNT_MS = 600_000  # where no limit is stated, the most that was left lately stands for it
REFILL_MIN = REFILL_STEP = 1 / 16
MODELS_MAX = 4_096
_UNKNOWN = float("inf")


class Allowance(Struct, frozen=True, gc=False):
    """What is left of one limit. ``limit``: all of it; ``reset_ms``: how long until all of it is there again.
    None: not stated."""

    remaining: float
    limit: float | None = None
    reset_ms: float | None = None


class RateLimits(Struct, frozen=True):
    """What one answer says is left. ``tokens``: where input and output have limits of their own, the one of
    which the smaller share is left. None: nothing is said."""

    requests: Allowance | None = None
    tokens: Allowance | None = None


class Ticket(Struct, frozen=True, gc=False):
    """One request of so many ``units``, the ``number``-th that this process has sent to the pool and model.
    ``requests_before``, ``units_before``: what had been sent by then, this included, less what the provider
    may not have counted yet when it took this one in."""

    number: int
    units: float
    requests_before: float
    units_before: float


NO_TICKET = Ticket(0, 0.0, requests_before=0.0, units_before=0.0)


class _Gauge(Struct):
    """One limit.

    ``spent``: what this process has ever sent; ``open``: the part that is on its way; ``recent`` and
    ``earlier``: what was sent in the second number ``second``, and in the one before. ``allowed``: how much
    ``spent`` may be, at ``at_ms``; it grows by ``per_ms``, to ``most`` (the stated limit) above ``spent`` at
    most, and counts until ``until_ms``. ``limit``: all of it, as stated, or learnt at ``limit_ms``.
    ``told_by``: the number of the latest request whose answer has told of it.
    """

    spent: float = 0.0
    open: float = 0.0
    recent: float = 0.0
    earlier: float = 0.0
    second: int = 0
    allowed: float = 0.0
    per_ms: float = 0.0
    at_ms: int = 0
    until_ms: int = 0
    most: float = _UNKNOWN
    limit: float = 0.0
    limit_ms: int = 0
    told_by: int = 0

    def take(self, amount: float, now_ms: int) -> float:
        """So much is sent. Gives what has been sent, less what the provider may not have counted yet."""
        second = now_ms // 1_000
        if second != self.second:
            self.earlier = self.recent if second == self.second + 1 else 0.0
            self.second, self.recent = second, 0.0
        uncounted = min(self.open, self.earlier + self.recent)
        self.spent += amount
        self.open += amount
        self.recent += amount
        return self.spent - uncounted

    def note(
        self, allowance: Allowance | None, number: int, before: float, refill_share: float, now_ms: int
    ) -> float | None:
        """What the answer to the request of that number says, ``before`` which so much was counted. Gives the
        share that is left; None where an answer to a later request has told of it."""
        if allowance is None or (number < self.told_by and now_ms < self.until_ms):
            return None
        remaining, reset_ms = allowance.remaining, allowance.reset_ms
        self._note_limit(allowance, now_ms)
        self.told_by, self.allowed, self.at_ms = number, before + remaining, now_ms
        used = self.limit - remaining if allowance.limit else 0.0
        self.per_ms = refill_share * used / reset_ms if reset_ms else 0.0
        self.until_ms = now_ms + round(min(RESET_DEFAULT_MS if reset_ms is None else reset_ms, RESET_MAX_MS))
        return remaining / self.limit if self.limit else 0.0

    def _note_limit(self, allowance: Allowance, now_ms: int) -> None:
        self.most = max(allowance.limit, allowance.remaining) if allowance.limit else _UNKNOWN
        is_old = now_ms - self.limit_ms >= LIMIT_LEARNT_MS
        if allowance.limit is not None or is_old or allowance.remaining > self.limit:
            self.limit = max(allowance.limit or 0.0, allowance.remaining)
            self.limit_ms = now_ms

    def left(self, now_ms: int) -> float:
        """What is left; infinite while nothing is known."""
        if now_ms >= self.until_ms:
            return _UNKNOWN
        return min(self.allowed + self.per_ms * (now_ms - self.at_ms) - self.spent, self.most)

    def wait_ms(self, amount: float, now_ms: int) -> int:
        """How long until so much is left, 0 if it is."""
        if self.until_ms <= now_ms:
            return 0  # nothing is known
        lack = min(amount, self.most) - self.left(now_ms)
        if lack <= 0:
            return 0
        until_reset_ms = self.until_ms - now_ms
        return max(1, min(until_reset_ms, round(lack / self.per_ms) if self.per_ms else until_reset_ms))


class _Room(Struct):
    """Of one pool and model."""

    requests: _Gauge
    units: _Gauge
    refill_share: float = 1.0

    def wait_ms(self, units: float, now_ms: int) -> int:
        """How long until there is room for a request of so many units, 0 if there is."""
        return max(self.requests.wait_ms(1, now_ms), self.units.wait_ms(units, now_ms))


class Rooms:
    """Of every pool and model that this process sends requests to."""

    def __init__(self) -> None:
        self._rooms: dict[str, dict[str, _Room]] = {}

    def take(self, pool: str, model: str, units: float, now_ms: int) -> Ticket:
        """One request of so many units leaves."""
        room = self._room(pool, model)
        requests_before, units_before = room.requests.take(1, now_ms), room.units.take(units, now_ms)
        return Ticket(
            number=int(room.requests.spent),
            units=units,
            requests_before=requests_before,
            units_before=units_before,
        )

    def settle(self, pool: str, model: str, ticket: Ticket) -> None:
        """The ticket's request is answered, or has failed."""
        room = self._room(pool, model)
        room.requests.open = max(0.0, room.requests.open - 1)
        room.units.open = max(0.0, room.units.open - ticket.units)

    def note(
        self, pool: str, model: str, ticket: Ticket, limits: RateLimits, *, refused: bool, now_ms: int
    ) -> float | None:
        """What an answer to the ticket's request says; ``refused``: it was a 429. Gives the share of the
        tighter limit that is left; None where an answer to a later request has told of it."""
        room, number = self._room(pool, model), ticket.number
        share = room.refill_share / 2 if refused else room.refill_share + REFILL_STEP
        room.refill_share = share = min(1.0, max(REFILL_MIN, share))
        lefts = (
            room.requests.note(limits.requests, number, ticket.requests_before, share, now_ms),
            room.units.note(limits.tokens, number, ticket.units_before, share, now_ms),
        )
        return min((left for left in lefts if left is not None), default=None)

    def wait_ms(self, pool: str, model: str, units: float, now_ms: int) -> int:
        """How long until the pool has room for such a request, 0 if it has as far as is known."""
        models = self._rooms.get(pool)
        room = models.get(model) if models is not None else None
        return room.wait_ms(units, now_ms) if room is not None else 0

    def pool_wait_ms(self, pool: str, now_ms: int) -> int:
        """How long until the pool has room for a request for any of its models, 0 if it has."""
        rooms = self._rooms.get(pool, {}).values()
        return min((room.wait_ms(1, now_ms) for room in rooms), default=0)

    def lacking(self, model: str, units: float, now_ms: int) -> dict[str, int]:
        """The pools without room for such a request -> milliseconds until they have some."""
        waits = {pool: self.wait_ms(pool, model, units, now_ms) for pool in self._rooms}
        return {pool: wait_ms for pool, wait_ms in waits.items() if wait_ms}

    def _room(self, pool: str, model: str) -> _Room:
        models = self._rooms.get(pool)
        room = models.get(model) if models is not None else None
        if room is None:
            models = self._rooms.setdefault(pool, {})
            if len(models) >= MODELS_MAX:
                models.clear()  # a table names far fewer: whatever filled this is no model that is used
            room = models[model] = _Room(_Gauge(), _Gauge())
        return room
