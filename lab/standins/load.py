"""PURE: how a pool behaves under load: whom it admits, how loaded it is, and how long its answers take.

Times are monotonic milliseconds. An instant that lies before the last one is taken as the last one.
"""

import math
from dataclasses import dataclass
from hashlib import blake2b

from lab.standins.config import Latency

RETRY_AFTER_MAX_MS = 60_000.0
METER_DECAY_MS = 2_000.0
UTILISATION_MAX = 0.95
MILLISECONDS_PER_SECOND = 1_000.0
_TWO_TO_32 = 2.0**32


class TokenBucket:
    """Admits requests at ``tokens_per_s`` in the mean, and up to ``burst_s`` seconds of it at once.

    A request that is larger than the whole burst is admitted when the bucket is full; the bucket then owes
    the rest. Without this rule such a request would never be served.
    """

    __slots__ = ("_at_ms", "_level", "burst_s", "tokens_per_s")

    def __init__(self, tokens_per_s: float, burst_s: float, now_ms: float) -> None:
        self.tokens_per_s = tokens_per_s
        self.burst_s = burst_s
        self._level = self.burst_tokens
        self._at_ms = now_ms

    @property
    def burst_tokens(self) -> float:
        """What a full bucket holds."""
        return self.tokens_per_s * self.burst_s

    def take(self, tokens: int, now_ms: float) -> float:
        """0 if the request is admitted, else the milliseconds after which it would be (at most a minute)."""
        self._refill(now_ms)
        if self.tokens_per_s <= 0:
            return RETRY_AFTER_MAX_MS
        need = min(float(tokens), self.burst_tokens)
        # Refilling adds up rounded parts, so a full bucket may lack a millionth of a token.
        if self._level >= need - 1e-6:
            self._level -= tokens
            return 0.0
        wait_ms = (need - self._level) / self.tokens_per_s * MILLISECONDS_PER_SECOND
        return min(max(wait_ms, 1.0), RETRY_AFTER_MAX_MS)

    def left(self, now_ms: float) -> float:
        """What may be used at once now."""
        self._refill(now_ms)
        return self._level

    def change(self, tokens_per_s: float, now_ms: float) -> None:
        """Another capacity from now on. A debt remains; savings shrink to the new burst."""
        self._refill(now_ms)
        self.tokens_per_s = tokens_per_s
        self._level = min(self._level, self.burst_tokens)

    def _refill(self, now_ms: float) -> None:
        elapsed_ms = max(0.0, now_ms - self._at_ms)
        gain = elapsed_ms * self.tokens_per_s / MILLISECONDS_PER_SECOND
        self._level = min(self.burst_tokens, self._level + gain)
        self._at_ms = max(self._at_ms, now_ms)


class LoadMeter:
    """Tokens per second over about the last two seconds. Every token's part in it decays exponentially."""

    __slots__ = ("_at_ms", "_tokens")

    def __init__(self, now_ms: float) -> None:
        self._tokens = 0.0
        self._at_ms = now_ms

    def add(self, tokens: int, now_ms: float) -> None:
        """Counts an admitted request."""
        self._decay(now_ms)
        self._tokens += tokens

    def tokens_per_s(self, now_ms: float) -> float:
        """The load now."""
        self._decay(now_ms)
        return self._tokens / METER_DECAY_MS * MILLISECONDS_PER_SECOND

    def _decay(self, now_ms: float) -> None:
        elapsed_ms = max(0.0, now_ms - self._at_ms)
        self._tokens *= math.exp(-elapsed_ms / METER_DECAY_MS)
        self._at_ms = max(self._at_ms, now_ms)


@dataclass(frozen=True, slots=True)
class Timing:
    """Milliseconds until the first token, and between any two tokens after it."""

    first_token_ms: float
    token_ms: float


def uniform_pair(seed: int, key: str) -> tuple[float, float]:
    """Two independent numbers in (0, 1). The same ``seed`` and ``key`` always give the same two."""
    digest = blake2b(f"{seed}|{key}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    first, second = int.from_bytes(digest[:4], "big"), int.from_bytes(digest[4:], "big")
    return (first + 0.5) / _TWO_TO_32, (second + 0.5) / _TWO_TO_32


def standard_normal(seed: int, key: str) -> float:
    """One draw of the standard normal distribution (Box-Muller)."""
    first, second = uniform_pair(seed, key)
    return math.sqrt(-2.0 * math.log(first)) * math.cos(2.0 * math.pi * second)


def timing(model: Latency, key: str, *, seed: int, utilisation: float) -> Timing:
    """The times of one answer of a pool at ``utilisation``, its admitted load over its capacity.

    The median of the first token grows as the waiting time of a queue does, with u / (1 - u), and its spread
    grows with u. Utilisation counts at most as 0.95: beyond it the bucket refuses, and no queue grows.
    """
    used = min(max(utilisation, 0.0), UTILISATION_MAX)
    median_ms = model.first_token_ms * (1.0 + model.load_growth * used / (1.0 - used))
    sigma = model.spread * (1.0 + used)
    first_token_ms = median_ms * math.exp(sigma * standard_normal(seed, key))
    return Timing(first_token_ms, model.token_ms * (1.0 + used * model.load_growth))
