"""The gRPC service that Envoy calls, and gRPC's health checks beside it.

Each request of a caller is one stream, which lives until the answer's headers are there, so thousands may be
open at once. A stream that is cut off makes Envoy fail the request; one that ends well lets it go on as it
is. So a picker that stops ends its streams well, and answers no health check any more from the moment that it
is asked to stop.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, MutableSet
from contextlib import asynccontextmanager
from pathlib import Path

import structlog

from controller.process.errors import SettingError
from controller.process.listening import tls_context
from picker.answers import Answers
from picker.choosing import Desk
from picker.exchange import Exchange
from picker.http2 import Call, Connection
from picker.messages import HealthCheckResponse, ProcessingRequest
from picker.settings import PickerFile, listen_of
from tieline.cancelling import end_all

SERVICE, HEALTH = "envoy.service.ext_proc.v3.ExternalProcessor", "grpc.health.v1.Health"
SERVING, NOT_SERVING = 1, 2
LOOK_EVERY_S = 0.5  # how soon those who watch the health hear of a table that came
_MESSAGE_MARGIN_BYTES = 1024 * 1024  # for what a message has beside a body


class _Processing:
    """One request of a caller."""

    goes_on = False

    def __init__(self, exchange: Exchange, failed: Callable[[], None]) -> None:
        self._exchange, self._failed = exchange, failed

    @property
    def is_done(self) -> bool:
        """What is refused is over."""
        return self._exchange.is_refused

    def take(self, message: bytes) -> Iterator[bytes]:
        """The answers to one message."""
        try:
            yield from self._exchange.take(ProcessingRequest.FromString(message))
        except Exception:
            self._failed()
            raise

    def end(self, *, drained: bool = False) -> None:
        """Nothing more comes."""
        self._exchange.end(drained=drained)


class _Check:
    """One health check."""

    goes_on = False

    def __init__(self, is_serving: bool) -> None:
        self._is_serving = is_serving
        self.is_done = False

    def take(self, _message: bytes) -> Iterator[bytes]:
        """One answer, and no more."""
        self.is_done = True
        yield _health(self._is_serving)

    def end(self, *, drained: bool = False) -> None:
        """Nothing has to be ended."""


class _Watch:
    """Somebody who is told the health now, and again whenever it changes, until he leaves. ``all_watches``:
    those of the server, of which this is one while it is open."""

    goes_on = True
    is_done = False

    def __init__(self, is_serving: bool, all_watches: "MutableSet[_Watch]") -> None:
        self.is_serving, self._all_watches = is_serving, all_watches

    def take(self, _message: bytes) -> Iterator[bytes]:
        """The health now."""
        self._all_watches.add(self)
        yield _health(self.is_serving)

    def end(self, *, drained: bool = False) -> None:  # noqa: ARG002
        """Nobody is told any more."""
        self._all_watches.discard(self)


class PickerServer:
    """``counts``: picks by reason, and what went wrong. ``is_ready``: whether there is a table to pick by."""

    def __init__(
        self, file: PickerFile, desk: Desk, *, clock: Callable[[], int], is_ready: Callable[[], bool]
    ) -> None:
        self._file, self._desk, self._clock, self._is_ready = file, desk, clock, is_ready
        self._answers = Answers()
        self._connections: set[Connection] = set()
        self._watches: set[_Watch] = set()
        self._is_stopping = False
        self.counts: Counter[str] = Counter()
        self.errors = 0
        self._log = structlog.get_logger("picker")

    @property
    def open(self) -> int:
        """Streams that are open."""
        return sum(connection.open for connection in self._connections)

    @property
    def is_serving(self) -> bool:
        """What health checks are told."""
        return self._is_ready() and not self._is_stopping

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        """Serves as long as the context lasts, and gives the address. Raises SettingError when it can't."""
        listen = listen_of(self._file)
        callers = Path(self._file.client_ca) if self._file.client_ca else None
        tls = tls_context(listen, callers=callers, protocols=("h2",))
        try:
            server = await asyncio.get_running_loop().create_server(
                self._connection, listen.host, listen.port, ssl=tls, reuse_port=True
            )
        except OSError as error:
            text = f"listen: it can't listen on {self._file.listen}: {error.strerror}"
            raise SettingError(text) from None
        looks = asyncio.create_task(self._look())
        try:
            yield listen._replace(port=server.sockets[0].getsockname()[1]).address
        finally:
            self.stop()
            await end_all([looks])
            server.close()
            for connection in (connections := list(self._connections)):
                connection.drain()
            await asyncio.gather(*(connection.lost.wait() for connection in connections))

    def stop(self) -> None:
        """Health checks fail from now on, and those who watch are told. Requests are picked for as before."""
        self._is_stopping = True
        self._tell_watches()

    def _tell_watches(self) -> None:
        is_serving = self.is_serving
        for watch in [watch for watch in self._watches if watch.is_serving != is_serving]:
            watch.is_serving = is_serving
            for connection in self._connections:
                connection.push(watch, _health(is_serving))

    async def _look(self) -> None:
        """Tells those who watch, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            self._tell_watches()

    def _connection(self) -> Connection:
        return Connection(
            self._call,
            self._connections,
            streams_max=self._file.streams_max,
            message_bytes_max=self._file.body_max_bytes + _MESSAGE_MARGIN_BYTES,
        )

    def _call(self, path: str) -> Call | None:
        if path == f"/{SERVICE}/Process":
            return _Processing(self._exchange(), self._note_error)
        if path == f"/{HEALTH}/Watch":
            return _Watch(self.is_serving, self._watches)
        return _Check(self.is_serving) if path == f"/{HEALTH}/Check" else None

    def _exchange(self) -> Exchange:
        return Exchange(
            self._desk,
            self._answers,
            clock=self._clock,
            note=self._note,
            model_header=self._file.model_header,
            body_max_bytes=self._file.body_max_bytes,
        )

    def _note_error(self) -> None:
        self.errors += 1
        self._log.exception("a request could not be picked for; Envoy does what it does without a picker")

    def _note(self, what: str) -> None:
        self.counts[what] += 1


def _health(is_serving: bool) -> bytes:
    return bytes(HealthCheckResponse(status=SERVING if is_serving else NOT_SERVING).SerializeToString())
