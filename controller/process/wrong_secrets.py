"""How often an address may ask, and how often it may show a wrong secret before it is refused for a while.

Used by every endpoint that other machines reach: `controller.web.server`, for callers and hooks, and
`gateway.handling`.
"""

from collections import OrderedDict
from hashlib import sha256

PEERS_KEPT_MAX = 10_000
WRONG_SECRETS_PER_MINUTE = 10.0
REFUSED_FOR_MS = 60_000


class Rates:
    """A token bucket for each address: ``burst`` requests at once, then so many a second. Beyond
    ``PEERS_KEPT_MAX`` the one unused for longest is forgotten."""

    def __init__(self, requests_per_s: float, burst: float) -> None:
        self._rate, self._burst = requests_per_s, burst
        self._buckets: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def wait_ms(self, peer: str, now_ms: int) -> int:
        """0 when this request may pass, else after how many milliseconds the next one may."""
        level, at_ms = self._buckets.pop(peer, (self._burst, now_ms))
        level = min(self._burst, level + (now_ms - at_ms) * self._rate / 1_000)
        allowed = level >= 1.0
        self._buckets[peer] = (level - 1.0 if allowed else level), now_ms
        if len(self._buckets) > PEERS_KEPT_MAX:
            self._buckets.popitem(last=False)
        return 0 if allowed else max(1, round((1.0 - level) / self._rate * 1_000))


class WrongSecrets:
    """Addresses that showed more than ten wrong secrets within a minute; they are refused for a minute.

    Many clients may share an address, and one of them may have an old token that it shows again and again. So
    a wrong secret that is ``shown`` again does not count again. At most ``PEERS_KEPT_MAX`` addresses and
    wrong secrets are remembered, the secrets by their digests.
    """

    def __init__(self) -> None:
        self._rates = Rates(WRONG_SECRETS_PER_MINUTE / 60, burst=WRONG_SECRETS_PER_MINUTE)
        self._until_ms: OrderedDict[str, int] = OrderedDict()
        self._digests: OrderedDict[tuple[str, bytes], None] = OrderedDict()

    def fail(self, peer: str, now_ms: int, shown: str | None = None) -> None:
        """Note that this address did not show the secret. ``shown``: what it showed, None if it can't be
        compared, so that it counts in any case."""
        if shown is not None and self._is_repeated(peer, shown):
            return
        if self._rates.wait_ms(peer, now_ms):
            self._until_ms[peer] = now_ms + REFUSED_FOR_MS
            self._until_ms.move_to_end(peer)
            if len(self._until_ms) > PEERS_KEPT_MAX:
                self._until_ms.popitem(last=False)

    def wait_ms(self, peer: str, now_ms: int) -> int:
        """For how long this address is refused; 0 if it is not."""
        return max(self._until_ms.get(peer, 0) - now_ms, 0)

    def _is_repeated(self, peer: str, shown: str) -> bool:
        key = (peer, sha256(shown.encode("utf-8", "replace")).digest())
        is_repeated = key in self._digests
        self._digests[key] = None
        self._digests.move_to_end(key)
        if len(self._digests) > PEERS_KEPT_MAX:
            self._digests.popitem(last=False)
        return is_repeated
