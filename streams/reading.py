"""What one process has read of the tables, kept so that only what is new has to be read and decoded. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from streams.rows import Position
from streams.store import (
    CAPACITY,
    DEMAND,
    HEALTH,
    PROGRESS,
    STATEMENTS,
    AnyRow,
    Contents,
    unpack,
    unpack_progress,
)

NAMES = (HEALTH, STATEMENTS, CAPACITY, DEMAND, PROGRESS)


class Place(NamedTuple):
    """Where a row lies."""

    table: str
    field: str


class Packed(NamedTuple):
    """A row as it is stored, and as it is used."""

    data: bytes
    row: Any


Woken = dict[Place, Packed | None]  # None: another process wrote it


class Reading:
    """The rows of the last reading, and those of which readers were woken since then.

    Rows that this process wrote need no decoding, and those it woke readers for not even reading.
    """

    def __init__(self) -> None:
        self.contents: Contents | None = None  # None: nothing was read yet
        self._rows: dict[str, dict[str, Packed]] = {name: {} for name in NAMES}
        self._listed: dict[str, tuple[Any, ...]] = {}
        self._written: dict[Place, Packed] = {}
        self._woken: Woken = {}

    def begin(self) -> Woken:
        """Before reading: what readers were woken for. Whatever is noted from now on may be newer."""
        woken, self._woken = self._woken, {}
        return woken

    def fail(self, woken: Woken) -> None:
        """Nothing was read; takes what ``begin`` gave."""
        self._woken = woken | self._woken

    def finish(self, run: str | None, tables: Iterable[Mapping[bytes, bytes]]) -> Contents:
        """Everything, by the order of ``NAMES``."""
        written, self._written = self._written, {}
        for name, table in zip(NAMES, tables, strict=True):
            before = self._rows[name]
            rows: dict[str, Packed] = {}
            for raw in sorted(table):
                field, data = raw.decode(), table[raw]
                known = before.get(field)
                if known is None or known.data != data:
                    known = written.get(Place(name, field))
                if known is None or known.data != data:
                    known = packed(name, data)
                rows[field] = known
            self._rows[name] = rows
            self._list(name)
        return self._contents(run)

    def wrote(self, place: Place, data: bytes, row: AnyRow, *, woke: bool) -> None:
        """This process has written a row."""
        self._written[place] = Packed(data, row)
        if woke or place in self._woken:
            self._woken[place] = self._written[place]

    def woken_by_another(self, place: Place) -> None:
        """Another process says that it has written a row."""
        if place.table in self._rows:
            self._woken[place] = None

    def renew(self, woken: Woken) -> Contents:
        """The last reading with those rows renewed for which readers were woken; they are all read by now."""
        if self.contents is None:
            raise ValueError("nothing was read yet")
        changed = set()
        for place, new in woken.items():
            held = self._rows[place.table].get(place.field)
            if new is not None and not (held and _is_before(new.row.position, held.row.position)):
                self._rows[place.table][place.field] = new
                changed.add(place.table)
        for name in changed:
            self._list(name)
        return self._contents(self.contents.run)

    def _contents(self, run: str | None) -> Contents:
        health, statements, capacity, demand, progress = (self._listed[name] for name in NAMES)
        self.contents = Contents(health, statements, capacity, demand, progress, run)
        return self.contents

    def _list(self, name: str) -> None:
        self._listed[name] = tuple(held.row for _, held in sorted(self._rows[name].items()))


def packed(table: str, data: bytes) -> Packed:
    """A stored row, decoded. Raises ``msgspec.MsgspecError`` as ``unpack`` does."""
    return Packed(data, unpack_progress(data) if table == PROGRESS else unpack(table, data))


def _is_before(new: Position, held: Position) -> bool:
    """Whether the place lies before the other in the same log."""
    same_log = (new.topic_id, new.partition) == (held.topic_id, held.partition)
    return same_log and new.offset < held.offset
