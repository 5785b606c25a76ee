"""What must hold of a run of the whole system, beside the invariants of single seconds (``lab.sim``).

PURE: looks at what was appended, put in force and stored. The counting rule is written anew here, from the
design ("Leading"): a publication counts if its epoch is the highest that began on the leader log before it,
and no fence or publication of a higher epoch lies before it on the routes log.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from controller.core.policy.thresholds import Thresholds
from controller.decisions.record import RecordedDecision
from controller.routes.counting_rule import KeyedRecord, RoutesLog
from controller.routes.record import RoutesRecord
from lab.demo.continuity import course_faults, take_over_faults
from lab.sim.invariants import CHECKS
from lab.sim.splits import movement
from lab.system.convergence import CONVERGES
from lab.system.request_rules import REQUEST_RULES
from streams.rows import Row
from streams.store import Contents
from tieline.events import Statement
from tieline.table import Generation

REACHES_ALL_MS = 3_000  # a client polls every one to two seconds
NO_EXCEPTION = "nothing ends with an exception"
READABLE = "a table can be read"
TAKE_OVER = "a take-over changes nothing"
HAS_READ = "a new leader has read what was there"
COURSE = "ramps and hold-downs take their course"
REBUILT = "the table that is rebuilt is the newest that counts"
IN_ORDER = "generations follow one another"
NEVER_BACK = "no client goes back"
ONLY_COUNTING = "clients apply what counts"
PUBLISHED = "a table is published"
AT_REST = "all comes to rest"
LETTERS = "what can't be read is among the dead letters"
TABLES = "the tables hold what Kafka holds"
INVARIANTS: tuple[str, ...] = (
    *CHECKS, NO_EXCEPTION, READABLE, TAKE_OVER, HAS_READ, COURSE, REBUILT, IN_ORDER,
    NEVER_BACK, ONLY_COUNTING, PUBLISHED, AT_REST, CONVERGES, LETTERS, TABLES,
    *REQUEST_RULES,
)  # fmt: skip
"""Everything that is checked."""


@dataclass
class RoutesHistory:
    """The routes log as it grows. ``newest``: the newest publication that counts. ``counting``: all of them,
    by generation. ``breaches``: what did not hold, as (rule, story)."""

    newest: RoutesRecord | None = None
    counting: dict[str, RoutesRecord] = field(default_factory=dict)
    breaches: list[tuple[str, str]] = field(default_factory=list)
    deposed: int = 0
    take_overs: int = 0
    _epoch: int = -1

    def append(self, record: RoutesRecord) -> bool:
        """One more record was appended. Returns whether it counts."""
        epoch = record.generation.epoch
        if epoch < self._epoch:
            self.deposed += 1
            return False
        if record.table is None:
            self._epoch = epoch
            return False
        before, self.newest, self._epoch = self.newest, record, epoch
        self.counting[str(record.generation)] = record
        if before is None:
            return True
        if before.generation.epoch < epoch:
            self.take_overs += 1
            for fault in take_over_faults(before, record):
                self._break(TAKE_OVER, f"{record.generation}: {fault}")
        elif record.generation.seq != before.generation.seq + 1:
            self._break(IN_ORDER, f"{record.generation} after {before.generation}")
        return True

    def moved_ms(self) -> int:
        """When the newest publication that moved load was made; 0 if only the first table placed some."""
        for before, after in reversed(list(pairwise(self.counting.values()))):
            if before.table is not None and after.table is not None and movement(before.table, after.table):
                return after.published_ms
        return 0

    def _break(self, rule: str, story: str) -> None:
        self.breaches.append((rule, story))


class RebuiltTable:
    """What whoever reads the routes log from its beginning takes for the table in force, by the product's own
    counting rule, after each record."""

    def __init__(self, history: RoutesHistory) -> None:
        self._history = history
        self._log = RoutesLog()
        self.breaches: list[tuple[str, str]] = []

    def append(self, offset: int, key: bytes | None, body: bytes, record: RoutesRecord) -> None:
        """One more record, which the history knows already."""
        keyed = KeyedRecord(key, record.generation.seq, body, writer="")
        self._log = self._log.apply(offset, 0, keyed, lambda *_: True)
        rebuilt, newest = self._log.newest, self._history.newest
        place = f"{rebuilt.epoch}:{rebuilt.seq}" if rebuilt else "none"
        counts = f"{newest.generation.epoch}:{newest.generation.seq}" if newest else "none"
        if place != counts and not self.breaches:
            self.breaches.append((REBUILT, f"after {record.generation} it is {place}, and {counts} counts"))


Offsets = Mapping[tuple[str, int, str], int]
"""(topic, partition, id of the topic) -> the offset that comes next."""


class NewLeaders:
    """Whether each leader had read what Kafka held at its claim before it decided anything."""

    def __init__(self) -> None:
        self._ends: dict[int, Offsets] = {}
        self.breaches: list[tuple[str, str]] = []

    def claimed(self, epoch: int, ends: Offsets) -> None:
        """A claim was appended. ``ends``: of the topics of events then."""
        self._ends[epoch] = ends

    def decided(self, decision: RecordedDecision, now: Offsets) -> None:
        """A decision was recorded. ``now``: the ends now; what a topic held that was created anew since the
        claim can't be read any more."""
        basis = decision.whole or decision.changed
        if basis is None or not basis.office.settled or decision.generation.seq == 1:
            return  # the first table of a lineage rests on the policy alone
        ends = self._ends.pop(decision.generation.epoch, {})
        read = {(row.topic, row.partition, row.topic_id): row.next_offset for row in basis.progress}
        for place, end in ends.items():
            if place in now and read.get(place, 0) < end:
                story = f"{decision.generation} rests on {read.get(place, 0)} of {end} records of {place[:2]}"
                self.breaches.append((HAS_READ, story))


