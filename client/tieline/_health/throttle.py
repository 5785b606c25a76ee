"""PURE. Adaptive throttling of one pool (Beyer et al., Site Reliability Engineering, chapter 21): a pool that
turns most of what it is sent away is sent less, so that it can spend its work on what it serves.

Of the requests meant for the pool, the share max(0, (requests - 2 x accepted) / (requests + 1)) over two
minutes goes elsewhere without being sent. Turned away is what ends with 429; everything else is accepted.
"""

BUCKET_MS = 10_000
BUCKETS = 12
LEVELS = 16  # the share is kept in sixteenths: choices are compiled anew when it changes
_ACCEPTED_FACTOR = 2


class Throttle:
    """``level`` sixteenths of what is meant for the pool are not sent; never all, or nothing would show that
    it has room again. Times are monotonic milliseconds."""

    __slots__ = ("_accepted", "_buckets", "_wanted", "level")

    def __init__(self) -> None:
        self.level = 0
        self._buckets = [-1] * BUCKETS
        self._wanted = [0.0] * BUCKETS
        self._accepted = [0] * BUCKETS

    def record(self, now_ms: int, *, accepted: bool) -> bool:
        """One request has ended; it stands for those not sent as well. Says whether ``level`` changed."""
        bucket = now_ms // BUCKET_MS
        index = bucket % BUCKETS
        if self._buckets[index] != bucket:
            self._buckets[index], self._wanted[index], self._accepted[index] = bucket, 0.0, 0
        self._wanted[index] += LEVELS / (LEVELS - self.level)
        self._accepted[index] += accepted
        if accepted and self.level == 0:
            return False  # what is accepted raises nothing
        return self.look(now_ms)

    def look(self, now_ms: int) -> bool:
        """Judge anew, as what was counted grows old. Says whether ``level`` changed."""
        oldest = now_ms // BUCKET_MS - BUCKETS + 1
        live = [index for index, bucket in enumerate(self._buckets) if bucket >= oldest]
        wanted = sum(self._wanted[index] for index in live)
        accepted = sum(self._accepted[index] for index in live)
        share = max(0.0, (wanted - _ACCEPTED_FACTOR * accepted) / (wanted + 1))
        before, self.level = self.level, min(LEVELS - 1, int(share * LEVELS))
        return self.level != before
