"""PURE. Whether this process leaves a pool, for how long, and how it comes back. Monotonic milliseconds.

A pool is left after 5 straight failures (nothing works: *total*), or when more than half of at least 10
requests in 10 s failed (*partial*), for 30 s x consecutive ejections, at most 300 s. Only the classes of
``HEALTH_FAILURES`` count. 429 keeps it out until its Retry-After; 401, 403 and a 404 on the model are
faults of configuration and keep it out for 300 s. Then it is half open: one request finds out.
"""

from msgspec import Struct

from tieline.events import CONFIGURATION_FAULTS, HEALTH_FAILURES, ResultClass

STRAIGHT_FAILURES = 5
WINDOW_S = 10
WINDOW_REQUESTS_MIN = 10
BASE_MS = 30_000
OUT_MAX_MS = 300_000
CONFIGURATION_OUT_MS = 300_000
RETRY_AFTER_DEFAULT_MS = 1_000
NO_SUCCESS_MS = 10_000
PROBE_MAX_MS = 30_000


class Out(Struct, frozen=True):
    """Why and until when this process keeps away from a pool."""

    result: ResultClass
    since_ms: int
    until_ms: int


class PoolHealth:
    """What this process saw of one pool."""

    __slots__ = (
        "_admitted_ms",
        "_bad",
        "_first_request_ms",
        "_good",
        "_last_out_ms",
        "_probing_until_ms",
        "_seconds",
        "ejections",
        "last_success_ms",
        "out",
        "since_success",
        "straight",
    )

    def __init__(self) -> None:
        self.out: Out | None = None
        self.ejections = 0  # consecutive ones
        self.straight = 0  # failures in a row
        self.since_success = 0  # requests of any end since the last success
        self.last_success_ms: int | None = None
        self._first_request_ms: int | None = None
        self._admitted_ms = 0
        self._last_out_ms = 0
        self._probing_until_ms = -1
        self._seconds = [-1] * WINDOW_S
        self._good = [0] * WINDOW_S
        self._bad = [0] * WINDOW_S

    def record(self, result: ResultClass, now_ms: int) -> None:
        """One request has ended so. Errors that are the caller's own leave no mark."""
        if self._first_request_ms is None:
            self._first_request_ms = now_ms
        if result is ResultClass.OK:
            self.alive(now_ms)
            self.straight = self.since_success = 0
            self._count(self._good, now_ms)
        elif result is not ResultClass.CLIENT_ERROR:
            self.since_success += 1
        if result in HEALTH_FAILURES:
            self.straight += 1
            self._count(self._bad, now_ms)

    def alive(self, now_ms: int) -> None:
        """The pool has just given real output. Only an end well reached is a success: this one may yet be
        cut."""
        self.last_success_ms = now_ms

    def wants_out(self, now_ms: int) -> bool:
        """Whether one of the two rules says to leave."""
        if self.straight >= STRAIGHT_FAILURES:
            return True
        good, bad = self._sums(now_ms)
        return good + bad >= WINDOW_REQUESTS_MIN and bad > good

    @property
    def partial(self) -> bool:
        """Whether some requests still succeed, so that leaving is a matter of share, not of life."""
        return self.straight < STRAIGHT_FAILURES

    def fruitless(self, now_ms: int) -> bool:
        """No success for 10 s, or in the last 5 requests: leaving it for one that succeeds costs no token."""
        if self.since_success >= STRAIGHT_FAILURES:
            return True
        since = self.last_success_ms if self.last_success_ms is not None else self._first_request_ms
        return since is not None and self.since_success > 0 and now_ms - since >= NO_SUCCESS_MS

    def successes_per_s(self, now_ms: int) -> float:
        """Requests that ended well, over the last 10 s."""
        return self._sums(now_ms)[0] / WINDOW_S

    def eject(self, result: ResultClass, now_ms: int, retry_after_ms: int | None = None) -> Out:
        """Leave the pool. The caller has asked ``wants_out`` and whether the others can bear it."""
        if result is ResultClass.THROTTLED:
            wanted = RETRY_AFTER_DEFAULT_MS if retry_after_ms is None else retry_after_ms
            until_ms = now_ms + min(max(wanted, 1), OUT_MAX_MS)
        elif result in CONFIGURATION_FAULTS:
            until_ms = now_ms + CONFIGURATION_OUT_MS
        else:
            if self.out is None and now_ms - self._admitted_ms > max(self._last_out_ms, BASE_MS):
                self.ejections = 0  # it has stayed in for longer than it was out: a new story
            self.ejections += 1
            self._last_out_ms = min(BASE_MS * self.ejections, OUT_MAX_MS)
            until_ms = now_ms + self._last_out_ms
        since_ms = self.out.since_ms if self.out is not None and self.out.result is result else now_ms
        self.out = Out(result, since_ms, until_ms)
        self._probing_until_ms = -1
        return self.out

    def admit(self, now_ms: int) -> None:
        """The pool is back: what it did before is forgotten, except how often it was left."""
        self.out = None
        self.straight = self.since_success = 0
        self._admitted_ms = now_ms
        self._probing_until_ms = -1
        self._seconds = [-1] * WINDOW_S

    def due(self, now_ms: int) -> bool:
        """Whether its time out is over and nobody is finding out yet."""
        return self.out is not None and now_ms >= self.out.until_ms and now_ms >= self._probing_until_ms

    def probing(self, now_ms: int) -> bool:
        """Whether one request is finding out just now."""
        return self.out is not None and now_ms < self._probing_until_ms

    def probe(self, now_ms: int) -> None:
        """One request goes there to find out; if it is never heard of again, another may after 30 s."""
        self._probing_until_ms = now_ms + PROBE_MAX_MS

    def next_due_ms(self) -> int | None:
        """When ``due`` will next become true, or None."""
        return None if self.out is None else max(self.out.until_ms, self._probing_until_ms)

    def _count(self, counts: list[int], now_ms: int) -> None:
        second = now_ms // 1_000
        index = second % WINDOW_S
        if self._seconds[index] != second:
            self._seconds[index], self._good[index], self._bad[index] = second, 0, 0
        counts[index] += 1

    def _sums(self, now_ms: int) -> tuple[int, int]:
        second = now_ms // 1_000
        live = [index for index, at in enumerate(self._seconds) if second - WINDOW_S < at <= second]
        return sum(self._good[index] for index in live), sum(self._bad[index] for index in live)
