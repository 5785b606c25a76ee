"""``AsyncClient``: the table, the picks, the transport and the reports of one application, in one event
loop.

Nothing happens in the constructor. Starting never raises because the control plane is away: requests then
go by the last good table, and ``status`` says so.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from tieline._health.ejection import Out
from tieline._process import clock as _clock
from tieline._process import fork as _fork
from tieline._reports.report import Sink, UrgentGate
from tieline._reports.reporter import Reporter
from tieline._request.options import Timeouts
from tieline._routing.router import Pick
from tieline._setup import given as _given
from tieline._setup import parts as _parts
from tieline._setup import places as _places
from tieline._tables.checks import Fetched, Source
from tieline._tables.follow import Tables
from tieline._tables.overlays import OverlayFile, Overlays
from tieline._tables.status import Applied, Contact, State, Status, call_all
from tieline.credentials import Credential
from tieline.errors import ClosedError
from tieline.events import ResultClass
from tieline.kafka import Brokers
from tieline.overlay import public_keys
from tieline.table import ClientSettings, Generation, TableError
from tieline.topics import PREFIX

WATCH_S = 0.1
FLUSH_TIMEOUT_S = 2.0
_log = logging.getLogger("tieline")


class AsyncClient:
    """Routes requests of one workload, in one event loop.

    ``source``: where the table comes from: ``redis://``, ``rediss://``, ``unix://``, a controller's
    ``https://`` with its ``token``, the path of a last good file, or anything with ``run(holder)``.
    ``workload``, ``origin``: by the policy's names, what the requests are and where they start; ``origins``:
    others that single requests may name. ``namespace``: the installation's, in front of its topics and Redis
    keys. ``kafka``: ``host:port[,host:port]`` or ``Brokers`` for reports, or anything with ``post(event)``;
    None sends them to the controller that the table comes from, else nowhere. ``client_id``: what the reports
    are under, one for each process; made up unless given. ``last_good``: file that keeps the last table over
    restarts. ``overlay``: file that may come to hold an emergency overlay, looked for besides in the source;
    ``overlay_keys``: public keys it must be signed by, PEM or paths; without any it is refused.
    ``credentials``: secrets by the names that the table uses, as strings or callables; those not given come
    from ``TIELINE_CREDENTIAL_<NAME>``. ``timeouts``: instead of the table's.

    Raises ConfigurationError for settings that can't work, MissingExtraError without the package that one
    needs; never because the control plane or a provider is away. For ``pick`` see ``help(client.pick)``.
    """

    def __init__(
        self,
        source: "_places.Place",
        *,
        workload: str,
        origin: str,
        origins: Collection[str] = (),
        namespace: str = PREFIX,
        token: Credential | None = None,
        kafka: str | Brokers | Sink | None = None,
        overlay: str | Path | None = None,
        overlay_keys: Collection[str | Path] = (),
        last_good: str | Path | None = None,
        credentials: Mapping[str, Credential] | None = None,
        client_id: str | None = None,
        timeouts: Timeouts | None = None,
    ) -> None:
        _given.Given(
            workload, origin, origins, namespace, client_id, token, credentials, overlay_keys, timeouts
        ).check()
        self.workload, self.origin = workload, origin
        self._origins = (origin, *sorted(set(origins) - {origin}))
        wanted = _places.Wanted(namespace, workload, self._origins, token)
        overlays = Overlays(public_keys(overlay_keys) if overlay_keys else {}, namespace)
        self._overlay_file = Path(overlay) if overlay is not None else None
        self._core = _parts.Core(
            workload,
            origin,
            credentials,
            clock=_clock.monotonic_ms,
            phase=random.random(),
            wires=getattr(source, "wires", None),
            timeouts=timeouts,
        )
        self._tables = Tables(self._core.router, overlays, Path(last_good) if last_good is not None else None)
        self._contact = Contact(_clock.monotonic_ms())

        def connect() -> tuple[Source, Reporter]:
            return _places.source(source, wanted), Reporter(
                self._core,
                _places.sink(kafka, source, wanted),
                client_id=client_id or _parts.client_id(workload, origin),
                state=lambda: self.status.state,
                epoch_ms=_clock.now_ms,
            )

        self._connect = connect
        self._source, self._reporter = connect()
        self._urgent = UrgentGate()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._changed = asyncio.Event()
        self._on_status: list[Callable[[Status], None]] = []
        self._on_table: list[Callable[[Applied], None]] = []
        self._told: tuple[object, ...] = ()
        self._core.router.on_ejection.append(self._ejected)
        self.pick: Pick = self._core.router.pick
        _fork.watch(self)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def start(self) -> None:
        """Read the last good table and begin to follow the source. Returns at once."""
        if self._loop is not None:
            return
        self._loop = asyncio.get_running_loop()
        self._contact.started(_clock.monotonic_ms())
        self._core.router.why_no_table = "its source has not answered yet"
        self._core.revive = None
        self._core.open()
        await self._read_last_good()
        await self._reporter.start()
        jobs = {
            "source": lambda: self._source.run(self),
            "watch": self._watch,
            "reports": self._reporter.run,
            "disk": self._save,
        }
        if self._overlay_file is not None:
            jobs["overlay"] = OverlayFile(self._overlay_file, partial(self._found_overlay, "file")).run
        self._tasks = [
            asyncio.create_task(self._keep(name, job), name=f"tieline {name}") for name, job in jobs.items()
        ]

    async def close(self) -> None:
        """Send the last report, for at most two seconds, and let go of everything. May be called twice."""
        if self._loop is None:
            return
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._reporter.stop(FLUSH_TIMEOUT_S)
        if self._tables.unsaved:
            await self._tables.save()
        self._core.close()
        self._contact.stopped(_clock.monotonic_ms())
        self._loop = None
        self._tell()

    async def ready(self, timeout: float = 2.0) -> bool:
        """Wait for ``timeout`` seconds until the table is live. False: it is not, and requests go by the last
        good one, if any. Raises ClosedError before ``start``."""
        try:
            async with asyncio.timeout(timeout):
                await self._until(lambda: self.status.state is State.LIVE)
        except TimeoutError:
            return False
        return True

    async def wait_for(self, generation: str, timeout: float = 10.0) -> bool:
        """Wait until this generation (``lineage:epoch:seq``) or a later one of its lineage is in force.

        ``timeout`` in seconds; False: it is not by then. Raises ConfigurationError for what is no generation.
        """
        wanted = _given.generation(generation)

        def in_force() -> bool:
            held = self.held_generation
            return held is not None and (held == wanted or held.newer_than(wanted))

        try:
            async with asyncio.timeout(timeout):
                await self._until(in_force)
        except TimeoutError:
            return False
        return True

    @property
    def status(self) -> Status:
        """State, since when, generation held, age, and what is wrong; see ``Status``."""
        now_ms, held = _clock.monotonic_ms(), self._core.router.held
        overlay = self._tables.overlays.in_force
        state, since_ms = self._contact.state(
            now_ms, holds_table=held is not None, stale_after_ms=self._core.settings().stale_after_ms
        )
        heard_ms = self._contact.heard_ms
        return Status(
            state,
            since_ms,
            str(held.generation) if held is not None else "",
            now_ms - heard_ms if heard_ms is not None else None,
            self._contact.error,
            self._reporter.dropped,
            overlay.id if overlay is not None else "",
            self._tables.overlays.error,
        )

    def on_status(self, listener: Callable[[Status], None]) -> None:
        """Call ``listener`` whenever the state or what is wrong changes, in the event loop: it must not
        block. What it raises is logged."""
        self._on_status.append(listener)

    def on_table(self, listener: Callable[[Applied], None]) -> None:
        """Call ``listener`` right after a generation has come into force here; as ``on_status``."""
        self._on_table.append(listener)

    def explain(self) -> dict[str, Any]:
        """Status, weights by origin and pool, and which pools are out here, why, and for how long still, as
        values that JSON can hold. Weights in parts per million, times in ms; the rows are ``_explain``'s."""
        status = self.status
        return {
            "state": status.state.value,
            "generation": status.generation,
            "age_ms": status.age_ms,
            "error": status.error,
            "overlay": msgspec.to_builtins(self._tables.overlays.in_force),
            "overlay_error": status.overlay_error,
            "pools": self._core.router.explain(),
            "in_flight": {pool: self._core.flights.count(pool) for pool in self._core.flights.pools()},
            "retry_tokens": round(self._core.budget.left(_clock.monotonic_ms()), 1),
        }

    async def flush(self, timeout: float = FLUSH_TIMEOUT_S) -> bool:
        """Send what is to be reported now; False when it could not all be sent within ``timeout`` seconds."""
        return await self._reporter.flush(timeout)

    @property
    def base_url(self) -> str:
        """What the SDK is given as its base URL. It is no address: the transport replaces it."""
        return _parts.BASE_URL

    def http_client(self, *, library: str | None = None, **settings: Any) -> Any:
        """An HTTP client for the SDK; ``settings`` go to it. Closing it leaves this client open.

        Of the library that the installed openai SDK uses (httpx2, or httpx before 3.0), unless ``library``
        names one. Raises MissingExtraError when it is not installed, ConfigurationError for a setting that is
        the transport's own (``transport``, ``proxy``, ``verify`` and the like).
        """
        return _parts.async_http_client(self._core, library, settings)

    # What a source needs (``Holder``).

    @property
    def held_generation(self) -> Generation | None:
        """The generation in force."""
        held = self._core.router.held
        return held.generation if held is not None else None

    def heard(self) -> None:
        """The source was read and the table held is the newest."""
        self._contact.heard(_clock.monotonic_ms())
        self._tell()

    def failed(self, error: str) -> None:
        """The source could not be read, or what it gave can't be used."""
        if error != self._contact.error:
            _log.warning("route table source: %s", error)
        self._contact.error = self._core.router.why_no_table = error
        self._tell()

    def take(self, fetched: Fetched) -> None:
        """Swap the table; tell listeners; save it; acknowledge at once what is urgent."""
        self._tables.take(fetched)
        applied = Applied(
            str(fetched.held.generation), fetched.held.urgent, _clock.now_ms(), _clock.monotonic_s() * 1_000
        )
        self._contact.heard(_clock.monotonic_ms())
        if fetched.held.urgent:
            self._reporter.hurry()
        call_all(self._on_table, applied)
        self._tell()

    def overlay(self, data: bytes) -> None:
        """What lies beside the table and claims to be an emergency overlay, b"" if nothing does."""
        self._found_overlay("table", data)

    def after_fork(self) -> None:
        """In a child process made by ``os.fork``: the table stays, everything else begins anew, with the
        first request or with ``start``. The child reports as a client of its own."""
        _fork.keep(self._source, self._reporter, self._tasks, self._loop, self._changed)
        if self._loop is not None:
            self._core.revive = self.start
        self._loop, self._tasks, self._changed = None, [], asyncio.Event()
        self._core.after_fork()
        self._source, self._reporter = self._connect()
        self._contact = Contact(_clock.monotonic_ms())

    # Inside.

    def _found_overlay(self, place: str, data: bytes) -> None:
        if self._tables.found_overlay(place, data):
            self._tell()

    @property
    def core(self) -> "_parts.Core":
        """The parts that the synchronous twin and tests share."""
        return self._core

    @property
    def settings(self) -> ClientSettings:
        """What the table tells its clients."""
        return self._core.settings()

    def _ejected(self, pool: str, out: Out) -> None:
        """A pool was left: requests waiting there for their first byte go elsewhere, and the planner hears
        of it."""
        loop = self._loop
        if loop is None:
            return
        loop.call_soon_threadsafe(self._core.flights.stalled, pool, out.result)
        if out.result is not ResultClass.THROTTLED:
            _log.warning("left %s: %s", pool, out.result)
        if self._urgent.passes(pool, _clock.monotonic_ms()):
            loop.call_soon_threadsafe(self._reporter.hurry)

    async def _read_last_good(self) -> None:
        try:
            held = await self._tables.read(self.workload, self._origins)
        except TableError as error:
            self.failed(str(error))
            return
        if held is not None:
            at_ms, at_monotonic_ms = _clock.now_ms(), _clock.monotonic_s() * 1_000
            call_all(self._on_table, Applied(str(held.generation), False, at_ms, at_monotonic_ms))

    async def _watch(self) -> None:
        while True:
            self._core.router.tick(_clock.monotonic_ms())
            self._tables.tick()
            self._core.tidy()
            self._tell()
            await asyncio.sleep(WATCH_S)

    async def _save(self) -> None:
        while True:
            await self._until(lambda: self._tables.unsaved)
            await self._tables.save()

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            if self._loop is None:
                raise ClosedError("the client is not running: use `async with`, or start()")
            await self._changed.wait()

    def _tell(self) -> None:
        """Wake whoever waits; tell listeners of another state."""
        self._changed.set()
        self._changed = asyncio.Event()
        status = self.status
        told = (status.state, status.error, status.overlay, status.overlay_error)
        if told != self._told:
            self._told = told
            call_all(self._on_status, status)

    async def _keep(self, name: str, job: Callable[[], Any]) -> None:
        """A part that fails is said so and begun again: none of them may end unnoticed."""
        while True:
            try:
                await job()
            except Exception:  # noqa: BLE001  whatever it is, the part goes on
                _log.exception("%s failed and begins again", name)
            await asyncio.sleep(1.0)
