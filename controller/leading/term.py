"""One leadership: what was published last, what the planner remembers, and what to publish next. Pure."""

from dataclasses import dataclass

from msgspec.structs import replace

from controller.commands.policies import POLICY_ANSWERS_KEPT_MAX, PolicyInForce, PolicyTaken, policy_after
from controller.core.model.memory import Memory
from controller.core.model.words import sentence
from controller.core.moves.inherited_table import under_policy
from controller.core.policy.compiled import compile_policy
from controller.core.snapshot import Office, Ready
from controller.kafka.offsets import Ends, reached
from controller.routes.record import OrdersTaken, RoutesRecord, encode_record, renumbered
from streams.store import Contents
from tieline.events import Report
from tieline.table import Generation, TableError

MEMORY_EVERY_MS = 1_000
REJECTIONS_EVERY_MS = 500
REPORT_WINDOW_MAX_MS = 15_000
REASONS_MAX = 8
RUBBISH_UNRECORDED_MAX = 10_000


@dataclass(slots=True)
class Term:
    """The state of one leadership.

    ``record`` is the last publication, ``policy`` the policy in it. ``memory`` is what the last step
    remembers; with ``memory_due`` it is ahead of the memory in ``record``. ``must_reach``: the ends of the
    evidence topics at the take-over. ``settled``: the tables have reached them; before that they prove
    nothing, and nothing is decided. ``published_steady_ms``: the steady clock at the last publication.
    ``unfit_changes``: ids of policy changes with which no publication can be sent.
    """

    epoch: int
    took_office_ms: int
    must_reach: Ends
    record: RoutesRecord
    memory: Memory | None
    policy: PolicyInForce
    published_steady_ms: int
    memory_due: bool = False
    settled: bool = False
    voluntary_after_ms: int = 0
    unfit_changes: frozenset[str] = frozenset()

    def settle(self, contents: Contents, at_ms: int) -> bool:
        """Notes whether the tables have reached ``must_reach``; True at the moment when they have.

        Moves by choice then wait one report window more: the longest interval of a source, at most 15 s.
        """
        if self.settled:
            return False
        if contents.run is None or not reached(self.must_reach, contents.progress):
            self.voluntary_after_ms = at_ms + REPORT_WINDOW_MAX_MS
            return False
        intervals = [row.event.interval_ms for row in contents.reports if isinstance(row.event, Report)]
        self.settled = True
        self.voluntary_after_ms = at_ms + min(max(intervals, default=0), REPORT_WINDOW_MAX_MS)
        return True

    def office(self, *, clock_trusted: bool) -> Office:
        """The leadership as the planner needs to know it for the next step."""
        last = self.record.generation
        return Office(
            last.lineage,
            self.epoch,
            last.seq + 1,
            took_office_ms=self.took_office_ms,
            voluntary_after_ms=self.voluntary_after_ms,
            settled=self.settled,
            clock_trusted=clock_trusted,
        )

    def takes(self, taken: OrdersTaken) -> bool:
        """Whether the next publication takes the command log into account. Not before anything is decided,
        nor while the leader before this one had read further."""
        return self.settled and taken.next_offset >= self._taken_before(taken)

    def policy_with(self, taken: OrdersTaken) -> PolicyTaken:
        """The policy for the next publication, and its answers to the policy changes that it takes in."""
        if not taken.changes or not self.takes(taken):
            return PolicyTaken(self.policy, ())
        before = self._taken_before(taken)
        changes = (logged for logged in taken.changes if logged.offset >= before)
        return policy_after(self.policy, changes, self.unfit_changes)

    def refuses(self, record: RoutesRecord, policy: PolicyTaken) -> bool:
        """Whether this record can't be sent because of the policy changes that it takes in. They are refused
        from now on, and the step is to be made again without them."""
        if policy.policy is self.policy:
            return False
        try:
            encode_record(record)
        except TableError:
            self.unfit_changes |= {answer.id for answer in policy.answers if not answer.refused}
            return True
        return False

    def owes(self, ready: Ready, taken: OrdersTaken, steady_ms: int) -> bool:
        """Whether this step must be published: it has a new table, takes new orders into account, or changes
        memory (at most once a second). Orders that nobody was entitled to give are answered at most twice a
        second, so that whoever sends many does not make the leader publish as often. Also when much rubbish
        lies after the orders that were published, so that nobody has to read it again."""
        before = self._taken_before(taken)
        if ready.table is not None or self._answers(taken):
            return True
        if self.settled and taken.next_offset > before + RUBBISH_UNRECORDED_MAX:
            return True
        if (due_ms := self.rejections_due_ms(taken)) is not None and steady_ms >= due_ms:
            return True
        memory_due = self.memory_due or ready.memory_changed
        return memory_due and steady_ms - self.published_steady_ms >= MEMORY_EVERY_MS

    def rejections_due_ms(self, taken: OrdersTaken) -> int | None:
        """When new rejections are to be published, by the steady clock; None if there are none."""
        if not self.settled or taken.rejected_offset <= self._taken_before(taken):
            return None
        return self.published_steady_ms + REJECTIONS_EVERY_MS

    def next_record(
        self,
        ready: Ready,
        policy: PolicyTaken,
        taken: OrdersTaken,
        now_ms: int,
    ) -> RoutesRecord:
        """The publication of this step: its new table, or the one in force under a new generation.

        It is urgent for clients if load must move, and also if it answers orders: whoever gave one may wait
        until clients use the table that has it.
        """
        in_force = policy.policy
        last = self.record.generation
        generation = Generation(last.lineage, self.epoch, last.seq + 1)
        record = renumbered(self.record, generation, now_ms)
        if ready.table is not None:
            table = ready.table
            if (table.generation, table.made_ms) != (generation, now_ms):
                table = replace(table, generation=generation, made_ms=now_ms)
            record = replace(record, table=table)
        record = replace(
            record,
            memory=ready.memory,
            policy=in_force.packed,
            policy_version=in_force.version,
            urgent_seq=generation.seq if ready.urgent or self._answers(taken) else record.urgent_seq,
            unsigned_commands=in_force.takes_unsigned,
            policy_number=in_force.number,
            policy_answers=(*record.policy_answers, *policy.answers)[-POLICY_ANSWERS_KEPT_MAX:],
        )
        if not self.takes(taken):
            return record
        return replace(
            record,
            commands_next_offset=taken.next_offset,
            answers=taken.answers or record.answers,
            orders=taken.orders,
            commands_topic_id=taken.topic_id,
            pending=taken.pending,
            rejections=taken.rejections or record.rejections,
        )

    def _answers(self, taken: OrdersTaken) -> bool:
        """Whether there are orders of people who may give them that no publication has answered yet."""
        return self.settled and taken.answered_offset > self._taken_before(taken)

    def _taken_before(self, taken: OrdersTaken) -> int:
        """Up to where the last publication took the command log into account; 0 if that was another log."""
        same_log = self.record.commands_topic_id in ("", taken.topic_id)
        return self.record.commands_next_offset if same_log else 0

    def published(self, record: RoutesRecord, policy: PolicyInForce, steady_ms: int) -> None:
        """Notes that ``record`` is published, under this policy."""
        self.record, self.memory, self.policy = record, record.memory, policy
        self.memory_due, self.published_steady_ms = False, steady_ms

    def remember(self, ready: Ready) -> None:
        """Takes over the memory of a step that was not published."""
        self.memory = ready.memory
        self.memory_due |= ready.memory_changed


