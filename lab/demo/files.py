"""Files that grow: the callers' notes and the stand-ins' logs, read as they are written."""

from __future__ import annotations

from pathlib import Path

BLOCK_MAX_BYTES = 4 * 1024 * 1024


class Growing:
    """Gives whole lines that were added since the last look."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset = 0

    def new(self) -> bytes:
        """New whole lines, at most four mebibytes of them; nothing while the file isn't there."""
        try:
            with self.path.open("rb") as file:
                file.seek(self._offset)
                block = file.read(BLOCK_MAX_BYTES)
        except FileNotFoundError:
            return b""
        whole = block[: block.rfind(b"\n") + 1]
        self._offset += len(whole)
        return whole
