"""What one decision knows that concerns drills: what is ill, shed or unheard, and where the load is."""

from functools import cached_property
from typing import NamedTuple

from controller.core.drilling.grounds import UNITS_MIN, Cause, Grounds
from controller.core.evidence.heard_sources import BLIND_AFTER_MS
from controller.core.evidence.reported import reporting_clients, uses_generation
from controller.core.model.drill import DrillCause
from controller.core.model.memory import Memory
from controller.core.model.reasons import State
from controller.core.orders.words import described
from controller.core.policy.compiled import CRITICAL_RANK
from controller.core.policy.policy import Policy
from streams.rows import DemandSecond
from tieline.events import Command, in_scope
from tieline.table import MILLION, Generation, RouteTable

UPTAKE_MIN = 0.99  # of the reporting clients: the rest may be starting, ending, or cut off
SHARE_MIN = 0.001  # of all load; less is rounding
LEAST_UNITS = 1e-9  # a route without load counts as this much, so that a table without any has shares as well
SECOND_MS = 1_000
ILL = (State.DOWN, State.DEGRADED)
INTERVENES = ("drain", "evacuate", "freeze", "verdict", "override", "failover")
"""The verbs of orders that hold traffic back or put it elsewhere: no drill runs beside them. A verdict that
calls a pool healthy does neither."""


class NextLoss(NamedTuple):
    """The critical load that the loss of one more provider would shed by the table in force, in units/s, for
    the worst ``provider``. ``is_known``: the table's ``on_loss`` are not only patched."""

    provider: str
    critical_units_per_s: float
    is_known: bool
    is_harmful: bool


