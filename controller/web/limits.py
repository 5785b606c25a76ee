"""PURE. What the endpoint bears: every number that bounds it, and the rate of each caller."""

from collections import OrderedDict
from dataclasses import dataclass

PEERS_KEPT_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Limits:
    """``requests_per_s`` and ``burst`` are for one address; ``body_max_bytes`` is a report's."""

    connections_max: int = 2_000
    streams_max: int = 1_000
    requests_per_s: float = 200.0
    burst: float = 400.0
    body_max_bytes: int = 512 * 1024
    body_within_s: float = 5.0
    first_request_within_s: float = 10.0
    idle_s: float = 30.0
    repeat_every_s: float = 2.0  # a stream says this often what is newest, changed or not
    write_within_s: float = 5.0  # then a stream's reader is too slow, and is dropped
    stream_buffer_bytes: int = 16 * 1024


class Rates:
    """A bucket for each address; the one unused for longest is forgotten when there are too many."""

    def __init__(self, limits: Limits) -> None:
        self._rate, self._burst = limits.requests_per_s, limits.burst
        self._buckets: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def wait_ms(self, peer: str, now_ms: int) -> int:
        """0: this request may pass. Else after how many milliseconds the next may."""
        level, at_ms = self._buckets.pop(peer, (self._burst, now_ms))
        level = min(self._burst, level + (now_ms - at_ms) * self._rate / 1_000)
        allowed = level >= 1.0
        self._buckets[peer] = (level - 1.0 if allowed else level), now_ms
        if len(self._buckets) > PEERS_KEPT_MAX:
            self._buckets.popitem(last=False)
        return 0 if allowed else max(1, round((1.0 - level) / self._rate * 1_000))
