"""Which publication counts, read off the routes log: a pure fold. The counting rule is stated in ``routes``.

The newest counting record that carries a table is the one in force. A fence carries none: it only raises the
epoch, so that whatever a deposed leader appends behind it does not count.

An epoch is the offset of a valid claim on the leader log, and only the process that made the claim writes
under it. A record that says otherwise is ignored whole, and so is one that must be signed and is not: a
mistaken or forged fence with a huge epoch must not end all leading, and a table that somebody else wrote must
not come into force.

Compaction keeps an epoch's last record, even if that one came too late to count. When nothing else of its
epoch is left, it stands in for the removed ones: an epoch's second record is only sent after its first one
counted, so it contains their decisions.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

NO_EPOCH = -1  # as long as no claim, fence or publication was read
FENCE_SUFFIX = "/fence"
IsEpoch = Callable[[int, str], bool]  # whether this epoch is that of a valid claim by this identity


class KeyedRecord(NamedTuple):
    """What counts of one record. ``writer``: the identity of the controller that wrote it. ``flaw``: why it
    must not be believed, for instance because it is not signed; empty if it may be.

    ``seq`` matters only for records that carry a table. ``body`` None is a tombstone, which changes nothing.
    """

    key: bytes | None
    seq: int
    body: bytes | None
    writer: str
    flaw: str = ""


@dataclass(frozen=True, slots=True)
class Publication:
    """One record with a table, its body still undecoded."""

    epoch: int
    seq: int
    offset: int
    append_ms: int
    body: bytes

    def above(self, other: "Publication | None") -> bool:
        """Whether its generation is higher."""
        return other is None or (self.epoch, self.seq) > (other.epoch, other.seq)


@dataclass(frozen=True, slots=True)
class RoutesLog:
    """Which publication is in force, by the records before ``next_offset``.

    ``refusal``: why the last record was ignored; empty if it was not.
    """

    next_offset: int = 0
    epoch: int = NO_EPOCH  # the highest so far
    counting: Publication | None = None
    stray: Publication | None = None  # the highest that came too late, the first of an epoch excepted
    refusal: str = ""

    @property
    def newest(self) -> Publication | None:
        """The publication in force, or None."""
        if self.stray is None or (self.counting is not None and self.counting.epoch >= self.stray.epoch):
            return self.counting
        return self.stray

    def apply(
        self,
        offset: int,
        append_ms: int,
        record: KeyedRecord,
        is_epoch: IsEpoch,
    ) -> "RoutesLog":
        """The log after one more record. A record whose key names no epoch is skipped."""
        if offset < self.next_offset:
            return self
        read = replace(self, next_offset=offset + 1, refusal="")
        key, seq, body, writer, flaw = record
        place = epoch_of(key)
        if place is None or body is None:
            return read
        epoch, is_fence = place
        if not is_epoch(epoch, writer):
            return replace(read, refusal=f"{writer[:8] or 'nobody'} leads no epoch {epoch}")
        if flaw:
            return replace(read, refusal=flaw)
        publication = Publication(epoch, seq, offset, append_ms=append_ms, body=body)
        if epoch < self.epoch:
            return replace(read, stray=publication) if seq > 1 and publication.above(self.stray) else read
        read = replace(read, epoch=epoch)
        return (
            read if is_fence or not publication.above(self.counting) else replace(read, counting=publication)
        )


def fence_key(epoch: int) -> bytes:
    """The key of an epoch's fence, so that compaction keeps it beside the epoch's newest table."""
    return f"{epoch}{FENCE_SUFFIX}".encode()


def table_key(epoch: int) -> bytes:
    """The key of an epoch's publications, of which compaction keeps the newest."""
    return str(epoch).encode()


def epoch_of(key: bytes | None) -> tuple[int, bool] | None:
    """``(epoch, whether it is a fence)``, or None when the key is none of this log."""
    text = (key or b"").decode("ascii", "replace")
    digits = text.removesuffix(FENCE_SUFFIX)
    if not digits.isascii() or not digits.isdigit() or len(digits) > 16:
        return None
    return int(digits), digits != text
