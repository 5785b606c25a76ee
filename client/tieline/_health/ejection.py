"""PURE. One pool as this process sees it: whether to leave it, for how long, how it comes back, and which
share of its requests to keep away from it. The package's docstring has the rules. Times are monotonic
milliseconds.
"""

from typing import Protocol

from msgspec import Struct

from tieline._health.counts import RecentCounts
from tieline.events import HEALTH_FAILURES, ResultClass

STRAIGHT_FAILURES = 5
WINDOW_S = 10
WINDOW_REQUESTS_MIN = 10
TRIAL_FIRST_S = 1.0  # until the first real request finds out whether a pool is back; doubled each time
TRIAL_LONGEST_S = 30.0
SHARES = (0.10, 0.25, 0.50)  # of its weight while a pool comes back, then all of it
STEP_MS = 1_000
STEADY_MS = 30_000  # a pool that has been back for so long begins with the shortest wait again
OUT_MAX_MS = 300_000
RETRY_AFTER_DEFAULT_MS = 1_000
NO_SUCCESS_MS = 10_000
SERVES_MS = 2_000  # a success within this time shows that a pool serves, whatever it turns away
SERVES_AT_ONCE_MS = 500  # the same when its last five requests had none
PROBE_MAX_MS = 30_000

BUCKET_MS = 10_000  # of what a throttle counts
BUCKETS = 12
LEVELS = 16
THROTTLE_REQUESTS_MIN = 10  # one request that was turned away says little about the next
_ACCEPTED_FACTOR = 2

_GOOD, _BAD, _HUNG, _UNANSWERED = range(4)
_WANTED, _ACCEPTED = range(2)


class Out(Struct, frozen=True):
    """Why and until when this process keeps away from a pool."""

    result: ResultClass
    since_ms: int
    until_ms: int


class Waits(Protocol):
    """Waits before trials, in seconds; ``tieline.backoff.Backoff``."""

    def next_s(self, *, at_least_s: float = 0.0) -> float: ...
    def reset(self) -> None: ...


