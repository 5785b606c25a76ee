"""The cases of `script/bench plan` in which a loaded pool is lost.

`reflex`: one whole ``step`` that ends with a table, for another lost pool each time. All rows are there: two
probers and a fleet source in every region, and clients' outcomes at every pool. The rows of the lost pool's
region are new, as after an event, and so is every second of the clients' reports. `quiet`: the same with news
that changes nothing. `first table`: the step that begins the lineage, the policy's preparation included.
`processor`: only the time that this process worked.
"""

import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from msgspec.structs import replace

from bench._frame import Case
from bench._plan_world import NOW_MS, Size, policy_of
from controller.core.planner import Planner
from controller.core.policy.policy import Policy
from controller.core.snapshot import Office, Snapshot
from controller.process.supervise import collect_seldom
from streams.rows import DemandRow, DemandSecond, FlowSum, PoolSum, Position, Progress, Row
from tieline.events import Capacity, Outcomes, PoolCapacity, PoolObservation, Report

PROBERS = ("prober", "prober-us")
SECONDS = 10


class Installation:
    """A policy in steady state: every pool healthy, the table settled."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.regions: dict[tuple[str, str], list[str]] = {}
        for pool in policy.pools:
            self.regions.setdefault((pool.provider, pool.region), []).append(pool.id)
        self.snapshot = self._first_snapshot()
        self.planner = Planner()
        self.step_ms: list[float] = []  # of a processor; the first of them makes the first table
        for _ in range(3):
            worked = time.process_time_ns()
            ready = self.planner.step(self.snapshot, NOW_MS)
            self.step_ms.append((time.process_time_ns() - worked) / 1e6)
            table = ready.table or self.snapshot.table
            self.snapshot = replace(self.snapshot, memory=ready.memory, table=table)
        self.snapshot = replace(
            self.snapshot, office=replace(self.snapshot.office, voluntary_after_ms=NOW_MS + 3_600_000)
        )

    def _first_snapshot(self) -> Snapshot:
        regions = sorted(self.regions)
        began_ms = NOW_MS - 60_000
        return Snapshot(
            policy=self.policy,
            office=Office(
                lineage=self.policy.lineage,
                epoch=1,
                next_seq=1,
                took_office_ms=began_ms,
                voluntary_after_ms=began_ms,
            ),
            reports=tuple(row for region in regions for row in self._reports(region, frozenset())),
            capacities=tuple(self._capacity(region) for region in regions),
            demand=(self._demand(),),
            progress=tuple(
                Progress(f"tieline.{topic}", 0, 1, end_offset=1, at_ms=NOW_MS)
                for topic in ("capacity", "demand", "reports")
            ),
        )

    def loaded(self) -> list[str]:
        """The pools that carry something, in the same order every time."""
        assert self.snapshot.table is not None
        used = {index for route in self.snapshot.table.routes for index in route.split.pools}
        return [self.snapshot.table.pools[index].pool for index in sorted(used)]

    def after(self, pool: str, *, lost: bool) -> Snapshot:
        """The snapshot with new reports of the pool's region, in which the pool is lost or well."""
        provider, region = pool.split("/")[:2]
        bad = frozenset([pool]) if lost else frozenset[str]()
        new = {(row.event.source, provider, region): row for row in self._reports((provider, region), bad)}
        reports = tuple(self._newer(row, new) for row in self.snapshot.reports)
        demand = (self._demand(bad),) if lost else self.snapshot.demand
        return replace(self.snapshot, reports=reports, demand=demand)

    @staticmethod
    def _newer(row: Row, new: dict[tuple[str, str, str], Row]) -> Row:
        assert isinstance(row.event, Report)
        return new.get((row.event.source, row.event.provider, row.event.region), row)

    def _reports(self, region: tuple[str, str], bad: frozenset[str]) -> list[Row]:
        rows = []
        for source in PROBERS:
            event = Report(
                source=source,
                provider=region[0],
                region=region[1],
                incarnation="one",
                sequence=1,
                window_start_ms=NOW_MS - 2_000,
                window_end_ms=NOW_MS,
                interval_ms=2_000,
                pools=tuple(
                    PoolObservation(pool, Outcomes(server_error=1) if pool in bad else Outcomes(ok=1))
                    for pool in self.regions[region]
                ),
            )
            rows.append(Row(event, Position("reports", 0, 1), NOW_MS, evidence_ms=NOW_MS))
        return rows

    def _capacity(self, region: tuple[str, str]) -> Row:
        limits = {pool.id: pool.limit_units_per_s for pool in self.policy.pools}
        event = Capacity(
            source="fleet",
            provider=region[0],
            region=region[1],
            incarnation="one",
            sequence=1,
            issued_ms=NOW_MS,
            expires_ms=NOW_MS + 60_000,
            pools=tuple(PoolCapacity(pool, limits[pool]) for pool in self.regions[region]),
        )
        return Row(event, Position("capacity", 0, 1), NOW_MS, evidence_ms=NOW_MS)

    def _demand(self, bad: frozenset[str] = frozenset()) -> DemandRow:
        flows = tuple(
            FlowSum(workload.id, origin, 10, offered_units=units, shed_requests=0, shed_units=0.0)
            for workload in self.policy.workloads
            for origin, units in sorted(workload.expected_units_per_s.items())
        )
        good = PoolSum("", Outcomes(ok=30), 300.0, reporters=4, failing=Outcomes())
        ill = PoolSum("", Outcomes(timeout=30), 0.0, reporters=4, failing=Outcomes(timeout=4))
        pools = tuple(replace(ill if pool.id in bad else good, pool=pool.id) for pool in self.policy.pools)
        seconds = tuple(
            DemandSecond(NOW_MS - age * 1_000, 4, flows, pools=pools) for age in range(SECONDS, 0, -1)
        )
        return DemandRow(Position("demand", 0, 1), seconds)


