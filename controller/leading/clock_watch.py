"""Whether the wall clock can be believed: it must keep pace with the steady one, and agree with the brokers'.

Pure. While it can't be believed nobody knows how old evidence is, so the table is held.
"""

from dataclasses import dataclass, replace

JUMP_MS = 1_000
DISTRUST_MS = 30_000
BROKERS_APART_MAX_MS = 5_000  # a third of the shortest staleness


def apart_ms(sent_ms: int, append_ms: int, acknowledged_ms: int) -> int:
    """How far at least a clock lies from the broker's, positive where it is ahead; 0 where the append lies
    between send and acknowledgement."""
    return max(sent_ms - append_ms, 0) - max(append_ms - acknowledged_ms, 0)


@dataclass(frozen=True, slots=True)
class ClockWatch:
    """Both clocks at the last look. After a jump the wall clock is distrusted for a while, and for as long as
    it lies far from the brokers': then evidence would look older or younger than it is."""

    wall_ms: int = 0
    steady_ms: int = 0
    distrusted_until_steady_ms: int = 0
    brokers_apart_ms: int = 0

    def look(self, wall_ms: int, steady_ms: int, brokers_apart_ms: int = 0) -> "ClockWatch":
        """The watch after one more look. ``brokers_apart_ms``: at least so far lies the wall clock from the
        brokers', as the last record sent to them shows; positive when it is ahead."""
        seen = replace(self, wall_ms=wall_ms, steady_ms=steady_ms, brokers_apart_ms=brokers_apart_ms)
        if not self.steady_ms:
            return seen
        if abs((wall_ms - self.wall_ms) - (steady_ms - self.steady_ms)) <= JUMP_MS:
            return seen
        return replace(seen, distrusted_until_steady_ms=steady_ms + DISTRUST_MS)

    @property
    def trusted(self) -> bool:
        """Whether no jump was seen lately, and the brokers agree."""
        agrees = abs(self.brokers_apart_ms) <= BROKERS_APART_MAX_MS
        return agrees and self.steady_ms >= self.distrusted_until_steady_ms
