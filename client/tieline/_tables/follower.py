"""What a client does with what its source reports: the table in force, the overlay over it, the last good
file, and the state that follows from it all."""

import asyncio
import logging
from collections.abc import Callable, Collection
from pathlib import Path

from tieline._process import clock as _clock
from tieline._routing.router import Router
from tieline._routing.slices import ClientTable
from tieline._tables.checks import ANY_TABLE, TableTrust, TableUpdate
from tieline._tables.exclusion import without_excluded
from tieline._tables.last_good import read_last_good, write_last_good
from tieline._tables.overlays import Overlays
from tieline._tables.status import Applied, State, StateTracker, notify
from tieline.table import Generation, TableError

FROM_THE_FILE = "last good file"
FROM_THE_SOURCE = "table"
_log = logging.getLogger("tieline")


class TableFollower:
    """The ``Subscriber`` of a client. Whatever changes here is before the router at once.

    ``on_change`` is called after everything that may change the client's status; ``on_urgent`` when an urgent
    generation has come into force. All calls come from one event loop.
    """

    def __init__(
        self,
        router: Router,
        overlays: Overlays,
        last_good: Path | None,
        *,
        on_change: Callable[[], None],
        on_urgent: Callable[[], None],
        trust: TableTrust = ANY_TABLE,
    ) -> None:
        self.workload, self.origin = router.workload, router.origin
        self.trust = trust
        self.overlays = overlays
        self.on_table: list[Callable[[Applied], None]] = []
        self._router = router
        self._last_good = last_good
        self._on_change, self._on_urgent = on_change, on_urgent
        self._tracker = StateTracker(_clock.monotonic_ms())
        self._table: ClientTable | None = None  # as it came; the router has the same one under the overlay
        self._newest: TableUpdate | None = None  # with the bytes that the file needs
        self._unsaved = False
        self._refusal = ""
        self._strangers: tuple[str, ...] = ()

    # What the client asks.

    @property
    def error(self) -> str:
        """What is wrong with the source; empty when nothing is."""
        return self._tracker.error

    @property
    def pool_error(self) -> str:
        """Which pools of the table get no requests, because they lie outside of ``pool_hosts``; empty when
        none do."""
        return f"outside of pool_hosts: {', '.join(self._strangers)}" if self._strangers else ""

    @property
    def age_ms(self) -> int | None:
        """Time since the source last answered, None if it never did."""
        heard_ms = self._tracker.heard_ms
        return _clock.monotonic_ms() - heard_ms if heard_ms is not None else None

    def state(self, stale_after_ms: int) -> tuple[State, int]:
        """The state now, and for how many milliseconds it has lasted."""
        has_table = self._router.table is not None
        return self._tracker.state(_clock.monotonic_ms(), has_table=has_table, stale_after_ms=stale_after_ms)

    def announcement(self, stale_after_ms: int) -> tuple[State, str, str, str, str]:
        """What listeners of the client's status are told of: the state, the overlay's id, and all errors."""
        state, _ = self.state(stale_after_ms)
        overlay = self.overlays.in_force
        name = overlay.id if overlay is not None else ""
        return state, name, self.error, self.overlays.error, self.pool_error

    @property
    def unsaved(self) -> bool:
        """Whether the last good file is older than the table in force."""
        return self._unsaved and self._last_good is not None

    # What the client does.

    async def start(self, origins: Collection[str]) -> None:
        """Begin with the table in the last good file, if there is one for these origins."""
        self._tracker.started(_clock.monotonic_ms())
        self._router.why_no_table = "its source has not answered yet"
        if self._last_good is None:
            return
        try:
            table = await asyncio.to_thread(
                read_last_good, self._last_good, self.workload, origins, self.trust
            )
        except TableError as error:
            self.failed(str(error))
            return
        if table is not None:
            self._consider_overlay(FROM_THE_FILE, table.overlay)
            notify(self.on_table, self._put_in_force(table))

    def stop(self) -> None:
        """The client is closed."""
        self._tracker.stopped(_clock.monotonic_ms())

    def tick(self) -> None:
        """Call this often: it lets an overlay expire."""
        if self.overlays.expire(_clock.monotonic_ms()):
            _log.warning("the emergency overlay has expired")
            self._overlay_changed()

    async def save(self) -> None:
        """Bring the last good file up to date. A file that can't be written is logged.

        When this is cancelled, it still waits for a write that has begun: a thread can't be stopped, and what
        it writes must neither come after the end of the client nor beside the next write.
        """
        update, self._unsaved = self._newest, False
        if update is None or self._last_good is None:
            return
        write = asyncio.ensure_future(
            asyncio.to_thread(
                write_last_good,
                self._last_good,
                update.table.generation,
                update.raw,
                self.overlays.data,
                update.proof,
            )
        )
        try:
            await _finished(write)
        except OSError as error:
            _log.warning("the last good table could not be written: %s", error)

    def found_overlay(self, place: str, data: bytes) -> None:
        """Consider what was read where an overlay would be; ``b""`` if there is nothing."""
        if self._consider_overlay(place, data):
            self._on_change()

    def after_fork(self) -> None:
        """In a child process: the table stays, and a source of its own will be followed."""
        self._tracker = StateTracker(_clock.monotonic_ms())

    # What a source calls: see ``Subscriber``.

    @property
    def held_generation(self) -> Generation | None:
        """The generation in force."""
        table = self._router.table
        return table.generation if table is not None else None

    def heard(self, silent_ms: int = 0) -> None:
        """See ``Subscriber``."""
        self._tracker.heard(_clock.monotonic_ms() - silent_ms)
        self._on_change()

    def failed(self, error: str) -> None:
        """The source could not be read, or what it has can't be used. A new error is logged once."""
        if error != self._tracker.error:
            _log.warning("the source of the route table: %s", error)
        self._tracker.error = self._router.why_no_table = error
        self._on_change()

    def overlay(self, data: bytes) -> None:
        """What the source has where an emergency overlay would be."""
        self.found_overlay(FROM_THE_SOURCE, data)

    def take(self, update: TableUpdate) -> None:
        """Put a newer table in force, tell listeners, and have an urgent one acknowledged at once."""
        if update.raw:
            self._newest, self._unsaved = update, True
        applied = self._put_in_force(update.table)
        self._tracker.heard(_clock.monotonic_ms())
        if applied.urgent:
            self._on_urgent()
        notify(self.on_table, applied)
        self._on_change()

    def _consider_overlay(self, place: str, data: bytes) -> bool:
        """Returns whether the status has changed. A new refusal is logged once."""
        changed = self.overlays.consider(place, data, _clock.now_ms(), _clock.monotonic_ms())
        if changed and (overlay := self.overlays.in_force) is not None:
            scopes = ", ".join(overlay.exclude) or "nothing"
            _log.warning(
                "emergency overlay %s by %s excludes %s: %s",
                overlay.id,
                overlay.actor,
                scopes,
                overlay.reason,
            )
            self._overlay_changed()
        previous, self._refusal = self._refusal, self.overlays.error
        if self._refusal and self._refusal != previous:
            _log.warning("%s", self._refusal)
        return changed or self._refusal != previous

    def _overlay_changed(self) -> None:
        self._unsaved = self._newest is not None
        if self._table is not None:
            self._put_in_force(self._table)

    def _put_in_force(self, table: ClientTable) -> Applied:
        self._table = table
        strangers = self.trust.strangers(table)
        if strangers != self._strangers:
            if strangers:
                _log.error("pools outside of pool_hosts get no requests: %s", ", ".join(strangers))
            else:
                _log.info("all pools of the table are within pool_hosts again")
        self._strangers = strangers
        self._router.apply(without_excluded(table, (*self.overlays.excluded, *strangers)))
        return Applied(
            str(table.generation),
            table.urgent,
            at_ms=_clock.now_ms(),
            at_monotonic_ms=_clock.monotonic_s() * 1_000,
        )


async def _finished(work: asyncio.Future[None]) -> None:
    """Waits for the end of ``work``, however often this task is cancelled; then it raises CancelledError."""
    is_cancelled = False
    while not work.done():
        try:
            await asyncio.wait([work])
        except asyncio.CancelledError:
            is_cancelled = True
    if is_cancelled:
        work.exception()  # nobody waits for it any more; without this the loop would complain
        raise asyncio.CancelledError
    work.result()
