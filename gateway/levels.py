"""Levels of token buckets that all workers of a gateway share, in a file that they map into their memory.

A caller's limits hold for all workers together, whichever of them its connections came to. A worker locks the
bytes of one caller while it changes them; the system gives the lock back when a process ends, whatever ended
it, so that no killed worker can stop the others.

A caller has its row by the digest of its name: the row of that number, or the first free one behind it. So
workers agree on it although each reads the file of tokens anew in its own moment, and a caller keeps its
level while others come and go. The row of a caller that has gone stays.
"""

import fcntl
import mmap
import os
import struct
from collections.abc import Callable
from hashlib import blake2b
from itertools import chain
from pathlib import Path
from typing import NamedTuple, TypeVar

ROWS = 32_768  # more than three times what a file may name
_NAME_BYTES = 16
_ROW = struct.Struct("<ddq")
_ROW_BYTES = _NAME_BYTES + _ROW.size
_FREE = bytes(_NAME_BYTES)
_T = TypeVar("_T")


class LevelsFullError(Exception):
    """Every row belongs to a caller already."""


class Level(NamedTuple):
    """What is left of a caller's limits, as it was at ``at_ms``; 0: it has not asked yet. ``units`` is below
    0 after answers that were larger than expected."""

    requests: float
    units: float
    at_ms: int


class Levels:
    """Levels in the file at ``path``, which is made if it is not there. Rows that nobody uses take no room on
    the disk. Every worker must give the same number of ``rows``."""

    def __init__(self, path: Path, rows: int = ROWS) -> None:
        self._rows = rows
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        size = rows * _ROW_BYTES
        if os.fstat(self._file).st_size < size:
            os.ftruncate(self._file, size)
        self._memory = mmap.mmap(self._file, size)

    def row_of(self, name: str) -> int:
        """The row of this caller, for ``change``. Raises ``LevelsFullError``."""
        digest = blake2b(name.encode(), digest_size=_NAME_BYTES).digest()
        first = int.from_bytes(digest) % self._rows
        fcntl.lockf(self._file, fcntl.LOCK_EX)
        try:
            for row in chain(range(first, self._rows), range(first)):
                start = row * _ROW_BYTES
                owner = self._memory[start : start + _NAME_BYTES]
                if owner == _FREE:
                    self._memory[start : start + _NAME_BYTES] = digest
                if owner in (_FREE, digest):
                    return row
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN)
        raise LevelsFullError("too many callers have come and gone: start the gateway again")

    def change(self, row: int, change: Callable[[Level], tuple[Level, _T]]) -> _T:
        """Puts what ``change`` makes of the row in its place, and gives the other value that it returned.
        Nobody else changes the row meanwhile."""
        start = row * _ROW_BYTES + _NAME_BYTES
        fcntl.lockf(self._file, fcntl.LOCK_EX, _ROW.size, start)
        try:
            level, value = change(Level(*_ROW.unpack_from(self._memory, start)))
            _ROW.pack_into(self._memory, start, *level)
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN, _ROW.size, start)
        return value

    def close(self) -> None:
        """Let go of the file."""
        self._memory.close()
        os.close(self._file)
