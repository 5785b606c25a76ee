"""Another policy tried on recorded decisions: what it would have come to over the same inputs. Pure.

The other policy decides with a memory and a table of its own, carried from decision to decision. The evidence
is what was recorded, so the trial does not know how pools would have fared under other load. Both tables are
measured against the same demand and the same success of each pool, as they were known at each decision.
"""

from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from controller.core.assessment import Assessment, assess
from controller.core.inspect.measure import SECONDS_PER_HOUR, Measurement, measure, moved_units
from controller.core.inspect.what_if import success_of
from controller.core.model.memo import Memo
from controller.core.model.memory import Memory
from controller.core.moves.held_table import HeldTable
from controller.core.planner import Planner
from controller.core.policy.policy import Policy
from controller.core.snapshot import Snapshot
from controller.decisions.record import RebuiltDecision
from tieline.table import CRITICALITIES, MILLION, RouteTable

DIFFERING_SHARE = 0.0005  # of a route: a smaller difference is rounding
MS_PER_HOUR = SECONDS_PER_HOUR * 1_000


class Totals(Struct, frozen=True):
    """What one policy came to over the replayed time: load in units, money for burst, and movement.

    ``moved_units_per_s`` is summed over all changes, ``tables`` counts those that changed a weight, and
    ``broken`` counts routes against law or contract, once for each decision.
    """

    offered: float = 0.0
    served: float = 0.0
    failed: float = 0.0
    shed: dict[str, float] = {}
    burst_money: float = 0.0
    moved_units_per_s: float = 0.0
    tables: int = 0
    broken: int = 0

    def after_change(self, side: "_Side") -> "Totals":
        """With the movement and the broken rules of one more table."""
        return replace(
            self,
            moved_units_per_s=self.moved_units_per_s + side.moved,
            tables=self.tables + (side.moved > 0),
            broken=self.broken + len(side.worth.broken),
        )

    def after_time(self, worth: Measurement, length_ms: int) -> "Totals":
        """With what a table of this worth came to in so many milliseconds."""
        seconds = length_ms / 1_000
        return replace(
            self,
            offered=self.offered + worth.offered * seconds,
            served=self.served + worth.served * seconds,
            failed=self.failed + worth.failed * seconds,
            shed={
                name: self.shed.get(name, 0.0) + worth.shed_by_criticality[name] * seconds
                for name in CRITICALITIES
            },
            burst_money=self.burst_money + worth.burst_money_per_hour * length_ms / MS_PER_HOUR,
        )


class RouteDiff(Struct, frozen=True):
    """How one route ends under each policy, where they differ: shares by pool, and what is shed."""

    route: str
    recorded: dict[str, float]
    other: dict[str, float]
    recorded_shed: float
    other_shed: float


class Comparison(Struct, frozen=True):
    """The recorded decisions beside those of another policy, over ``length_ms``."""

    decisions: int
    length_ms: int
    recorded: Totals
    other: Totals
    routes: tuple[RouteDiff, ...]


class _Side(NamedTuple):
    """One policy at one decision: its table, what that is worth, and the units/s that it moved."""

    table: RouteTable
    worth: Measurement
    moved: float


class PolicyTrial:
    """Takes recorded decisions in order of time, and decides each of them by another policy as well."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._planner = Planner()
        self._recorded_memo = Memo()
        self._memory: Memory | None = None
        self._table: RouteTable | None = None
        self._sides: tuple[_Side, _Side] | None = None  # as recorded, and by the other policy
        self._totals = (Totals(), Totals())
        self._from_ms = 0
        self._since_ms = 0
        self._decisions = 0

    def take(self, decision: RebuiltDecision) -> None:
        """The next recorded decision."""
        at_ms, recorded = decision.now_ms, decision.snapshot
        if self._sides is None:
            self._from_ms = self._since_ms = at_ms
            self._memory, self._table = recorded.memory, recorded.table
        else:
            self._count_until(at_ms, self._sides)
        other = replace(recorded, policy=self._policy, memory=self._memory, table=self._table)
        ready = self._planner.step(other, at_ms)
        table = ready.table or self._table or decision.published
        assessment = assess(recorded, at_ms, self._recorded_memo)
        pools = assessment.compiled.pools
        success = {pools[i]: share for i, share in success_of(assessment, assessment.use).items()}
        by_other = assess(other, at_ms, self._planner.memo)
        self._sides = (
            _side(recorded, decision.published, assessment, success=success, now_ms=at_ms),
            _side(other, table, by_other, success=success, now_ms=at_ms),
        )
        self._totals = (
            self._totals[0].after_change(self._sides[0]),
            self._totals[1].after_change(self._sides[1]),
        )
        self._memory, self._table = ready.memory, table
        self._decisions += 1

    def result(self) -> Comparison | None:
        """What both came to, up to the last decision taken; None if there was none."""
        if self._sides is None:
            return None
        recorded, other = self._sides
        return Comparison(
            decisions=self._decisions,
            length_ms=self._since_ms - self._from_ms,
            recorded=self._totals[0],
            other=self._totals[1],
            routes=_route_diffs(recorded.table, other.table),
        )

    def _count_until(self, now_ms: int, sides: tuple[_Side, _Side]) -> None:
        """Adds what each table came to until now, by what was known when it was decided."""
        length_ms = max(0, now_ms - self._since_ms)
        self._totals = (
            self._totals[0].after_time(sides[0].worth, length_ms),
            self._totals[1].after_time(sides[1].worth, length_ms),
        )
        self._since_ms = max(now_ms, self._since_ms)


def _side(
    snapshot: Snapshot,
    table: RouteTable,
    assessment: Assessment,
    *,
    success: dict[str, float],
    now_ms: int,
) -> _Side:
    """``success``: the share of attempts that succeed, by pool, where it is below 1."""
    compiled = assessment.compiled
    draft = HeldTable(compiled, table).draft(assessment.demand)
    before = draft
    if snapshot.table is not None:
        before = HeldTable(compiled, snapshot.table).draft(assessment.demand)
    numbers = compiled.pool_index
    by_index = {numbers[pool]: share for pool, share in success.items() if pool in numbers}
    worth = measure(draft, assessment.caps, by_index, now_ms=now_ms)
    return _Side(table, worth, moved_units(before, draft))


def _route_diffs(recorded: RouteTable, other: RouteTable) -> tuple[RouteDiff, ...]:
    """The routes that end differently, by name. A route that only one policy has is compared with nothing."""
    sides = (_shares(recorded), _shares(other))
    diffs = []
    for name in sorted({*sides[0], *sides[1]}):
        (was, was_shed), (now, now_shed) = (side.get(name, ({}, 0.0)) for side in sides)
        change = max([abs(was.get(p, 0.0) - now.get(p, 0.0)) for p in {*was, *now}], default=0.0)
        if max(change, abs(was_shed - now_shed)) >= DIFFERING_SHARE:
            diffs.append(RouteDiff(name, was, now, recorded_shed=was_shed, other_shed=now_shed))
    return tuple(diffs)


def _shares(table: RouteTable) -> dict[str, tuple[dict[str, float], float]]:
    """For each route, its share by pool and the share that is shed."""
    shares = {}
    for route in table.routes:
        pairs = zip(route.split.pools, route.split.weights, strict=True)
        by_pool = {table.pools[pool].pool: parts / MILLION for pool, parts in pairs if parts}
        shares[route.name] = (by_pool, route.split.shed / MILLION)
    return shares
