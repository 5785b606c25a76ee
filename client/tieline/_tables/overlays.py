"""Which emergency overlay a client honours: the newest that one of its keys signed, until it expires.

Deleting an overlay does not take it back; only a newer signed one does. So nobody who may merely write to
Redis, the endpoint or a file can end an overlay early, and an emptied Redis does not end it.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

from tieline import overlay as overlays
from tieline._tables.checks import FILE_POLL_S
from tieline.overlay import OVERLAY_MAX_BYTES, Overlay, OverlayError, OverlayExpiredError
from tieline.signatures import PublicKeys


class Overlays:
    """The overlay in force, and why others are refused. With empty ``keys`` every overlay is refused."""

    def __init__(self, keys: PublicKeys, namespace: str) -> None:
        self.data = b""  # the overlay in force as it came, for the last good file
        self._keys = keys
        self._namespace = namespace
        self._errors: dict[str, str] = {}  # place -> why the overlay there is refused
        self._in_force: Overlay | None = None
        self._until_ms = 0  # monotonic, so that setting the system's clock back does not prolong the overlay

    @property
    def error(self) -> str:
        """Why an overlay that was read somewhere is refused; empty when none is."""
        return "; ".join(error for error in self._errors.values() if error)

    def consider(self, place: str, data: bytes, now_epoch_ms: int, now_ms: int) -> bool:
        """Check what was read at a place, ``b""`` if there is nothing; returns whether it is in force now and
        was not before. ``now_epoch_ms``: Unix time; ``now_ms``: monotonic."""
        self._errors[place] = ""
        if not data or data == self.data:
            return False
        try:
            if not self._keys:
                raise OverlayError("this client has no overlay_keys to check it with")
            overlay = overlays.verify(data, self._keys, namespace=self._namespace, now_ms=now_epoch_ms)
        except OverlayExpiredError:
            return False
        except OverlayError as error:
            self._errors[place] = f"an emergency overlay was refused: {error}"
            return False
        if self._in_force is not None and overlay.issued_ms <= self._in_force.issued_ms:
            return False
        self._in_force, self.data = overlay, data
        self._until_ms = now_ms + overlay.expires_ms - now_epoch_ms
        return True

    def expire(self, now_ms: int) -> bool:
        """Let go of the overlay in force when its time is over; returns whether that was now."""
        if self._in_force is None or now_ms < self._until_ms:
            return False
        self._in_force, self.data = None, b""
        return True

    @property
    def in_force(self) -> Overlay | None:
        """The overlay that is honoured. It may exclude nothing."""
        return self._in_force

    @property
    def excluded(self) -> tuple[str, ...]:
        """The scopes that no request may go to."""
        return self._in_force.exclude if self._in_force is not None else ()


class OverlayFile:
    """Reads a file every second and passes its content on; ``b""`` when there is no file."""

    def __init__(self, path: Path, on_read: Callable[[bytes], None]) -> None:
        self._path = path
        self._on_read = on_read

    async def run(self) -> None:
        """Read until cancelled."""
        while True:
            self._on_read(await asyncio.to_thread(self._read))
            await asyncio.sleep(FILE_POLL_S)

    def _read(self) -> bytes:
        try:
            with self._path.open("rb") as file:
                return file.read(OVERLAY_MAX_BYTES + 1)
        except OSError:
            return b""  # on most days there is no overlay
