"""Sends what the window holds: at the table's interval, and at once when a pool was left or an urgent
generation applied. One report at a time, none waited for by a request."""

import asyncio
import logging
import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tieline._reports.report import Sink
from tieline._tables.status import State
from tieline.events import FLOWS_PER_EVENT_MAX, POOLS_PER_EVENT_MAX, Demand

if TYPE_CHECKING:
    from tieline._setup.parts import Core

_log = logging.getLogger("tieline")


class Reporter:
    """``sink`` None: nothing is sent, and ``run`` only waits."""

    def __init__(
        self,
        core: "Core",
        sink: Sink | None,
        *,
        client_id: str,
        state: Callable[[], State],
        epoch_ms: Callable[[], int],
    ) -> None:
        self._refused = 0
        self.client_id = client_id
        self._core = core
        self._sink = sink
        self._state = state
        self._epoch_ms = epoch_ms
        self._incarnation = secrets.token_hex(8)
        self._sequence = 0
        self._window_start_ms = epoch_ms()
        self._urgent = asyncio.Event()

    @property
    def dropped(self) -> int:
        """Reports given up: here, and by a sink that counts its own."""
        return self._refused + int(getattr(self._sink, "dropped", 0))

    async def start(self) -> None:
        """Start the sink, if it has to be."""
        self._window_start_ms = self._epoch_ms()
        await self._optional("start")

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                async with asyncio.timeout(self._core.settings().report_interval_ms / 1_000):
                    await self._urgent.wait()
                urgent = True
            except TimeoutError:
                urgent = False
            self._urgent.clear()
            self.post(urgent=urgent)

    def hurry(self) -> None:
        """Report at once, from the event loop's own thread."""
        self._urgent.set()

    def post(self, *, urgent: bool = False) -> None:
        """Hand the window to the sink."""
        if self._sink is None:
            return
        try:
            if self._sink.post(self.take(urgent=urgent)) is False:
                self._refused += 1
        except Exception as error:  # noqa: BLE001  a sink's failure is a dropped report, never the caller's
            self._refused += 1
            _log.warning("a report could not be sent: %s", error)

    def take(self, *, urgent: bool = False) -> Demand:
        """The window as a report; the next window begins."""
        core, now_ms = self._core, self._epoch_ms()
        held = core.router.held
        flows, pools = core.window.take(
            core.router.workload, core.router.take_counts(), core.router.outs(), core.flights, core.clock()
        )
        start_ms, self._window_start_ms = self._window_start_ms, now_ms
        self._sequence += 1
        return Demand(
            client=self.client_id,
            incarnation=self._incarnation,
            sequence=self._sequence,
            window_start_ms=min(start_ms, now_ms),
            window_end_ms=now_ms,
            interval_ms=core.settings().report_interval_ms,
            generation=str(held.generation) if held is not None else "",
            state=self._state().value,
            urgent=urgent,
            flows=flows[:FLOWS_PER_EVENT_MAX],
            pools=pools[:POOLS_PER_EVENT_MAX],
        )

    async def flush(self, timeout_s: float) -> bool:
        """Report now and wait until the sink has sent it, as long as it takes at most ``timeout_s``."""
        self.post()
        drain = getattr(self._sink, "drain", None)
        return bool(await drain(timeout_s)) if drain is not None else True

    async def stop(self, timeout_s: float) -> None:
        """The last report, then the sink."""
        await self.flush(timeout_s)
        await self._optional("stop")

    async def _optional(self, name: str) -> None:
        method: Any = getattr(self._sink, name, None)
        if method is not None:
            await method()
