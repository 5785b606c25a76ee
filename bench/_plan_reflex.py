"""The cases of `script/bench plan` in which a loaded pool is lost.

`reflex`: one whole ``step``. All rows are there (two probers and a fleet source in every region, clients'
outcomes at every pool); those of the lost pool's region are new, as after an event; the step ends with a
table. Another pool each time. `quiet`: the same with news that changes nothing. `processor`: without the time
in which others had it.
"""

import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from bench._frame import Case
from bench._plan_world import policy_of
from controller.core.planner import Planner
from controller.core.policy.policy import Policy
from controller.core.snapshot import Office, Snapshot
from streams.rows import DemandRow, DemandSecond, FlowSum, PoolSum, Position, Progress, Row
from tieline.events import Capacity, Outcomes, PoolCapacity, PoolObservation, Report

NOW_MS = 1_800_000_000_000
PROBERS = ("prober", "prober-us")
SECONDS = 10


class Installation:
    """A policy in steady state: every pool healthy, the table settled."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.regions: dict[tuple[str, str], list[str]] = {}
        for pool in policy.pools:
            self.regions.setdefault((pool.provider, pool.region), []).append(pool.id)
        self.snapshot = Snapshot(
            policy,
            Office(policy.lineage, 1, 1, NOW_MS - 60_000, NOW_MS - 60_000),
            tuple(row for place in sorted(self.regions) for row in self._reports(place, frozenset())),
            (),
            tuple(self._capacity(place) for place in sorted(self.regions)),
            (self._demand(),),
            tuple(
                Progress(f"tieline.{topic}", 0, 1, 1, NOW_MS) for topic in ("capacity", "demand", "reports")
            ),
        )
        self.planner = Planner()
        for _ in range(3):
            ready = self.planner.step(self.snapshot, NOW_MS)
            table = ready.table or self.snapshot.table
            self.snapshot = replace(self.snapshot, memory=ready.memory, table=table)
        self.snapshot = replace(
            self.snapshot, office=replace(self.snapshot.office, voluntary_after_ms=NOW_MS + 3_600_000)
        )

    def loaded(self) -> list[str]:
        """Pools that carry something, the same order every time."""
        assert self.snapshot.table is not None
        used = {index for route in self.snapshot.table.routes for index in route.split.pools}
        return [self.snapshot.table.pools[index].pool for index in sorted(used)]

    def after(self, pool: str, *, lost: bool) -> Snapshot:
        """The snapshot with new reports of the pool's region."""
        provider, region = pool.split("/")[:2]
        bad = frozenset([pool]) if lost else frozenset[str]()
        new = {(row.event.source, provider, region): row for row in self._reports((provider, region), bad)}
        reports = tuple(self._newer(row, new) for row in self.snapshot.reports)
        return replace(
            self.snapshot, reports=reports, demand=(self._demand(bad),) if lost else self.snapshot.demand
        )

    @staticmethod
    def _newer(row: Row, new: dict[tuple[str, str, str], Row]) -> Row:
        assert isinstance(row.event, Report)
        return new.get((row.event.source, row.event.provider, row.event.region), row)

    def _reports(self, place: tuple[str, str], bad: frozenset[str]) -> list[Row]:
        rows = []
        for source in PROBERS:
            seen = tuple(
                PoolObservation(pool, Outcomes(server_error=1) if pool in bad else Outcomes(ok=1))
                for pool in self.regions[place]
            )
            event = Report(source, *place, "one", 1, NOW_MS - 2_000, NOW_MS, 2_000, seen)
            rows.append(Row(event, Position("reports", 0, 1), NOW_MS, NOW_MS))
        return rows

    def _capacity(self, place: tuple[str, str]) -> Row:
        limits = {pool.id: pool.limit_units_per_s for pool in self.policy.pools}
        stated = tuple(PoolCapacity(pool, limits[pool]) for pool in self.regions[place])
        event = Capacity("fleet", *place, "one", 1, NOW_MS, NOW_MS + 60_000, stated)
        return Row(event, Position("capacity", 0, 1), NOW_MS, NOW_MS)

    def _demand(self, bad: frozenset[str] = frozenset()) -> DemandRow:
        flows = tuple(
            FlowSum(workload.id, origin, 10, units, 0, 0.0)
            for workload in self.policy.workloads
            for origin, units in sorted(workload.expected_units_per_s.items())
        )
        good = PoolSum("", Outcomes(ok=30), 300.0, 4, Outcomes())
        ill = PoolSum("", Outcomes(timeout=30), 0.0, 4, Outcomes(timeout=4))
        pools = tuple(replace(ill if pool.id in bad else good, pool=pool.id) for pool in self.policy.pools)
        seconds = tuple(DemandSecond(NOW_MS - age * 1_000, 4, flows, pools) for age in range(SECONDS, 0, -1))
        return DemandRow(Position("demand", 0, 1), seconds)


class Took(NamedTuple):
    """Milliseconds of each step, on the clock and of the processor."""

    clock: list[float]
    processor: list[float]


def _timed_ms(planner: Planner, snapshots: Sequence[Snapshot], *, moves: bool) -> Took:
    took = Took([], [])
    for snapshot in snapshots:
        began, worked = time.perf_counter_ns(), time.process_time_ns()
        ready = planner.step(snapshot, NOW_MS)
        took.processor.append((time.process_time_ns() - worked) / 1e6)
        took.clock.append((time.perf_counter_ns() - began) / 1e6)
        if (ready.table is not None) is not moves:
            raise RuntimeError(f"expected {'a' if moves else 'no'} new table: {ready.decisions[:3]}")
    return took


def reflex_cases(
    name: str, size: tuple[int, int, int], samples: int, target: dict[str, float]
) -> Iterator[Case]:
    """``name`` says the size, e.g. `400 pools`."""
    place = Installation(policy_of(*size))
    pools = place.loaded()
    chosen = [pools[number * 7 % len(pools)] for number in range(samples)]
    lost = _timed_ms(place.planner, [place.after(pool, lost=True) for pool in chosen], moves=True)
    quiet = _timed_ms(place.planner, [place.after(pool, lost=False) for pool in chosen], moves=False)
    yield Case(f"reflex {name}", "ms", lost.clock, target)
    yield Case(f"reflex {name}, processor", "ms", lost.processor)
    yield Case(f"quiet {name}", "ms", quiet.clock)
    yield Case(f"quiet {name}, processor", "ms", quiet.processor)
