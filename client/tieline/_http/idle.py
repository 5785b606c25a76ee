"""Connections kept alive between requests, by place. Newest first, so that those not needed grow old and go.
Thread-safe: deques give and take whole elements.
"""

import ssl
from collections import deque
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from tieline._process import clock as _clock
from tieline.errors import MissingExtraError

KEEP_ALIVE_S = 30.0
KEEP_ALIVE_MAX = 128  # idle ones to one place


class Kept(Protocol):
    """A connection that may be kept."""

    idle_since_s: float

    def usable(self) -> bool:
        """Whether its other end has kept it as well."""
        ...

    def discard(self) -> None:
        """Close it."""
        ...


C = TypeVar("C", bound=Kept)
Key = tuple[str, str, int]


class Idle(Generic[C]):
    """No limit on connections in use: ``Flights`` has one for each pool, so that one that hangs can't starve
    the others."""

    def __init__(self) -> None:
        self._by_place: dict[Key, deque[C]] = {}

    def take(self, key: Key) -> C | None:
        """One to use, or None."""
        kept = self._by_place.get(key)
        while kept:
            try:
                connection = kept.pop()
            except IndexError:
                return None
            if _clock.monotonic_s() - connection.idle_since_s < KEEP_ALIVE_S and connection.usable():
                return connection
            connection.discard()
        return None

    def give(self, key: Key, connection: C) -> None:
        """It may be used again."""
        kept = self._by_place.setdefault(key, deque())
        connection.idle_since_s = _clock.monotonic_s()
        kept.append(connection)
        if len(kept) > KEEP_ALIVE_MAX:
            _drop_oldest(kept, lambda _: True)

    def tidy(self) -> None:
        """Close those that nobody has used for long."""
        now_s = _clock.monotonic_s()
        for kept in list(self._by_place.values()):
            while _drop_oldest(kept, lambda c: now_s - c.idle_since_s >= KEEP_ALIVE_S):
                pass

    def close(self) -> None:
        """Close all."""
        for kept in list(self._by_place.values()):
            while _drop_oldest(kept, lambda _: True):
                pass


def _drop_oldest(kept: deque[C], old: Callable[[C], bool]) -> bool:
    try:
        connection = kept.popleft()
    except IndexError:
        return False
    if old(connection):
        connection.discard()
        return True
    kept.appendleft(connection)
    return False


def tls_context() -> ssl.SSLContext:
    """The context that httpx2 or httpx would use: their authorities, and what the environment says."""
    try:
        from httpx2 import create_ssl_context
    except ImportError:
        try:
            from httpx import create_ssl_context
        except ImportError:
            raise MissingExtraError("httpx2", "httpx2") from None
    context = create_ssl_context()
    context.set_alpn_protocols(["http/1.1"])
    return context
