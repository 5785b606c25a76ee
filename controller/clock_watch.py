"""Whether the wall clock can be believed: it must keep pace with the steady one. Pure."""

from dataclasses import dataclass, replace

JUMP_MS = 1_000
DISTRUST_MS = 30_000


@dataclass(frozen=True, slots=True)
class ClockWatch:
    """Both clocks at the last look. After a jump the wall clock is distrusted for a while."""

    wall_ms: int = 0
    steady_ms: int = 0
    distrusted_until_steady_ms: int = 0

    def look(self, wall_ms: int, steady_ms: int) -> "ClockWatch":
        """The watch after one more look at both clocks."""
        seen = replace(self, wall_ms=wall_ms, steady_ms=steady_ms)
        if not self.steady_ms:
            return seen
        if abs((wall_ms - self.wall_ms) - (steady_ms - self.steady_ms)) <= JUMP_MS:
            return seen
        return replace(seen, distrusted_until_steady_ms=steady_ms + DISTRUST_MS)

    @property
    def trusted(self) -> bool:
        """Whether no jump was seen lately."""
        return self.steady_ms >= self.distrusted_until_steady_ms
