"""``Client``: the synchronous twin. Picks and requests happen in the caller's thread; what follows the table
and sends reports runs in one background thread with the asynchronous client's own code."""

import asyncio
import threading
from collections.abc import Callable, Collection, Coroutine, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from tieline._client import FLUSH_TIMEOUT_S, AsyncClient
from tieline._http.messages import HttpRequest
from tieline._process import fork as _fork
from tieline._reports.report import Sink
from tieline._request.options import Timeouts
from tieline._request.reply import Reply
from tieline._routing.route import Needs, Route, Shed
from tieline._routing.router import Pick
from tieline._setup import parts as _parts
from tieline._setup import places as _places
from tieline._tables.status import Applied, Status
from tieline.credentials import Credential
from tieline.errors import ClosedError
from tieline.kafka import Brokers
from tieline.topics import PREFIX

_T = TypeVar("_T")
START_TIMEOUT_S = 10.0


class Client:
    """As ``AsyncClient``, with the same names, arguments, units and errors. Safe to share between threads.
    Listeners are called in the background thread. In a child made by ``os.fork`` it begins anew with its
    first use."""

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
            last_good=last_good,
            credentials=credentials,
            client_id=client_id,
            timeouts=timeouts,
        )
        self._thread = _LoopThread()
        self._forked = False
        self._beginning = threading.Lock()
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
        self._thread.start()
        self._thread.run(self._inner.start())

    def close(self) -> None:
        """Send the last report and end the background thread. May be called twice."""
        if self._thread.running:
            self._thread.run(self._inner.close())
            self._thread.stop()
        self._forked = False

    def after_fork(self) -> None:
        """In a child process: the background thread is the parent's, and there is none here yet."""
        self._beginning = threading.Lock()
        if self._thread.forked():
            self._forked, self._thread = True, _LoopThread()
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
        with self._beginning:
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
        """Wait for ``timeout`` seconds until the table is live; see ``AsyncClient.ready``."""
        return self._run(self._inner.ready(timeout))

    def wait_for(self, generation: str, timeout: float = 10.0) -> bool:
        """Wait for ``timeout`` seconds until a generation is in force; see ``AsyncClient.wait_for``."""
        return self._run(self._inner.wait_for(generation, timeout))

    def flush(self, timeout: float = FLUSH_TIMEOUT_S) -> bool:
        """Send what is to be reported now; False when ``timeout`` seconds were not enough."""
        return self._run(self._inner.flush(timeout))

    @property
    def status(self) -> Status:
        """See ``AsyncClient.status``."""
        return self._inner.status

    @property
    def core(self) -> "_parts.Core":
        """The parts that work on requests."""
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

        Of the library that the installed openai SDK uses (httpx2, or httpx before 3.0), unless ``library``
        names one. Raises MissingExtraError when it is not installed.
        """
        return _parts.sync_http_client(self._send, library, settings)


class _LoopThread:
    """An event loop in a daemon thread; coroutines run there, the caller waits here, in its own context."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    @property
    def running(self) -> bool:
        return self._loop is not None

    def start(self) -> None:
        """Idempotent."""
        if self._loop is not None:
            return
        started = threading.Event()
        loop = asyncio.new_event_loop()

        def main() -> None:
            asyncio.set_event_loop(loop)
            loop.call_soon(started.set)
            loop.run_forever()
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()

        self._thread = threading.Thread(target=main, name="tieline", daemon=True)
        self._thread.start()
        started.wait(START_TIMEOUT_S)
        self._loop = loop

    def forked(self) -> bool:
        """In a child process: whether it was running in the parent. Its selector is shared with the parent:
        nothing here may reach it again."""
        loop, self._loop = self._loop, None
        if loop is None:
            return False
        _fork.let_go(getattr(loop, "_selector", None))
        _fork.keep(loop, self._thread)
        return True

    def stop(self) -> None:
        """End the loop and join the thread."""
        loop, self._loop = self._loop, None
        if loop is None or self._thread is None:
            return
        loop.call_soon_threadsafe(loop.stop)
        self._thread.join(START_TIMEOUT_S)

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """The coroutine's result; an interrupted caller cancels it."""
        loop = self._loop
        if loop is None:
            work.close()
            raise ClosedError("the client is not running: use `with`, or start()")
        future = asyncio.run_coroutine_threadsafe(work, loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise
