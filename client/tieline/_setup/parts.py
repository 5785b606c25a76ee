"""What clients are made of, and the only place that names optional packages."""

import secrets
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from tieline._http.flights import Flights
from tieline._http.messages import HttpRequest
from tieline._process import clock as _clock
from tieline._process import fork
from tieline._reports.report import Window
from tieline._request.exchange import Tools
from tieline._request.memory import Estimator, Holders
from tieline._request.options import Timeouts
from tieline._request.reply import Reply
from tieline._routing.budget import RetryBudget
from tieline._routing.router import Router
from tieline._transports.runners import AsyncRunner, SyncRunner, secret_of
from tieline.credentials import Credential, Credentials
from tieline.errors import ClosedError, ConfigurationError, MissingExtraError
from tieline.table import ClientSettings

if TYPE_CHECKING:
    from tieline._http.wire_async import AsyncWire
    from tieline._http.wire_sync import SyncWire

BASE_URL = "http://tieline.invalid/v1"
_DEFAULTS = ClientSettings()
_T = TypeVar("_T")


class Wires(Protocol):
    """Connections that a source of tables brings along: ``tieline.testing`` does."""

    def for_async(self) -> Any: ...
    def for_sync(self) -> Any: ...


class Core:
    """The parts that work on requests: shared by the asynchronous client and its synchronous twin."""

    def __init__(
        self,
        workload: str,
        origin: str,
        credentials: Mapping[str, Credential] | None,
        *,
        clock: Callable[[], int],
        phase: float,
        wires: "Wires | None" = None,
        timeouts: Timeouts | None = None,
    ) -> None:
        self._timeouts = timeouts or Timeouts()
        self._timeouts.check()
        self._settings = (_DEFAULTS, self._timeouts.over(_DEFAULTS))  # the table's, and with ours over them
        self.clock = clock
        self._made_up = wires
        self.router = Router(workload, origin, clock=clock, phase=phase)
        self.flights = Flights()
        self.budget = RetryBudget()
        self.window = Window()
        self.router.on_outcome.append(self.window.observe)
        self._given = credentials
        self._credentials = Credentials(credentials, clock)
        self._tools = Tools(
            self.router,
            self.flights,
            self.budget,
            Holders(),
            Estimator(),
            self.window,
            self.settings,
            self._credentials.forget,
            clock,
            _clock.now_ms,
            Lock(),
        )
        self._open = False
        self.revive: Callable[[], Awaitable[None]] | None = None  # in a child process: begins anew
        self._runner: AsyncRunner | None = None
        self._sync_runner: SyncRunner | None = None
        self._wires: list[AsyncWire | SyncWire] = []

    def open(self) -> None:
        """Requests may be made from now on."""
        self._open = True

    def close(self) -> None:
        """Close every connection."""
        self._open = False
        self._runner = self._sync_runner = None
        self._credentials.close()
        wires, self._wires = self._wires, []
        for wire in wires:
            wire.close()

    def tidy(self) -> None:
        """Close connections that nobody has used for long."""
        for wire in self._wires:
            wire.idle.tidy()

    async def send(self, request: HttpRequest) -> Reply:
        """One request. Raises ClosedError when the client is not running."""
        if self._runner is None:
            if self.revive is not None:
                await self.revive()
            self._require_open()
            from tieline._http.wire_async import AsyncWire

            wire = AsyncWire() if self._made_up is None else self._made_up.for_async()
            self._wires.append(wire)
            self._runner = AsyncRunner(self._tools, self._credentials, wire)
        return await self._runner.send(request)

    def send_sync(self, request: HttpRequest, run: "Run") -> Reply:
        """The same in the caller's thread; ``run`` waits for what only the event loop can do."""
        runner = self._sync_runner
        if runner is None:
            runner = self._open_sync(run)
        return runner.send(request)

    def after_fork(self) -> None:
        """In a child process: no connection, lock or count is the parent's."""
        for part in (self.router, self.flights, self.window, *self._wires):
            part.after_fork()
        fork.keep(self._wires, self._runner, self._sync_runner, self._credentials)
        self._wires, self._runner, self._sync_runner, self._open = [], None, None, False
        self._credentials = Credentials(self._given, self.clock)
        self._tools.refused = self._credentials.forget
        self._tools.lock, self._tools.waiting = Lock(), 0

    def _open_sync(self, run: "Run") -> SyncRunner:
        with self._tools.lock:
            self._require_open()
            if self._sync_runner is None:
                from tieline._http.wire_sync import SyncWire

                wire = SyncWire() if self._made_up is None else self._made_up.for_sync()
                self._wires.append(wire)

                def secret(name: str, due_ms: int) -> tuple[str, bool]:
                    found = self._credentials.at_hand(name)
                    return found or run(secret_of(self._credentials, name, due_ms))

                self._sync_runner = SyncRunner(self._tools, secret, wire)
            return self._sync_runner

    def _require_open(self) -> None:
        if not self._open:
            raise ClosedError("the client is not running: use `async with`, or start()")

    def settings(self) -> ClientSettings:
        """The table's settings, or the defaults, with the application's own time-outs over them."""
        held = self.router.held
        part = held.parts.get(self.router.origin) if held is not None else None
        told = part.settings if part is not None else _DEFAULTS
        if self._settings[0] is not told:
            self._settings = told, self._timeouts.over(told)
        return self._settings[1]


