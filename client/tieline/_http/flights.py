"""Requests on their way: how many and how old by pool, and which of them can still be called back."""

from collections.abc import Callable
from threading import Lock

from tieline.events import ResultClass

POOL_IN_FLIGHT_MAX = 512  # a pool that hangs can hold this many requests, and the others keep theirs


class Flight:
    """One attempt on its way.

    ``due_ms``: when waiting for its next bytes ends (monotonic); whoever waits looks at it anew each time, so
    it may be changed meanwhile. ``abandon`` ends the wait at once, from any thread, while nothing of the
    answer has been handed on; None when nobody waits. ``abandoned``: it was called back by that.
    ``sending_ms``: how long the server may take nothing of a large request; ``latest_ms``: when all of it
    must be over.
    """

    __slots__ = ("abandon", "abandoned", "began_ms", "due_ms", "latest_ms", "pool", "sending_ms")

    def __init__(self, pool: str, began_ms: int) -> None:
        self.pool = pool
        self.began_ms = began_ms
        self.due_ms = began_ms
        self.latest_ms = 0
        self.sending_ms = 0
        self.abandon: Callable[[], None] | None = None
        self.abandoned = False

    def moves(self, now_ms: int) -> None:
        """The server has taken a piece of a large request: the wait for its answer begins anew."""
        self.due_ms = max(self.due_ms, min(now_ms + self.sending_ms, self.latest_ms))


class Flights:
    """All of one process, in the order they began. Thread-safe.

    ``full``: pools that have ``pool_max`` on their way. ``on_begin``: each listener is called with the pool
    of every attempt that leaves.
    """

    def __init__(self, pool_max: int = POOL_IN_FLIGHT_MAX) -> None:
        self.full: set[str] = set()
        self.on_begin: list[Callable[[str], None]] = []
        self._pool_max = pool_max
        self._by_pool: dict[str, dict[Flight, None]] = {}
        self._lock = Lock()

    def begin(self, pool: str, now_ms: int) -> Flight:
        """An attempt leaves."""
        flight = Flight(pool, now_ms)
        with self._lock:
            flights = self._by_pool.setdefault(pool, {})
            flights[flight] = None
            if len(flights) >= self._pool_max:
                self.full.add(pool)
        for listener in self.on_begin:
            listener(pool)
        return flight

    def end(self, flight: Flight) -> None:
        """It is over, however it ended."""
        flight.abandon = None
        with self._lock:
            self._by_pool.get(flight.pool, {}).pop(flight, None)
            self.full.discard(flight.pool)

    def count(self, pool: str) -> int:
        """How many are on their way there."""
        return len(self._by_pool.get(pool, ()))

    def total(self) -> int:
        """How many are on their way in all."""
        with self._lock:
            return sum(map(len, self._by_pool.values()))

    def oldest_ms(self, pool: str, now_ms: int) -> int:
        """Age of the oldest, 0 when there is none."""
        with self._lock:
            oldest = next(iter(self._by_pool.get(pool, ())), None)
        return 0 if oldest is None else max(0, now_ms - oldest.began_ms)

    def pools(self) -> list[str]:
        """Pools that have any, sorted."""
        with self._lock:
            return sorted(pool for pool, flights in self._by_pool.items() if flights)

    def stalled(self, pool: str, result: ResultClass) -> int:
        """The pool was left for ``result``. If it stalls, call back what waits for its first byte, oldest
        first; gives how many those were."""
        if result is not ResultClass.TIMEOUT:
            return 0
        with self._lock:
            flights = list(self._by_pool.get(pool, ()))
        count = 0
        for flight in flights:
            abandon = flight.abandon  # read once: the request's own thread may clear it
            if abandon is not None:
                flight.abandoned = True
                abandon()
                count += 1
        return count

    def after_fork(self) -> None:
        """In the child: what is on its way is the parent's."""
        self._lock = Lock()
        self._by_pool.clear()
        self.full.clear()
