"""What a decision knows before it asks about drills, and what is worked out from that on paper."""

from typing import NamedTuple

from controller.core.capacity.usable import Caps
from controller.core.evidence.finding import Finding
from controller.core.model.drill import DrillCause
from controller.core.model.memo import Memo
from controller.core.model.memory import PoolMemory
from controller.core.moves.eligible import eligible
from controller.core.moves.forced import settle
from controller.core.moves.held_table import HeldTable
from controller.core.moves.modes import within_modes
from controller.core.orders.claims import claims_in_force
from controller.core.orders.in_force import Orders
from controller.core.policy.compiled import CompiledPolicy
from controller.core.snapshot import Snapshot
from tieline.events import Command, in_scope
from tieline.table import MILLION

NOTHING_RETURNS = -1  # more critical than any rank: nothing that is shed is served again
STAYING_SHARE_MAX = 0.01  # of what the pools carry: with more they would not count as empty
UNITS_MIN = 0.5  # units/s; less is rounding

Cause = tuple[DrillCause, str, float]
"""A cause, what it is about, and a number: units/s or a share."""


class Grounds(NamedTuple):
    """One decision up to where drills are asked about. ``compiled`` has the exceptions that hold now, and
    ``orders`` are without drills. ``unheard``: the share of sources that are silent. ``memories`` and
    ``findings`` are by pool name.
    """

    snapshot: Snapshot
    compiled: CompiledPolicy
    demand: list[float]
    memories: dict[str, PoolMemory]
    findings: dict[str, Finding]
    caps: Caps
    orders: Orders
    unheard: float
    now_ms: int

    def capacity_fault(self, order: Command) -> Cause | None:
        """Why the other pools can't take what the drill would move; None if they can.

        It is the evacuation worked out on paper, by the planner's own forced moves.
        """
        if self.snapshot.table is None:
            raise ValueError("the capacity check needs a table in force")
        compiled = self.compiled
        orders = self.orders.with_drills(compiled, frozenset({order.id}))
        claims = claims_in_force(compiled, self.snapshot.statements, orders, self.now_ms)
        acting = eligible(
            compiled,
            self.memories,
            self.findings,
            self.caps,
            claims,
            Memo(),
            panic_allowed=not orders.lifts("providers_lost"),
        )
        before = HeldTable(compiled, self.snapshot.table).draft(self.demand)
        draft = before.copy()
        settle(draft, within_modes(acting, compiled, orders), restore_rank=NOTHING_RETURNS)
        for route, rules in enumerate(compiled.routes):
            units = self.demand[route] * (draft.shed[route] - before.shed[route]) / MILLION
            if units > UNITS_MIN:
                return DrillCause.WOULD_SHED, rules.workload, units
        inside = [index for index, pool in enumerate(compiled.pools) if in_scope(pool, order.scope)]
        staying = sum(draft.load[index] for index in inside)
        if staying > max(UNITS_MIN, STAYING_SHARE_MAX * sum(before.load[index] for index in inside)):
            return DrillCause.WOULD_STAY, order.scope, staying
        return None
