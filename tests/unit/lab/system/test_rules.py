"""What is checked of a whole run: which publications count, what clients may apply, and what rest means."""

from msgspec import Raw

from controller.core.model.memory import Memory
from controller.core.snapshot import Office
from controller.decisions.record import RecordedDecision, SnapshotChanges
from controller.routes.counting_rule import fence_key, table_key
from controller.routes.record import RoutesRecord
from lab.system.rules import (
    REBUILT,
    AppliedTables,
    NewLeaders,
    RebuiltTable,
    RoutesHistory,
    letter_faults,
    rest_faults,
    table_faults,
)
from lab.system.trace import WINDOW, Trace
from streams.rows import Position, Progress, Row
from streams.store import Contents
from tests.unit.lab.sim.facts import A, B, table
from tieline.events import Statement
from tieline.table import MILLION, Generation, RouteTable

NOW_MS = 1_000_000


def record(
    epoch: int, seq: int, weights: dict[str, int] | None = None, published_ms: int = 0
) -> RoutesRecord:
    """A publication of a table; seq 0 is a fence."""
    routes: RouteTable | None = table(weights or {A: MILLION}, {B: MILLION}) if seq else None
    return RoutesRecord(Generation("main", epoch, seq), published_ms, routes, Memory() if seq else None)


def history(*records: RoutesRecord) -> RoutesHistory:
    """A log of these."""
    log = RoutesHistory()
    for item in records:
        log.append(item)
    return log


def test_a_deposed_leaders_record_does_not_count() -> None:
    """It lies behind the fence of a higher epoch."""
    log = history(record(1, 0), record(1, 1), record(5, 0), record(1, 2))
    assert log.newest is not None
    assert str(log.newest.generation) == "main:1:1"
    assert (log.deposed, log.take_overs, log.breaches) == (1, 0, [])


def test_the_table_that_is_rebuilt_is_the_newest_that_counts() -> None:
    """By the product's own counting rule, also while a new leader has published nothing yet."""
    log = RoutesHistory()
    rebuilt = RebuiltTable(log)
    for offset, item in enumerate((record(1, 0), record(1, 1), record(5, 0), record(1, 2), record(5, 1))):
        log.append(item)
        epoch = item.generation.epoch
        rebuilt.append(offset, table_key(epoch) if item.table else fence_key(epoch), b"", item)
    assert rebuilt.breaches == []
    log.newest = record(1, 1)
    rebuilt.append(5, table_key(5), b"", record(5, 2))
    assert rebuilt.breaches == [(REBUILT, "after main:5:2 it is 5:2, and 1:1 counts")]


def decision(read: int, *, settled: bool = True) -> RecordedDecision:
    """What a leader of epoch 5 decided when it had read so many reports."""
    basis = SnapshotChanges(
        follows=Generation("main", 5, 1),
        office=Office("main", 5, 2, took_office_ms=0, voluntary_after_ms=0, settled=settled),
        progress=(Progress("reports", 0, read, end_offset=9, at_ms=0, topic_id="one"),),
    )
    return RecordedDecision(Generation("main", 5, 2), 0, Raw(b""), changed=basis)


def test_a_new_leader_has_read_what_was_there() -> None:
    """Before it decides anything; what was in a topic that was created anew nobody can read."""
    ends = {("reports", 0, "one"): 7}
    for read, settled, now, count in (
        (7, True, ends, 0),
        (6, True, ends, 1),
        (6, False, ends, 0),
        (6, True, {}, 0),
    ):
        leaders = NewLeaders()
        leaders.claimed(5, ends)
        leaders.decided(decision(read, settled=settled), now)
        assert len(leaders.breaches) == count


def test_a_take_over_may_change_nothing() -> None:
    """Neither weights nor what the planner remembers."""
    assert history(record(1, 1), record(5, 1)).breaches == []
    changed = history(record(1, 1), record(5, 1, {A: 500_000, B: 500_000}))
    assert [rule for rule, _ in changed.breaches] == ["a take-over changes nothing"]


