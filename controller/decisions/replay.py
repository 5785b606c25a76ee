"""Recorded decisions decided again: to the same bytes, or by another policy over the same inputs. Pure."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from controller.core.assessment import Assessment, assess
from controller.core.inspect.measure import Measurement, measure, moved_units
from controller.core.inspect.what_if import success_of
from controller.core.model.memo import Memo
from controller.core.model.memory import Memory
from controller.core.moves.draft import Draft
from controller.core.moves.held_table import HeldTable
from controller.core.planner import Planner
from controller.core.policy.policy import Policy
from controller.core.snapshot import Snapshot
from controller.decisions.record import Rebuilt, decode_ready, encode_ready
from tieline.table import CRITICALITIES, MILLION, RouteTable

DIFFERING_SHARE = 0.0005
MS_PER_HOUR = 3_600_000


class Difference(Struct, frozen=True):
    """The first place where deciding again gave something else, and both values there as text."""

    generation: str
    now_ms: int
    place: str
    recorded: str
    again: str


def difference(found: Rebuilt, planner: Planner | None = None) -> Difference | None:
    """Decides again; None if the same bytes come out. Who decides many again gives one ``planner`` to all."""
    planner = planner or Planner()
    again = encode_ready(planner.step(found.snapshot, found.now_ms))
    if again == found.ready_bytes:
        return None
    recorded = msgspec.to_builtins(found.ready)
    place, was, now = _first_difference(recorded, msgspec.to_builtins(decode_ready(again)))
    return Difference(str(found.generation), found.now_ms, place, was, now)


def _first_difference(was: Any, now: Any, place: str = "ready") -> tuple[str, str, str]:
    """(place, one value, the other) of the first difference in depth."""
    for path, one, other in _differences(was, now, place):
        return path, one, other
    return place, "the same values in other bytes", "the same values in other bytes"


def _differences(was: Any, now: Any, place: str) -> Iterator[tuple[str, str, str]]:
    if isinstance(was, dict) and isinstance(now, dict):
        for key in sorted({*was, *now}):
            if key not in was or key not in now:
                yield f"{place}.{key}", _short(was.get(key, "absent")), _short(now.get(key, "absent"))
            else:
                yield from _differences(was[key], now[key], f"{place}.{key}")
    elif isinstance(was, list | tuple) and isinstance(now, list | tuple):
        for number, (one, other) in enumerate(zip(was, now, strict=False)):
            yield from _differences(one, other, f"{place}[{number}]")
        if len(was) != len(now):
            yield f"{place} (length)", str(len(was)), str(len(now))
    elif was != now:
        yield place, _short(was), _short(now)


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 200 else text[:197] + "..."


class Totals(Struct, frozen=True):
    """What one policy came to over the replayed time: load in units, money for burst, and movement.

    ``moved_units_per_s`` is summed over all changes; ``tables`` counts those that changed a weight.
    """

    offered: float = 0.0
    served: float = 0.0
    failed: float = 0.0
    shed: dict[str, float] = {}
    burst_money: float = 0.0
    moved_units_per_s: float = 0.0
    tables: int = 0
    broken: int = 0


class RouteDiff(Struct, frozen=True):
    """How one route ends under each policy, where they differ: shares by pool, and what is shed."""

    route: str
    recorded: dict[str, float]
    other: dict[str, float]
    recorded_shed: float
    other_shed: float


class Comparison(Struct, frozen=True):
    """The recorded decisions beside another policy's, over ``length_ms``."""

    decisions: int
    length_ms: int
    recorded: Totals
    other: Totals
    routes: tuple[RouteDiff, ...]


class _Side(NamedTuple):
    """One policy at one decision: the table that it had, the one it has now, and what that is worth."""

    draft: Draft
    table: RouteTable
    worth: Measurement
    moved: float


