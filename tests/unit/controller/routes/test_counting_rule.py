"""The counting rule."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.routes.counting_rule import KeyedRecord, RoutesLog, epoch_of, fence_key, table_key

Records = list[tuple[bytes | None, int, bytes | None]]


def began(epoch: int, writer: str) -> bool:
    """Epochs begin below 10, and "leader" leads them all."""
    return epoch < 10 and writer == "leader"


def applied(log: RoutesLog, offset: int, key: bytes | None, seq: int, body: bytes | None) -> RoutesLog:
    return log.apply(offset, 0, KeyedRecord(key, seq, body, writer="leader"), began)


def read(records: Records, log: RoutesLog = RoutesLog()) -> RoutesLog:  # noqa: B008 (frozen)
    for offset, record in enumerate(records, log.next_offset):
        log = applied(log, offset, *record)
    return log


def newest(records: Records) -> tuple[int, int] | None:
    found = read(records).newest
    return None if found is None else (found.epoch, found.seq)


def table(epoch: int, seq: int) -> tuple[bytes | None, int, bytes | None]:
    return table_key(epoch), seq, b"table"


def fence(epoch: int) -> tuple[bytes | None, int, bytes | None]:
    return fence_key(epoch), 0, b"fence"


def test_record_behind_a_higher_epoch_does_not_count() -> None:
    """A deposed leader's late append changes nothing, though its own generation rises."""
    assert newest([fence(1), table(1, 1), fence(5), table(1, 2)]) == (1, 1)
    assert newest([fence(1), table(1, 1), fence(5), table(5, 1), table(1, 2)]) == (5, 1)


def test_fence_carries_no_table() -> None:
    """A fence alone leaves the newest publication before it in force, and says which epoch has begun."""
    log = read([fence(1), table(1, 1), fence(5)])
    assert log.epoch == 5
    assert log.newest is not None
    assert log.newest.epoch == 1


def test_late_record_of_an_epoch_never_takes_one_back() -> None:
    """Within an epoch the higher seq stays."""
    assert newest([fence(1), table(1, 3), table(1, 2)]) == (1, 3)


def test_compacted_log_reads_the_same() -> None:
    """With each key's older records gone the newest publication is the same."""
    log = read([fence(1), table(1, 1), table(1, 2), fence(5), table(5, 1)])
    kept = applied(RoutesLog(), 2, table_key(1), 2, b"t")
    kept = applied(applied(kept, 3, fence_key(5), 0, b"f"), 4, table_key(5), 1, b"table")
    assert (kept.newest, kept.epoch, kept.next_offset) == (log.newest, log.epoch, log.next_offset)


def test_latecomer_stands_in_for_what_compaction_removed() -> None:
    """(1, 3) came too late, and compaction kept only it: it holds (1, 2)'s decisions, (0, 9) doesn't."""
    whole = [table(0, 9), fence(1), table(1, 1), table(1, 2), fence(5), table(1, 3)]
    assert newest(whole) == (1, 2)
    assert newest([table(0, 9), fence(1), fence(5), table(1, 3)]) == (1, 3)
    assert newest([table(0, 9), fence(1), fence(5), table(1, 3), table(5, 1)]) == (5, 1)
    assert newest([table(0, 9), fence(5), table(1, 1)]) == (0, 9)


def test_tombstone_says_nothing() -> None:
    """Removing an old epoch's records neither raises an epoch nor takes the newest publication away."""
    log = read([fence(1), table(1, 1), (table_key(9), 0, None)])
    assert (log.epoch, log.next_offset) == (1, 3)
    assert log.newest is not None


def test_epoch_that_no_claim_began_is_ignored() -> None:
    """A fence or a table under a huge epoch ends nobody's leadership and comes into force nowhere."""
    log = read([fence(1), table(1, 1), fence(9_999_999_999_999_999), table(9_999_999_999_999_999, 1)])
    assert (log.epoch, log.refusal) == (1, "leader leads no epoch 9999999999999999")
    log = read([table(1, 2)], log)
    assert (log.newest and log.newest.seq, log.refusal) == (2, "")


def test_table_of_another_writer_is_ignored() -> None:
    """Only the identity whose claim began the epoch publishes under it."""
    log = read([fence(1), table(1, 1)])
    forged = log.apply(2, 0, KeyedRecord(table_key(1), 99, b"forged", writer="forger"), began)
    assert forged.newest == log.newest
    assert (forged.next_offset, forged.refusal) == (3, "forger leads no epoch 1")


@pytest.mark.parametrize(
    "key", [None, b"", b"x", b"-1", b"1/other", b"9" * 17, "٣".encode(), b"/fence", b"\xff"]
)
def test_foreign_key_is_passed_over(key: bytes | None) -> None:
    """A record whose key names no epoch is read and changes nothing else."""
    assert epoch_of(key) is None
    assert read([(key, 1, b"body")]) == RoutesLog(next_offset=1)


def test_keys_name_their_epoch() -> None:
    """What is written is read back."""
    assert epoch_of(table_key(12)) == (12, False)
    assert epoch_of(fence_key(12)) == (12, True)


record = st.builds(
    lambda e, q, f: fence(e) if f else table(e, q), st.integers(0, 4), st.integers(1, 4), st.booleans()
)


@given(st.lists(record, max_size=20))
def test_newest_is_the_highest_that_counts(records: Records) -> None:
    """At each place of any log: the highest generation among the tables with no higher epoch before them."""
    log, highest, counting = RoutesLog(), -1, []
    for offset, (key, seq, body) in enumerate(records):
        log = applied(log, offset, key, seq, body)
        named = epoch_of(key)
        assert named is not None
        epoch, is_fence = named
        if epoch >= highest and not is_fence:
            counting.append((epoch, seq))
        highest = max(highest, epoch)
        found = None if log.counting is None else (log.counting.epoch, log.counting.seq)
        assert found == max(counting, default=None)
        assert log.epoch == highest


def test_record_with_a_flaw_does_not_count() -> None:
    """A table or a fence that is not signed as it must be changes nothing, and the log is read on."""
    log = read([fence(1), table(1, 1)])
    for key, body in ((table_key(1), b"table"), (fence_key(5), b"fence")):
        forged = log.apply(2, 0, KeyedRecord(key, 9, body, writer="leader", flaw="it is not signed"), began)
        assert forged.refusal == "it is not signed"
        assert (forged.epoch, forged.newest) == (log.epoch, log.newest)
        assert applied(forged, 3, *table(1, 2)).newest is not log.newest
