"""The reversal limit: load that moved from one pool to another is not moved back by choice for a while.

Otherwise two pools of nearly equal merit would trade load for as long as demand or a limit hovers at an edge.
A share that rose does not fall below what it rose to, and one that fell does not rise above what it fell to;
what was moved by force meanwhile may be put right. The while is ``reversal_ms``. Each turn back and forth
doubles it, up to ``reversal_max_ms``.

Forced moves are never bound by it, nor is a pool's climb back after an outage: its ramp is its own limit.
"""

from functools import cached_property
from typing import NamedTuple, TypeAlias

from controller.core.model.memory import Memory, Shift
from controller.core.model.reasons import Reason
from controller.core.moves.unplaced import Move
from controller.core.policy.thresholds import Thresholds
from tieline.table import MILLION

TURNS_MAX = 10  # more would double the while beyond any maximum
REMEMBERED_WHILES = 2  # a shift is remembered for so many whiles, to count a turn that comes soon after
# Moves by merit, and forced ones that end with their cause and would then be taken back by choice at once. An
# outage and planned work have an end of their own, and so has the return of what was moved for them.
REMEMBERED_REASONS = (
    Reason.MERIT_ORDER,
    Reason.PLAN,
    Reason.KEEP_WARM,
    Reason.OVERLOAD,
    Reason.MADE_WAY,
)

Key: TypeAlias = tuple[int, int]
"""(route, pool)"""


class _Bars(NamedTuple):
    """The shares that bound moves now, in parts per million, and the shifts that are still remembered."""

    floors: dict[Key, int]
    ceilings: dict[Key, int]
    shifts: dict[Key, Shift]


class ReversalLimits:
    """Between which shares, in parts per million, each route may move by choice at each pool now."""

    def __init__(self, memory: Memory, thresholds: Thresholds, now_ms: int) -> None:
        self._memory = memory
        self._thresholds = thresholds
        self._now_ms = now_ms

    @cached_property
    def _bars(self) -> _Bars:
        """Made when first asked for: most decisions need none."""
        bars = _Bars({}, {}, {})
        shortest_ms = self._thresholds.reversal_ms
        longest_ms = max(shortest_ms, self._thresholds.reversal_max_ms)
        for shift in self._memory.shifts:
            lasts_ms = min(shortest_ms << shift.turns, longest_ms)
            key = (shift.route, shift.pool)
            if self._now_ms - shift.at_ms < lasts_ms:
                (bars.floors if shift.rose else bars.ceilings)[key] = shift.parts
            if self._now_ms - shift.at_ms < REMEMBERED_WHILES * lasts_ms:
                bars.shifts[key] = shift
        return bars

    def floor(self, route: int, pool: int) -> int:
        """The least to which the route's share at the pool may fall by choice."""
        return self._bars.floors.get((route, pool), 0)

    def ceiling(self, route: int, pool: int) -> int:
        """The most to which the route's share at the pool may rise by choice."""
        return self._bars.ceilings.get((route, pool), MILLION)

    def after(
        self, before: list[dict[int, int]], now: list[dict[int, int]], moves: list[Move], now_ms: int
    ) -> tuple[Shift, ...]:
        """The shifts to remember once these moves led from ``before`` to ``now``, in order."""
        keys = {(move.route, move.pool) for move in moves if move.reason in REMEMBERED_REASONS}
        keys |= {(move.route, move.giver) for move in moves if move.reason in REMEMBERED_REASONS}
        if not keys:
            return self._memory.shifts
        shifts = dict(self._bars.shifts)
        for route, pool in keys:
            parts = now[route].get(pool, 0)
            if change := parts - before[route].get(pool, 0):
                was = shifts.get((route, pool))
                turned = was is not None and was.rose is not (change > 0)
                turns = min((was.turns if was else 0) + turned, TURNS_MAX)
                shifts[route, pool] = Shift(route, pool, change > 0, parts=parts, at_ms=now_ms, turns=turns)
        return tuple(shift for _, shift in sorted(shifts.items()))
