"""PURE. The retry budget of one process, and the pace at which a pool takes over what another has dropped.

Retries may add 10 % to the requests, plus 3 a second, over 10 s: without that, every caller's retries
multiply the load on what is left, just when that is least able to bear it. What leaves a pool that serves
nothing is no such multiplication, but it comes all at once. It is let out at the pace of the room that the
planner keeps on every pool: a quarter of what the pool is serving, as usable capacity is 80 % of the limit.
"""

from collections.abc import Callable

from tieline._health.counts import RecentCounts

WINDOW_S = 10
SHARE = 0.10
PER_S = 3
ROOM_SHARE = 0.25
PACE_AT_ONCE_MS = 1_000  # a pool that nobody has left for may take what it would in so long, all at once
_REQUESTS, _RETRIES = range(2)


class RetryBudget:
    """Counts requests and retries by the second. Not thread-safe: its user has a lock. Times are monotonic
    milliseconds."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts = RecentCounts(2, buckets=WINDOW_S, bucket_ms=1_000)

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
        return SHARE * requests + PER_S * WINDOW_S - retries


class Pace:
    """When each pool takes the next request that another has dropped. ``rate_of(pool, now_ms)``: requests a
    second that it serves."""

    __slots__ = ("_next_ms", "_rate_of")

    def __init__(self, rate_of: Callable[[str, int], float]) -> None:
        self._rate_of = rate_of
        self._next_ms: dict[str, float] = {}

    def reserve(self, pool: str, now_ms: int, wait_max_ms: int) -> int | None:
        """Milliseconds until the pool takes one more, whose place is then reserved; None when that is
        ``wait_max_ms`` or later."""
        at_ms = max(self._next_ms.get(pool, 0.0), now_ms - PACE_AT_ONCE_MS)
        wait_ms = max(0, round(at_ms - now_ms))
        if wait_ms >= wait_max_ms:
            return None
        self._next_ms[pool] = at_ms + 1_000 / (PER_S + ROOM_SHARE * self._rate_of(pool, now_ms))
        return wait_ms
