"""The rule by which an event becomes a row."""

from __future__ import annotations

import pytest

from streams.fold import Refusal, fold, supersedes
from streams.rows import Row
from tests.unit.streams.made import T0_MS, at, report


def folded(row: Row | None, *args: object) -> Row:
    """The row after an event that must be accepted."""
    result = fold(row, *args)  # type: ignore[arg-type]
    assert isinstance(result, Row)
    return result


def test_first_event_becomes_the_row() -> None:
    """Where no row is, any event becomes one, with its position and times."""
    row = folded(None, report(7), at(3), T0_MS + 40)
    assert (row.event.sequence, row.position, row.append_ms, row.gap_ms) == (7, at(3), T0_MS + 40, 40)


@pytest.mark.parametrize("offset", [0, 4, 5])
def test_same_log_takes_only_higher_offsets(offset: int) -> None:
    """Reading again from any earlier place changes nothing, whatever the sequence says."""
    row = folded(None, report(1), at(5), T0_MS)
    assert fold(row, report(9), at(offset), T0_MS) is Refusal.REPEATED


@pytest.mark.parametrize("sequence", [3, 4])
def test_same_incarnation_takes_only_higher_sequences(sequence: int) -> None:
    """A record of the same process that comes late changes nothing."""
    row = folded(None, report(4), at(5), T0_MS)
    assert fold(row, report(sequence), at(6), T0_MS) is Refusal.OLDER


@pytest.mark.parametrize("elsewhere", [at(0, partition=1), at(0, topic_id="another")])
def test_another_log_is_decided_by_sequence(elsewhere: object) -> None:
    """Offsets of another partition or a recreated topic mean nothing: the producer's own order decides."""
    row = folded(None, report(4), at(5), T0_MS)
    assert folded(row, report(5), elsewhere, T0_MS).position == elsewhere
    assert fold(row, report(4), elsewhere, T0_MS) is Refusal.OLDER


def test_new_incarnation_retires_the_old() -> None:
    """A restarted source starts its sequence again, and its predecessor's stragglers are refused."""
    row = folded(None, report(900, incarnation="one"), at(1), T0_MS)
    row = folded(row, report(1, incarnation="two", end_ms=T0_MS + 1_000), at(2), T0_MS + 1_000)
    assert row.retired == ("one",)
    assert fold(row, report(901, incarnation="one"), at(3), T0_MS + 1_100) is Refusal.RETIRED
    assert not row.duplicate


def test_last_four_incarnations_are_remembered() -> None:
    """A row lists the last four retired incarnations and forgets older ones."""
    row = folded(None, report(1, incarnation="i0"), at(0), T0_MS)
    for number in range(1, 7):
        row = folded(row, report(1, incarnation=f"i{number}"), at(number), T0_MS)
    assert row.retired == ("i2", "i3", "i4", "i5")


def test_two_producers_under_one_name_are_noticed() -> None:
    """A retired incarnation that speaks of a later instant is alive: the row keeps its event and says so."""
    row = folded(None, report(1, incarnation="one"), at(0), T0_MS)
    row = folded(row, report(1, incarnation="two", end_ms=T0_MS + 500), at(1), T0_MS + 500)
    row = folded(row, report(2, incarnation="one", end_ms=T0_MS + 1_000), at(2), T0_MS + 1_000)
    assert row.duplicate
    assert row.event.incarnation == "two"
    assert row.position == at(2)
    row = folded(row, report(2, incarnation="two", end_ms=T0_MS + 1_500), at(3), T0_MS + 1_500)
    assert row.duplicate


def test_the_alarm_ends_when_the_second_producer_does() -> None:
    """Fifteen minutes after its last sign the row no longer says that two producers share a name."""
    row = folded(None, report(1, incarnation="one"), at(0), T0_MS)
    row = folded(row, report(1, incarnation="two", end_ms=T0_MS + 500), at(1), T0_MS + 500)
    row = folded(row, report(2, incarnation="one", end_ms=T0_MS + 1_000), at(2), T0_MS + 1_000)
    later_ms = T0_MS + 1_000 + 900_000
    assert not row.is_duplicated(later_ms)
    assert not folded(row, report(2, incarnation="two", end_ms=later_ms), at(3), later_ms).duplicate


def test_a_producer_that_outlives_its_successor_is_taken_again() -> None:
    """After a deployment that was rolled back the old process must not be refused for ever."""
    row = folded(None, report(1, incarnation="old"), at(0), T0_MS)
    row = folded(row, report(1, incarnation="new", end_ms=T0_MS + 500), at(1), T0_MS + 500)
    soon_ms, later_ms = T0_MS + 15_500, T0_MS + 15_501
    row = folded(row, report(2, incarnation="old", end_ms=soon_ms), at(2), soon_ms)
    assert (row.event.incarnation, row.duplicate) == ("new", True)
    row = folded(row, report(3, incarnation="old", end_ms=later_ms), at(3), later_ms)
    assert (row.event.incarnation, row.retired) == ("old", ("new",))


def test_a_late_next_report_keeps_the_name_no_longer_than_a_soon_one() -> None:
    """One forged report that promises the next in 15 minutes is over when the true source's would be."""
    row = folded(None, report(1, incarnation="true"), at(0), T0_MS)
    row = folded(row, report(1, incarnation="forged", interval_ms=900_000), at(1), T0_MS)
    assert row.settled_ms == T0_MS + 2_000
    later_ms = T0_MS + 15_001
    row = folded(row, report(2, incarnation="true", end_ms=later_ms), at(2), later_ms)
    assert (row.event.incarnation, row.settled_ms) == ("true", later_ms + 2_000)
    row = folded(row, report(3, incarnation="true", end_ms=later_ms + 1_000), at(3), later_ms + 1_000)
    assert row.settled_ms == later_ms + 2_000


@pytest.mark.parametrize(
    ("end_after_append_ms", "expected_after_append_ms"), [(-10_000, -8_000), (-1_000, 0), (0, 0), (59_000, 0)]
)
def test_evidence_is_never_younger_than_the_append(
    end_after_append_ms: int, expected_after_append_ms: int
) -> None:
    """min(append, end of window + 2 s): a producer's clock can only make its evidence older."""
    row = folded(None, report(1, end_ms=T0_MS + end_after_append_ms), at(0), T0_MS)
    assert row.evidence_ms == T0_MS + expected_after_append_ms
    assert row.gap_ms == -end_after_append_ms


def test_a_rebuilt_row_never_replaces_a_newer_one() -> None:
    """Of one log the later place wins; across logs the producer's order does."""
    old, new = (folded(None, report(number), at(number), T0_MS) for number in (1, 2))
    assert supersedes(new, old)
    assert not supersedes(old, new)
    assert not supersedes(old, old)
    assert supersedes(old, None)
    elsewhere = folded(None, report(3), at(0, partition=2), T0_MS)
    assert supersedes(elsewhere, new)
    assert not supersedes(new, elsewhere)
