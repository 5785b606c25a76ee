"""A log of records in files of one directory: append-only segments, the oldest of which are deleted.

Appending costs a write to the system's cache, and nothing waits for the disk but ``sync`` and ``close``. A
record is four bytes of length, four of CRC-32 and its payload. A process that dies in the middle of a write
leaves a torn end, which reading ends at; what is written afterwards goes to a new segment. One process at a
time may have the directory open, which a lock on the file ``lock`` ensures until the process ends.
"""

from __future__ import annotations

import logging
import os
import zlib
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from tieline._process import fork as _fork
from tieline.errors import ConfigurationError

SEGMENT_BYTES = 1024 * 1024
_HEAD_BYTES = 8
_SUFFIX = ".segment"

_log = logging.getLogger("tieline")


class Segments:
    """The segments in ``directory``, which is made if it is not there.

    Raises ConfigurationError if the directory can't be used, or if another process uses it. The methods raise
    OSError when the disk is full or broken.
    """

    def __init__(self, directory: Path, *, segment_bytes: int = SEGMENT_BYTES) -> None:
        self._directory = directory
        self._segment_bytes = segment_bytes
        self._file: BinaryIO | None = None
        self._full: deque[BinaryIO] = deque()  # not closed yet
        self._dropped: deque[Path] = deque()  # not deleted yet
        self._is_synced = True
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._lock = (directory / "lock").open("ab")
        except OSError as error:
            raise ConfigurationError(f"spool={directory}: it can't be used: {error.strerror}") from None
        if not _locked(self._lock):
            self._lock.close()
            raise ConfigurationError(
                f"spool={directory}: another process uses it: give each producer a directory of its own"
            )
        _fork.watch(self)
        self._sizes = {int(path.stem): path.stat().st_size for path in sorted(directory.glob(f"*{_SUFFIX}"))}

    def after_fork(self) -> None:
        """Called in a child process made by ``os.fork``, which must not keep the directory locked."""
        _fork.let_go(self._lock)

    @property
    def numbers(self) -> list[int]:
        """The segments' numbers, the oldest first."""
        return list(self._sizes)

    @property
    def total_bytes(self) -> int:
        """Size of all segments."""
        return sum(self._sizes.values())

    @property
    def is_synced(self) -> bool:
        """Whether everything that was appended is safe from a loss of power."""
        return self._is_synced

    def read(self) -> Iterator[tuple[int, bytes]]:
        """(segment, payload) of every record that is whole, in the order in which they were appended."""
        for number in self.numbers:
            path = self._path(number)
            data = path.read_bytes()
            whole_bytes = 0
            for payload in _records(data):
                whole_bytes += _HEAD_BYTES + len(payload)
                yield number, payload
            if whole_bytes < len(data):
                lost_bytes = len(data) - whole_bytes
                _log.warning("%s: the last %d bytes are damaged and left out", path, lost_bytes)

    def append(self, payload: bytes) -> int:
        """Write one record so that it outlives this process; returns the number of its segment."""
        number = self._writable()
        assert self._file is not None
        record = len(payload).to_bytes(4, "big") + zlib.crc32(payload).to_bytes(4, "big") + payload
        try:
            self._file.write(record)
        except OSError:
            self._retire()  # half of the record may be there: the next one goes to another segment
            raise
        self._sizes[number] += len(record)
        self._is_synced = False
        return number

    def drop_oldest(self) -> None:
        """Give up the oldest segment, which must not be the one that is written to. ``sync`` deletes it."""
        number = next(iter(self._sizes))
        del self._sizes[number]
        self._dropped.append(self._path(number))
        self._is_synced = False

    def sync(self) -> None:
        """Make everything that was appended safe from a loss of power, and delete what was dropped.

        Waits for the disk, and may be called in another thread than the other methods.
        """
        self._is_synced = True  # what is appended from now on needs another call
        try:
            file = self._file
            if file is not None:
                _sync_copy(os.dup(file.fileno()))  # a copy, because the file may be closed meanwhile
            while self._full:
                with self._full[0] as full:
                    os.fsync(full.fileno())
                self._full.popleft()
            _sync_copy(os.open(self._directory, os.O_RDONLY))
            while self._dropped:
                self._dropped[0].unlink(missing_ok=True)
                self._dropped.popleft()
        except OSError:
            self._is_synced = False
            raise

    def close(self) -> None:
        """Close the files and let other processes have the directory. Waits for the disk."""
        try:
            self.sync()
        finally:
            self._retire()
            for file in self._full:
                file.close()
            self._lock.close()

    def _writable(self) -> int:
        """The number of the segment to write to; a full one is closed and a new one begun."""
        last = self.numbers[-1] if self._sizes else 0
        if self._file is not None and self._sizes[last] >= self._segment_bytes:
            self._retire()
        if self._file is None:
            last += 1
            self._file = self._path(last).open("xb", buffering=0)
            self._sizes[last] = 0
        return last

    def _retire(self) -> None:
        """Write no more to the present segment; ``sync`` closes it."""
        file, self._file = self._file, None
        if file is not None:
            self._full.append(file)

    def _path(self, number: int) -> Path:
        return self._directory / f"{number:012}{_SUFFIX}"


def _sync_copy(descriptor: int) -> None:
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _records(data: bytes) -> Iterator[bytes]:
    """The payloads of the whole records at the beginning of ``data``."""
    place = 0
    while place + _HEAD_BYTES <= len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        check = int.from_bytes(data[place + 4 : place + _HEAD_BYTES], "big")
        end = place + _HEAD_BYTES + length
        payload = data[place + _HEAD_BYTES : end]
        if end > len(data) or zlib.crc32(payload) != check:
            return
        yield payload
        place = end


def _locked(file: BinaryIO) -> bool:
    """Whether this process has the lock now. The system frees it when the process ends."""
    try:
        import fcntl
    except ImportError:
        raise ConfigurationError("spool: this system has no file locks (fcntl): leave it out") from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
