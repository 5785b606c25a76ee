"""How much each caller may ask for: token buckets of requests and of units.

Both are full to begin with, at what the caller may do in ``AT_ONCE_S``. A request takes one request, and the
units that it will probably take; what its answer then took beside that is settled at its end. Since nobody
knows that before, the units may go below zero, and the caller waits until they are back. A caller is never
refused for what others do; its own limits hold for all of its connections, and for all workers (``levels``).
"""

from collections.abc import Sequence

from gateway.callers import Caller
from gateway.levels import Level, Levels

AT_ONCE_S = 5.0
CHARACTERS_PER_UNIT = 4
ANSWER_UNITS = 256.0


def expected_units(body_bytes: int) -> float:
    """The units that a request with a JSON body of this size will probably take."""
    return body_bytes / CHARACTERS_PER_UNIT + ANSWER_UNITS


class Limits:
    """The limits of these callers."""

    def __init__(self, callers: Sequence[Caller], levels: Levels) -> None:
        self._levels = levels
        self._rows = {
            caller.name: levels.row_of(caller.name)
            for caller in callers
            if caller.requests_per_s or caller.units_per_s
        }

    def take(self, caller: Caller, units: float, now_ms: int) -> int:
        """0 when the caller may make this request now; else after how many milliseconds it may."""
        row = self._rows.get(caller.name)
        if row is None:
            return 0
        return self._levels.change(row, lambda level: _taken(level, caller, units, now_ms))

    def settle(self, caller: Caller, more_units: float) -> None:
        """A request has taken so many units more than it was let in for; fewer where negative."""
        row = self._rows.get(caller.name)
        if row is not None and caller.units_per_s and more_units:
            self._levels.change(row, lambda level: (level._replace(units=level.units - more_units), None))


def _taken(level: Level, caller: Caller, units: float, now_ms: int) -> tuple[Level, int]:
    level = _filled(level, caller, now_ms)
    waits_ms = [0.0]
    if caller.requests_per_s and level.requests < 1.0:
        waits_ms.append((1.0 - level.requests) / caller.requests_per_s * 1_000)
    if caller.units_per_s and level.units <= 0.0:
        waits_ms.append((1.0 - level.units) / caller.units_per_s * 1_000)
    wait_ms = max(waits_ms)
    if wait_ms:
        return level, max(1, round(wait_ms))
    return level._replace(requests=level.requests - 1.0, units=level.units - units), 0


def _filled(level: Level, caller: Caller, now_ms: int) -> Level:
    """The level with what has come back since it was looked at last."""
    requests_max = max(1.0, caller.requests_per_s * AT_ONCE_S)
    units_max = max(1.0, caller.units_per_s * AT_ONCE_S)
    if not level.at_ms:
        return Level(requests_max, units_max, now_ms)
    passed_s = max(0, now_ms - level.at_ms) / 1_000
    return Level(
        min(requests_max, level.requests + caller.requests_per_s * passed_s),
        min(units_max, level.units + caller.units_per_s * passed_s),
        max(level.at_ms, now_ms),
    )