def continued(
    newest: RoutesRecord, policy: PolicyInForce, generation: Generation, now_ms: int
) -> RoutesRecord:
    """The first publication of a term that continues ``newest``: its weights and memory, under its policy.
    Raises ValueError when ``newest`` has no table."""
    record = renumbered(newest, generation, now_ms)
    if record.table is None:
        raise ValueError("a record to continue needs a table")
    return replace(
        record,
        table=under_policy(record.table, compile_policy(policy.policy)),
        unsigned_commands=policy.takes_unsigned,
    )


def first_record(ready: Ready, policy: PolicyInForce, generation: Generation, now_ms: int) -> RoutesRecord:
    """The first publication of a lineage. Raises ValueError when ``ready`` has no table."""
    if ready.table is None:
        raise ValueError("a first record needs a table")
    return RoutesRecord(
        generation,
        now_ms,
        replace(ready.table, generation=generation, made_ms=now_ms),
        memory=ready.memory,
        policy=policy.packed,
        policy_version=policy.version,
        urgent_seq=generation.seq,
        unsigned_commands=policy.takes_unsigned,
    )


def reasons_of(ready: Ready, now_ms: int) -> list[str]:
    """The first ``REASONS_MAX`` verdicts of a step as sentences, and how many more there are."""
    sentences = [sentence(verdict, now_ms) for verdict in ready.decisions[:REASONS_MAX]]
    if more := len(ready.decisions) - len(sentences):
        sentences.append(f"and {more} more")
    return sentences
