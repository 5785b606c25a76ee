"""The rule by which an event becomes a row, ``fold(row, event, position, append_ms) -> Row | Refusal``. Pure.

A row holds the last accepted event of one (source, region). Late, repeated and reordered records change
nothing, so a topic may be read again from any earlier place and the rows end up the same.
"""

from enum import StrEnum

from msgspec.structs import replace

from streams.rows import DUPLICATE_FOR_MS, IngestEvent, Position, Row, RowEvent
from tieline.events import Demand, Report, stale_after_ms

EVIDENCE_AFTER_WINDOW_MS = 2_000
RETIRED_MAX = 4
HEARD_AGAIN_INTERVALS = 2  # within so many of its intervals a producer that lives is heard again


class Refusal(StrEnum):
    """Why a valid event changes nothing. None of these is a fault of the record."""

    REPEATED = "repeated"  # not after the row's own place in the same log
    OLDER = "older"  # sequence not above the row's
    RETIRED = "retired"  # from an incarnation that this source has left


def window_end_ms(event: IngestEvent) -> int:
    """The instant that the event speaks of: the end of its window, or its issue."""
    return event.window_end_ms if isinstance(event, Report | Demand) else event.issued_ms


def evidence_ms(event: IngestEvent, append_ms: int) -> int:
    """min(append, end of window + 2 s): a producer's clock can make evidence older, never younger."""
    return min(append_ms, window_end_ms(event) + EVIDENCE_AFTER_WINDOW_MS)


def gap_ms(event: IngestEvent, append_ms: int) -> int:
    """Time from the instant that the event speaks of until its append; negative if its clock is ahead."""
    return append_ms - window_end_ms(event)


def fold(row: Row | None, event: RowEvent, position: Position, append_ms: int) -> Row | Refusal:
    """The row after an ``event`` that the judge has accepted, or why the event changes nothing.

    - Of the same topic id and partition only a higher offset may change the row: that makes reading again
      harmless. Across topic ids (the topic was recreated) or partitions (their number was changed) offsets
      can't be compared: there incarnation and sequence alone decide, because they belong to the producer
      and mean the same wherever its records lie.
    - Of the row's own incarnation only a higher sequence is taken; a new incarnation always is, and retires
      the one before. Incarnations are random, so "new" means: not the row's and not among the last few
      retired.
    - A retired incarnation is refused. If it speaks of a later instant than the row does, it is no straggler
      but alive beside its successor: two producers use one source's name, and the row says so. Once the
      successor has been silent for longer than events of either count, the producer that lives is taken
      again: one that promises its next event very late can't keep the name for as long.
    """
    if row is None:
        return _row(None, event, position, append_ms, retired=())
    same_log = row.position.shares_log(position)
    if same_log and position.offset <= row.position.offset:
        return Refusal.REPEATED
    if event.incarnation == row.event.incarnation:
        if event.sequence <= row.event.sequence:
            return Refusal.OLDER
        return _row(row, event, position, append_ms, retired=row.retired)
    if event.incarnation in row.retired:
        if not same_log or window_end_ms(event) <= window_end_ms(row.event):
            return Refusal.RETIRED
        if append_ms - row.append_ms <= min(_counts_for_ms(row.event), _counts_for_ms(event)):
            # The evidence stays, and is known now to come from one of two producers.
            return replace(row, position=position, duplicate=True, duplicate_ms=append_ms)
    others = (name for name in row.retired if name != event.incarnation)
    retired = (*others, row.event.incarnation)[-RETIRED_MAX:]
    return _row(row, event, position, append_ms, retired=retired)


def supersedes(new: Row, old: Row | None) -> bool:
    """Whether a rebuilt row may replace a stored one: the later place in one log, else as ``fold`` says."""
    if old is None:
        return True
    if old.position.shares_log(new.position):
        return new.position.offset > old.position.offset
    return not isinstance(fold(old, new.event, new.position, new.append_ms), Refusal)


def _counts_for_ms(event: RowEvent) -> int:
    return stale_after_ms(event.interval_ms) if isinstance(event, Report) else DUPLICATE_FOR_MS


def _settled_ms(old: Row | None, event: RowEvent, append_ms: int) -> int:
    """From when on only this incarnation speaks for the source, as its predecessor would have been heard."""
    if old is None or old.event.incarnation == event.incarnation:
        return old.settled_ms if old is not None else 0
    # The shorter interval counts, so that one which promises its next report very late gains nothing by it.
    intervals = [row.interval_ms for row in (old.event, event) if isinstance(row, Report)]
    return append_ms + HEARD_AGAIN_INTERVALS * min(intervals, default=0)


def _row(
    old: Row | None, event: RowEvent, position: Position, append_ms: int, *, retired: tuple[str, ...]
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
        settled_ms=_settled_ms(old, event, append_ms),
    )
