"""The routing agent: wait, read, step, publish. It decides while it leads, and holds nothing otherwise.

It is level-triggered: whatever happens (an event taken in here or elsewhere, an order, a timer) only marks
the agent as due, and one step reads everything anew. So a burst of events is one step, and no decision
depends on having noticed each event.
"""

import asyncio
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog
from aiokafka.errors import KafkaError
from msgspec.structs import replace
from redis.exceptions import RedisError

from controller.commands.in_force import CommandReader
from controller.commands.policies import PolicyInForce, PolicyTaken, published_policy
from controller.core.lp.problem import problem_of
from controller.core.model.memory import Memory
from controller.core.planner import Planner
from controller.core.policy.policy import Policy
from controller.core.snapshot import Office, Snapshot
from controller.decisions.figures import DecisionFigures
from controller.decisions.log import DecisionLog
from controller.decisions.record import Step
from controller.dispatch.dispatcher import Dispatcher
from controller.history.log import HistoryLog, TermBegun
from controller.history.teller import Teller
from controller.kafka.offsets import Offsets, renewed
from controller.leading.fitness_watch import FitnessWatch
from controller.leading.leader import Leader
from controller.leading.term import (
    REPORT_WINDOW_MAX_MS,
    Term,
    continued,
    first_record,
    reasons_of,
)
from controller.leading.vitals import AgentReport
from controller.ledger.log import Ledger
from controller.offers.log import OfferLog
from controller.process.clock import ClockWatch, monotonic_ms, now_ms, stopwatch_s
from controller.process.errors import Deposed, NoLease, UserError
from controller.process.roles import Role
from controller.process.settings import UNSIGNED_NOTICE
from controller.routes.projection import Projector
from controller.routes.publisher import Publisher
from controller.routes.record import RoutesRecord
from streams.store import Contents, Tables
from tieline.backoff import Backoff
from tieline.table import Generation, RouteTable

