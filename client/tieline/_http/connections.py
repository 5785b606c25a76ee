"""What both wires have in common: connections kept alive between requests, answers on their way."""

from collections import deque
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

from tieline._http.flights import Flight
from tieline._http.http1 import Http1
from tieline._http.messages import Headers, WireError
from tieline._http.tls import IdleKey
from tieline._process import clock as _clock
from tieline.events import ResultClass

KEEP_ALIVE_S = 30.0
PLACES_MAX = 4_096  # with or without an idle connection
KEEP_ALIVE_MAX = 128  # idle ones to one place
AGE_MAX_S = 300.0  # a name may lead to other addresses by then
# A connection that its server has closed shows it within a round trip. One that fails later was asked in
# earnest, and its server may have begun to generate.
STALE_SHOWS_WITHIN_S = 5.0


class Connection(Protocol):
    """A connection of either wire, as far as it is kept between requests. Times are monotonic seconds:
    ``opened_s`` when it was opened, ``idle_until_s`` when it is too old to be asked again."""

    http: Http1
    opened_s: float
    idle_until_s: float

    def usable(self) -> bool:
        """Whether its other end has kept it as well."""
        ...

    def discard(self) -> None:
        """Close it."""
        ...

    def release(self) -> None:
        """Its answer is not needed any more: keep it for another request, or close it."""
        ...


C = TypeVar("C", bound=Connection)


class Idle(Generic[C]):
    """Connections that may be used again, by place. Newest first, so that those not needed grow old and are
    closed. Thread-safe: deques give and take whole elements.

    There is no limit on connections in use: ``Flights`` has one for each pool, so that one that hangs can't
    starve the others.
    """

    def __init__(self) -> None:
        self._by_place: dict[IdleKey, deque[C]] = {}

    def take(self, key: IdleKey) -> C | None:
        """One to use, or None."""
        connections = self._by_place.get(key)
        while connections:
            try:
                connection = connections.pop()
            except IndexError:  # another thread took the last one
                return None
            if _clock.monotonic_s() < connection.idle_until_s and connection.usable():
                return connection
            connection.discard()
        return None

    def give(self, key: IdleKey, connection: C) -> None:
        """It may be used again: for 30 s, for less where its server keeps it for less, and not beyond the
        greatest age of a connection."""
        connections = self._by_place.get(key)
        if connections is None:
            self._forget_unused()
            connections = self._by_place.setdefault(key, deque())
        connection.idle_until_s = min(
            _clock.monotonic_s() + _idle_max_s(connection.http.keep_alive_s), connection.opened_s + AGE_MAX_S
        )
        connections.append(connection)
        if len(connections) > KEEP_ALIVE_MAX:
            _close_oldest(connections, lambda _: True)

    def _forget_unused(self) -> None:
        """Makes room for a place, if there are many: pools move, and nothing is kept at their old addresses.

        Another thread may be about to put a connection where this one finds nothing. That one is then not
        used again, and closed when it is collected, which so many places make rare.
        """
        if len(self._by_place) >= PLACES_MAX:
            for place, connections in list(self._by_place.items()):
                if not connections:
                    self._by_place.pop(place, None)

    def tidy(self) -> None:
        """Close those that nobody has used for long."""
        now_s = _clock.monotonic_s()
        for connections in list(self._by_place.values()):
            while _close_oldest(connections, lambda c: now_s >= c.idle_until_s):
                pass

    def close(self) -> None:
        """Close all."""
        for connections in list(self._by_place.values()):
            while _close_oldest(connections, lambda _: True):
                pass


def _idle_max_s(keep_alive_s: float | None) -> float:
    """For how long an idle connection is used again. A server that says for how long it keeps one (its
    header ``Keep-Alive: timeout=N``) is left a second before that, so that no request meets its closing."""
    if keep_alive_s is None:
        return KEEP_ALIVE_S
    return min(KEEP_ALIVE_S, max(keep_alive_s - 1.0, keep_alive_s / 2))


def is_stale(connection: Connection, error: WireError, flight: Flight, asked_s: float) -> bool:
    """Whether a kept connection that was asked at ``asked_s`` failed only because its server had left it. The
    request is sent again over a new one then, at no attempt's cost and without blame for the pool."""
    return (
        error.result is ResultClass.CONNECT
        and not connection.http.begun
        and not flight.abandoned
        and _clock.monotonic_s() - asked_s < STALE_SHOWS_WITHIN_S
    )


def _close_oldest(connections: deque[C], is_old: Callable[[C], bool]) -> bool:
    """Closes the oldest if it is old enough; says whether it did."""
    try:
        connection = connections.popleft()
    except IndexError:
        return False
    if is_old(connection):
        connection.discard()
        return True
    connections.appendleft(connection)
    return False


class WireAnswer:
    """An answer whose body is still on its way. ``read`` gives bytes, b"" at their end; or something to await
    for them.

    Once closed it has no connection, as that may carry another request by then: reading goes to
    ``read_closed``.
    """

    __slots__ = ("_connection", "_read_closed", "headers", "read", "status")

    def __init__(
        self,
        status: int,
        headers: Headers,
        connection: Connection,
        *,
        read: Callable[[], Any],
        read_closed: Callable[[], Any],
    ) -> None:
        self.status = status
        self.headers = headers
        self.read = read
        self._read_closed = read_closed
        self._connection: Connection | None = connection

    def close(self) -> None:
        """Let go of the connection. May be called again."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self.read = self._read_closed
            connection.release()
