"""The parts of a client that work on requests, whether a thread or an event loop makes them."""

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from tieline._http.flights import Flights
from tieline._http.messages import HttpRequest
from tieline._http.proxies import proxies_of
from tieline._http.tls import Certificates, ClientCertificate
from tieline._process import clock as _clock
from tieline._process import fork
from tieline._process.loops import current_caller
from tieline._reports.window import DemandWindow
from tieline._request.billed_timeouts import BilledTimeouts
from tieline._request.destinations import Destinations
from tieline._request.memory import Estimator, Holders, SharedHolders
from tieline._request.options import Timeouts
from tieline._request.recovery import Recovery
from tieline._request.refusals import Refusals
from tieline._request.reply import Reply
from tieline._request.timed_attempt import Tools
from tieline._routing.budget import RetryBudget
from tieline._routing.router import Router
from tieline._setup.addresses import shared_holders_at
from tieline._transports.runners import AsyncRunner, SyncRunner, secret_of
from tieline.credentials import Credential, Credentials, SecretInUse
from tieline.errors import ClosedError
from tieline.table import ClientSettings

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

    from tieline._http.wire_async import AsyncWire
    from tieline._http.wire_sync import SyncWire

_DEFAULTS = ClientSettings()
_T = TypeVar("_T")


class WireFactory(Protocol):
    """Makes connections that a source of tables brings along. ``tieline.testing`` does so."""

    def for_async(self) -> Any:
        """Connections of an ``AsyncClient``."""
        ...

    def for_sync(self) -> Any:
        """Connections of a ``Client``."""
        ...


class RunInLoop(Protocol):
    """Runs a coroutine in the background thread of a synchronous client, and returns its result."""

    def __call__(self, work: Coroutine[Any, Any, _T]) -> _T: ...


