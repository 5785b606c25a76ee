"""One time in office: what was published last, what is remembered, and what the next record will be. Pure."""

from dataclasses import dataclass

from msgspec.structs import replace

from controller.core.model.memory import Memory
from controller.core.policy.policy import Policy
from controller.core.snapshot import Office, Ready
from controller.kafka.offsets import Ends, reached
from controller.routes.record import RoutesRecord, renumbered
from streams.store import Contents
from tieline.events import Report
from tieline.table import Generation

MEMORY_EVERY_MS = 1_000
REPORT_WINDOW_MAX_MS = 15_000
REASONS_SAID_MAX = 8


@dataclass(frozen=True, slots=True)
class PolicyInForce:
    """The policy, as it is recorded (``packed``), and its checksum (``version``)."""

    policy: Policy
    packed: bytes
    version: str
    unsigned: bool = False


@dataclass(slots=True)
class Term:
    """``record`` is the last publication; ``memory`` may be ahead of the recorded one (``memory_due``).

    ``settled``: the tables hold all that was on the topics at take-over (``must_reach``); before that they
    prove nothing. ``published_steady_ms`` is the steady clock at the last publication.
    """

    epoch: int
    took_office_ms: int
    must_reach: Ends
    record: RoutesRecord
    memory: Memory | None
    published_steady_ms: int
    memory_due: bool = False
    settled: bool = False
    voluntary_after_ms: int = 0

    def settle(self, contents: Contents, at_ms: int) -> bool:
        """Looks whether the tables have caught up; True when they just have.

        Voluntary moves then wait one report window more: the longest interval of a source, at most 15 s.
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
        """What the planner is told of this term."""
        last = self.record.generation
        return Office(
            last.lineage,
            self.epoch,
            last.seq + 1,
            self.took_office_ms,
            self.voluntary_after_ms,
            self.settled,
            clock_trusted,
        )

    def owes(self, ready: Ready, commands_next_offset: int, steady_ms: int) -> bool:
        """Whether this step must be published: a table, new commands, or memory (at most once a second)."""
        if ready.table is not None or commands_next_offset > self.record.commands_next_offset:
            return True
        memory_due = self.memory_due or ready.memory_changed
        return memory_due and steady_ms - self.published_steady_ms >= MEMORY_EVERY_MS

    def next_record(
        self, ready: Ready, policy: PolicyInForce, commands_next_offset: int, now_ms: int
    ) -> RoutesRecord:
        """The publication of this step: a new table, or the one in force under a new number."""
        last = self.record.generation
        generation = Generation(last.lineage, self.epoch, last.seq + 1)
        record = renumbered(self.record, generation, now_ms)
        if ready.table is not None:
            table = ready.table
            if (table.generation, table.made_ms) != (generation, now_ms):
                table = replace(table, generation=generation, made_ms=now_ms)
            record = replace(record, table=table)
        return replace(
            record,
            memory=ready.memory,
            policy=policy.packed,
            policy_version=policy.version,
            urgent_seq=generation.seq if ready.urgent else record.urgent_seq,
            commands_next_offset=max(commands_next_offset, record.commands_next_offset),
            unsigned_commands=policy.unsigned,
        )

    def published(self, record: RoutesRecord, steady_ms: int) -> None:
        """Takes note that ``record`` is out."""
        self.record, self.memory = record, record.memory
        self.memory_due, self.published_steady_ms = False, steady_ms

    def remember(self, ready: Ready) -> None:
        """Takes over what a step remembers that is not (yet) published."""
        self.memory = ready.memory
        self.memory_due |= ready.memory_changed


def first_record(ready: Ready, policy: PolicyInForce, generation: Generation, now_ms: int) -> RoutesRecord:
    """The first publication of a lineage. ``ready.table`` must be there."""
    if ready.table is None:
        raise ValueError("a first record needs a table")
    return RoutesRecord(
        generation,
        now_ms,
        replace(ready.table, generation=generation, made_ms=now_ms),
        ready.memory,
        policy.packed,
        policy.version,
        urgent_seq=generation.seq,
        unsigned_commands=policy.unsigned,
    )


def reasons_of(ready: Ready) -> list[str]:
    """The verdicts of a step in a few words each, the first few of them."""
    said = []
    for verdict in ready.decisions[:REASONS_SAID_MAX]:
        change = f" {verdict.before}->{verdict.after}" if verdict.before or verdict.after else ""
        said.append(f"{verdict.subject} {verdict.reason}{change}")
    if more := len(ready.decisions) - len(said):
        said.append(f"and {more} more")
    return said
