"""``SyncProducer``: the synchronous twin of ``Producer``."""

from __future__ import annotations

import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypedDict, TypeVar, Unpack

from tieline._process import fork as _fork
from tieline._process.loops import LoopThread
from tieline._sending.connection import Delivery
from tieline.errors import ProducerClosedError
from tieline.events import Event, PoolObservation, Report
from tieline.kafka import Brokers
from tieline.producer import DRAIN_TIMEOUT_S, Producer, ProducerStatus, Refusal

_T = TypeVar("_T")


class ProducerSettings(TypedDict, total=False):
    """The settings of ``Producer``, which explains them."""

    source: str | None
    prefix: str
    send_timeout_s: float
    buffer_events_max: int
    linger_ms: int
    content_type: str
    now_ms: Callable[[], int] | None
    spool: str | Path | None
    spool_bytes_max: int
    spool_sync_ms: int
    feedback: bool
    on_refused: Callable[[Refusal], None] | None
    signing_key: str | Path | None


class SyncProducer:
    """Like ``Producer``, with the same names, arguments, units and errors. Threads may share it.

    Events are sent in one background thread, which is also the one that ``on_refused`` is called in. In a
    child process made by ``os.fork`` it begins anew with its first use, with an incarnation of its own; a
    spool stays with the parent, so a child that needs one makes a producer with another directory.
    """

    def __init__(self, bootstrap: str | Brokers, **settings: Unpack[ProducerSettings]) -> None:
        self._make: Callable[[], Producer] = lambda: Producer(bootstrap, **settings)
        self._inner = self._make()
        self._thread = LoopThread()
        self._starting = threading.Lock()
        self._forked = False
        _fork.watch(self)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the background thread and begin to connect; see ``Producer.start``."""
        self._thread.begin(self._inner.start())

    def stop(self, *, drain_timeout_s: float = DRAIN_TIMEOUT_S) -> None:
        """See ``Producer.stop``; the background thread ends."""
        if self._thread.running:
            self._thread.run(self._inner.stop(drain_timeout_s=drain_timeout_s))
            self._thread.stop()
        self._forked = False

    def after_fork(self) -> None:
        """Called in a child process made by ``os.fork``: the background thread exists only in the parent."""
        self._starting = threading.Lock()
        if self._thread.forget_after_fork():
            _fork.keep(self._inner)
            self._forked, self._thread = True, LoopThread()

    @property
    def source(self) -> str | None:
        """See ``Producer``."""
        return self._inner.source

    @property
    def incarnation(self) -> str:
        """The random name of this process that ``flush`` puts into reports."""
        return self._inner.incarnation

    @property
    def status(self) -> ProducerStatus:
        """See ``Producer.status``."""
        return self._inner.status

    def send(self, event: Event) -> Delivery:
        """See ``Producer.send``. As many threads as like may send at the same time."""
        return self._run(lambda producer: producer.send(event))

    def post(self, event: Event) -> bool:
        """See ``Producer.post``. Waits for the background thread, not for Kafka."""

        async def post(producer: Producer) -> bool:
            return producer.post(event)

        return self._run(post)

    def observe(self, *observations: PoolObservation) -> None:
        """See ``Producer.observe``."""

        async def observe(producer: Producer) -> None:
            producer.observe(*observations)

        self._run(observe)

    def flush(self, *, interval_ms: int, region: str | None = None) -> tuple[Report, ...]:
        """See ``Producer.flush``."""

        async def flush(producer: Producer) -> tuple[Report, ...]:
            return producer.flush(interval_ms=interval_ms, region=region)

        return self._run(flush)

    def drain(self, timeout_s: float) -> bool:
        """See ``Producer.drain``."""
        return self._run(lambda producer: producer.drain(timeout_s))

    def _run(self, work: Callable[[Producer], Coroutine[Any, Any, _T]]) -> _T:
        if self._forked:
            self._begin_again()
        if not self._thread.running:
            raise ProducerClosedError("the producer is not running: use `with`, or start()")
        return self._thread.run(work(self._inner))

    def _begin_again(self) -> None:
        with self._starting:
            if self._forked:
                self._inner = self._make()
                self._forked = False
                self.start()