class StepTimes(NamedTuple):
    """For each step, the milliseconds that passed and those that the processor worked."""

    clock_ms: list[float]
    processor_ms: list[float]


def _timed(planner: Planner, snapshots: Iterable[Snapshot], *, moves: bool) -> StepTimes:
    """Steps through the snapshots. Raises RuntimeError unless all give a table (``moves``), or none does."""
    times = StepTimes([], [])
    for snapshot in snapshots:
        began, worked = time.perf_counter_ns(), time.process_time_ns()
        ready = planner.step(snapshot, NOW_MS)
        times.processor_ms.append((time.process_time_ns() - worked) / 1e6)
        times.clock_ms.append((time.perf_counter_ns() - began) / 1e6)
        if (ready.table is not None) is not moves:
            raise RuntimeError(f"expected {'a' if moves else 'no'} new table: {ready.decisions[:3]}")
    return times


def reflex_cases(
    name: str, size: Size, samples: int, target: dict[str, float], first: dict[str, float]
) -> Iterator[Case]:
    """``name`` says the size, e.g. `400 pools`. ``target`` is of the reflex, ``first`` of the first table."""
    installation = Installation(policy_of(size))
    pools = installation.loaded()
    chosen = [pools[number * 7 % len(pools)] for number in range(samples)]
    planner = installation.planner
    collect_seldom()  # as every controller does
    lost = _timed(planner, (installation.after(pool, lost=True) for pool in chosen), moves=True)
    quiet = _timed(planner, (installation.after(pool, lost=False) for pool in chosen), moves=False)
    yield Case(f"first table {name}, processor", "ms", installation.step_ms[:1], first)
    yield Case(f"reflex {name}", "ms", lost.clock_ms, target)
    yield Case(f"reflex {name}, processor", "ms", lost.processor_ms)
    yield Case(f"quiet {name}", "ms", quiet.clock_ms)
    yield Case(f"quiet {name}, processor", "ms", quiet.processor_ms)
