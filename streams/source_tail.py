"""Which reports of a source a rebuild must fold, so that its row becomes the one of the live fold.

A row of reports is the last report of its source, and what it remembers of the incarnations before. So the
last few reports matter, and every place where another incarnation follows: a restart of the source, a
straggler of the one before, or two producers that use one name. Decoding is what takes time, so incarnations
are read from the header ``ce_id`` of our own producers, ``incarnation-sequence-key``; of other producers only
the last few reports are folded.
"""

from collections import deque

from streams.contract_check import Record
from tieline.cloudevents import source_of

LAST_MAX = 8
DISPUTED_MAX = 1_000  # while two producers use one name every report may count
TURNS_MAX = 64  # changes of incarnation that are kept, the latest; a row remembers four incarnations


class SourceTails:
    """The reports of every source that matter. Add them in the order of their offsets."""

    def __init__(self) -> None:
        self._tails: dict[tuple[int, bytes | None, str], SourceTail] = {}

    def add(self, record: Record) -> None:
        """One more report."""
        key = (record.partition, record.key, source_of(record.headers, record.value))
        self._tails.setdefault(key, SourceTail()).add(record)

    def records(self) -> list[Record]:
        """Those that matter, by partition and in the order of their offsets."""
        records = [record for tail in self._tails.values() for record in tail.records()]
        return sorted(records, key=lambda record: (record.partition, record.offset))


class SourceTail:
    """The reports of one source about one region that matter. Add them in the order of their offsets."""

    def __init__(self) -> None:
        self._last: deque[Record] = deque(maxlen=LAST_MAX)
        self._turns: deque[tuple[Record, Record]] = deque(maxlen=TURNS_MAX)
        self._disputed: deque[Record] = deque(maxlen=DISPUTED_MAX)
        self._incarnation = b""
        self._earlier: set[bytes] = set()
        self._is_disputed = False

    def add(self, record: Record) -> None:
        """One more report."""
        incarnation = incarnation_of(record)
        if self._last and incarnation != self._incarnation:
            self._turns.append((self._last[-1], record))
            self._is_disputed |= incarnation in self._earlier
            self._earlier.add(self._incarnation)
        if self._is_disputed:
            self._disputed.append(record)
        self._incarnation = incarnation
        self._last.append(record)

    def records(self) -> list[Record]:
        """Those that matter, in the order of their offsets."""
        both = [*self._last, *self._disputed, *(record for turn in self._turns for record in turn)]
        by_offset = {record.offset: record for record in both}
        return [by_offset[offset] for offset in sorted(by_offset)]


def incarnation_of(record: Record) -> bytes:
    """The incarnation that the record's ``ce_id`` names, or b"" if it has another form."""
    suffix = b"-" + (record.key or b"")
    for name, value in record.headers:
        if name.lower() == "ce_id" and value and value.endswith(suffix):
            return value.removesuffix(suffix).rpartition(b"-")[0]
    return b""