def client_id(workload: str, origin: str) -> str:
    """A name of its own for each process's reports."""
    return f"{workload[:32]}-{origin[:32]}-{secrets.token_hex(6)}"


HTTP_LIBRARIES = ("httpx2", "httpx")
_OF_THE_TRANSPORT = {"transport", "mounts", "proxy", "verify", "cert", "http1", "http2", "limits"}
_REFUSED = _OF_THE_TRANSPORT | {"follow_redirects"}


def http_library(wanted: str | None) -> str:
    """The library whose client ``http_client()`` gives: the one named, else the one that the installed openai
    SDK is made of (httpx2 from 3.0 on, httpx before), else what is installed. Their classes don't mix: a
    transport of one fails inside a client of the other."""
    if wanted is not None:
        if wanted not in HTTP_LIBRARIES:
            raise ConfigurationError(f"library={wanted!r}: expected one of {', '.join(HTTP_LIBRARIES)}")
        return wanted
    try:
        return "httpx2" if int(version("openai").split(".")[0]) >= 3 else "httpx"
    except (PackageNotFoundError, ValueError):
        return "httpx" if find_spec("httpx2") is None and find_spec("httpx") is not None else "httpx2"


def _check_settings(settings: Mapping[str, Any]) -> None:
    if wrong := sorted(_REFUSED & settings.keys()):
        raise ConfigurationError(
            f"http_client({wrong[0]}=): connections, TLS and redirects are Tieline's own here; "
            "leave it out (a private CA goes into SSL_CERT_FILE)"
        )


def _shells(name: str) -> Any:
    """The library's shells."""
    try:
        if name == "httpx":
            from tieline._transports import httpx as shells_1

            return shells_1
        from tieline._transports import httpx2 as shells_2

        return shells_2
    except ImportError:
        raise MissingExtraError(name, name) from None


def async_http_client(core: Core, library: str | None, settings: dict[str, Any]) -> Any:
    """Raises MissingExtraError without the library, ConfigurationError for an unknown one, or for a setting
    that would go past the transport or have no effect beside it."""
    _check_settings(settings)
    return _shells(http_library(library)).async_client(core.send, settings)


class Run(Protocol):
    """Waits for a coroutine that runs in the background thread of a synchronous client."""

    def __call__(self, work: Coroutine[Any, Any, _T]) -> _T: ...


def sync_http_client(
    send: Callable[[HttpRequest], Reply], library: str | None, settings: dict[str, Any]
) -> Any:
    """As ``async_http_client``."""
    _check_settings(settings)
    return _shells(http_library(library)).sync_client(send, settings)