def test_generations_of_an_epoch_follow_one_another() -> None:
    """None is left out."""
    assert history(record(1, 1), record(1, 2)).breaches == []
    assert [rule for rule, _ in history(record(1, 1), record(1, 3)).breaches] == [
        "generations follow one another"
    ]


def test_a_client_never_goes_back_nor_applies_what_does_not_count() -> None:
    """Whatever Redis holds."""
    applied = AppliedTables(history(record(1, 1), record(1, 2)))
    applied.note("client-0", "main:1:1")
    applied.note("client-0", "main:1:2")
    assert applied.breaches == []
    applied.note("client-0", "main:1:1")
    applied.note("client-1", "main:7:1")
    assert [rule for rule, _ in applied.breaches] == ["no client goes back", "clients apply what counts"]


def test_rest_is_one_leader_one_table_and_live_clients() -> None:
    """A table that was published a moment ago may still be on its way."""
    log = history(record(1, 1), record(1, 2, published_ms=NOW_MS - 60_000))
    applied = AppliedTables(log)
    applied.note("client-0", "main:1:2")
    stored = {b"lineage": b"main", b"epoch": b"1", b"seq": b"2"}
    well = {"states": {"client-0": "live"}, "stored": stored, "leaders": ["a"]}
    assert rest_faults(log, applied, **well, now_ms=NOW_MS) == []  # type: ignore[arg-type]
    log.append(record(1, 3, published_ms=NOW_MS - 100))
    assert rest_faults(log, applied, **well, now_ms=NOW_MS) == []  # type: ignore[arg-type]
    restless = {"states": {"client-0": "stale"}, "stored": stored, "leaders": ["a", "b"]}
    faults = rest_faults(log, applied, **restless, now_ms=NOW_MS + 60_000)  # type: ignore[arg-type]
    assert [story for _, story in faults] == [
        "2 controllers lead: a, b",
        "Redis holds main:1:2, the newest is main:1:3",
        "client-0 is at main:1:2, long after main:1:3",
        "client-0 is stale",
    ]
    assert rest_faults(RoutesHistory(), applied, **well, now_ms=NOW_MS) == [  # type: ignore[arg-type]
        ("a table is published", "none was")
    ]


def test_orders_of_steps_are_counted_without_names() -> None:
    """The same order by two other controllers is no new one."""
    trace = Trace()
    for first, second in (("a", "b"), ("b", "a")):
        for step, process in (
            ("claim", first),
            ("fence", first),
            ("append", first),
            ("kill", first),
            ("claim", second),
        ):
            trace.note(step, process)
    whole = {order for order in trace.orders if order[0] == ("claim", 0) and order[-1] == ("claim", 1)}
    assert len(whole) == 1
    assert all(len(order) == WINDOW for order in trace.orders)


def stored(sequence: int, append_ms: int = 0, incarnation: str = "one") -> Contents:
    """Tables that hold one statement."""
    event = Statement(
        "status", "azure", "eu", kind="status", incarnation=incarnation, sequence=sequence, issued_ms=0
    )
    row = Row(event, Position("id", 0, sequence), append_ms, evidence_ms=append_ms)
    return Contents(statements=(row,))


def test_tables_lack_what_kafka_has_held_for_a_while() -> None:
    """A newer row is no fault, nor what is as new as a moment ago, nor another incarnation."""
    assert table_faults(stored(2), Contents(), NOW_MS) == ["status azure/eu status is missing"]
    assert table_faults(stored(2), stored(1), NOW_MS) == ["status azure/eu status is at 1, Kafka holds 2"]
    for tables in (stored(2), stored(3), stored(1, incarnation="two")):
        assert table_faults(stored(2), tables, NOW_MS) == []
    assert table_faults(stored(2, append_ms=NOW_MS + 1), Contents(), NOW_MS) == []


def test_each_record_that_cant_be_read_has_its_letter() -> None:
    """By its key; other letters may be there as well."""
    assert letter_faults([b"poison-1"], [b"other", b"poison-1"]) == []
    assert letter_faults([b"poison-1", b"poison-2"], [b"poison-1"]) == [
        "1 are missing, the first is b'poison-2'"
    ]
