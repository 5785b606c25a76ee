"""PURE. The retry budget of one process, and the pace at which a pool takes over what another has dropped.

Retries may add 10 % to the requests, plus 3 a second, over 10 s: without that, every caller's retries
multiply the load on what is left, just when that is least able to bear it. What leaves a pool that serves
nothing, or that has turned it away, is no such multiplication, but it may come all at once. It is let out at
the pace of the room that the other pool has: what the planner keeps on every pool (a quarter of what it is
serving, as usable capacity is 80 % of the limit), and what it shows by its answers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from tieline._health.counts import RecentCounts

WINDOW_S = 10
SHARE = 0.10
PER_S = 3
ROOM_SHARE = 0.25
AT_ONCE = 10.0  # what a pool that nobody has left for takes at once, or what it does in AT_ONCE_S if more
AT_ONCE_S = 1.0
GROWTH_MAX, GROWTH_MIN, GROWTH_STEP = 2.0, 0.25, 0.05
SHRINK_EVERY_MS = 200  # requests that were on their way together say the same thing once
FULL_FOR_MS = 2_000
HOPED_PER_S = 100.0
LOOK_EVERY_MS = 20
LOOK_AHEAD_MAX = 500
_REQUESTS, _RETRIES = range(2)


class RetryBudget:
    """Counts requests and retries by the second. Not thread-safe: its user has a lock. Times are monotonic
    milliseconds."""

    __slots__ = ("_counts", "_steady")

    def __init__(self) -> None:
        self._counts = RecentCounts(2, buckets=WINDOW_S, bucket_ms=1_000)
        self._steady = float(PER_S * WINDOW_S)

    def divide(self, processes: int) -> None:
        """This process is one of so many that share the work of one. Its share of the requests is counted
        here as they come; of the retries that are allowed whatever comes, it takes its part."""
        self._steady = PER_S * WINDOW_S / processes

    def request(self, now_ms: int) -> None:
        """One request has begun."""
        self._counts.add(_REQUESTS, now_ms)

    def take(self, now_ms: int) -> bool:
        """Spend one token, if there is one."""
        if self.left(now_ms) < 1:
            return False
        self._counts.add(_RETRIES, now_ms)
        return True

    def left(self, now_ms: int) -> float:
        """Tokens left in the window that ends now."""
        requests, retries = self._counts.sums(now_ms)
        return SHARE * requests + self._steady - retries


class Turn(NamedTuple):
    """A place in the line before a pool. ``wait_ms``: when to look whether it has come up, 0 for now."""

    pool: str
    place: float
    wait_ms: int


@dataclass(slots=True)
class _Line:
    """The line before one pool. ``admitted``: how many it has room for since the beginning; ``taken``: places
    given. ``growth``: how many more each answer makes room for. ``shrunk_ms``: when that was last halved."""

    at_ms: int
    admitted: float = AT_ONCE
    taken: float = 0.0
    growth: float = GROWTH_MAX
    shrunk_ms: int | None = None


class Pace:
    """When each pool takes the next request that another has dropped. ``rate_of(pool, now_ms)``: requests a
    second that it serves. Not thread-safe: its user has a lock.

    Room comes from three sources: ten at once for a pool that nobody has left for, a steady rate in
    proportion to what the pool serves, and its answers. Each answer to a request that was moved there makes
    room for two more, so that an idle pool takes over a burst as fast as it answers (the slow start of TCP).
    A 429 or a time-out halves that, so that a pool at its limit is not run over.
    """

    __slots__ = ("_lines", "_rate_of")

    def __init__(self, rate_of: Callable[[str, int], float]) -> None:
        self._rate_of = rate_of
        self._lines: dict[str, _Line] = {}

    def reserve(self, pool: str, now_ms: int, wait_max_ms: int) -> Turn | None:
        """A place in the line before the pool; None when its turn will come in ``wait_max_ms`` or later."""
        line = self._line(pool, now_ms)
        place = line.taken + 1
        wait_ms = self._expect_ms(pool, line, place, now_ms)
        if wait_ms >= wait_max_ms:
            return None
        line.taken = place
        return Turn(pool, place, _look_after_ms(line, place))

    def look(self, turn: Turn, now_ms: int) -> int:
        """Milliseconds until the next look at whether the turn has come up, 0 when it has."""
        return _look_after_ms(self._line(turn.pool, now_ms), turn.place)

    def answered(self, pool: str, now_ms: int) -> None:
        """The pool has answered a request that was moved there."""
        line = self._line(pool, now_ms)
        line.admitted += line.growth
        line.growth = min(GROWTH_MAX, line.growth + GROWTH_STEP)

    def full(self, pool: str, now_ms: int) -> None:
        """The pool has shown that it is at its limit."""
        line = self._line(pool, now_ms)
        line.admitted = min(line.admitted, line.taken)
        if line.shrunk_ms is None or now_ms - line.shrunk_ms >= SHRINK_EVERY_MS:
            line.growth = max(GROWTH_MIN, line.growth / 2)
            line.shrunk_ms = now_ms

    def _line(self, pool: str, now_ms: int) -> _Line:
        line = self._lines.get(pool)
        if line is None:
            line = self._lines[pool] = _Line(now_ms)
        elif now_ms > line.at_ms:
            steady = self._steady_per_s(pool, now_ms)
            unused_max = line.taken + max(AT_ONCE, steady * AT_ONCE_S)
            more = steady * (now_ms - line.at_ms) / 1_000
            line.admitted = max(line.admitted, min(line.admitted + more, unused_max))
            line.at_ms = now_ms
        return line

    def _steady_per_s(self, pool: str, now_ms: int) -> float:
        return PER_S + ROOM_SHARE * self._rate_of(pool, now_ms)

    def _expect_ms(self, pool: str, line: _Line, place: float, now_ms: int) -> float:
        """How long the place will probably take to come up. Of a pool that has not been at its limit lately
        it is expected that its answers make room."""
        ahead = place - line.admitted
        if ahead <= 0:
            return 0.0
        rate = self._steady_per_s(pool, now_ms)
        if line.shrunk_ms is None or now_ms - line.shrunk_ms >= FULL_FOR_MS:
            rate = max(rate, HOPED_PER_S)
        return max(1.0, ahead * 1_000 / rate)


def _look_after_ms(line: _Line, place: float) -> int:
    """Places far behind look more rarely, so that a long line costs little."""
    ahead = place - line.admitted
    return 0 if ahead <= 0 else LOOK_EVERY_MS + int(min(ahead, LOOK_AHEAD_MAX))
