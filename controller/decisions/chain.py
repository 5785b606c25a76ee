"""The decisions topic read in order: every record with its whole snapshot, and what is missing between them.

Each epoch is one chain: it begins with a whole snapshot, and every record after it names the one it follows.
Pure: records in, rebuilt decisions and gaps out.
"""

from dataclasses import dataclass, field

from msgspec import Struct

from controller.decisions.record import Rebuilt, RecordError, decode_decision, rebuilt
from tieline.table import Generation

EPOCHS_KEPT_MAX = 16
GAPS_KEPT_MAX = 1_000


class Gap(Struct, frozen=True):
    """Something that can't be decided again. ``after`` and ``at`` are generations, as text."""

    at: str
    after: str
    missing: int
    why: str


@dataclass
class Chain:
    """Takes the records of one topic in order; ``gaps`` says what it could not rebuild."""

    gaps: list[Gap] = field(default_factory=list)
    _before: dict[int, Rebuilt] = field(default_factory=dict)
    _numbers: dict[int, int] = field(default_factory=dict)

    def take(self, offset: int, body: bytes | None) -> Rebuilt | None:
        """The next record, rebuilt; None if that is impossible, with the gap noted."""
        try:
            record = decode_decision(body or b"")
        except RecordError as error:
            self._note(Gap(f"offset {offset}", "", 1, f"can't be read: {error}"))
            return None
        epoch, seq = record.generation.epoch, record.generation.seq
        last = self._numbers.get(epoch)
        if last is not None and seq <= last:
            return None  # sent twice
        if last is not None and seq > last + 1:
            self._note(_missing(record.generation, last))
        self._numbers[epoch] = seq
        found = rebuilt(record, self._before.get(epoch))
        if found is None:
            self._before.pop(epoch, None)
            self._note(Gap(str(record.generation), "", 1, "the record that it builds on is not there"))
            return None
        self._before[epoch] = found
        while len(self._before) > EPOCHS_KEPT_MAX:
            self._before.pop(min(self._before))
        return found

    def _note(self, gap: Gap) -> None:
        if len(self.gaps) < GAPS_KEPT_MAX:
            self.gaps.append(gap)


def _missing(at: Generation, last: int) -> Gap:
    before = Generation(at.lineage, at.epoch, last)
    return Gap(str(at), str(before), at.seq - last - 1, "decisions in between were not recorded")
