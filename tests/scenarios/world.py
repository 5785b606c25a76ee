"""A world for the planner: pools that fail as told, clients and probers that report it, and time.

Each second clients send what the table in force says, reports become rows, and ``step`` decides. Nothing here
knows the rules; only what the events mean.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from msgspec.structs import replace

from controller.core.memory import Memory
from controller.core.model import Office, Ready, Snapshot
from controller.core.planner import step
from controller.core.policy import Policy
from controller.core.reasons import Verdict
from streams.rows import DemandRow, DemandSecond, Ejection, FlowSum, PoolSum, Position, Progress, Row
from tieline.events import (
    Capacity,
    Claim,
    Command,
    Outcomes,
    PoolCapacity,
    PoolObservation,
    Report,
    ResultClass,
    Statement,
    StatementKind,
    in_scope,
)
from tieline.table import MILLION, Generation, RouteTable, check

START_MS = 1_800_000_000_000
UNITS_PER_REQUEST = 10
PROBE_INTERVAL_MS = 2_000
CAPACITY_LIVES_MS = 30_000
SECONDS_KEPT = 20


@dataclass
class Behaviour:
    """How one pool behaves."""

    errors: float = 0.0
    result: str = "server_error"
    serves: float | None = None  # units/s it can really give; more is answered with 429
    stated: float | None = None  # units/s that the fleet source states; None: nothing
    hangs: bool = False
    probed: bool = True
    probe_errors: float | None = None  # None: as for clients


@dataclass
class World:
    """Everything around the planner."""

    policy: Policy
    now_ms: int = START_MS
    pools: dict[str, Behaviour] = field(default_factory=dict)
    demand: dict[tuple[str, str], float] = field(default_factory=dict)
    clients: int = 4
    commands: list[Command] = field(default_factory=list)
    claims: dict[str, tuple[StatementKind, Claim]] = field(default_factory=dict)
    ejections: dict[tuple[str, str], Ejection] = field(default_factory=dict)
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
    seconds: list[DemandSecond] = field(default_factory=list)
    reports: dict[str, Row] = field(default_factory=dict)
    capacities: dict[str, Row] = field(default_factory=dict)
    said: list[Verdict] = field(default_factory=list)
    publications: int = 0
    ready: Ready | None = None

    def __post_init__(self) -> None:
        for pool in self.policy.pools:
            self.pools.setdefault(pool.id, Behaviour(stated=pool.limit_units_per_s))

    def matching(self, scope: str) -> list[str]:
        """Pools in a scope; ``*`` for all."""
        return [pool for pool in self.pools if scope == "*" or in_scope(pool, scope)]

    def run(self, milliseconds: int) -> Iterator[Ready]:
        """Time passes second by second, with a decision after each."""
        for _ in range(max(1, milliseconds // 1000)):
            self.now_ms += 1000
            self._observe()
            yield self.decide()

    def decide(self) -> Ready:
        """One step, applied as the controller would."""
        ready = step(self.snapshot(), self.now_ms)
        self.memory = ready.memory
        if ready.table is not None:
            check(ready.table)
            assert ready.table.generation.newer_than(self.table.generation if self.table else None)
            self.table = ready.table
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
        demand: tuple[DemandRow, ...] = ()
        if self.seconds:
            ejections = tuple(sorted(self.ejections.values(), key=lambda e: (e.client, e.pool)))
            demand = (DemandRow(Position("demand", 0, self.now_ms), tuple(self.seconds), ejections),)
        behind = 0 if self.consumed else 5
        progress = tuple(
            Progress(f"tieline.{topic}", 0, 100 - behind, 100, self.now_ms)
            for topic in ("capacity", "demand", "reports", "statements")
        )
        return Snapshot(
            self.policy,
            office,
            tuple(row for _, row in sorted(self.reports.items())),
            self._statements(),
            tuple(row for _, row in sorted(self.capacities.items())),
            demand,
            progress,
            tuple(command for command in self.commands if (command.expires_ms or 0) > self.now_ms),
            self.memory,
            self.table,
        )

    def _observe(self) -> None:
        if self.consumed:
            self._clients_report()
            if (self.now_ms // 1000) % (PROBE_INTERVAL_MS // 1000) == 0:
                self._probers_report()
            self._fleet_reports()

    def _clients_report(self) -> None:
        if not self.clients:
            return
        second_ms = self.now_ms - 1000
        flows = tuple(
            FlowSum(w, o, round(units / UNITS_PER_REQUEST), units, 0, 0.0)
            for (w, o), units in sorted(self.demand.items())
        )
        load = self.load()
        pools = tuple(self._pool_sum(pool, load[pool]) for pool in sorted(load) if load[pool])
        for key, ejection in self.ejections.items():
            self.ejections[key] = replace(ejection, until_ms=self.now_ms + 15_000)
        self.seconds = [
            *self.seconds[-SECONDS_KEPT + 1 :],
            DemandSecond(second_ms, self.clients, flows, pools),
        ]

    def load(self) -> dict[str, float]:
        """Units/s that the table in force sends to each pool."""
        load = dict.fromkeys(self.pools, 0.0)
        if (table := self.table) is None:
            return load
        for route in table.routes:
            units = self.demand.get((route.workload, route.origin), 0.0)
            for index, parts in zip(route.split.pools, route.split.weights, strict=True):
                load[table.pools[index].pool] += units * parts / MILLION
        return load

    def _pool_sum(self, pool: str, units: float) -> PoolSum:
        how = self.pools[pool]
        left = self.clients - sum(1 for _, gone in self.ejections if gone == pool)
        if left <= 0:
            return PoolSum(pool, Outcomes(), 0.0, 0, Outcomes())
        units = units * left / self.clients
        attempts = max(1, round(units / UNITS_PER_REQUEST))
        if how.hangs:
            age_ms = min(60_000, 1000 * (1 + sum(1 for s in self.seconds if self._hung(s, pool))))
            return PoolSum(
                pool,
                Outcomes(),
                0.0,
                0,
                Outcomes(),
                0,
                attempts * age_ms // 1000,
                age_ms,
                users=left,
                stuck=left if age_ms > 10_000 else 0,
            )
        served = units if how.serves is None else min(units, how.serves)
        throttled = round((units - served) / UNITS_PER_REQUEST)
        bad = round((attempts - throttled) * how.errors)
        ok = attempts - throttled - bad
        outcomes = replace(Outcomes(ok=ok, throttled=throttled), **{how.result: bad})
        failing = replace(Outcomes(), **{how.result: self.clients if how.errors >= 0.5 and bad else 0})
        units_ok = served * (1 - how.errors)
        return PoolSum(pool, outcomes, units_ok, self.clients, failing, first_token_p99_ms=400.0)

    @staticmethod
    def _hung(second: DemandSecond, pool: str) -> bool:
        return any(seen.pool == pool and seen.oldest_in_flight_ms for seen in second.pools)

    def _probers_report(self) -> None:
        for source in self.policy.sources:
            if source.kind != "probe" or source.id in self.silent_sources:
                continue
            for provider, region in self._regions():
                seen = tuple(
                    self._probed(pool)
                    for pool in self.matching(f"{provider}/{region}")
                    if self.pools[pool].probed
                )
                if not seen:
                    continue
                event = Report(
                    source.id, provider, region, "one", self.now_ms // 1000 % 10**6,
                    self.now_ms - PROBE_INTERVAL_MS, self.now_ms, PROBE_INTERVAL_MS, seen,
                )  # fmt: skip
                row = Row(event, Position("reports", 0, self.now_ms), self.now_ms, self.now_ms)
                self.reports[f"{provider}/{region}/{source.id}"] = row

    def _probed(self, pool: str) -> PoolObservation:
        how = self.pools[pool]
        errors = how.errors if how.probe_errors is None else how.probe_errors
        failed = how.hangs or errors >= 0.5
        result = ResultClass.TIMEOUT.value if how.hangs else how.result
        return PoolObservation(pool, Outcomes(**{result if failed else "ok": 1}))

    def _fleet_reports(self) -> None:
        if "fleet" in self.silent_sources:
            return
        for provider, region in self._regions():
            stated = tuple(
                PoolCapacity(pool, limit)
                for pool in self.matching(f"{provider}/{region}")
                if (limit := self.pools[pool].stated) is not None
            )
            if stated:
                event = Capacity(
                    "fleet", provider, region, "one", self.now_ms // 1000 % 10**6, self.now_ms,
                    self.now_ms + CAPACITY_LIVES_MS, stated,
                )  # fmt: skip
                row = Row(event, Position("capacity", 0, self.now_ms), self.now_ms, self.now_ms)
                self.capacities[f"{provider}/{region}/fleet"] = row

    def _regions(self) -> list[tuple[str, str]]:
        return sorted({(pool.provider, pool.region) for pool in self.policy.pools})

    def _statements(self) -> tuple[Row, ...]:
        rows = []
        for scope, (kind, claim) in sorted(self.claims.items()):
            provider, _, region = scope.partition("/")
            where = region.split("/")[0] or "*"
            event = Statement("status", provider, where, kind, "one", 1, START_MS, (claim,))
            rows.append(Row(event, Position("statements", 0, 1), START_MS, START_MS))
        return tuple(rows)
