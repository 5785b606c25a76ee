"""PURE: capacity in tokens/s as a token bucket, and a meter of the load that was let in."""

import math

RETRY_AFTER_MAX_MS = 60_000.0
METER_DECAY_MS = 2_000.0
MILLISECONDS_PER_SECOND = 1_000.0


class TokenBucket:
    """Admits tokens at ``tokens_per_s``, up to ``burst_s`` seconds of it at once.

    A request larger than the whole burst is admitted when the bucket is full and then owes the rest: it would
    otherwise never be served. Times are monotonic milliseconds; one that lies before the last is taken as it.
    """

    __slots__ = ("_at_ms", "_level", "burst_s", "tokens_per_s")

    def __init__(self, tokens_per_s: float, burst_s: float, now_ms: float) -> None:
        self.tokens_per_s = tokens_per_s
        self.burst_s = burst_s
        self._level = self.burst_tokens
        self._at_ms = now_ms

    @property
    def burst_tokens(self) -> float:
        return self.tokens_per_s * self.burst_s

    def take(self, tokens: int, now_ms: float) -> float:
        """Zero if admitted, else after how many milliseconds the same request would be (at most a minute)."""
        self._refill(now_ms)
        if self.tokens_per_s <= 0:
            return RETRY_AFTER_MAX_MS
        needed = min(float(tokens), self.burst_tokens)
        # Refilling adds up rounded parts: a millionth of a token must not refuse a full bucket.
        if self._level >= needed - 1e-6:
            self._level -= tokens
            return 0.0
        wait_ms = (needed - self._level) / self.tokens_per_s * MILLISECONDS_PER_SECOND
        return min(max(wait_ms, 1.0), RETRY_AFTER_MAX_MS)

    def change(self, tokens_per_s: float, now_ms: float) -> None:
        """Another capacity from now on. What is owed stays owed; what is saved shrinks to the new burst."""
        self._refill(now_ms)
        self.tokens_per_s = tokens_per_s
        self._level = min(self._level, self.burst_tokens)

    def _refill(self, now_ms: float) -> None:
        passed_ms = max(0.0, now_ms - self._at_ms)
        gained = passed_ms * self.tokens_per_s / MILLISECONDS_PER_SECOND
        self._level = min(self.burst_tokens, self._level + gained)
        self._at_ms = max(self._at_ms, now_ms)


class LoadMeter:
    """Tokens per second over about the last two seconds, each token fading exponentially."""

    __slots__ = ("_at_ms", "_tokens")

    def __init__(self, now_ms: float) -> None:
        self._tokens = 0.0
        self._at_ms = now_ms

    def add(self, tokens: int, now_ms: float) -> None:
        self._fade(now_ms)
        self._tokens += tokens

    def tokens_per_s(self, now_ms: float) -> float:
        self._fade(now_ms)
        return self._tokens / METER_DECAY_MS * MILLISECONDS_PER_SECOND

    def _fade(self, now_ms: float) -> None:
        passed_ms = max(0.0, now_ms - self._at_ms)
        self._tokens *= math.exp(-passed_ms / METER_DECAY_MS)
        self._at_ms = max(self._at_ms, now_ms)