TICK_MS = 1_000
TABLES_WITHIN_S = 1.0
ENDS_EVERY_MS = 5_000
RETRY_FIRST_S = 0.5
RETRY_LONGEST_S = 2.0
PROJECTION_HEAD_START_S = 0.005
TURNS_TO_SEND = 6  # of the event loop; then aiokafka has written the record to its socket


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The concrete parts that the agent works with; ``bootstrap`` builds them and runs their tasks.
    ``on_policy`` is called when this controller has published answers to policy changes."""

    leader: Leader
    publisher: Publisher
    projector: Projector
    commands: CommandReader
    decisions: DecisionLog
    figures: DecisionFigures
    history: HistoryLog
    fitness: FitnessWatch
    offsets: Offsets
    tables: Tables
    dispatcher: Dispatcher
    offers: OfferLog
    ledger: Ledger
    on_policy: Callable[[PolicyTaken], None]


class RoutingAgent:
    """Leads when it can, and decides while it leads. ``first_policy``, that of this controller's file, counts
    only where nothing is published yet."""

    def __init__(self, first_policy: PolicyInForce, around: Surroundings) -> None:
        self._first_policy = first_policy
        self._around = around
        self._due = asyncio.Event()
        self._contents = Contents()
        self._tables_away = False
        self._clock = ClockWatch()
        self._planner = Planner()
        self._backoff = Backoff(RETRY_FIRST_S, RETRY_LONGEST_S)
        self._decided_on: tuple[Any, ...] = ()  # the inputs of the last step
        self._step_by_ms = 0  # the next step is due then at the latest, by the wall clock
        self._read_by_ms = 0  # everything is read again then at the latest, by the steady clock
        self._ends_by_ms = 0  # the ends of the evidence topics are asked again then, by the steady clock
        self._event_ms: int | None = None  # the oldest event since the last step, by the brokers' clock
        self._turned_ms: int | None = None  # the last look whether something is due, by the steady clock
        self._log = _logger_under(first_policy)
        self._teller = Teller(
            self._planner,
            around.figures,
            around.decisions,
            history=around.history,
            ledger=around.ledger,
            log=self._log,
        )

    def wake(self, event_ms: int | None = None) -> None:
        """Asks for a step soon. Cheap; any number of calls before the step are one.

        ``event_ms``: when the event that asks for it was appended to Kafka, by the brokers' clock.
        """
        if event_ms is not None:
            self._event_ms = event_ms if self._event_ms is None else min(self._event_ms, event_ms)
        self._due.set()

    def report(self) -> AgentReport:
        """What is told about decisions over ``/metrics``, and whether it still turns."""
        figures = self._around.figures
        return AgentReport(
            figures.figures(self._around.projector.table, now_ms()),
            figures.histograms,
            self._turned_ms,
            unsigned=self._around.commands.takes_unsigned,
        )

    async def run(self) -> None:
        """Stands by, leads, stands by again. Raises ``UserError`` where only an operator can help."""
        while True:
            epoch = await self._around.leader.lead()
            try:
                await self._lead(epoch)
            except (Deposed, NoLease) as reason:
                self._log.info("stands by now", epoch=epoch, why=str(reason))
            except KafkaError as error:
                self._log.warning("stands by now", epoch=epoch, why=f"Kafka: {type(error).__name__}")
                await asyncio.sleep(self._backoff.next_s())
            finally:
                self._turned_ms = None
                self._around.figures.stand_by()
                self._around.projector.withdraw()
                self._around.publisher.stand_by()
                self._around.offers.stand_by()
                self._around.ledger.stand_by()
            await self._around.leader.resign()

    async def _lead(self, epoch: int) -> None:
        """One term: takes over and decides until it is deposed. Raises ``Deposed``, KafkaError."""
        self._turned_ms = monotonic_ms()
        term = await self._take_over(epoch)
        self._backoff.reset()
        while True:
            await self._until_due()
            self._turned_ms = monotonic_ms()
            self._around.leader.require_leading(epoch)
            if self._around.fitness.must_yield(Role.DECIDE):
                raise Deposed(f"another controller is fit to lead, and this one is not: {self._words()}")
            if not self._around.leader.may_publish():
                continue
            try:
                await self._decide(term)
            except NoLease as reason:
                self._log.info("the table is held", epoch=epoch, why=str(reason))

    async def _take_over(self, epoch: int) -> Term:
        """Sets the fence and publishes the newest table that counts, unchanged, or else the first table."""
        must_reach = await self._around.offsets.ends()
        lineage = self._first_policy.policy.lineage
        newest = await self._around.publisher.take_over(epoch, lineage)
        taken_ms = now_ms()
        generation = Generation(lineage, epoch, 1)
        if newest is None:
            policy = self._first_policy
            record = await self._publish_first(generation, taken_ms)
        else:
            policy = published_policy(newest, unsigned=self._first_policy.unsigned)
            record = continued(newest, policy, generation, taken_ms)
            await self._publish(record)
        self._log = _logger_under(policy)
        self._log.info(
            "leads now",
            generation=str(generation),
            continues=str(newest.generation) if newest else "nothing: this is the first table of its lineage",
            records_to_read=sum(end.records for end in must_reach.values()),
        )
        self._around.history.begin(
            TermBegun(
                taken_ms,
                epoch,
                str(generation),
                continues=str(newest.generation) if newest else "",
            )
        )
        self._around.ledger.begin(epoch)
        self._step_by_ms = 0
        self._ends_by_ms = monotonic_ms() + ENDS_EVERY_MS
        self.wake()
        return Term(
            epoch,
            taken_ms,
            must_reach,
            record=record,
            memory=record.memory,
            policy=policy,
            published_steady_ms=monotonic_ms(),
        )

    async def _publish_first(self, generation: Generation, taken_ms: int) -> RoutesRecord:
        await self._read_tables(everything=True)
        office = Office(
            generation.lineage,
            generation.epoch,
            generation.seq,
            took_office_ms=taken_ms,
            voluntary_after_ms=taken_ms + REPORT_WINDOW_MAX_MS,
        )
        snapshot = self._snapshot(self._first_policy.policy, office, None, table=None, at_ms=taken_ms)
        ready = self._planner.step(snapshot, taken_ms)
        if ready.table is None:
            why = "; ".join(reasons_of(ready, taken_ms))
            raise UserError(f"no first table can be made from the policy: {why}")
        record = first_record(ready, self._first_policy, generation, taken_ms)
        table = await self._publish(record)
        self._around.decisions.record(Step(taken_ms, snapshot, ready, published=table))
        return record

    def _words(self) -> str:
        return self._around.fitness.fitness.words

    async def _until_due(self) -> None:
        wait_ms = min(max(self._step_by_ms - now_ms(), 1), max(self._read_by_ms - monotonic_ms(), 1), TICK_MS)
        try:
            async with asyncio.timeout(wait_ms / 1000):
                await self._due.wait()
        except TimeoutError:
            pass
        self._due.clear()

    async def _decide(self, term: Term) -> None:
        """One step, and its publication if it owes one. A step that can't be sent leaves no trace."""
        event_ms, self._event_ms = self._event_ms, None
        await self._read_tables(everything=not term.settled)
        plan = self._around.dispatcher.plan
        log = self._around.commands.log
        answers_read = self._around.offers.book.answers_read
        grounds = (*self._contents[:4], log.answered_offset, log.rejected_offset, answers_read, (plan,))
        decided_ms = now_ms()
        if decided_ms < self._step_by_ms and all(map(is_same, grounds, self._decided_on)):
            return  # woken twice for one event
        self._clock = self._clock.look(decided_ms, monotonic_ms(), self._around.leader.brokers_apart_ms)
        await self._renew_ends(term)
        if not self._tables_away and term.settle(self._contents, decided_ms):
            self._log.info("decides now", epoch=term.epoch)
        commands = self._around.commands.log
        taken = commands.taken(decided_ms)
        policy = term.policy_with(taken)
        office = term.office(clock_trusted=self._clock.trusted)
        snapshot = self._snapshot(
            policy.policy.policy, office, term.memory, table=term.record.table, at_ms=decided_ms
        )
        began_s = stopwatch_s()
        ready = self._planner.step(snapshot, decided_ms)
        self._around.figures.step_took(stopwatch_s() - began_s)
        dues = (ready.wake_ms, commands.next_expiry_ms(decided_ms))
        next_ms = min((due for due in dues if due is not None), default=decided_ms + TICK_MS)
        self._step_by_ms = max(min(next_ms, decided_ms + TICK_MS), decided_ms + 1)
        self._decided_on = grounds
        # What was adopted has to be in the log, because the next leader reads it there.
        term.memory_due |= not set(self._around.projector.parents) <= set(term.record.parents)
        if not term.owes(ready, taken, monotonic_ms()):
            term.remember(ready)
            self._teller.unpublished(snapshot, ready, decided_ms)
            self._plan_ahead(snapshot, term.policy, decided_ms)
            self._around.figures.look_at_a_loss()
            if (due_ms := term.rejections_due_ms(taken)) is not None:
                self._step_by_ms = min(self._step_by_ms, decided_ms + max(due_ms - monotonic_ms(), 1))
            return
        record = term.next_record(ready, policy, taken, decided_ms)
        if parents := self._around.projector.parents:
            record = replace(record, parents=parents)
        if term.refuses(record, policy):
            self._step_by_ms = 0
            self.wake()
            return
        if event_ms is not None and ready.table is not None and ready.urgent:
            self._around.figures.published(record.generation, event_ms)
        table = await self._publish(record)
        term.published(record, policy.policy, monotonic_ms())
        if policy.answers:
            self._around.on_policy(policy)
        self._teller.published(Step(decided_ms, snapshot, ready, published=table), record)
        self._planner.prepare(table)

    async def _renew_ends(self, term: Term) -> None:
        """Looks now and then whether a topic that must be read to its end was recreated meanwhile."""
        if term.settled or monotonic_ms() < self._ends_by_ms:
            return
        self._ends_by_ms = monotonic_ms() + ENDS_EVERY_MS
        term.must_reach = renewed(term.must_reach, await self._around.offsets.ends())

    def _plan_ahead(self, snapshot: Snapshot, policy: PolicyInForce, at_ms: int) -> None:
        """Has the whole table solved anew, in another process, when nothing had to be published."""
        settled = snapshot.office.settled and snapshot.office.clock_trusted
        if settled and snapshot.table is not None and self._around.dispatcher.is_due(at_ms):
            problem = problem_of(snapshot, at_ms, self._planner.memo)
            self._around.dispatcher.ask(problem, policy.packed)

    async def _publish(self, record: RoutesRecord) -> RouteTable:
        """Appends to Kafka first; only what is published there is projected. Returns the record's table."""
        if record.table is None:
            raise ValueError("a publication needs a table; only a fence has none")
        projector, content = self._around.projector, (record.table, record.urgent_seq, record.parents)
        after_turns(TURNS_TO_SEND, lambda: projector.prepare(*content))
        await self._around.publisher.append(record)
        projector.project(*content)
        self._around.offers.tell(record.memory.offers if record.memory is not None else ())
        await projector.head_start(PROJECTION_HEAD_START_S)
        return record.table

    async def _read_tables(self, *, everything: bool) -> None:
        """Reads the tables. While Redis is away the last reading stays; its progress rows show how old it is.

        Each step reads the rows that somebody was woken for. The others can't change a decision by
        themselves, so once a second is enough: under load most rows change all the time, and most of a step
        would be spent on reading them.
        """
        everything = everything or self._tables_away or monotonic_ms() >= self._read_by_ms
        tables = self._around.tables
        try:
            async with asyncio.timeout(TABLES_WITHIN_S):
                self._contents = await (tables.read() if everything else tables.renew())
        except (RedisError, OSError, TimeoutError) as error:
            if not self._tables_away:
                self._log.warning("the tables can't be read: Redis is away", error=type(error).__name__)
            self._tables_away = True
            return
        self._tables_away = False
        if everything:
            self._read_by_ms = monotonic_ms() + TICK_MS

    def _snapshot(
        self,
        policy: Policy,
        office: Office,
        memory: Memory | None,
        *,
        table: RouteTable | None,
        at_ms: int,
    ) -> Snapshot:
        contents = self._contents
        return Snapshot(
            policy,
            office,
            contents.reports,
            statements=contents.statements,
            capacities=contents.capacities,
            demand=contents.demand,
            progress=contents.progress,
            commands=self._around.commands.log.in_force(at_ms),
            memory=memory,
            table=table,
            plan=self._around.dispatcher.plan,
            used_up=self._around.ledger.used_up(policy, at_ms),
            offer_answers=self._around.offers.book.answers_to(memory.offers if memory is not None else ()),
        )


def _logger_under(policy: PolicyInForce) -> Any:
    """Names the unsigned development mode in every line, where that is in force."""
    return structlog.get_logger("agent").bind(**({"mode": UNSIGNED_NOTICE} if policy.takes_unsigned else {}))


def after_turns(turns: int, work: Callable[[], None]) -> None:
    """Calls ``work`` after so many turns of the event loop: what is ready now goes first."""
    if turns == 0:
        work()
    else:
        asyncio.get_running_loop().call_soon(after_turns, turns - 1, work)


def is_same(new: Any, old: Any) -> bool:
    """Whether two readings of a table hold the same row objects: unchanged rows are not decoded again."""
    if not isinstance(new, tuple):
        return bool(new == old)
    return len(new) == len(old) and all(map(operator.is_, new, old))
