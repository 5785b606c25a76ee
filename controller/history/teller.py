"""What is told of each step of the leader: log lines, figures, the record of decisions, the history."""

from typing import Any

from controller.core.assessment import Assessment
from controller.core.inspect.alarms import alarms
from controller.core.inspect.spend import rates_of
from controller.core.model.reasons import Verdict
from controller.core.model.words import sentence
from controller.core.moves.held_table import HeldTable
from controller.core.offers.answers import IgnoredReply
from controller.core.planner import Planner
from controller.core.snapshot import Ready, Snapshot
from controller.decisions.figures import DecisionFigures, LastDecision
from controller.decisions.log import DecisionLog
from controller.decisions.record import Step
from controller.history.conditions import Observation
from controller.history.log import HistoryLog
from controller.leading.term import reasons_of
from controller.ledger.log import Ledger
from controller.routes.record import PendingOrder, RoutesRecord
from tieline.table import RouteTable


class Teller:
    """Tells what a step decided and found. All of it returns at once."""

    def __init__(
        self,
        planner: Planner,
        figures: DecisionFigures,
        decisions: DecisionLog,
        *,
        history: HistoryLog,
        ledger: Ledger,
        log: Any,
    ) -> None:
        self._planner = planner
        self._figures = figures
        self._decisions = decisions
        self._history = history
        self._ledger = ledger
        self._log = log
        self._held_back: frozenset[tuple[str, str]] = frozenset()
        self._alarms: frozenset[tuple[str, str]] = frozenset()
        self._pending: tuple[PendingOrder, ...] = ()
        self._ignored: frozenset[IgnoredReply] = frozenset()

    def unpublished(self, snapshot: Snapshot, ready: Ready, at_ms: int) -> None:
        """A step after which nothing had to be published."""
        self._log_held_back(ready, at_ms)
        if snapshot.table is not None:
            self._history.unpublished(Step(at_ms, snapshot, ready, published=snapshot.table))
            self._observe(snapshot, ready, snapshot.table, at_ms)

    def published(self, step: Step, record: RoutesRecord) -> None:
        """A step that was published as this record."""
        self._log_decision(step)
        self._pending = record.pending
        self._decisions.record(step)
        answers = (*record.answers, *record.policy_answers, *record.rejections)
        self._history.published(step, self._planner.demand(), answers)
        self._observe(step.snapshot, step.ready, step.published, step.now_ms)

    def _log_decision(self, step: Step) -> None:
        """One line for each publication that changes the table or has something to say."""
        self._held_back = frozenset()
        ready = step.ready
        if ready.table is None and not ready.decisions:
            return  # only the planner's memory was recorded
        self._log.info(
            "decision",
            generation=str(step.generation),
            table="new" if ready.table is not None else "unchanged",
            urgent=ready.urgent,
            reasons=reasons_of(ready, step.now_ms),
        )

    def _log_held_back(self, ready: Ready, at_ms: int) -> None:
        """What keeps the table as it is: logged when it begins or changes, not at every step."""
        held_back = frozenset((verdict.subject, str(verdict.reason)) for verdict in ready.decisions)
        if held_back and held_back != self._held_back:
            self._log.info("the table stays as it is", reasons=reasons_of(ready, at_ms))
        self._held_back = held_back

    def _observe(self, snapshot: Snapshot, ready: Ready, table: RouteTable, at_ms: int) -> None:
        """Hands what stands after this step to figures and history, and logs alarms."""
        due = alarms(snapshot, ready.memory, at_ms, self._planner.memo)
        self._log_alarms(due, at_ms)
        if (assessment := self._planner.memo.last(Assessment)) is not None:
            self._log_ignored(assessment.offers.ignored)
            if snapshot.office.settled and self._ledger.is_due(at_ms):
                in_force = self._planner.memo.once(HeldTable, assessment.compiled, table)
                self._ledger.meter(rates_of(in_force, assessment.demand), at_ms)
            self._figures.note_decision(LastDecision(snapshot, assessment, due, at_ms=at_ms))
        if snapshot.office.settled:
            self._history.observe(
                Observation(
                    at_ms,
                    snapshot.commands,
                    due,
                    holding=ready.decisions if ready.table is None else None,
                    table=table,
                    demand=self._planner.demand(),
                    pending=self._pending,
                    offers=ready.memory.offers,
                    drills=ready.memory.drills,
                )
            )

    def _log_ignored(self, ignored: tuple[IgnoredReply, ...]) -> None:
        """Each answer to a request for capacity that does not count: once."""
        for item in ignored:
            if item not in self._ignored:
                reply = item.reply
                self._log.warning(
                    "an answer to an offer does not count",
                    offer=reply.offer,
                    provider=reply.provider,
                    by=reply.by,
                    why=item.why,
                )
        self._ignored = frozenset(ignored)

    def _log_alarms(self, due: tuple[Verdict, ...], at_ms: int) -> None:
        """Each alarm when it begins, and when it ends."""
        standing = {(alarm.subject, str(alarm.reason)): alarm for alarm in due}
        for key in sorted(standing.keys() - self._alarms):
            self._log.warning("alarm", about=key[0], reason=key[1], words=sentence(standing[key], at_ms))
        for about, reason in sorted(self._alarms - standing.keys()):
            self._log.info("alarm over", about=about, reason=reason)
        self._alarms = frozenset(standing)
