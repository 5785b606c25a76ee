"""Which publication counts, read off the routes log: a pure fold, the same for leader, standby and rebuild.

Counting rule: a record counts only if no higher epoch lies before it in the log. The newest counting record
that carries a table is the one in force; compaction may have removed older ones. A fence carries no table: it
only raises the epoch, so that whatever a deposed leader appends behind it does not count.
"""

from dataclasses import dataclass, replace

NO_EPOCH = -1
FENCE_SUFFIX = "/fence"


@dataclass(frozen=True, slots=True)
class Publication:
    """One counting record with a table, its body still undecoded."""

    epoch: int
    seq: int
    offset: int
    append_ms: int
    body: bytes


@dataclass(frozen=True, slots=True)
class RoutesLog:
    """What the records before ``next_offset`` say."""

    next_offset: int = 0
    epoch: int = NO_EPOCH  # the highest seen
    newest: Publication | None = None

    def apply(
        self, offset: int, append_ms: int, key: bytes | None, seq: int, body: bytes | None
    ) -> "RoutesLog":
        """The log after one more record; ``body`` None is a tombstone, which says nothing.

        ``seq`` is read only of records that carry a table. A record whose key names no epoch is passed over.
        """
        if offset < self.next_offset:
            return self
        read = replace(self, next_offset=offset + 1)
        named = epoch_of(key)
        if named is None or body is None or named[0] < self.epoch:
            return read
        epoch, is_fence = named
        read = replace(read, epoch=epoch)
        if is_fence or (self.newest is not None and (epoch, seq) <= (self.newest.epoch, self.newest.seq)):
            return read
        return replace(read, newest=Publication(epoch, seq, offset, append_ms, body))


def fence_key(epoch: int) -> bytes:
    """The key of an epoch's fence: compaction keeps it beside the epoch's newest table."""
    return f"{epoch}{FENCE_SUFFIX}".encode()


def table_key(epoch: int) -> bytes:
    """The key of an epoch's publications: compaction keeps the newest."""
    return str(epoch).encode()


def epoch_of(key: bytes | None) -> tuple[int, bool] | None:
    """``(epoch, is a fence)``, or None when the key is not one of this log."""
    text = (key or b"").decode("ascii", "replace")
    digits = text.removesuffix(FENCE_SUFFIX)
    if not digits.isascii() or not digits.isdigit() or len(digits) > 16:
        return None
    return int(digits), digits != text
