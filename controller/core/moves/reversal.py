"""The reversal limit: load that moved from one pool to another is not moved back by choice for a while.

Two pools of nearly equal merit would otherwise trade load for as long as demand or a limit hovers at an edge.
A share that rose does not fall below what it rose to, one that fell does not rise above what it fell to; what
was moved by force meanwhile may be put right. Each turn back and forth doubles the while, up to an hour.
Forced moves are never bound by it, nor is a pool's climb back after an outage: its ramp is its own limit.
"""

from functools import cached_property
from typing import TypeAlias

from controller.core.model.memory import Memory, Shift
from controller.core.model.reasons import Reason
from controller.core.moves.reflex import Moved
from controller.core.policy.thresholds import Thresholds
from tieline.table import MILLION

TURNS_MAX = 10
#: Moves by merit, and forced ones that go away with their cause, so that by choice they would be undone at
#: once. An outage and planned work have an end of their own, and so has the return of what they took.
NOTED = (Reason.MERIT_ORDER, Reason.PLAN, Reason.KEEP_WARM, Reason.OVERLOAD, Reason.MADE_WAY)


Key: TypeAlias = tuple[int, int]  # (route, pool)


class Barred:
    """Between which shares (parts per million) each route may move at each pool by choice now."""

    def __init__(self, memory: Memory, limits: Thresholds, now_ms: int) -> None:
        self._memory = memory
        self._limits = limits
        self._now_ms = now_ms

    @cached_property
    def _bars(self) -> tuple[dict[Key, int], dict[Key, int], dict[Key, Shift]]:
        """Floors, ceilings, and what is still remembered. Made when first asked for: most steps need none."""
        floors: dict[Key, int] = {}
        ceilings: dict[Key, int] = {}
        known: dict[Key, Shift] = {}
        shortest_ms = self._limits.reversal_ms
        longest_ms = max(shortest_ms, self._limits.reversal_max_ms)
        for shift in self._memory.shifts:
            lasts_ms = min(shortest_ms << shift.turns, longest_ms)
            key = (shift.route, shift.pool)
            if self._now_ms - shift.at_ms < lasts_ms:
                (floors if shift.rose else ceilings)[key] = shift.parts
            if self._now_ms - shift.at_ms < 2 * lasts_ms:
                known[key] = shift
        return floors, ceilings, known

    def floor(self, route: int, pool: int) -> int:
        """The least to which the route's share at the pool may fall by choice."""
        return self._bars[0].get((route, pool), 0)

    def ceiling(self, route: int, pool: int) -> int:
        """The most to which the route's share at the pool may rise by choice."""
        return self._bars[1].get((route, pool), MILLION)

    def after(
        self, before: list[dict[int, int]], now: list[dict[int, int]], moves: list[Moved], now_ms: int
    ) -> tuple[Shift, ...]:
        """What is to be remembered with these moves, in order; of each route and pool the newest."""
        told = {(move.route, move.pool) for move in moves if move.reason in NOTED}
        told |= {(move.route, move.giver) for move in moves if move.reason in NOTED}
        if not told:
            return self._memory.shifts
        found = dict(self._bars[2])
        for route, pool in told:
            parts = now[route].get(pool, 0)
            if change := parts - before[route].get(pool, 0):
                was = found.get((route, pool))
                turned = was is not None and was.rose is not (change > 0)
                turns = min((was.turns if was else 0) + turned, TURNS_MAX)
                found[route, pool] = Shift(route, pool, change > 0, parts, now_ms, turns)
        return tuple(shift for _, shift in sorted(found.items()))
