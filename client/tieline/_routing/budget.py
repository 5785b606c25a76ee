"""PURE. The retry budget of one process, and the pace at which a pool takes over what another has dropped.

Retries may add 10 % to the requests, plus 3 a second, over 10 s: without that, every caller's retries
multiply the load on what is left, just when that is least able to bear it. What leaves a pool that gives
nothing is no such multiplication, but it comes all at once: it is let out at the pace of the room that the
planner keeps on every pool, a quarter of what the pool is serving.
"""

from collections.abc import Callable

WINDOW_S = 10
SHARE = 0.10
PER_S = 3
ROOM_SHARE = 0.25  # usable capacity is 80 % of the limit: so much more than it serves is left
PACE_AT_ONCE_MS = 1_000  # of its room, a pool that was left in peace takes so much at once


class RetryBudget:
    """Counts requests and retries by the second. Times are monotonic milliseconds."""

    __slots__ = ("_requests", "_retries", "_seconds")

    def __init__(self) -> None:
        self._seconds = [-1] * WINDOW_S
        self._requests = [0] * WINDOW_S
        self._retries = [0] * WINDOW_S

    def request(self, now_ms: int) -> None:
        """One request has begun."""
        self._requests[self._bucket(now_ms)] += 1

    def take(self, now_ms: int) -> bool:
        """Spend one token, if there is one."""
        bucket = self._bucket(now_ms)
        if self.left(now_ms) < 1:
            return False
        self._retries[bucket] += 1
        return True

    def left(self, now_ms: int) -> float:
        """Tokens left in the window that ends now."""
        second = now_ms // 1_000
        live = [index for index, at in enumerate(self._seconds) if second - WINDOW_S < at <= second]
        requests = sum(self._requests[index] for index in live)
        retries = sum(self._retries[index] for index in live)
        return SHARE * requests + PER_S * WINDOW_S - retries

    def _bucket(self, now_ms: int) -> int:
        second = now_ms // 1_000
        index = second % WINDOW_S
        if self._seconds[index] != second:
            self._seconds[index], self._requests[index], self._retries[index] = second, 0, 0
        return index


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
