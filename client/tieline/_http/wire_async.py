"""The connections of an asynchronous client: asyncio protocols around ``Http1``. No redirects, no retries, no
proxies from the environment.

Who waits for bytes waits on a future of the connection. One timer for each connection looks at the flight's
``due_ms``: an ``asyncio.timeout`` around each wait would cost more than all else that is done with a chunk.
"""

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from tieline._http.flights import Flight
from tieline._http.http1 import Http1, Place, place_of
from tieline._http.idle import Idle, tls_context
from tieline._http.messages import Headers, WireError
from tieline._process import clock as _clock
from tieline._process.fork import let_go
from tieline.events import ResultClass

HAPPY_EYEBALLS_S = 0.25
HELD_MAX_BYTES = 256 * 1024  # of an answer that its reader has not taken yet


class Connection(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self, wire: "AsyncWire", place: Place) -> None:
        self.place = place
        self.http = Http1()
        self.idle_since_s = 0.0
        self._wire = wire
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._flight: Flight | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due_s = 0.0
        self._held_bytes = 0
        self._gone = ""

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ready."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """For the request on its way; a server that speaks unasked is left."""
        if self._flight is None:
            self.discard()
            return
        self.http.receive(data)
        self._held_bytes += len(data)
        if self._held_bytes > HELD_MAX_BYTES and self._transport is not None:
            self._transport.pause_reading()
        self._wake()

    def connection_lost(self, error: Exception | None) -> None:
        """Closed, by whichever end."""
        self._wire.connections.discard(self)
        self._gone = self._gone or (f"{type(error).__name__}: {error}" if error else "closed by the server")
        if self._flight is not None and error is None:
            self.http.receive(b"")
        self._wake()

    # the request's side

    def usable(self) -> bool:
        """Whether the server has kept it too."""
        return not self._gone and self._transport is not None and not self._transport.is_closing()

    async def ask(self, flight: Flight, data: bytes) -> tuple[int, Headers]:
        """Send a request; gives the answer's status and headers. Raises ``WireError``."""
        assert self._transport is not None
        self._flight = flight
        self._held_bytes = 0
        flight.abandon = self._abandon
        self._transport.write(data)
        while (head := self.http.head()) is None:
            await self._wait(ResultClass.CONNECT)
        return head

    async def read(self) -> bytes:
        """What has come of the body, b"" at its end. Raises ``WireError``."""
        while (data := self.http.body()) is None:
            await self._wait(ResultClass.CUT)
        if self._held_bytes > HELD_MAX_BYTES and self._transport is not None:
            self._transport.resume_reading()
        self._held_bytes = 0
        return data

    def release(self) -> None:
        """The answer is not needed any more: keep the connection if it was read to its end."""
        if self._flight is None:
            return
        self._flight = None
        if self.usable() and self.http.reusable():
            self._wire.idle.give(self.place.key, self)
        else:
            self.discard()

    def discard(self) -> None:
        """Close it at once, whatever is on its way."""
        self._flight = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._transport is not None:
            self._transport.abort()

    def forked(self) -> None:
        """In the child: the connection is the parent's."""
        if self._transport is not None:
            let_go(self._transport.get_extra_info("socket"))

    async def _wait(self, failed_as: ResultClass) -> None:
        if self._gone:
            raise WireError(failed_as, self._gone)
        flight = self._flight
        if flight is None:
            raise WireError(failed_as, "the connection was closed here")
        due_s = flight.due_ms / 1_000
        if self._timer is None or due_s < self._timer_due_s:
            self._set_timer(due_s)
        waiter = self._waiter = self._loop.create_future()
        try:
            await waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _set_timer(self, due_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_due_s = due_s
        self._timer = self._loop.call_later(max(0.0, due_s - _clock.monotonic_s()), self._look)

    def _look(self) -> None:
        """Nobody waits: the next wait sets the timer again. Waiting for longer by now: look again then."""
        self._timer = None
        flight, waiter = self._flight, self._waiter
        if flight is None or waiter is None or waiter.done():
            return
        if flight.due_ms > _clock.monotonic_ms():
            self._set_timer(flight.due_ms / 1_000)
        else:
            waiter.set_exception(WireError(ResultClass.TIMEOUT, "nothing came in time"))

    def _abandon(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_exception(WireError(ResultClass.TIMEOUT, "called back: the pool gives nothing"))


class AsyncAnswer:
    """An answer whose body is still on its way. Once closed it has no connection: that may carry another
    request by then."""

    __slots__ = ("_connection", "headers", "read", "status")

    def __init__(self, status: int, headers: Headers, connection: Connection) -> None:
        self.status = status
        self.headers = headers
        self.read = connection.read
        self._connection: Connection | None = connection

    def close(self) -> None:
        """Let go of the connection. May be called again."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self.read = _over
            connection.release()


async def _over() -> bytes:
    raise WireError(ResultClass.CUT, "the answer was closed here")


class AsyncWire:
    """Every connection of one client, in one event loop."""

    def __init__(self) -> None:
        self.idle: Idle[Connection] = Idle()
        self.connections: set[Connection] = set()
        self._tls: ssl.SSLContext | None = None

    async def open(
        self, method: str, url: str, headers: Headers, body: bytes, *, flight: Flight, connect_s: float
    ) -> AsyncAnswer:
        """Up to the answer's head. Raises ``WireError``: all that goes wrong before it is a failed
        connection."""
        place = place_of(url)
        connection = self.idle.take(place.key) or await self._connect(place, flight, connect_s)
        try:
            status, answered = await connection.ask(
                flight, connection.http.request(method, place, headers, body)
            )
        except BaseException:
            connection.discard()
            raise
        return AsyncAnswer(status, answered, connection)

    def close(self) -> None:
        """Close every connection."""
        for connection in list(self.connections):
            connection.discard()

    def after_fork(self) -> None:
        """In the child: let go of the parent's connections without a word to their other ends."""
        for connection in self.connections:
            connection.forked()

    async def _connect(self, place: Place, flight: Flight, connect_s: float) -> Connection:
        _, host, port = place.key
        left_s = max(0.0, flight.due_ms / 1_000 - _clock.monotonic_s())
        try:
            with _called_back(flight):
                async with asyncio.timeout(min(connect_s, left_s)):
                    loop = asyncio.get_running_loop()
                    _, connection = await loop.create_connection(
                        lambda: Connection(self, place),
                        host,
                        port,
                        ssl=self._tls_for(place),
                        **_racing(loop, place),
                    )
        except TimeoutError:
            late = ResultClass.CONNECT if connect_s < left_s else ResultClass.TIMEOUT
            raise WireError(late, f"no connection within {min(connect_s, left_s):g} s") from None
        except OSError as error:
            raise WireError(ResultClass.CONNECT, f"{type(error).__name__}: {error}") from None
        self.connections.add(connection)
        return connection

    def _tls_for(self, place: Place) -> ssl.SSLContext | None:
        if not place.tls:
            return None
        if self._tls is None:
            self._tls = tls_context()
        return self._tls


@contextmanager
def _called_back(flight: Flight) -> Iterator[None]:
    """A flight may be called back while it connects: the task's own cancellation becomes a ``WireError``."""
    task = asyncio.current_task()
    assert task is not None
    called = False
    before = task.cancelling()

    def abandon() -> None:
        nonlocal called
        called = True
        task.cancel()

    flight.abandon = abandon
    try:
        yield
    except asyncio.CancelledError:
        if called and task.uncancel() <= before:
            raise WireError(ResultClass.TIMEOUT, "called back: the pool gives nothing") from None
        raise
    finally:
        flight.abandon = None


def _racing(loop: asyncio.AbstractEventLoop, place: Place) -> dict[str, Any]:
    """A name's addresses are tried side by side where the loop can: asyncio's own. uvloop's takes no such
    argument, and tries one after another."""
    able = isinstance(loop, asyncio.BaseEventLoop) and place.named
    return {"happy_eyeballs_delay": HAPPY_EYEBALLS_S} if able else {}
