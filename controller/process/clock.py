"""The only clocks of the controller, and the watch that says whether its wall clock can be trusted.

Evidence carries the brokers' time. While this machine's wall clock is wrong, nobody knows how old evidence
is: the leader then holds the table. ``ClockWatch`` is pure; it is given every reading as an argument.
"""

import time
from dataclasses import dataclass, replace

JUMP_MS = 1_000
DISTRUST_MS = 30_000
BROKERS_APART_MAX_MS = 5_000  # a third of the shortest staleness
_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # BOOTTIME also counts a suspended machine


def now_ms() -> int:
    """Unix time in milliseconds."""
    return time.time_ns() // 1_000_000


def monotonic_ms() -> int:
    """Milliseconds that never go back, and that go on while the process or the machine is suspended.

    Only differences mean anything. A leader measures its lease by this clock.
    """
    return time.clock_gettime_ns(_STEADY) // 1_000_000


def stopwatch_s() -> float:
    """Seconds of a precise clock, to measure how long work takes. Only differences mean anything."""
    return time.perf_counter()


def apart_ms(sent_ms: int, append_ms: int, acknowledged_ms: int) -> int:
    """The smallest distance of a wall clock from the broker's that explains these three instants.

    Positive when the wall clock is ahead; 0 when the append lies between send and acknowledgement.
    """
    return max(sent_ms - append_ms, 0) - max(append_ms - acknowledged_ms, 0)


@dataclass(frozen=True, slots=True)
class ClockWatch:
    """Both clocks at the last look.

    A wall clock that jumps against the steady one is distrusted for ``DISTRUST_MS``. One that is further than
    ``BROKERS_APART_MAX_MS`` from the brokers' is distrusted for as long as it is: evidence would look older
    or younger than it is.
    """

    wall_ms: int = 0
    steady_ms: int = 0
    distrusted_until_steady_ms: int = 0
    brokers_apart_ms: int = 0

    def look(self, wall_ms: int, steady_ms: int, brokers_apart_ms: int = 0) -> "ClockWatch":
        """The watch after one more look. ``brokers_apart_ms`` is what ``apart_ms`` gave for the last send."""
        watch = replace(self, wall_ms=wall_ms, steady_ms=steady_ms, brokers_apart_ms=brokers_apart_ms)
        if not self.steady_ms:
            return watch
        if abs((wall_ms - self.wall_ms) - (steady_ms - self.steady_ms)) <= JUMP_MS:
            return watch
        return replace(watch, distrusted_until_steady_ms=steady_ms + DISTRUST_MS)

    @property
    def trusted(self) -> bool:
        """Whether no jump was noticed lately and the brokers' clock agrees."""
        agrees = abs(self.brokers_apart_ms) <= BROKERS_APART_MAX_MS
        return agrees and self.steady_ms >= self.distrusted_until_steady_ms
