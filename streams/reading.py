"""What one process has read of the tables, so that only what is new has to be read and decoded. Pure.

Readers tell by identity what is new: an unchanged row stays the same object from reading to reading. Rows
that this process wrote itself need no decoding, and those it woke readers for need no reading either.
"""

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
from tieline.errors import UNDECODABLE

NAMES = (HEALTH, STATEMENTS, CAPACITY, DEMAND, PROGRESS)


class RowKey(NamedTuple):
    """Which row: its table, and its field there."""

    table: str
    field: str


class PackedRow(NamedTuple):
    """A row as it is stored, and as it is used."""

    data: bytes
    row: Any


Wakes = dict[RowKey, PackedRow | None]  # None: another process wrote it, so it has to be read


class Reading:
    """The rows of the last reading, and those for which readers were woken since then."""

    def __init__(self) -> None:
        self.contents: Contents | None = None  # None: nothing was read yet
        self._rows: dict[str, dict[str, PackedRow]] = {name: {} for name in NAMES}
        self._lists: dict[str, tuple[Any, ...]] = {}  # the same rows as ``Contents`` has them
        self._own_writes: dict[RowKey, PackedRow] = {}
        self._wakes: Wakes = {}
        self.unreadable: tuple[RowKey, ...] = ()  # rows that were passed over in the last reading

    def begin(self) -> Wakes:
        """Call before reading. Returns for what readers were woken; what is noted from now on may be newer
        than what this reading finds."""
        wakes, self._wakes = self._wakes, {}
        return wakes

    def fail(self, wakes: Wakes) -> None:
        """Nothing could be read: ``wakes``, as ``begin`` returned them, wait for the next reading."""
        self._wakes = wakes | self._wakes

    def finish(self, run: str | None, tables: Iterable[Mapping[bytes, bytes]]) -> Contents:
        """Everything was read: ``tables`` in the order of ``NAMES``, by field.

        A row that another version of Tieline wrote, and this one can't read, is passed over."""
        own_writes, self._own_writes = self._own_writes, {}
        unreadable = []
        for name, table in zip(NAMES, tables, strict=True):
            before = self._rows[name]
            rows: dict[str, PackedRow] = {}
            for raw in sorted(table):
                field, data = raw.decode(), table[raw]
                row = before.get(field)
                if row is None or row.data != data:
                    row = own_writes.get(RowKey(name, field))
                if row is None or row.data != data:
                    row = unpacked_row(name, data)
                if row is None:
                    unreadable.append(RowKey(name, field))
                else:
                    rows[field] = row
            self._rows[name] = rows
            self._list(name)
        self.unreadable = tuple(unreadable)
        return self._contents(run)

    def note_own_write(self, key: RowKey, data: bytes, row: AnyRow, *, wakes: bool) -> None:
        """This process has written a row; ``wakes``: readers were woken for it."""
        self._own_writes[key] = PackedRow(data, row)
        # A quiet write after one that woke is renewed too, or the renewed row would be older than the stored.
        if wakes or key in self._wakes:
            self._wakes[key] = self._own_writes[key]

    def show(self, key: RowKey, packed: PackedRow, expected: Position | None) -> bool:
        """This process is about to write a row that wakes readers; the next ``renew`` has it already.

        Returns False, and changes nothing, if the row that it replaces, that of ``expected``, is not the one
        that readers know. The caller says by ``note_own_write`` or ``reread`` what became of it.
        """
        before = self._own_writes.get(key) or self._rows[key.table].get(key.field)
        if self.contents is None or (before.row.position if before else None) != expected:
            return False
        if key in self._wakes and self._wakes[key] is None:
            return False
        self._wakes[key] = packed
        return True

    def reread(self, key: RowKey) -> None:
        """What is stored is not known: the next ``renew`` reads it."""
        self._own_writes.pop(key, None)
        self._wakes[key] = None

    def note_foreign_write(self, key: RowKey) -> None:
        """Another process says that it has written a row."""
        if key.table in self._rows:  # another version may have more tables
            self._wakes[key] = None

    def renew(self, wakes: Wakes) -> Contents:
        """The last reading with those rows renewed for which readers were woken. ``wakes``: as ``begin``
        returned them, with the rows of other processes filled in. Raises ``ValueError`` before a reading."""
        if self.contents is None:
            raise ValueError("nothing was read yet")
        changed = set()
        for key, new in wakes.items():
            old = self._rows[key.table].get(key.field)
            # A write that was answered late may be older than what a reading has found meanwhile.
            is_older = old is not None and new is not None and _is_before(new.row.position, old.row.position)
            if new is None or is_older or (old is not None and new.row is old.row):
                continue
            self._rows[key.table][key.field] = new
            changed.add(key.table)
        for name in changed:
            self._list(name)
        return self._contents(self.contents.run)

    def _contents(self, run: str | None) -> Contents:
        self.contents = Contents(
            reports=self._lists[HEALTH],
            statements=self._lists[STATEMENTS],
            capacities=self._lists[CAPACITY],
            demand=self._lists[DEMAND],
            progress=self._lists[PROGRESS],
            run=run,
        )
        return self.contents

    def _list(self, name: str) -> None:
        self._lists[name] = tuple(packed.row for _, packed in sorted(self._rows[name].items()))


def unpacked_row(table: str, data: bytes) -> PackedRow | None:
    """A stored row, decoded; None for one that this version can't read."""
    try:
        return PackedRow(data, unpack_progress(data) if table == PROGRESS else unpack(table, data))
    except UNDECODABLE:
        return None


def _is_before(new: Position, old: Position) -> bool:
    return new.shares_log(old) and new.offset < old.offset
