"""PURE. The retry budget of one process: retries may add 10 % to the requests, plus 3 a second, over 10 s.

Without it, every caller's retries multiply the load on what is left, just when that is least able to bear it.
"""

WINDOW_S = 10
SHARE = 0.10
PER_S = 3


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
