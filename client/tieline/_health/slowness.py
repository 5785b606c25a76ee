"""PURE. Which pools answer far more slowly than is usual for them, and what share of their weight they get
for that. Times are monotonic milliseconds.

A pool that slows down holds each of its requests for longer, and time-outs take it out only when it is too
late for those. So it is sent fewer first: as many as keep the number of requests that wait there the same
(Little's law), half for one that takes twice as long. It is judged by its latest answers, the quicker ones of
which must be slower than three times what the slower ones usually are. A mix of short and long requests
changes both alike, so it is not taken for slowness. What is usual is the median of the last ten minutes; it
follows a pool that stays slow, by a tenth every ten seconds.

With the pools of a route all equally slow their shares are equal too, and nothing changes.
"""

from collections import deque
from collections.abc import Mapping, Sequence

from tieline._health.ejection import LEVELS

SLOW_FACTOR = 3.0
SLOW_MIN_MS = 200.0  # a difference below this is none
RECENT_ANSWERS, RECENT_MIN, RECENT_MS = 8, 5, 30_000
PERIOD_MS, PERIODS = 10_000, 60
PERIOD_ANSWERS = 32  # kept of one period
FIRST_ANSWERS = 20  # before that nothing is usual yet
RISE_MAX = 1.1  # of what is usual, with each period
JUDGED_EVERY_MS = 1_000
MODELS_MAX = 4_096


def _rank(values: Sequence[float], share: float) -> float:
    """The value at this rank, the lower of two."""
    return sorted(values)[int(share * (len(values) - 1))]


class Trend:
    """How long one kind of answers takes, usually and lately."""

    __slots__ = ("_began_ms", "_current", "_p50", "_p75", "_periods", "_recent")

    def __init__(self, now_ms: int) -> None:
        self._recent: deque[tuple[int, float]] = deque(maxlen=RECENT_ANSWERS)
        self._periods: deque[tuple[float, float]] = deque(maxlen=PERIODS)  # (median, 75th percentile)
        self._current: list[float] = []
        self._began_ms = now_ms
        self._p50 = self._p75 = 0.0  # what is usual; 0 until that is known

    def add(self, took_ms: float, now_ms: int) -> None:
        """One more answer took so long, or at least so long if it was given up."""
        self._recent.append((now_ms, took_ms))
        if len(self._current) < PERIOD_ANSWERS:
            self._current.append(took_ms)
        is_first = not self._periods and len(self._current) >= FIRST_ANSWERS
        if is_first or (self._periods and now_ms - self._began_ms >= PERIOD_MS):
            self._close(now_ms)

    def slowness(self, now_ms: int) -> float:
        """How many times as long as usual its latest answers take; 1 while that is not far more."""
        recent = [took_ms for at_ms, took_ms in self._recent if now_ms - at_ms <= RECENT_MS]
        if not self._p50 or len(recent) < RECENT_MIN:
            return 1.0
        quicker_ms = _rank(recent, 0.25)
        if quicker_ms < max(SLOW_FACTOR * self._p75, self._p75 + SLOW_MIN_MS):
            return 1.0
        return _rank(recent, 0.5) / self._p50

    def _close(self, now_ms: int) -> None:
        self._periods.append((_rank(self._current, 0.5), _rank(self._current, 0.75)))
        self._current, self._began_ms = [], now_ms
        p50, p75 = (_rank([period[place] for period in self._periods], 0.5) for place in (0, 1))
        self._p50 = min(p50, RISE_MAX * self._p50) if self._p50 else p50
        self._p75 = min(p75, RISE_MAX * self._p75) if self._p75 else p75


class _Speed:
    """One pool and model. ``level``: the share of its weight that it gets, in sixteenths."""

    __slots__ = ("judged_ms", "level", "trends")

    def __init__(self, now_ms: int) -> None:
        self.level = LEVELS
        self.judged_ms = now_ms
        self.trends = {is_stream: Trend(now_ms) for is_stream in (False, True)}


class Slowness:
    """Of every pool and model. Not thread-safe: the router has a lock."""

    def __init__(self) -> None:
        self._speeds: dict[tuple[str, str], _Speed] = {}
        self._shares: dict[str, dict[str, float]] = {}

    def learn(self, pool: str, model: str, took_ms: float, *, is_stream: bool, now_ms: int) -> bool:
        """The first output of a stream, or a whole answer, took so long. Says whether ``shares`` changed: a
        share falls at once, and rises by doubling each second."""
        speed = self._speeds.get((pool, model))
        if speed is None:
            if len(self._speeds) >= MODELS_MAX:
                self._speeds.clear()  # tables name far fewer: whatever filled this is no model that is used
                self._shares.clear()
            speed = self._speeds[pool, model] = _Speed(now_ms)
        speed.trends[is_stream].add(took_ms, now_ms)
        if now_ms - speed.judged_ms < JUDGED_EVERY_MS:
            return False
        speed.judged_ms, before = now_ms, speed.level
        slowness = max(trend.slowness(now_ms) for trend in speed.trends.values())
        speed.level = min(max(1, round(LEVELS / slowness)), 2 * before)
        if speed.level < LEVELS:
            self._shares.setdefault(model, {})[pool] = speed.level / LEVELS
        else:
            self._shares.get(model, {}).pop(pool, None)
        return speed.level != before

    def shares(self, model: str) -> Mapping[str, float]:
        """The share of its weight that each slow pool gets for the model: less than 1."""
        return self._shares.get(model, {})

    def pool_share(self, pool: str) -> float:
        """The least that the pool gets for any model."""
        return min((shares.get(pool, 1.0) for shares in self._shares.values()), default=1.0)

    def forget(self, pool: str) -> None:
        """It has another address now."""
        for key in [key for key in self._speeds if key[0] == pool]:
            del self._speeds[key]
        for shares in self._shares.values():
            shares.pop(pool, None)
