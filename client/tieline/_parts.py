"""What clients are made of, and the only place that names optional packages."""

import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Mapping
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any, Protocol

from tieline import _clock
from tieline._budget import RetryBudget
from tieline._errors import ClosedError, ConfigurationError, MissingExtraError
from tieline._flights import Flights
from tieline._providers.credentials import Credential, Credentials
from tieline._report import Window
from tieline._router import Router
from tieline._transports._attempt import Sender
from tieline._transports._driver import Driver, Tools
from tieline._transports._neutral import Ask, Reply, Wire
from tieline._units import Estimator
from tieline.table import ClientSettings

BASE_URL = "http://tieline.invalid/v1"
_DEFAULTS = ClientSettings()
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+:-]{0,95}\Z")


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
    ) -> None:
        self.clock = clock
        self.router = Router(workload, origin, clock=clock, phase=phase)
        self.flights = Flights()
        self.budget = RetryBudget()
        self.window = Window()
        self.router.on_outcome.append(self.window.observe)
        self._estimator = Estimator()
        self._credentials = Credentials(credentials, clock)
        self._wire: Wire | None = None
        self._driver: Driver | None = None

    def open(self) -> None:
        """Connections may be made from now on, in the running event loop."""
        try:
            from tieline._transports._wire import CoreWire
        except ImportError:
            return  # picking needs no HTTP library; http_client() says what is missing
        self._wire = CoreWire()
        tools = Tools(
            self.router,
            self.flights,
            self.budget,
            self._estimator,
            self.window,
            Sender(self._wire, self._credentials),
            self.settings,
            self.clock,
            _clock.now_ms,
        )
        self._driver = Driver(tools)

    async def close(self) -> None:
        """Close every connection."""
        wire, self._wire, self._driver = self._wire, None, None
        if wire is not None:
            await wire.close()

    async def send(self, ask: Ask) -> Reply:
        """One request through the driver. Raises ClosedError when the client is not running."""
        if self._driver is None:
            raise ClosedError("the client is not running: use `async with`, or start()")
        return await self._driver.send(ask)

    def settings(self) -> ClientSettings:
        """The table's settings, or the defaults."""
        held = self.router.held
        part = held.parts.get(self.router.origin) if held is not None else None
        return part.settings if part is not None else _DEFAULTS


def check_names(workload: str, origins: Collection[str]) -> None:
    """Raises ConfigurationError for names that no table can hold."""
    for kind, name in (("workload", workload), *(("origin", origin) for origin in origins)):
        if not _NAME.match(name):
            raise ConfigurationError(f"{kind}={name!r} is no valid name: letters, digits and . _ + : - only")


def client_id(workload: str, origin: str) -> str:
    """A name of its own for each process's reports."""
    return f"{workload[:32]}-{origin[:32]}-{secrets.token_hex(6)}"


HTTP_LIBRARIES = ("httpx2", "httpx")


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


def _library(name: str) -> tuple[Any, Any]:
    """The library and its shells."""
    try:
        if name == "httpx":
            from tieline._transports import httpx as shells_1

            return import_module(name), shells_1
        from tieline._transports import httpx2 as shells_2

        return import_module(name), shells_2
    except ImportError:
        raise MissingExtraError(name, name) from None


def async_http_client(core: Core, library: str | None, settings: dict[str, Any]) -> Any:
    """Raises MissingExtraError without the library, ConfigurationError for an unknown one."""
    module, shell = _library(http_library(library))
    return module.AsyncClient(transport=shell.AsyncTransport(core.send), follow_redirects=False, **settings)


class Thread(Protocol):
    """The background thread of a synchronous client."""

    def run(self, work: Coroutine[Any, Any, Reply]) -> Reply: ...
    def next(self, stream: AsyncIterator[bytes]) -> bytes | None: ...
    def close(self, close: Callable[[], Awaitable[None]]) -> None: ...


def sync_http_client(core: Core, thread: Thread, library: str | None, settings: dict[str, Any]) -> Any:
    """As ``async_http_client``."""
    module, shell = _library(http_library(library))
    transport = shell.Transport(lambda ask: thread.run(core.send(ask)), thread)
    return module.Client(transport=transport, follow_redirects=False, **settings)
