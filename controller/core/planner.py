"""One decision: ``step(snapshot, now_ms) -> Ready``. Pure: the same snapshot gives the same bytes.

A decision goes through the chapters in their order: evidence, capacity and orders say what each pool may be
used for (``assess``), moves say what the table should become (``change_due``), and guards look at it last
(``publish``).
"""

from collections.abc import Mapping

from controller.core.assessment import Assessment, assess
from controller.core.changes import Situation, change_due, first_change
from controller.core.guards.withheld import withheld_moves
from controller.core.model.memo import Memo
from controller.core.model.memory import Memory
from controller.core.model.reasons import Reason, Verdict
from controller.core.moves.held_table import HeldTable
from controller.core.policy.compiled import CompiledPolicy
from controller.core.publication import keep, publish
from controller.core.snapshot import Ready, Snapshot
from controller.core.verdicts import change_verdicts
from tieline.table import RouteTable


class Planner:
    """Decides again and again, and keeps between decisions what nothing has touched (``memo``)."""

    def __init__(self) -> None:
        self.memo = Memo()

    def step(self, snapshot: Snapshot, now_ms: int) -> Ready:
        """The same bytes as the function ``step``, sooner."""
        return _step(snapshot, now_ms, self.memo)

    def prepare(self, table: RouteTable) -> None:
        """Reads a table that was just published, so that the next decision finds that done.

        Changes no decision. Called while nothing is due, it spares a forced move that comes next that work.
        """
        if (last := self.memo.last(Assessment)) is not None:
            before = self.memo.once(HeldTable, last.compiled, table)
            before.draft(last.demand)
            _ = before.counted_on

    def demand(self) -> Mapping[str, float]:
        """The demand of the last decision in units/s, by route name; empty before the first."""
        last = self.memo.last(Assessment)
        return self.memo.once(_by_route, last.compiled, last.demand) if last is not None else {}


def step(snapshot: Snapshot, now_ms: int) -> Ready:
    """What to do now, given everything that is known. Keeps nothing: who decides often has a ``Planner``."""
    return _step(snapshot, now_ms, Memo())


def _by_route(compiled: CompiledPolicy, demand: list[float]) -> Mapping[str, float]:
    return {route.name: units for route, units in zip(compiled.routes, demand, strict=True)}


def _step(snapshot: Snapshot, now_ms: int, memo: Memo) -> Ready:
    if verdict := _reason_to_hold(snapshot, now_ms):
        return Ready(snapshot.memory or Memory(), None, (verdict,))
    assessment = assess(snapshot, now_ms, memo)
    memo.keep(assessment)
    if snapshot.table is None:
        verdicts = [Verdict("table", Reason.FIRST_TABLE, now_ms), *assessment.changes]
        return publish(snapshot, assessment, first_change(assessment), None, verdicts, now_ms)
    before = memo.once(HeldTable, assessment.compiled, snapshot.table)
    situation = Situation(snapshot, assessment, before, now_ms=now_ms)
    change = change_due(situation)
    withheld = withheld_moves(situation, change)
    if change is None:
        return keep(situation, [*assessment.changes, *withheld])
    verdicts = [*change_verdicts(situation, change), *withheld]
    return publish(snapshot, assessment, change, before, verdicts, now_ms)


def _reason_to_hold(snapshot: Snapshot, now_ms: int) -> Verdict | None:
    """Why nothing may be decided now; None if something may."""
    if not snapshot.office.settled:
        return Verdict("table", Reason.NOT_SETTLED, snapshot.office.took_office_ms)
    if not snapshot.office.clock_trusted and snapshot.table is not None:
        return Verdict("table", Reason.CLOCK_JUMPED, now_ms)
    return None
