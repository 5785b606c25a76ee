"""The log of a stand-in process: JSON lines that survive its SIGKILL.

Every line is one unbuffered ``write`` to a file opened for appending. So a line is with the operating system
before the caller gets the end of its answer. (A crash of the machine may still lose it.)

Lines, by ``event``: ``started`` {pid, run}; ``capacity`` {pool, tokens_per_s}; ``fault_on`` and ``fault_off``
{fault}; ``arrived`` {serial, id, pool, model, prompt_tokens, completion_tokens, stream, admitted, fault};
``ended`` {serial, id, pool, outcome, status, tokens, fault}; ``stopped``. Each has ``at_ms``, Unix time.
An arrival without an end was in flight when the process died.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from lab.standins.pool import Outcome
from lab.standins.wire import ModelRequest

READ_MAX_BYTES: Final = 1024 * 1024
_encode = msgspec.json.Encoder().encode


class Journal:
    """Appends lines; ``now_ms`` is the wall clock.

    A log that exceeds ``keep_bytes`` is set aside as ``.1``.
    """

    def __init__(
        self, path: Path, run: str, now_ms: Callable[[], int], *, keep_bytes: int | None = None
    ) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = _open(path)
        self._now_ms = now_ms
        self._run = run
        self._arrivals = 0
        self._keep_bytes = keep_bytes
        self.path = path
        self._end_torn_line()

    def _end_torn_line(self) -> None:
        """Completes half a line, which a full disk can leave, so that the next line doesn't continue it."""
        size = os.fstat(self._descriptor).st_size
        if size and os.pread(self._descriptor, 1, size - 1) != b"\n":
            os.write(self._descriptor, b"\n")

    def started(self) -> None:
        """Notes that a process begins. The serials of its requests begin with its ``run``."""
        self.note("started", pid=os.getpid(), run=self._run)

    def note(self, event: str, **fields: Any) -> None:
        """Appends one line. Raises OSError if it can't be written whole."""
        line = _encode({"event": event, "at_ms": self._now_ms(), **fields}) + b"\n"
        if os.write(self._descriptor, line) != len(line):
            raise OSError(f"{self.path}: only part of a line could be written: make room on the disk")
        if self._keep_bytes is not None and os.fstat(self._descriptor).st_size > self._keep_bytes:
            self._set_aside()

    def _set_aside(self) -> None:
        self.path.replace(self.path.with_suffix(".1"))
        os.close(self._descriptor)
        self._descriptor = _open(self.path)

    def arrive(
        self, request_id: str, pool: str, request: ModelRequest, *, admitted: bool, fault: str | None
    ) -> "Entry":
        """Notes an arrival. The entry that is returned notes the end."""
        self._arrivals += 1
        serial = f"{self._run}-{self._arrivals}"
        self.note(
            "arrived",
            serial=serial,
            id=request_id,
            pool=pool,
            model=request.model,
            prompt_tokens=request.prompt_tokens,
            completion_tokens=request.completion_tokens,
            stream=request.stream,
            admitted=admitted,
            fault=fault,
        )
        return Entry(self, serial, request_id, pool=pool, fault=fault)

    def read(self, offset: int) -> bytes:
        """Whole lines from a byte offset on, at most one mebibyte."""
        block = os.pread(self._descriptor, READ_MAX_BYTES, offset)
        return block[: block.rfind(b"\n") + 1]

    def close(self) -> None:
        """Closes the file."""
        os.close(self._descriptor)


class Entry:
    """One request under way. Only the first call of ``end`` counts."""

    __slots__ = ("_fault", "_id", "_journal", "_pool", "_serial", "outcome")

    def __init__(
        self, journal: Journal, serial: str, request_id: str, *, pool: str, fault: str | None
    ) -> None:
        self._journal = journal
        self._serial = serial
        self._id = request_id
        self._pool = pool
        self._fault = fault
        self.outcome: Outcome | None = None

    def end(self, outcome: Outcome, status: int | None, tokens: int = 0) -> None:
        """Notes how it ended, before the last byte goes out. ``status`` None: no answer was begun."""
        if self.outcome is not None:
            return
        self._journal.note(
            "ended",
            serial=self._serial,
            id=self._id,
            pool=self._pool,
            outcome=outcome,
            status=status,
            tokens=tokens,
            fault=self._fault,
        )
        self.outcome = outcome


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
