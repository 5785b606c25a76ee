"""How far our clock is from the brokers', so that a backlog can be told from news whatever the clocks say.

The distance is the smallest arrival - append that was seen lately, by partition: each has a broker with a
clock of its own. Only records that were the last of their log on arrival count, because others have waited in
it. A clock may be set at any time, so nothing is believed for ever:

- A distance that shrinks is taken at once.
- One that grows by more than ``JUMP_MS`` is taken at once too. Either a clock was set, or that record had to
  wait; then the next live record says so. Until then too much counts as news, which does no harm, because
  evidence ages by its own time.
- One that grows slowly is followed within two ``WINDOW_MS``, as clocks drift.
- When our own clock jumps against a steady one, all distances move with it.
"""

from collections.abc import Callable
from dataclasses import dataclass

from streams.positions import Partition

JUMP_MS = 5_000  # far beyond any transit, and well below the 15 s after which the first reports are stale
OWN_JUMP_MS = 1_000
WINDOW_MS = 30_000
SHARE_RECORDS_MIN = 10


@dataclass(slots=True)
class _Distance:
    """The smallest distances of this window and of the one before, which began at ``since_ms`` (steady)."""

    now_ms: int
    before_ms: int
    since_ms: int

    @property
    def least_ms(self) -> int:
        return min(self.now_ms, self.before_ms)


class ClockOffsets:
    """The distances of all partitions. ``now_ms`` is the wall clock, ``steady_ms`` one that never jumps."""

    def __init__(self, now_ms: Callable[[], int], steady_ms: Callable[[], int]) -> None:
        self.now_ms = now_ms
        self._steady_ms = steady_ms
        self._distances: dict[Partition, _Distance] = {}
        self._apart_ms: int | None = None  # wall clock minus steady clock, at the last look

    def note_arrival(self, partition: Partition, append_ms: int) -> None:
        """A record that is the last of its log arrives now."""
        at_ms = self._look()
        distance_ms = self.now_ms() - append_ms
        distance = self._distances.get(partition)
        if distance is None or abs(distance_ms - distance.least_ms) > JUMP_MS:
            self._distances[partition] = _Distance(distance_ms, distance_ms, at_ms)
            return
        if at_ms - distance.since_ms > WINDOW_MS:
            distance.before_ms, distance.now_ms, distance.since_ms = distance.now_ms, distance_ms, at_ms
        distance.now_ms = min(distance.now_ms, distance_ms)

    def offset_ms(self, partition: Partition) -> int:
        """Our clock minus that of the partition's broker; 0 while none of its records has arrived."""
        self._look()
        distance = self._distances.get(partition)
        return distance.least_ms if distance is not None else 0

    def broker_now_ms(self, partition: Partition) -> int:
        """The time of the partition's broker. While none of its records has arrived, the earliest of the
        other brokers' times: what may be news must not be skipped."""
        self._look()
        distance = self._distances.get(partition)
        if distance is not None:
            return self.now_ms() - distance.least_ms
        return self.now_ms() - max((other.least_ms for other in self._distances.values()), default=0)

    def _look(self) -> int:
        """Moves all distances if our clock was set. Returns the steady clock."""
        steady_ms = self._steady_ms()
        apart_ms = self.now_ms() - steady_ms
        jump_ms = apart_ms - self._apart_ms if self._apart_ms is not None else 0
        if abs(jump_ms) > OWN_JUMP_MS:
            for distance in self._distances.values():
                distance.now_ms += jump_ms
                distance.before_ms += jump_ms
        self._apart_ms = apart_ms  # also without a jump: the two clocks drift
        return steady_ms


class StaleShare:
    """Which share of the latest reports was skipped as stale: a backlog, or a clock that is wrong.

    Instants are seconds of any steady clock. The share is that of the last 30 to 60 s.
    """

    def __init__(self) -> None:
        self._since_s = 0.0
        self._now = (0, 0)  # records, and how many of them were stale
        self._before = (0, 0)

    def note(self, *, stale: bool, at_s: float) -> None:
        """One more report was looked at."""
        self._turn(at_s)
        records, stale_records = self._now
        self._now = (records + 1, stale_records + stale)

    def at(self, at_s: float) -> float:
        """The share, from 0 to 1; 0 while there were fewer than ``SHARE_RECORDS_MIN`` reports."""
        self._turn(at_s)
        records, stale = (now + before for now, before in zip(self._now, self._before, strict=True))
        return stale / records if records >= SHARE_RECORDS_MIN else 0.0

    def _turn(self, at_s: float) -> None:
        passed_s = at_s - self._since_s
        if passed_s > WINDOW_MS / 1_000:
            self._before = self._now if passed_s <= 2 * WINDOW_MS / 1_000 else (0, 0)
            self._now, self._since_s = (0, 0), at_s
