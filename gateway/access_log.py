"""The access log: one line of JSON for each request, without a secret and without a word of a prompt.

The lines do not go through structlog like the others: that limits how many lines of a kind a process may
write in a minute, and here each request is one. They are written together several times a second.
"""

import os
from datetime import UTC, datetime
from typing import Any

import msgspec

from controller.process import clock
from controller.process.errors import SettingError
from gateway.visit import Visit

STANDARD_OUTPUT = "-"
PATH_MAX_CHARACTERS = 200
HELD_BYTES_MAX = 64 * 1024


class AccessLog:
    """Writes lines to ``place``: a file, which is appended to, or "-" for standard output. "" keeps none.
    Raises ``SettingError`` for a file that can't be written."""

    def __init__(self, place: str) -> None:
        self._lines: list[bytes] = []
        self._held_bytes = 0
        self._file: int | None = None
        if place == STANDARD_OUTPUT:
            self._file = os.dup(1)
        elif place:
            try:
                self._file = os.open(place, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
            except OSError as error:
                raise SettingError(f"access_log {place}: it can't be written: {error.strerror}") from None

    def note(self, visit: Visit) -> None:
        """One request has ended."""
        if self._file is None:
            return
        line = msgspec.json.encode(_entry(visit)) + b"\n"
        self._lines.append(line)
        self._held_bytes += len(line)
        if self._held_bytes > HELD_BYTES_MAX:
            self.flush()

    def flush(self) -> None:
        """Write what is held. What can't be written (a full disk, a reader that is gone) is left out."""
        if self._file is None or not self._lines:
            return
        lines, self._lines, self._held_bytes = self._lines, [], 0
        try:
            os.write(self._file, b"".join(lines))
        except OSError:
            pass

    def close(self) -> None:
        """Write what is held, and let go of the file."""
        self.flush()
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _entry(visit: Visit) -> dict[str, Any]:
    prompt, answer = visit.usage or (0, 0)
    return {
        "event": "request",
        "timestamp": datetime.fromtimestamp(clock.now_ms() / 1_000, UTC).isoformat(),
        "method": visit.method,
        "path": visit.path[:PATH_MAX_CHARACTERS],
        "status": visit.status,
        "ended": visit.ended,
        "ms": round((clock.stopwatch_s() - visit.began_s) * 1_000, 1),
        "caller": visit.caller,
        "workload": visit.workload,
        "origin": visit.origin,
        "pool": visit.pool,
        "attempts": visit.attempts,
        "reason": visit.reason,
        "prompt_tokens": prompt,
        "answer_tokens": answer,
        "peer": visit.peer,
    }
