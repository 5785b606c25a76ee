"""Which emergency overlay a client honours: the newest that it could check, until its own end.

What is deleted is not taken back: only a newer signed one does that. So nobody who may write to Redis, the
endpoint or a file can end an overlay early, and an empty Redis does not.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

from tieline import overlay as overlays
from tieline.overlay import OVERLAY_MAX_BYTES, Overlay, OverlayError, OverlayExpiredError, PublicKeys

POLL_S = 1.0


class Overlays:
    """``keys`` empty: every overlay is refused, and ``error`` says so."""

    def __init__(self, keys: PublicKeys, namespace: str) -> None:
        self.data = b""  # of the one in force, for the last good file
        self._keys = keys
        self._namespace = namespace
        self._errors: dict[str, str] = {}  # by the place where it was found
        self._held: Overlay | None = None
        self._until_ms = 0  # monotonic: a clock that is set back later does not prolong it

    @property
    def error(self) -> str:
        """Why an overlay that lies somewhere is not honoured; empty when none is refused."""
        return "; ".join(error for error in self._errors.values() if error)

    def consider(self, place: str, data: bytes, now_epoch_ms: int, now_ms: int) -> bool:
        """What lies at a place and claims to be an overlay, b"" if nothing; whether another one is in force
        now."""
        self._errors[place] = ""
        if not data or data == self.data:
            return False
        try:
            if not self._keys:
                raise OverlayError("this client was given no overlay_keys")
            found = overlays.verify(data, self._keys, namespace=self._namespace, now_ms=now_epoch_ms)
        except OverlayExpiredError:
            return False
        except OverlayError as error:
            self._errors[place] = f"an emergency overlay was refused: {error}"
            return False
        if self._held is not None and found.issued_ms <= self._held.issued_ms:
            return False
        self._held, self.data = found, data
        self._until_ms = now_ms + found.expires_ms - now_epoch_ms
        return True

    def expired(self, now_ms: int) -> bool:
        """Whether the one in force has just come to its end."""
        if self._held is None or now_ms < self._until_ms:
            return False
        self._held, self.data = None, b""
        return True

    @property
    def in_force(self) -> Overlay | None:
        """The one that is honoured, which may exclude nothing."""
        return self._held

    @property
    def excluded(self) -> tuple[str, ...]:
        """Scopes to keep away from."""
        return self._held.exclude if self._held is not None else ()


class OverlayFile:
    """Looks at a file every second."""

    def __init__(self, path: Path, found: Callable[[bytes], None]) -> None:
        self._path = path
        self._found = found

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._found(await asyncio.to_thread(self._read))
            await asyncio.sleep(POLL_S)

    def _read(self) -> bytes:
        try:
            with self._path.open("rb") as file:
                return file.read(OVERLAY_MAX_BYTES + 1)
        except OSError:
            return b""  # there is none: as it should be on all other days
