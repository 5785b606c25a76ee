"""Hands what the window counted to a sink: at the table's interval, and at once when that is urgent."""

import asyncio
import logging
import secrets
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Protocol

from tieline._http.flights import Flights
from tieline._reports.window import DemandWindow
from tieline._routing.router import Router
from tieline._tables.status import State
from tieline.events import FLOWS_PER_EVENT_MAX, POOLS_PER_EVENT_MAX, Demand
from tieline.table import ClientSettings


def _installed() -> str:
    """The version of this library; empty where it runs without being installed."""
    try:
        return version("tieline")
    except PackageNotFoundError:
        return ""


URGENT_EVERY_MS = 1_000
VERSION = _installed()
_log = logging.getLogger("tieline")


class Sink(Protocol):
    """Takes reports. ``post`` never waits; False means that the report was dropped.

    A sink may also have ``start()``, ``stop()`` and ``drain(timeout_s) -> bool`` as coroutines, and a count
    ``dropped``; they are used if they are there.
    """

    def post(self, event: Demand) -> object:
        """Take one report, to be sent soon."""
        ...


class ReportedParts(Protocol):
    """The parts of a client that a report is made from."""

    @property
    def router(self) -> Router:
        """Says which generation is in force, which pools are out, and how many requests there were."""
        ...

    @property
    def flights(self) -> Flights:
        """The attempts on their way."""
        ...

    @property
    def window(self) -> DemandWindow:
        """What was counted since the last report."""
        ...

    @property
    def clock(self) -> Callable[[], int]:
        """Monotonic milliseconds, as router, flights and window use them."""
        ...

    def settings(self) -> ClientSettings:
        """The settings in force, among them the interval of reports."""
        ...


class Reporter:
    """Reports one client. With ``sink`` None nothing is sent.

    ``client_id``: the name in the reports, one for each process. ``state``: the client's state at the moment
    of a report. ``epoch_ms``: Unix time in milliseconds.
    """

    def __init__(
        self,
        parts: ReportedParts,
        sink: Sink | None,
        *,
        client_id: str,
        state: Callable[[], State],
        epoch_ms: Callable[[], int],
    ) -> None:
        self.client_id = client_id
        self._parts = parts
        self._sink = sink
        self._state = state
        self._epoch_ms = epoch_ms
        self._refused = 0
        self._closes = False
        self._incarnation = secrets.token_hex(8)
        self._sequence = 0
        self._window_start_ms = epoch_ms()
        self._urgent = asyncio.Event()

    @property
    def dropped(self) -> int:
        """How many reports were given up: here, and by a sink that counts its own."""
        return self._refused + int(getattr(self._sink, "dropped", 0))

    async def start(self) -> None:
        """Start the sink, if it can be started."""
        self._window_start_ms = self._epoch_ms()
        await self._call_if_there("start")

    async def run(self) -> None:
        """Report again and again until cancelled."""
        while True:
            try:
                async with asyncio.timeout(self._parts.settings().report_interval_ms / 1_000):
                    await self._urgent.wait()
                urgent = True
            except TimeoutError:
                urgent = False
            self._urgent.clear()
            self.post(urgent=urgent)

    def hurry(self) -> None:
        """Have ``run`` report at once. Call it in the event loop's own thread."""
        self._urgent.set()

    def post(self, *, urgent: bool = False) -> None:
        """Hand the window to the sink. A sink that fails costs this report and nothing else."""
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
        parts, now_ms = self._parts, self._epoch_ms()
        router, table = parts.router, parts.router.table
        flows, pools = parts.window.take(
            router.workload, router.take_counts(), router.outs(), parts.flights, parts.clock()
        )
        start_ms, self._window_start_ms = self._window_start_ms, now_ms
        self._sequence += 1
        return Demand(
            client=self.client_id,
            incarnation=self._incarnation,
            sequence=self._sequence,
            window_start_ms=min(start_ms, now_ms),
            window_end_ms=now_ms,
            interval_ms=parts.settings().report_interval_ms,
            generation=str(table.generation) if table is not None else "",
            state=(State.OFF if self._closes else self._state()).value,
            urgent=urgent,
            flows=flows[:FLOWS_PER_EVENT_MAX],
            pools=pools[:POOLS_PER_EVENT_MAX],
            version=VERSION,
        )

    async def flush(self, timeout_s: float) -> bool:
        """Report now; False when the sink could not send everything within ``timeout_s``."""
        self.post()
        drain = getattr(self._sink, "drain", None)
        return bool(await drain(timeout_s)) if drain is not None else True

    async def stop(self, timeout_s: float) -> None:
        """Send the last report, for at most ``timeout_s``, then stop the sink.

        Its state is ``off``: so the controller knows that this client's load has ended, and is not unheard.
        """
        self._closes = True
        await self.flush(timeout_s)
        await self._call_if_there("stop")

    async def _call_if_there(self, name: str) -> None:
        method: Any = getattr(self._sink, name, None)
        if method is not None:
            await method()


class UrgentGate:
    """Lets at most one urgent report a second pass for each pool. Times are monotonic milliseconds."""

    def __init__(self, every_ms: int = URGENT_EVERY_MS) -> None:
        self._every_ms = every_ms
        self._last_ms: dict[str, int] = {}

    def passes(self, pool: str, now_ms: int) -> bool:
        """Whether an ejection of ``pool`` is reported at once; if not the next regular report has it."""
        last_ms = self._last_ms.get(pool)
        if last_ms is not None and now_ms - last_ms < self._every_ms:
            return False
        self._last_ms[pool] = now_ms
        return True


def new_client_id(workload: str, origin: str) -> str:
    """A name for the reports of one process that no other process has."""
    return f"{workload[:32]}-{origin[:32]}-{secrets.token_hex(6)}"