def courses(history: RoutesHistory, pools: Iterable[str], thresholds: Thresholds) -> list[tuple[str, str]]:
    """Where a hold-down or a ramp did not take its course, over all publications that count.

    A hold-down may end early: while critical load is shed, or because an operator vouches for the pool.
    """
    records = list(history.counting.values())
    return [
        (COURSE, fault)
        for pool in pools
        for fault in course_faults(pool, records, thresholds)
        if not fault.endswith("its hold-down was skipped")
    ]


class AppliedTables:
    """What clients have put in force. ``current``: by client, the generation."""

    def __init__(self, history: RoutesHistory) -> None:
        self._history = history
        self.current: dict[str, Generation] = {}
        self.breaches: list[tuple[str, str]] = []

    def note(self, client: str, text: str) -> None:
        """A client has put a generation in force."""
        lineage, epoch, seq = text.rsplit(":", 2)
        generation = Generation(lineage, int(epoch), int(seq))
        before = self.current.get(client)
        if before is not None and not generation.newer_than(before):
            self.breaches.append((NEVER_BACK, f"{client}: {before}, then {text}"))
        if text not in self._history.counting:
            self.breaches.append((ONLY_COUNTING, f"{client} applied {text}"))
        self.current[client] = generation


def letter_faults(poison: Iterable[bytes | None], letters: Iterable[bytes | None]) -> list[str]:
    """Keys of records that can't be read, and of those that are dead letters -> those that are missing."""
    lost = sorted(str(key) for key in set(poison) - set(letters))
    return [f"{len(lost)} are missing, the first is {lost[0]}"] if lost else []


def table_faults(rebuilt: Contents, stored: Contents, until_ms: int) -> list[str]:
    """Rows of statements and capacity that Kafka has held since before ``until_ms``, and that the tables lack
    or have only an older one of. ``rebuilt``: from Kafka alone."""
    current = {_row_key(row): row for row in (*stored.statements, *stored.capacities)}
    faults = []
    for row in (*rebuilt.statements, *rebuilt.capacities):
        if row.append_ms > until_ms:
            continue
        name, there = _row_key(row), current.get(_row_key(row))
        if there is None:
            faults.append(f"{name} is missing")
        elif there.event.incarnation == row.event.incarnation and _sequence(there) < _sequence(row):
            faults.append(f"{name} is at {_sequence(there)}, Kafka holds {_sequence(row)}")
    return faults


def _row_key(row: Row) -> str:
    event = row.event
    kind = event.kind if isinstance(event, Statement) else "capacity"
    return f"{event.source} {event.provider}/{event.region} {kind}"


def _sequence(row: Row) -> int:
    return row.event.sequence


def rest_faults(
    history: RoutesHistory,
    applied: AppliedTables,
    *,
    states: Mapping[str, str],
    stored: Mapping[bytes, bytes],
    leaders: Sequence[str],
    now_ms: int,
) -> list[tuple[str, str]]:
    """What is not at rest after the quiet time. ``states``: of the clients.
    ``stored``: the hash of routes in Redis. ``leaders``: who leads in its own eyes."""
    newest = history.newest
    if newest is None:
        return [(PUBLISHED, "none was")]
    settled = [
        record.generation
        for record in history.counting.values()
        if record.published_ms <= now_ms - REACHES_ALL_MS
    ]
    faults: list[str] = []
    if len(leaders) != 1:
        faults.append(f"{len(leaders)} controllers lead: {', '.join(leaders)}")
    place = ":".join(stored.get(name, b"").decode() for name in (b"lineage", b"epoch", b"seq"))
    if place != str(newest.generation) and newest.generation in settled:
        faults.append(f"Redis holds {place}, the newest is {newest.generation}")
    for client, generation in sorted(applied.current.items()):
        if settled and settled[-1].newer_than(generation):
            faults.append(f"{client} is at {generation}, long after {settled[-1]}")
    faults += [f"{client} is {state}" for client, state in sorted(states.items()) if state != "live"]
    return [(AT_REST, fault) for fault in faults]
