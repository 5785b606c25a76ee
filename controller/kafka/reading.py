"""How well this process reads the evidence topics: figures for ``/metrics``, and the faults in words.

The rows are those that the process writes about its own partitions. A partition that no process reads is seen
by the leader alone, in the tables (``core.inspect.alarms``).
"""

from collections import defaultdict
from collections.abc import Sequence

from controller.process.monitor import Figure, labelled, single
from streams.rows import Progress

BEHIND_MAX_MS = 15_000  # the shortest time after which evidence is stale


def reading_figures(progress: Sequence[Progress], now_ms: int) -> tuple[Figure, ...]:
    """Figures by topic: the worst partition of each, or the sum where counts add up."""
    behind: defaultdict[str, float] = defaultdict(float)
    behind_s: defaultdict[str, float] = defaultdict(float)
    letters: defaultdict[str, float] = defaultdict(float)
    skipped: defaultdict[str, float] = defaultdict(float)
    age_s = 0.0
    for row in progress:
        since_ms = now_ms - row.behind_since_ms if row.behind_since_ms else 0
        behind[row.topic] += row.end_offset - row.next_offset
        behind_s[row.topic] = max(behind_s[row.topic], since_ms / 1_000)
        letters[row.topic] += row.letters_waiting
        skipped[row.topic] = max(skipped[row.topic], row.stale_share)
        age_s = max(age_s, (now_ms - row.at_ms) / 1_000)
    return (
        single("ingest_partitions", "Partitions that this process reads", len(progress)),
        single("ingest_progress_age_seconds", "Time since it last knew how far it had read", age_s),
        labelled("ingest_behind_records", "Records that are not read yet", "topic", values=behind),
        labelled(
            "ingest_behind_seconds", "Time since a partition was read to its end", "topic", values=behind_s
        ),
        labelled(
            "reports_skipped_ratio", "Share of reports skipped as stale lately", "topic", values=skipped
        ),
        labelled("dead_letters_waiting", "Letters that their topic has not taken", "topic", values=letters),
    )


def reading_faults(progress: Sequence[Progress], now_ms: int) -> tuple[str, ...]:
    """One sentence for each partition that this process does not read as it should; sorted."""
    faults = []
    for row in progress:
        place = f"partition {row.partition} of {row.topic}"
        behind_ms = now_ms - row.behind_since_ms if row.behind_since_ms else 0
        if behind_ms > BEHIND_MAX_MS:
            records = row.end_offset - row.next_offset
            faults.append(f"{place} is {records} records behind, for {behind_ms // 1_000} s")
        if row.letters_waiting:
            faults.append(f"{row.letters_waiting} dead letters of {place} wait: {row.trouble}")
    return tuple(sorted(faults))
