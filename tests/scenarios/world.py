"""A world for the planner: pools that fail as told, clients and probers that report it, and time.

Each second clients send what the table in force says, reports become rows, and a ``Planner`` decides. Nothing
here knows the rules; only what the events mean.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from controller.core.model.memory import Memory
from controller.core.model.reasons import Verdict
from controller.core.planner import Planner
from controller.core.policy.policy import Policy
from controller.core.policy.registry import registry_of
from controller.core.snapshot import Office, Ready, Snapshot
from streams.rows import Position, Progress, Row
from tests.scenarios.reporting import PROBE_INTERVAL_MS, UNITS_PER_REQUEST, Behaviour, Reporting
from tieline.events import Claim, Command, Flow, Statement, StatementKind, in_scope
from tieline.table import MILLION, Generation, RouteTable, check

START_MS = 1_800_000_000_000


@dataclass
class World:
    """Everything around the planner."""

    policy: Policy
    now_ms: int = START_MS
    pools: dict[str, Behaviour] = field(default_factory=dict)
    demand: dict[tuple[str, str], float] = field(default_factory=dict)
    clients: int = 4
    gone: set[str] = field(default_factory=set)
    commands: list[Command] = field(default_factory=list)
    claims: dict[str, tuple[StatementKind, Claim]] = field(default_factory=dict)
    silent_sources: set[str] = field(default_factory=set)
    consumed: bool = True
    clock_trusted: bool = True
    settled: bool = True
    epoch: int = 1
    took_office_ms: int = START_MS
    voluntary_after_ms: int = 0
    seq: int = 0
    memory: Memory | None = None
    table: RouteTable | None = None
    said: list[Verdict] = field(default_factory=list)
    publications: int = 0
    ready: Ready | None = None
    planner: Planner = field(default_factory=Planner)
    reporting: Reporting = field(init=False)

    def __post_init__(self) -> None:
        for pool in self.policy.pools:
            self.pools.setdefault(pool.id, Behaviour(stated=pool.limit_units_per_s))
        self.reporting = Reporting(self.pools, registry_of(self.policy))

    def client_names(self) -> list[str]:
        """All clients; those that are not gone share the load."""
        return [f"client-{number}" for number in range(self.clients)]

    def matching(self, scope: str) -> list[str]:
        """Pools in a scope; ``*`` for all."""
        return [pool for pool in self.pools if scope == "*" or in_scope(pool, scope)]

    def run(self, milliseconds: int) -> Iterator[Ready]:
        """Time passes second by second, with a decision after each."""
        for _ in range(max(1, milliseconds // 1000)):
            self.now_ms += 1000
            self._observe()
            yield self.decide()

    def settle(self, milliseconds: int, *, growth: float = 1.0) -> None:
        """Lets time pass under so many times the demand that the policy expects."""
        for workload in self.policy.workloads:
            for origin, units in workload.expected_units_per_s.items():
                self.demand[workload.id, origin] = units * growth
        self.decide()
        list(self.run(milliseconds))

    def decide(self) -> Ready:
        """One step, applied as the controller would."""
        ready = self.planner.step(self.snapshot(), self.now_ms)
        self.memory = ready.memory
        if ready.table is not None:
            check(ready.table)
            assert ready.table.generation.newer_than(self.table.generation if self.table else None)
            self.table = ready.table
            self.planner.prepare(ready.table)
            self.seq += 1
            self.publications += 1
        self.said += ready.decisions
        self.ready = ready
        return ready

    def take_over(self) -> None:
        """Another controller: the newest publication again, unchanged, under a new epoch."""
        self.epoch += 1
        self.seq = 1
        self.took_office_ms = self.now_ms
        self.voluntary_after_ms = self.now_ms + PROBE_INTERVAL_MS
        if self.table is not None:
            generation = Generation(self.policy.lineage, self.epoch, 1)
            old = self.table
            self.table = RouteTable(generation, self.now_ms, old.pools, old.routes, old.settings)

    def snapshot(self) -> Snapshot:
        """What the planner is given."""
        office = Office(
            self.policy.lineage,
            self.epoch,
            self.seq + 1,
            self.took_office_ms,
            self.voluntary_after_ms,
            self.settled,
            self.clock_trusted,
        )
        behind = 0 if self.consumed else 5
        progress = tuple(
            Progress(f"tieline.{topic}", 0, 100 - behind, 100, self.now_ms)
            for topic in ("capacity", "demand", "reports", "statements")
        )
        return Snapshot(
            self.policy,
            office,
            tuple(row for _, row in sorted(self.reporting.reports.items())),
            self._statements(),
            tuple(row for _, row in sorted(self.reporting.capacities.items())),
            self.reporting.demand_rows(),
            progress,
            tuple(command for command in self.commands if (command.expires_ms or 0) > self.now_ms),
            self.memory,
            self.table,
        )

    def _observe(self) -> None:
        if not self.consumed:
            return
        flows = tuple(
            Flow(workload, origin, round(units / UNITS_PER_REQUEST), units)
            for (workload, origin), units in sorted(self.demand.items())
        )
        names = [name for name in self.client_names() if name not in self.gone]
        self.reporting.generation = str(self.table.generation) if self.table else ""
        self.reporting.clients_report(names, self.loads(), flows, self.now_ms)
        regions = sorted({(pool.provider, pool.region) for pool in self.policy.pools})
        for source in self.policy.sources:
            due = self.now_ms % self.reporting.of(source.id).interval_ms == 0
            if source.kind == "probe" and source.id not in self.silent_sources and due:
                self.reporting.prober_reports(source.id, regions, self.now_ms)
        if "fleet" not in self.silent_sources:
            self.reporting.fleet_reports(regions, self.now_ms)

    def load(self) -> dict[str, float]:
        """Units/s that the table in force sends to each pool."""
        loads = self.loads()
        return {pool: sum(loads.get(pool, {}).values()) for pool in self.pools}

    def loads(self) -> dict[str, dict[str, float]]:
        """The same by pool and workload, without pools that get nothing."""
        loads: dict[str, dict[str, float]] = {}
        for route in self.table.routes if self.table else ():
            units = self.demand.get((route.workload, route.origin), 0.0)
            for index, parts in zip(route.split.pools, route.split.weights, strict=True):
                if units * parts:
                    carried = loads.setdefault(self.table.pools[index].pool, {}) if self.table else {}
                    carried[route.workload] = carried.get(route.workload, 0.0) + units * parts / MILLION
        return loads

    def _statements(self) -> tuple[Row, ...]:
        rows = []
        for scope, (kind, claim) in sorted(self.claims.items()):
            provider, _, region = scope.partition("/")
            where = region.split("/")[0] or "*"
            event = Statement("status", provider, where, kind, "one", 1, START_MS, (claim,))
            rows.append(Row(event, Position("statements", 0, 1), START_MS, START_MS))
        return tuple(rows)
