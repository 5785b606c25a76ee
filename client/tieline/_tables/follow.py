"""The table as it came, the emergency overlay over it, and the file that keeps both over restarts."""

import asyncio
import logging
from collections.abc import Collection
from pathlib import Path

from tieline._process import clock as _clock
from tieline._routing.compile import Held
from tieline._routing.router import Router
from tieline._tables.checks import Fetched
from tieline._tables.last_good import read_last_good, write_last_good
from tieline._tables.overlaid import overlaid
from tieline._tables.overlays import Overlays

_log = logging.getLogger("tieline")


class Tables:
    """Whatever changes here is put before the router at once."""

    def __init__(self, router: Router, overlays: Overlays, last_good: Path | None) -> None:
        self.overlays = overlays
        self._router = router
        self._last_good = last_good
        self._table: Held | None = None  # as it came; the router's is the same under the overlay
        self._newest: Fetched | None = None  # with the bytes that the file needs
        self._unsaved = False
        self._refusal = ""

    @property
    def unsaved(self) -> bool:
        """Whether the file is behind."""
        return self._unsaved and self._last_good is not None

    def take(self, fetched: Fetched) -> None:
        """A newer table."""
        if fetched.raw:
            self._newest, self._unsaved = fetched, True
        self._put(fetched.held)

    async def read(self, workload: str, origins: Collection[str]) -> Held | None:
        """The last good table, now in force; None if there is none. Raises ``TableError``."""
        path = self._last_good
        held = await asyncio.to_thread(read_last_good, path, workload, origins) if path is not None else None
        if held is None:
            return None
        self.found_overlay("last good file", held.overlay)
        self._put(held)
        return held

    async def save(self) -> None:
        """Bring the file up to date."""
        fetched, self._unsaved = self._newest, False
        if fetched is None or self._last_good is None:
            return
        try:
            await asyncio.to_thread(
                write_last_good, self._last_good, fetched.held.generation, fetched.raw, self.overlays.data
            )
        except OSError as error:
            _log.warning("the last good table could not be written: %s", error)

    def found_overlay(self, place: str, data: bytes) -> bool:
        """What lies at a place and claims to be an overlay; whether that changed anything."""
        changed = self.overlays.consider(place, data, _clock.now_ms(), _clock.monotonic_ms())
        if changed and (found := self.overlays.in_force) is not None:
            scopes = ", ".join(found.exclude) or "nothing"
            _log.warning("overlay %s by %s excludes %s: %s", found.id, found.actor, scopes, found.reason)
            self._overlay_changed()
        refusal, self._refusal = self._refusal, self.overlays.error
        if self._refusal and self._refusal != refusal:
            _log.warning("%s", self._refusal)
        return changed or self._refusal != refusal

    def tick(self) -> None:
        """An overlay comes to its end by itself."""
        if self.overlays.expired(_clock.monotonic_ms()):
            _log.warning("the emergency overlay has come to its end")
            self._overlay_changed()

    def _overlay_changed(self) -> None:
        self._unsaved = self._newest is not None
        if self._table is not None:
            self._put(self._table)

    def _put(self, table: Held) -> None:
        self._table = table
        self._router.apply(overlaid(table, self.overlays.excluded))
