"""The records of the decisions topic in order, each with its whole snapshot, and what is missing of them.

Each epoch is one chain: it begins with a whole snapshot, and each later record names the one that it follows.
Pure: records in, rebuilt decisions and gaps out.
"""

from dataclasses import dataclass, field

from msgspec import Struct

from controller.decisions.record import RebuiltDecision, RecordError, decode_decision, rebuild
from tieline.table import Generation

EPOCHS_KEPT_MAX = 16
GAPS_KEPT_MAX = 1_000


class Gap(Struct, frozen=True):
    """``missing`` decisions at ``at`` that can't be decided again, and why.

    ``at`` is a generation, or an offset if the record can't be read; ``after`` the last generation before it.
    """

    at: str
    after: str
    missing: int
    why: str


@dataclass
class Chain:
    """Takes the records of one topic in order; ``gaps`` lists the first thousand that can't be rebuilt."""

    gaps: list[Gap] = field(default_factory=list)
    _last_by_epoch: dict[int, RebuiltDecision] = field(default_factory=dict)
    _last_seq_by_epoch: dict[int, int] = field(default_factory=dict)

    def take(self, offset: int, body: bytes | None) -> RebuiltDecision | None:
        """The next record, rebuilt; None if it was sent twice, or can't be rebuilt, which is a gap."""
        try:
            record = decode_decision(body or b"")
        except RecordError as error:
            self._note(Gap(f"offset {offset}", "", 1, why=f"the record can't be read: {error}"))
            return None
        epoch, seq = record.generation.epoch, record.generation.seq
        last_seq = self._last_seq_by_epoch.get(epoch)
        if last_seq is not None and seq <= last_seq:
            return None
        if last_seq is not None and seq > last_seq + 1:
            self._note(_missing(record.generation, last_seq))
        self._last_seq_by_epoch[epoch] = seq
        decision = rebuild(record, self._last_by_epoch.get(epoch))
        if decision is None:
            self._last_by_epoch.pop(epoch, None)
            self._note(Gap(str(record.generation), "", 1, why="the record that it follows is missing"))
            return None
        self._last_by_epoch[epoch] = decision
        while len(self._last_by_epoch) > EPOCHS_KEPT_MAX:
            self._last_by_epoch.pop(min(self._last_by_epoch))
        return decision

    def _note(self, gap: Gap) -> None:
        if len(self.gaps) < GAPS_KEPT_MAX:
            self.gaps.append(gap)


def _missing(at: Generation, last_seq: int) -> Gap:
    before = Generation(at.lineage, at.epoch, last_seq)
    return Gap(str(at), str(before), at.seq - last_seq - 1, why="decisions in between were not recorded")