class Core:
    """Shared by the asynchronous client and its synchronous twin.

    ``clock``: monotonic milliseconds. ``phase``: from 0 to 1, where this process begins in the sequence of
    picks, so that processes do not all begin with the same pool.
    """

    def __init__(
        self,
        workload: str,
        origin: str,
        credentials: Mapping[str, Credential] | None,
        *,
        clock: Callable[[], int],
        phase: float,
        wire_factory: WireFactory | None = None,
        timeouts: Timeouts | None = None,
        proxy: str | None = None,
        client_cert: ClientCertificate | None = None,
    ) -> None:
        self._proxies, self._client_cert = proxies_of(proxy), client_cert
        self._certificates = Certificates(client_cert)
        self._certificates.check()  # what is wrong with one shows at once
        self._timeouts = timeouts or Timeouts()
        self._timeouts.check()
        self._table_settings = _DEFAULTS
        self._settings = self._timeouts.over(_DEFAULTS)
        self._secrets = credentials
        self.clock = clock
        self.router = Router(workload, origin, clock=clock, phase=phase)
        self._credentials = Credentials(credentials, clock, on_back=self.router.secret_is_back)
        self.flights = Flights()
        self.budget = RetryBudget()
        self.window = DemandWindow()
        self.router.on_outcome.append(self.window.observe)
        self._tools = Tools(
            router=self.router,
            flights=self.flights,
            budget=self.budget,
            holders=Holders(),
            refusals=Refusals(),
            billed_timeouts=BilledTimeouts(),
            estimator=Estimator(),
            meter=self.window,
            settings=self.settings,
            refused=self._credentials.forget,
            destinations=Destinations(self._credentials.hosts_of),
            clock=clock,
            epoch_ms=_clock.now_ms,
            caller=current_caller,
            lock=Lock(),
        )
        self.revive: Callable[[], Awaitable[None]] | None = None  # starts the client again in a child process
        self._open = False
        self._wire_factory = wire_factory
        self._async_runner: AsyncRunner | None = None
        self._sync_runner: SyncRunner | None = None
        self._wires: list[AsyncWire | SyncWire] = []

    def recover_streams(self, recovery: str, bytes_max: int) -> None:
        """What happens to streams that break, where a request does not say it; see ``AsyncClient``."""
        self._tools.recovery = Recovery(recovery, bytes_max)

    def trace(self, provider: "bool | TracerProvider") -> None:
        """Make a span of each request and each attempt, unless ``provider`` is False; see ``AsyncClient``."""
        if provider is False:
            return
        from tieline._request.tracing import Tracing

        self._tools.tracing = Tracing(provider)

    def share_holders(self, address: str | None, namespace: str) -> None:
        """Tell other processes which pool holds what, and ask them, through the Redis at this address; None:
        nothing is shared."""
        self._tools.shared = shared_holders_at(address, namespace)

    @property
    def shared_holders(self) -> SharedHolders | None:
        """What is shared with other processes; its ``run`` has to run."""
        return self._tools.shared

    def open(self) -> None:
        """Requests may be made from now on."""
        self._open = True

    def close(self) -> None:
        """Close every connection; requests raise ClosedError from now on."""
        self._open = False
        self._async_runner = self._sync_runner = None
        self._credentials.close()
        wires, self._wires = self._wires, []
        for wire in wires:
            wire.close()

    @property
    def credential_alarm(self) -> str:
        """Which credentials' functions give no token, and why; "" while all do."""
        return self._credentials.alarm

    def tidy(self) -> None:
        """Close connections that have been idle for long."""
        for wire in self._wires:
            wire.idle.tidy()

    def settings(self) -> ClientSettings:
        """The table's settings, or the defaults without a table, with the application's own time-outs."""
        table = self.router.table
        part = table.parts.get(self.router.origin) if table is not None else None
        table_settings = part.settings if part is not None else _DEFAULTS
        if self._table_settings is not table_settings:
            self._table_settings, self._settings = table_settings, self._timeouts.over(table_settings)
        return self._settings

    async def send(self, request: HttpRequest) -> Reply:
        """Make one request. Raises ClosedError when the client is not running."""
        if self._async_runner is None:
            if self.revive is not None:
                await self.revive()
            self._require_open()
            from tieline._http.wire_async import AsyncWire

            wire = (
                AsyncWire(self._proxies, certificates=self._certificates)
                if self._wire_factory is None
                else self._wire_factory.for_async()
            )
            self._wires.append(wire)
            self._async_runner = AsyncRunner(self._tools, self._credentials, wire)
        return await self._async_runner.send(request)

    def send_sync(self, request: HttpRequest, run: RunInLoop) -> Reply:
        """Make one request in the caller's thread. ``run`` is for what only the event loop can do: calling
        an asynchronous function for a secret, and asking Redis."""
        runner = self._sync_runner or self._open_sync(run)
        return runner.send(request)

    def after_fork(self) -> None:
        """In a child process: no connection, lock or count of the parent's is used again."""
        for part in (self.router, self.flights, self.window, *self._wires):
            part.after_fork()
        fork.keep(self._wires, self._async_runner, self._sync_runner, self._credentials, self._tools.shared)
        self._wires, self._async_runner, self._sync_runner, self._open = [], None, None, False
        self._credentials = Credentials(self._secrets, self.clock, on_back=self.router.secret_is_back)
        self._tools.refused = self._credentials.forget
        self._tools.lock, self._tools.waiting = Lock(), 0
        self._certificates = Certificates(self._client_cert)

    def _open_sync(self, run: RunInLoop) -> SyncRunner:
        with self._tools.lock:
            self._require_open()
            if self._sync_runner is None:  # another thread may have been quicker
                from tieline._http.wire_sync import SyncWire

                wire = (
                    SyncWire(self._proxies, certificates=self._certificates)
                    if self._wire_factory is None
                    else self._wire_factory.for_sync()
                )
                self._wires.append(wire)

                def secret(name: str, due_ms: int) -> SecretInUse:
                    at_hand = self._credentials.at_hand(name)
                    return at_hand or run(secret_of(self._credentials, name, due_ms))

                def find_holders(ids: tuple[str, ...]) -> dict[str, str]:
                    shared = self._tools.shared
                    return run(shared.look_up(ids)) if shared is not None else {}

                self._sync_runner = SyncRunner(self._tools, secret, find_holders, wire=wire)
            return self._sync_runner

    def _require_open(self) -> None:
        if not self._open:
            raise ClosedError("the client is not running: use `async with`, or start()")
