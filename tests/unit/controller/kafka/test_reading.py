"""What a process says of its own reading."""

from __future__ import annotations

from controller.kafka.reading import reading_faults, reading_figures
from streams.rows import Progress

NOW_MS = 1_000_000
WELL = Progress("t.demand", 0, next_offset=9, end_offset=9, at_ms=NOW_MS - 400)
BEHIND = Progress(
    "t.reports", 1, next_offset=5, end_offset=9, at_ms=NOW_MS - 900, behind_since_ms=NOW_MS - 16_000
)
WAITING = Progress(
    "t.reports", 2, next_offset=9, end_offset=9, at_ms=NOW_MS, letters_waiting=3, trouble="no such topic"
)


def test_figures_add_up_or_tell_the_worst_by_topic() -> None:
    """Counts are sums over partitions, times are those of the worst."""
    figures = {
        figure.name: dict(figure.values) for figure in reading_figures((WELL, BEHIND, WAITING), NOW_MS)
    }
    assert figures == {
        "ingest_partitions": {(): 3.0},
        "ingest_progress_age_seconds": {(): 0.9},
        "ingest_behind_records": {("t.demand",): 0.0, ("t.reports",): 4.0},
        "ingest_behind_seconds": {("t.demand",): 0.0, ("t.reports",): 16.0},
        "reports_skipped_ratio": {("t.demand",): 0.0, ("t.reports",): 0.0},
        "dead_letters_waiting": {("t.demand",): 0.0, ("t.reports",): 3.0},
    }


def test_faults_name_partition_and_cause() -> None:
    """Nothing is said of partitions that are well, or of a moment."""
    assert reading_faults((WELL,), NOW_MS) == ()
    assert reading_faults((BEHIND,), NOW_MS - 2_000) == ()
    assert reading_faults((BEHIND, WAITING), NOW_MS) == (
        "3 dead letters of partition 2 of t.reports wait: no such topic",
        "partition 1 of t.reports is 4 records behind, for 16 s",
    )