class PoolHealth:
    """What this process has seen of one pool.

    ``out``: why it is left, None while it is in. ``straight``: failures of health in a row.
    ``since_success``: requests of any end but the caller's own mistakes since the last success.
    ``last_success_ms``: when it last gave real output.
    """

    __slots__ = (
        "_admitted_ms",
        "_counts",
        "_first_request_ms",
        "_probing_until_ms",
        "_recorded_ms",
        "_refused",
        "_step",
        "_stepped_ms",
        "_waits",
        "last_success_ms",
        "out",
        "since_success",
        "straight",
    )

    def __init__(self, waits: Waits) -> None:
        self.out: Out | None = None
        self.straight = 0
        self.since_success = 0
        self.last_success_ms: int | None = None
        self._first_request_ms: int | None = None
        self._recorded_ms = 0
        self._admitted_ms = 0
        self._waits = waits
        self._step = len(SHARES)  # of coming back
        self._stepped_ms = 0
        self._probing_until_ms = -1
        self._refused: set[int] = set()
        self._counts = RecentCounts(4, buckets=WINDOW_S, bucket_ms=1_000)

    def refused(self, subject: int) -> bool:
        """The pool refused this one request. Whether it has now refused five different ones, with no success
        since the first of them."""
        self._refused.add(subject)
        return len(self._refused) >= STRAIGHT_FAILURES

    @property
    def share(self) -> float:
        """Of its weight that it gets: less than 1 while it comes back."""
        return SHARES[self._step] if self._step < len(SHARES) else 1.0

    def record(self, result: ResultClass, now_ms: int) -> bool:
        """One request has ended with ``result``, which speaks about the pool. Says whether ``share``
        changed."""
        self._recorded_ms = now_ms
        if self._first_request_ms is None:
            self._first_request_ms = now_ms
        if result is ResultClass.OK:
            self.alive(now_ms)
            self.straight = self.since_success = 0
            self._refused.clear()
            self._counts.add(_GOOD, now_ms)
        else:
            self.since_success += 1
        if result in HEALTH_FAILURES:
            self.straight += 1
            self._counts.add(_BAD, now_ms)
        if result is ResultClass.TIMEOUT:
            self._counts.add(_HUNG, now_ms)
        return self.out is None and self._step < len(SHARES) and self._take_step(result, now_ms)

    def _take_step(self, result: ResultClass, now_ms: int) -> bool:
        """Coming back: a success gives it more, at most once a second; a failure takes the last step back."""
        step = self._step
        if result in HEALTH_FAILURES:
            self._step = max(0, step - 1)
        elif result is ResultClass.OK and now_ms - self._stepped_ms >= STEP_MS:
            self._step = step + 1
        else:
            return False
        self._stepped_ms = now_ms
        return self._step != step

    def unanswered(self, now_ms: int) -> None:
        """A caller gave up before the pool could be called hung. That is no failure of the pool."""
        self._counts.add(_UNANSWERED, now_ms)

    def alive(self, now_ms: int) -> None:
        """The pool has just given real output. That is not yet a success: the stream may be cut."""
        self.last_success_ms = now_ms

    def wants_out(self, now_ms: int) -> bool:
        """Whether one of the two rules about health says to leave."""
        if self.straight >= STRAIGHT_FAILURES:
            return True
        good, bad, *_ = self._counts.sums(now_ms)
        return good + bad >= WINDOW_REQUESTS_MIN and bad > good

    @property
    def partial(self) -> bool:
        """Whether some requests still succeed. Then leaving is a matter of how much the others can bear;
        unless more than half hang, which takes their callers' time and not only an attempt."""
        return self.straight < STRAIGHT_FAILURES and not self._hangs

    @property
    def _hangs(self) -> bool:
        good, bad, hung, _ = self._counts.sums(self._recorded_ms)
        return good + bad >= WINDOW_REQUESTS_MIN and 2 * hung > good + bad

    def hangs(self, now_ms: int) -> bool:
        """Whether a request has timed out there within 10 s, and none has succeeded since or within 2 s."""
        if not self.straight or self.serves(now_ms):
            return False
        _, _, hung, _ = self._counts.sums(now_ms)
        return hung > 0

    def fruitless(self, now_ms: int) -> bool:
        """Whether it had no success for 10 s, or in its last 5 requests, or answered less than half of at
        least 10 in 10 s in the time that their callers had. Leaving it for one that succeeds then costs no
        token of the retry budget."""
        if self.since_success >= STRAIGHT_FAILURES or self._leaves_callers_waiting(now_ms):
            return True
        since = self.last_success_ms if self.last_success_ms is not None else self._first_request_ms
        return since is not None and self.since_success > 0 and now_ms - since >= NO_SUCCESS_MS

    def _leaves_callers_waiting(self, now_ms: int) -> bool:
        good, bad, hung, unanswered = self._counts.sums(now_ms)
        count = good + bad + unanswered
        return count >= WINDOW_REQUESTS_MIN and 2 * (hung + unanswered) > count

    def serves(self, now_ms: int) -> bool:
        """Whether it has answered lately, even if it turned others away."""
        if self.last_success_ms is None:
            return False
        within_ms = SERVES_AT_ONCE_MS if self.since_success >= STRAIGHT_FAILURES else SERVES_MS
        return now_ms - self.last_success_ms < within_ms

    def successes_per_s(self, now_ms: int) -> float:
        """Requests that ended well, over the last 10 s."""
        return self._counts.sums(now_ms)[_GOOD] / WINDOW_S

    def eject(self, result: ResultClass, now_ms: int, retry_after_ms: int | None = None) -> Out:
        """Leave the pool, until its Retry-After or for a wait that doubles while it doesn't come back. The
        caller has asked ``wants_out`` and whether the others can bear it."""
        asked_ms = min(retry_after_ms, OUT_MAX_MS) if retry_after_ms is not None else 0
        if result is ResultClass.THROTTLED:
            until_ms = now_ms + max(1, RETRY_AFTER_DEFAULT_MS if retry_after_ms is None else asked_ms)
        else:
            if self.out is None and now_ms - self._admitted_ms > STEADY_MS:
                self._waits.reset()
            until_ms = now_ms + round(1_000 * self._waits.next_s(at_least_s=asked_ms / 1_000))
        since_ms = self.out.since_ms if self.out is not None and self.out.result is result else now_ms
        self.out = Out(result, since_ms, until_ms)
        self._probing_until_ms = -1
        return self.out

    def admit(self, now_ms: int, *, by_steps: bool = True) -> None:
        """The pool is back, with a part of its weight at first: what it did before is forgotten, except how
        often it was left."""
        self._step = 0 if by_steps else len(SHARES)
        self._stepped_ms = now_ms
        self.out = None
        self.straight = self.since_success = 0
        self._refused.clear()
        self._admitted_ms = now_ms
        self._probing_until_ms = -1
        self._counts.clear()

    def due(self, now_ms: int) -> bool:
        """Whether its time out is over and no request is finding out yet."""
        return self.out is not None and now_ms >= self.out.until_ms and now_ms >= self._probing_until_ms

    def probing(self, now_ms: int) -> bool:
        """Whether a request is finding out just now."""
        return self.out is not None and now_ms < self._probing_until_ms

    def probe(self, now_ms: int) -> None:
        """One request goes there to find out. If it is never heard of again, another may after 30 s."""
        self._probing_until_ms = now_ms + PROBE_MAX_MS

    def next_due_ms(self) -> int | None:
        """When ``due`` will next become true, or None."""
        return None if self.out is None else max(self.out.until_ms, self._probing_until_ms)


class Throttle:
    """Adaptive throttling of one pool (B. Beyer et al., Site Reliability Engineering, chapter 21).

    Of the requests meant for the pool, the share max(0, (requests - 2 x accepted) / (requests + 1)) over two
    minutes goes elsewhere without being sent. A request that ends with 429 was turned away; every other was
    accepted.

    ``level``: that share in sixteenths, as choices are compiled anew when it changes. Never all sixteen: a
    pool that is sent nothing could not show that it has room again.
    """

    __slots__ = ("_counts", "level")

    def __init__(self) -> None:
        self.level = 0
        self._counts = RecentCounts(2, buckets=BUCKETS, bucket_ms=BUCKET_MS)

    def record(self, now_ms: int, *, accepted: bool) -> bool:
        """One request has ended; it stands for those not sent as well. Says whether ``level`` changed."""
        self._counts.add(_WANTED, now_ms, LEVELS / (LEVELS - self.level))
        self._counts.add(_ACCEPTED, now_ms, accepted)
        if accepted and self.level == 0:
            return False  # an accepted request raises no level
        return self.look(now_ms)

    def look(self, now_ms: int) -> bool:
        """Judge anew, as counts grow old. Says whether ``level`` changed."""
        wanted, accepted = self._counts.sums(now_ms)
        share = max(0.0, (wanted - _ACCEPTED_FACTOR * accepted) / (wanted + 1))
        if wanted < THROTTLE_REQUESTS_MIN:
            share = 0.0
        before, self.level = self.level, min(LEVELS - 1, int(share * LEVELS))
        return self.level != before
