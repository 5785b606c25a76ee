"""Records of the history in the log's order, as entries of which each counts once. Pure.

The conditions of the newest epoch count: a record of an older one that arrives late still tells of decisions.
What a record says of conditions is compared with what stood before it. So a record that was lost, or that was
removed before it could be read, leaves no condition standing that has ended.
"""

from collections import OrderedDict
from collections.abc import Mapping

from controller.history.conditions import ended
from controller.history.entries import Entry, HistoryRecord

WRITERS_MAX = 1_000  # one for each start of a controller


class LastNumbers:
    """The number of the last record of each writer; beyond ``WRITERS_MAX`` the one unheard for longest is
    forgotten."""

    def __init__(self) -> None:
        self._last: OrderedDict[str, int] = OrderedDict()

    def note(self, writer: str, number: int) -> bool:
        """Whether a record with this number is new of its writer; it is the last one from now on."""
        if number <= self._last.get(writer, 0):
            return False
        self._last[writer] = number
        self._last.move_to_end(writer)
        if len(self._last) > WRITERS_MAX:
            self._last.popitem(last=False)
        return True


class Following:
    """Takes records in order. ``standing``: what stands after the last of them, by key."""

    def __init__(self, before: HistoryRecord | None = None) -> None:
        self.standing: Mapping[str, Entry] = {}
        self._epoch = -1
        self._last_numbers = LastNumbers()
        if before is not None:
            self.standing = {entry.key: entry for entry in before.standing}
            self._epoch = before.epoch
            self._last_numbers.note(before.writer, before.number)

    def entries(self, record: HistoryRecord) -> list[Entry]:
        """The entries of one more record; none if it was there before."""
        if not self._last_numbers.note(record.writer, record.number):
            return []
        if record.epoch < self._epoch:
            return [entry for entry in record.entries if not entry.phase]
        self._epoch = record.epoch
        standing = dict(self.standing)
        entries = [entry for entry in record.entries if _is_news(entry, standing)]
        after = {entry.key: entry for entry in record.standing}
        entries += (entry for key, entry in after.items() if key not in standing)
        last_ms = max((entry.at_ms for entry in record.entries), default=0)
        entries += (ended(entry, last_ms) for key, entry in standing.items() if key not in after)
        self.standing = after
        return entries


def _is_news(entry: Entry, standing: dict[str, Entry]) -> bool:
    """Whether the entry changes what stands, or is about no condition. Notes the change in ``standing``."""
    if entry.phase == "begins":
        is_new = entry.key not in standing
        standing[entry.key] = entry
        return is_new
    return entry.phase != "ends" or standing.pop(entry.key, None) is not None
