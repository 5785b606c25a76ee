"""PURE: how long an answer takes. The same request id and seed always give the same draw."""

import math
from dataclasses import dataclass
from hashlib import blake2b

from lab.standins.config import Latency

UTILISATION_MAX = 0.95
_TWO_TO_32 = 2.0**32


@dataclass(frozen=True, slots=True)
class Timing:
    """Milliseconds until the first token, and between two tokens after it."""

    first_token_ms: float
    token_ms: float


def uniform_pair(seed: int, key: str) -> tuple[float, float]:
    """Two independent numbers in (0, 1), drawn from nothing but ``seed`` and ``key``."""
    digest = blake2b(f"{seed}|{key}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    first, second = int.from_bytes(digest[:4], "big"), int.from_bytes(digest[4:], "big")
    return (first + 0.5) / _TWO_TO_32, (second + 0.5) / _TWO_TO_32


def standard_normal(seed: int, key: str) -> float:
    """One draw of the normal distribution (Box-Muller)."""
    first, second = uniform_pair(seed, key)
    return math.sqrt(-2.0 * math.log(first)) * math.cos(2.0 * math.pi * second)


def timing(model: Latency, key: str, *, seed: int, utilisation: float, time_scale: float = 1.0) -> Timing:
    """The times of one answer at a utilisation (admitted load over capacity).

    The median grows as a queue's waiting time does, with u / (1 - u); the spread grows with u. Utilisation is
    held to 0.95: beyond it the bucket refuses rather than the queue growing without end.
    """
    used = min(max(utilisation, 0.0), UTILISATION_MAX)
    median_ms = model.first_token_ms * (1.0 + model.load_growth * used / (1.0 - used))
    sigma = model.spread * (1.0 + used)
    first_token_ms = median_ms * math.exp(sigma * standard_normal(seed, key))
    return Timing(first_token_ms * time_scale, model.token_ms * (1.0 + used * model.load_growth) * time_scale)
