"""``Client``: the synchronous twin of ``AsyncClient``.

Picks and requests happen in the caller's thread. Following the table and sending reports happen in one
background thread, with the asynchronous client's own code.
"""

import threading
from collections.abc import Callable, Collection, Coroutine, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from tieline._client import FLUSH_TIMEOUT_S, AsyncClient
from tieline._http.messages import HttpRequest
from tieline._http.tls import ClientCertificate
from tieline._process import fork as _fork
from tieline._process.loops import LoopThread
from tieline._reports.reporter import Sink
from tieline._request.options import Timeouts
from tieline._request.recovery import RECOVERY_BYTES_MAX
from tieline._request.reply import Reply
from tieline._routing.route import Needs, Pick, Route, Shed
from tieline._setup.addresses import SourceAddress
from tieline._setup.core import Core
from tieline._setup.http_clients import sync_http_client
from tieline._tables.status import Applied, Status
from tieline.credentials import Credential, SecretSource
from tieline.kafka import Brokers
from tieline.topics import PREFIX

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

_T = TypeVar("_T")


class Client:
    """Like ``AsyncClient``, with the same names, arguments, units and errors. Threads may share it.

    Listeners are called in the background thread. In a child process made by ``os.fork`` it begins anew with
    its first use.
    """

    def __init__(
        self,
        source: SourceAddress,
        *,
        workload: str,
        origin: str,
        origins: Collection[str] = (),
        namespace: str = PREFIX,
        token: SecretSource | None = None,
        kafka: str | Brokers | Sink | None = None,
        overlay: str | Path | None = None,
        overlay_keys: Collection[str | Path] = (),
        controller_keys: Collection[str | Path] = (),
        pool_hosts: Collection[str] = (),
        last_good: str | Path | None = None,
        credentials: Mapping[str, Credential] | None = None,
        client_id: str | None = None,
        timeouts: Timeouts | None = None,
        proxy: str | None = None,
        client_cert: ClientCertificate | None = None,
        stream_recovery: str = "raise",
        stream_recovery_bytes_max: int = RECOVERY_BYTES_MAX,
        tracing: "bool | TracerProvider" = False,
        holders: str | None = None,
    ) -> None:
        self._inner = AsyncClient(
            source,
            workload=workload,
            origin=origin,
            origins=origins,
            namespace=namespace,
            token=token,
            kafka=kafka,
            overlay=overlay,
            overlay_keys=overlay_keys,
            controller_keys=controller_keys,
            pool_hosts=pool_hosts,
            last_good=last_good,
            credentials=credentials,
            client_id=client_id,
            timeouts=timeouts,
            proxy=proxy,
            client_cert=client_cert,
            stream_recovery=stream_recovery,
            stream_recovery_bytes_max=stream_recovery_bytes_max,
            tracing=tracing,
            holders=holders,
        )
        self._thread = LoopThread()
        self._forked = False
        self._starting = threading.Lock()
        self.pick: Pick = self._inner.pick
        _fork.watch(self)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Read the last good table and begin to follow the source."""
        self._thread.begin(self._inner.start())

    def close(self) -> None:
        """Send the last report, close everything and end the background thread. May be called twice."""
        if self._thread.running:
            self._thread.run(self._inner.close())
            self._thread.stop()
        self._forked = False

    def after_fork(self) -> None:
        """Called in a child process made by ``os.fork``: the background thread exists only in the parent."""
        self._starting = threading.Lock()
        if self._thread.forget_after_fork():
            self._forked, self._thread = True, LoopThread()
            self.pick = self._pick_in_child

    def _pick_in_child(
        self,
        model: str,
        *,
        session: str | None = None,
        needs: Needs | None = None,
        exclude: Collection[str] = (),
    ) -> Route | Shed:
        self._begin_again()
        return self._inner.pick(model, session=session, needs=needs, exclude=exclude)

    def _begin_again(self) -> None:
        with self._starting:
            if self._forked:
                self._forked, self.pick = False, self._inner.pick
                self.start()

    def _run(self, work: Coroutine[Any, Any, _T]) -> _T:
        if self._forked:
            self._begin_again()
        return self._thread.run(work)

    def _send(self, request: HttpRequest) -> Reply:
        if self._forked:
            self._begin_again()
        return self._inner.core.send_sync(request, self._run)

    def ready(self, timeout: float = 2.0) -> bool:
        """Wait for up to ``timeout`` seconds until the table is live; see ``AsyncClient.ready``."""
        return self._run(self._inner.ready(timeout))

    def wait_for(self, generation: str, timeout: float = 10.0) -> bool:
        """Wait for up to ``timeout`` seconds until a generation is in force; see ``AsyncClient.wait_for``."""
        return self._run(self._inner.wait_for(generation, timeout))

    def flush(self, timeout: float = FLUSH_TIMEOUT_S) -> bool:
        """Send now what is to be reported; False when ``timeout`` seconds were not enough for all of it."""
        return self._run(self._inner.flush(timeout))

    @property
    def status(self) -> Status:
        """See ``AsyncClient.status``."""
        return self._inner.status

    @property
    def core(self) -> Core:
        """See ``AsyncClient.core``."""
        return self._inner.core

    @property
    def base_url(self) -> str:
        """See ``AsyncClient.base_url``."""
        return self._inner.base_url

    def on_status(self, listener: Callable[[Status], None]) -> None:
        """See ``AsyncClient.on_status``; ``listener`` is called in the background thread."""
        self._inner.on_status(listener)

    def on_table(self, listener: Callable[[Applied], None]) -> None:
        """See ``AsyncClient.on_table``; ``listener`` is called in the background thread."""
        self._inner.on_table(listener)

    def explain(self) -> dict[str, Any]:
        """See ``AsyncClient.explain``."""
        return self._inner.explain()

    def http_client(self, *, library: str | None = None, **settings: Any) -> Any:
        """A synchronous HTTP client for the SDK; ``settings`` go to it. Closing it leaves this client open.

        It is of the library that the installed openai SDK uses (httpx2, or httpx before 3.0), unless
        ``library`` names one. Raises as ``AsyncClient.http_client``.
        """
        return sync_http_client(self._send, library, settings)