class Signs:
    """One decision's answers. Each is worked out when a drill asks for it."""

    def __init__(self, grounds: Grounds) -> None:
        self._grounds = grounds
        self._snapshot = grounds.snapshot
        self._compiled = grounds.compiled
        names = (rules.name for rules in grounds.compiled.routes)
        self._demand = dict(zip(names, grounds.demand, strict=True))
        self._memories = grounds.memories
        self.now_ms = grounds.now_ms

    @property
    def policy(self) -> Policy:
        """The policy in force."""
        return self._snapshot.policy

    def capacity_fault(self, order: Command) -> Cause | None:
        """Why the other pools can't take what the drill would move; None if they can."""
        return self._grounds.capacity_fault(order)

    @property
    def generation(self) -> str:
        """That of the table in force."""
        return str(self._table.generation)

    @property
    def offered(self) -> float:
        """All demand in units/s."""
        return sum(self._demand.values())

    def share_of(self, scope: str) -> float:
        """The share of all load that the table in force gives the pools of a scope, from 0 to 1."""
        loads = self._loads
        total = sum(loads.values())
        return sum(units for pool, units in loads.items() if in_scope(pool, scope)) / total if total else 0.0

    def served_share_of(self, scope: str) -> float:
        """The share of the load that clients report to be served by the pools of a scope, in the newest
        complete seconds; 0 without any load."""
        inside = total = 0.0
        for second in self._newest_seconds():
            for pool in (*second.pools, *second.newcomers):
                total += pool.units
                inside += pool.units if in_scope(pool.pool, scope) else 0.0
        return inside / total if total else 0.0

    def is_used(self, generation: str) -> bool:
        """Whether nearly all reporting clients use this generation or a later one; also if none reports."""
        lineage, epoch, seq = generation.rsplit(":", 2)
        wanted = Generation(lineage, int(epoch), int(seq))
        counts = reporting_clients(self._snapshot.demand, self.now_ms).generations
        reached = sum(count for name, count in counts.items() if uses_generation(name, wanted))
        return reached >= UPTAKE_MIN * sum(counts.values())

    @cached_property
    def failing(self) -> float:
        """The share of the load that fails at the pools to which the table in force sends it."""
        loads, failing = self._loads, 0.0
        for pool, units in loads.items():
            finding = self._grounds.findings.get(pool)
            if finding is not None and finding.success is not None:
                failing += units * (1.0 - finding.success)
        total = sum(loads.values())
        return failing / total if total else 0.0

    def faults_since(self, since_ms: int) -> tuple[str, ...]:
        """Pools that are ill now, and pools that have answered 429 since then: ``POOL KIND``, sorted."""
        ill = [f"{name} {pool.state.value}" for name, pool in self._memories.items() if pool.state in ILL]
        throttled = (
            f"{name} throttled" for name, pool in self._memories.items() if pool.throttled_ms > since_ms
        )
        return tuple(sorted((*ill, *throttled)))

    @cached_property
    def next_loss(self) -> NextLoss:
        """What the loss of one more provider would mean, by the table in force."""
        shed: dict[str, float] = {}
        for route in self._table.routes:
            index = self._compiled.route_index.get((route.workload, route.origin))
            if index is None or self._compiled.routes[index].rank > CRITICAL_RANK:
                continue
            units = self._demand.get(route.name, 0.0) / MILLION
            for provider, split in route.on_loss.items():
                more = max(split.shed - route.split.shed, 0) * units
                shed[provider] = shed.get(provider, 0.0) + more
        worst = max(sorted(shed), key=shed.__getitem__, default="")
        units = shed.get(worst, 0.0)
        memory = self._snapshot.memory
        return NextLoss(
            worst,
            units,
            is_known=memory is not None and not memory.on_loss_due,
            is_harmful=self._is_more_than_rounding(units),
        )

    def unrest(self) -> Cause | None:
        """Why no drill may begin now: what would end one, or a pool that fell ill lately; None if none is."""
        quiet_ms = self.policy.thresholds.drill_quiet_ms
        for name, pool in self._memories.items():
            if pool.state in ILL and self.now_ms - pool.since_ms < quiet_ms:
                return DrillCause.POOL_ILL, name, 0.0
        return self.trouble()

    def trouble(self) -> Cause | None:
        """What allows no drill, whoever caused it; None if nothing is the matter."""
        if (policy := self._policy_changed()) is not None:
            return policy
        for order in self._grounds.orders.commands:
            if order.verb in INTERVENES and order.state != "healthy":
                return DrillCause.ORDER, f"{described(order)}, by {order.actor}", 0.0
        return self._shed() or self._blind()

    def _policy_changed(self) -> Cause | None:
        memory = self._snapshot.memory or Memory()
        if memory.policy_version == self._compiled.version:
            return None
        return DrillCause.POLICY, "policy", 0.0

    def _shed(self) -> Cause | None:
        for route in self._table.routes:
            units = self._demand.get(route.name, 0.0) * route.split.shed / MILLION
            if self._is_more_than_rounding(units):
                return DrillCause.SHED, route.workload, units
        return None

    def _blind(self) -> Cause | None:
        for row in self._snapshot.progress:
            away_ms = self.now_ms - row.at_ms
            behind_ms = self.now_ms - row.behind_since_ms if row.behind_since_ms else 0
            if max(away_ms, behind_ms) > BLIND_AFTER_MS:
                return DrillCause.BLIND, f"{row.topic}/{row.partition}", 0.0
        if self._grounds.unheard > self.policy.thresholds.unheard_share_max:
            return DrillCause.UNHEARD, "sources", self._grounds.unheard
        if self._snapshot.demand and not reporting_clients(self._snapshot.demand, self.now_ms).heard:
            return DrillCause.NO_CLIENTS, "clients", 0.0
        return None

    def _is_more_than_rounding(self, units: float) -> bool:
        return units > max(UNITS_MIN, SHARE_MIN * self.offered)

    @property
    def _table(self) -> RouteTable:
        if self._snapshot.table is None:
            raise ValueError("a drill needs a table in force")
        return self._snapshot.table

    @cached_property
    def _loads(self) -> dict[str, float]:
        """Pool -> what the table in force sends there, in units/s."""
        loads: dict[str, float] = {}
        for route in self._table.routes:
            units = max(self._demand.get(route.name, 0.0), LEAST_UNITS) / MILLION
            for index, parts in zip(route.split.pools, route.split.weights, strict=True):
                pool = self._table.pools[index].pool
                loads[pool] = loads.get(pool, 0.0) + parts * units
        return loads

    def _newest_seconds(self) -> list[DemandSecond]:
        """The complete seconds in which each client has reported once: the newest may still grow."""
        span_ms = max(self.policy.clients.report_interval_ms, SECOND_MS)
        newest_ms = max(
            (row.seconds[-1].second_ms for row in self._snapshot.demand if row.seconds), default=0
        )
        return [
            second
            for row in self._snapshot.demand
            for second in row.seconds
            if newest_ms - span_ms <= second.second_ms < newest_ms
        ]
