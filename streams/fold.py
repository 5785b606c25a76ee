"""One event into one row: ``fold(row, event, position, append_ms) -> Row | Refused``. Pure.

A row holds the last accepted event of one (source, region). Late, repeated and reordered records change
nothing, so a topic may be read again from any earlier place and the rows end the same.
"""

from enum import StrEnum

from streams.material import is_material
from streams.rows import DUPLICATE_FOR_MS, Position, Row
from tieline.events import Capacity, Demand, Report, Statement, stale_after_ms

__all__ = [
    "Refused",
    "evidence_ms",
    "fold",
    "gap_ms",
    "is_material",
    "supersedes",
]

EVIDENCE_AFTER_WINDOW_MS = 2_000
RETIRED_MAX = 4


class Refused(StrEnum):
    """Why a valid event changes nothing. None of them is a fault of the record."""

    REPEATED = "repeated"  # not after the row's own place in the same log
    OLDER = "older"  # sequence not above the row's
    RETIRED = "retired"  # from an incarnation that this source has left


def window_end_ms(event: Report | Statement | Capacity | Demand) -> int:
    """The instant that the event speaks of: end of its window, or its issue."""
    return event.window_end_ms if isinstance(event, Report | Demand) else event.issued_ms


def evidence_ms(event: Report | Statement | Capacity | Demand, append_ms: int) -> int:
    """min(append, end of window + 2 s): a producer's clock can make evidence older, never younger."""
    return min(append_ms, window_end_ms(event) + EVIDENCE_AFTER_WINDOW_MS)


def gap_ms(event: Report | Statement | Capacity | Demand, append_ms: int) -> int:
    """From the instant that the event speaks of until the broker took it; negative: its clock is ahead."""
    return append_ms - window_end_ms(event)


def fold(
    row: Row | None, event: Report | Statement | Capacity, position: Position, append_ms: int
) -> Row | Refused:
    """The row after an ``event`` that the judge has taken, or why it changes nothing.

    - Of the same topic id and partition only a higher offset may change the row: that makes reading again
      harmless. Across topic ids (the topic was recreated) or partitions (their number was changed) offsets
      can't be compared: there incarnation and sequence alone decide, because they belong to the producer
      and mean the same wherever its records lie.
    - Of the row's own incarnation only a higher sequence is taken; a new incarnation always is, and retires
      the one before. Incarnations are random, so "new" means: not the row's and not among the last few
      retired.
    - A retired incarnation is refused. If it speaks of a later instant than the row does, it is no straggler
      but alive beside its successor: two producers use one source's name, and the row says so. Once the
      successor has been silent for longer than its word counts, the one that lives is taken again.
    """
    if row is None:
        return _row(None, event, position, append_ms, ())
    same_log = (row.position.topic_id, row.position.partition) == (position.topic_id, position.partition)
    if same_log and position.offset <= row.position.offset:
        return Refused.REPEATED
    if event.incarnation == row.event.incarnation:
        if event.sequence <= row.event.sequence:
            return Refused.OLDER
        return _row(row, event, position, append_ms, row.retired)
    if event.incarnation in row.retired:
        if not same_log or window_end_ms(event) <= window_end_ms(row.event):
            return Refused.RETIRED
        if append_ms - row.append_ms <= _counts_for_ms(row.event):
            return _marked_duplicate(row, position, append_ms)
    left = (name for name in row.retired if name != event.incarnation)
    retired = (*left, row.event.incarnation)[-RETIRED_MAX:]
    return _row(row, event, position, append_ms, retired)


def supersedes(new: Row, held: Row | None) -> bool:
    """Whether a rebuilt row may replace a stored one: the later place in one log, else as ``fold`` says."""
    if held is None:
        return True
    same_log = (held.position.topic_id, held.position.partition) == (
        new.position.topic_id,
        new.position.partition,
    )
    if same_log:
        return new.position.offset > held.position.offset
    return not isinstance(fold(held, new.event, new.position, new.append_ms), Refused)


def _counts_for_ms(event: Report | Statement | Capacity) -> int:
    return stale_after_ms(event.interval_ms) if isinstance(event, Report) else DUPLICATE_FOR_MS


def _row(
    old: Row | None,
    event: Report | Statement | Capacity,
    position: Position,
    append_ms: int,
    retired: tuple[str, ...],
) -> Row:
    duplicate = old is not None and old.is_duplicated(append_ms)
    return Row(
        event=event,
        position=position,
        append_ms=append_ms,
        evidence_ms=evidence_ms(event, append_ms),
        gap_ms=gap_ms(event, append_ms),
        retired=retired,
        duplicate=duplicate,
        duplicate_ms=old.duplicate_ms if old is not None and duplicate else 0,
    )


def _marked_duplicate(row: Row, position: Position, append_ms: int) -> Row:
    """The same evidence, known now to come from one of two producers."""
    return Row(
        event=row.event,
        position=position,
        append_ms=row.append_ms,
        evidence_ms=row.evidence_ms,
        gap_ms=row.gap_ms,
        retired=row.retired,
        duplicate=True,
        duplicate_ms=append_ms,
    )