class Contest:
    """Runs another policy over the same inputs, carrying its own memory and table along."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._planner = Planner()
        self._recorded = Memo()
        self._memory: Memory | None = None
        self._table: RouteTable | None = None
        self._sides: tuple[_Side, _Side] | None = None
        self._since_ms = 0
        self._from_ms = 0
        self._totals = [Totals(), Totals()]
        self.decisions = 0

    def take(self, found: Rebuilt) -> None:
        """The next recorded decision, in order of time."""
        at_ms = found.now_ms
        if self._sides is None:
            self._from_ms = self._since_ms = at_ms
            self._memory, self._table = found.snapshot.memory, found.snapshot.table
        else:
            self._count(at_ms)
        other = replace(found.snapshot, policy=self._policy, memory=self._memory, table=self._table)
        ready = self._planner.step(other, at_ms)
        table = ready.table or self._table or found.published
        known = assess(found.snapshot, at_ms, self._recorded)
        succeeds = {known.compiled.pools[i]: share for i, share in success_of(known, known.use).items()}
        self._sides = (
            _side(found.snapshot, found.published, known, succeeds, at_ms),
            _side(other, table, assess(other, at_ms, self._planner.memo), succeeds, at_ms),
        )
        self._memory, self._table = ready.memory, table
        self.decisions += 1
        self._totals = [_moved(one, side) for one, side in zip(self._totals, self._sides, strict=True)]

    def result(self) -> Comparison | None:
        """What it came to, up to the last decision taken; None if there was none."""
        if self._sides is None:
            return None
        recorded, other = self._sides
        length_ms = self._since_ms - self._from_ms
        routes = route_diffs(recorded.table, other.table)
        return Comparison(self.decisions, length_ms, self._totals[0], self._totals[1], routes)

    def _count(self, now_ms: int) -> None:
        """What each table was worth until now, by what was known when it was decided."""
        assert self._sides is not None
        length_ms = max(0, now_ms - self._since_ms)
        self._totals = [
            _lasted(one, side, length_ms) for one, side in zip(self._totals, self._sides, strict=True)
        ]
        self._since_ms = max(now_ms, self._since_ms)


def _side(
    snapshot: Snapshot, table: RouteTable, known: Assessment, succeeds: dict[str, float], now_ms: int
) -> _Side:
    compiled = known.compiled
    draft = HeldTable(compiled, table).draft(known.demand)
    before = HeldTable(compiled, snapshot.table).draft(known.demand) if snapshot.table is not None else draft
    success = {
        compiled.pool_index[pool]: share for pool, share in succeeds.items() if pool in compiled.pool_index
    }
    return _Side(draft, table, measure(draft, known.caps, success, now_ms), moved_units(before, draft))


def _moved(totals: Totals, side: _Side) -> Totals:
    return replace(
        totals,
        moved_units_per_s=totals.moved_units_per_s + side.moved,
        tables=totals.tables + (side.moved > 0),
        broken=totals.broken + len(side.worth.broken),
    )


def _lasted(totals: Totals, side: _Side, length_ms: int) -> Totals:
    worth, seconds = side.worth, length_ms / 1_000
    return replace(
        totals,
        offered=totals.offered + worth.offered * seconds,
        served=totals.served + worth.served * seconds,
        failed=totals.failed + worth.failed * seconds,
        shed={
            name: totals.shed.get(name, 0.0) + worth.shed_by_criticality[name] * seconds
            for name in CRITICALITIES
        },
        burst_money=totals.burst_money + worth.burst_money_per_hour * length_ms / MS_PER_HOUR,
    )


def route_diffs(recorded: RouteTable, other: RouteTable) -> tuple[RouteDiff, ...]:
    """The routes that end differently, by name; a route that only one has is compared with nothing."""
    sides = (_shares(recorded), _shares(other))
    found = []
    for name in sorted({*sides[0], *sides[1]}):
        (was, was_shed), (now, now_shed) = (side.get(name, ({}, 0.0)) for side in sides)
        change = max([abs(was.get(p, 0.0) - now.get(p, 0.0)) for p in {*was, *now}], default=0.0)
        if max(change, abs(was_shed - now_shed)) >= DIFFERING_SHARE:
            found.append(RouteDiff(name, was, now, was_shed, now_shed))
    return tuple(found)


def _shares(table: RouteTable) -> dict[str, tuple[dict[str, float], float]]:
    found = {}
    for route in table.routes:
        pairs = zip(route.split.pools, route.split.weights, strict=True)
        shares = {table.pools[pool].pool: parts / MILLION for pool, parts in pairs if parts}
        found[route.name] = (shares, route.split.shed / MILLION)
    return found
