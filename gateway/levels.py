"""Levels of token buckets that all workers of a gateway share, in a file that they map into their memory.

A caller's limits hold for all workers together, whichever of them its connections came to. A worker locks the
bytes of one caller while it changes them; the system gives the lock back when a process ends, whatever ended
it, so that no killed worker can stop the others.
"""

import fcntl
import mmap
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

_ROW = struct.Struct("<ddq")
_T = TypeVar("_T")


class Level(NamedTuple):
    """What is left of a caller's limits, as it was at ``at_ms``; 0: it has not asked yet. ``units`` is below
    0 after answers that were larger than expected."""

    requests: float
    units: float
    at_ms: int


class Levels:
    """Rows of levels in the file at ``path``, which is made if it is not there."""

    def __init__(self, path: Path, rows: int) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        size = max(1, rows) * _ROW.size
        if os.fstat(self._file).st_size < size:
            os.ftruncate(self._file, size)
        self._memory = mmap.mmap(self._file, size)

    def change(self, row: int, change: Callable[[Level], tuple[Level, _T]]) -> _T:
        """Puts what ``change`` makes of the row in its place, and gives the other value that it returned.
        Nobody else changes the row meanwhile."""
        start = row * _ROW.size
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
