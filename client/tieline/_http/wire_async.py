"""The connections of an asynchronous client: asyncio protocols around ``Http1``.

Whoever waits for bytes waits on a future of the connection. One timer for each connection looks at the
flight's ``due_ms``: an ``asyncio.timeout`` around each wait would cost more than all else that is done with a
chunk.
"""

import asyncio
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from tieline._http.connections import Idle, WireAnswer, is_stale
from tieline._http.content import Content, pieces_of
from tieline._http.dial_async import dial, lead_through, tls_through
from tieline._http.failures import (
    broken_off,
    called_back,
    closed_here,
    not_connected_in_time,
    nothing_in_time,
)
from tieline._http.flights import Flight
from tieline._http.http1 import Http1, Place, place_of
from tieline._http.messages import Headers, WireError
from tieline._http.names import Names
from tieline._http.proxies import Proxies, Proxy, Tunnel, no_tls_with, unreached
from tieline._http.tls import Certificates, IdleKey
from tieline._http.tls_in_tls import InnerTls, TlsTransport
from tieline._process import clock as _clock
from tieline._process.fork import let_go
from tieline.events import ResultClass

BACKLOG_MAX_BYTES = 256 * 1024  # of an answer that its reader has not taken yet


class AsyncConnection(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self, wire: "AsyncWire", key: IdleKey) -> None:
        self.key = key
        self.http = Http1()
        self.opened_s = _clock.monotonic_s()
        self.idle_until_s = 0.0
        self._wire = wire
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._flight: Flight | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due_s = 0.0
        self._backlog_bytes = 0
        self._gone = False
        self._gone_by: Exception | None = None
        self._is_full = False  # the system takes no more bytes for now
        self._unsent = False  # the request was answered before all of it was sent

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected, and for TLS shaken hands."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """For the request on its way. A server that sends something between two requests is left."""
        if self._flight is None:
            self.discard()
            return
        self.http.receive(data)
        self._backlog_bytes += len(data)
        if self._backlog_bytes > BACKLOG_MAX_BYTES and self._transport is not None:
            self._transport.pause_reading()
        self._wake()

    def connection_lost(self, error: Exception | None) -> None:
        """Closed, by whichever end."""
        self._wire.connections.discard(self)
        self._gone, self._gone_by = True, error
        if self._flight is not None and error is None:
            self.http.receive(b"")
        self._wake()

    def pause_writing(self) -> None:
        """The server takes bytes more slowly than they are given."""
        self._is_full = True

    def resume_writing(self) -> None:
        """It has taken most of them."""
        self._is_full = False
        self._wake()

    # the request's side

    def usable(self) -> bool:
        """Whether the server has kept it too."""
        return not self._gone and self._transport is not None and not self._transport.is_closing()

    async def open(
        self, method: str, headers: Headers, body: Content, *, place: Place, flight: Flight
    ) -> WireAnswer:
        """Send a request and wait for its answer's head. The connection is closed by whatever goes wrong."""
        try:
            head = await self.ask(flight, self.http.request(method, place, headers, body))
        except BaseException:
            self.discard()
            raise
        return self.answer(*head)

    async def ask(self, flight: Flight, request: tuple[bytes, Content]) -> tuple[int, Headers]:
        """Send a request, its beginning and the rest; gives the answer's status and headers. Raises
        ``WireError``."""
        assert self._transport is not None
        self._flight = flight
        self._backlog_bytes = 0
        flight.abandon, self.http.pool = self._abandon, flight.pool
        self._transport.write(request[0])
        if request[1] and (early := await self._send(request[1])) is not None:
            return early
        while (head := self.http.head()) is None:
            await self._wait(ResultClass.CONNECT)
        return head

    async def _send(self, rest: Content) -> tuple[int, Headers] | None:
        """Send as fast as the server takes it. One that answers before it has everything gets no more, and
        its connection is not used again: gives that answer's status and headers."""
        assert self._transport is not None
        for piece in pieces_of(rest):
            if not self._gone:
                self._transport.write(piece)
            if self._flight is not None:
                self._flight.moves(_clock.monotonic_ms())
            while self._is_full:
                self._unsent = True
                await self._wait(ResultClass.CONNECT)
                if (head := self.http.head()) is not None:
                    return head
            self._unsent = False
        return None

    async def read(self) -> bytes:
        """What has come of the body, b"" at its end. Raises ``WireError``."""
        while (data := self.http.body()) is None:
            await self._wait(ResultClass.CUT)
        if self._backlog_bytes > BACKLOG_MAX_BYTES and self._transport is not None:
            self._transport.resume_reading()
        self._backlog_bytes = 0
        return data

    def answer(self, status: int, headers: Headers) -> WireAnswer:
        """The answer with this head, its body to be read."""
        return WireAnswer(status, headers, self, read=self.read, read_closed=_read_closed)

    def release(self) -> None:
        """The answer is not needed any more: keep the connection if it was read to its end."""
        if self._flight is None:
            return
        self._flight = None
        if self.usable() and not self._unsent and self.http.reusable():
            self._wire.idle.give(self.key, self)
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
        flight = self._flight
        if flight is None:
            raise closed_here(failed_as)
        if self._gone:
            raise broken_off(flight.pool, failed_as, self._gone_by)
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
        """The timer has run out. If nobody waits, the next wait sets it again; if the flight may wait for
        longer by now, it looks again then."""
        self._timer = None
        flight, waiter = self._flight, self._waiter
        if flight is None or waiter is None or waiter.done():
            return
        if flight.due_ms > _clock.monotonic_ms():
            self._set_timer(flight.due_ms / 1_000)
        else:
            waiter.set_exception(nothing_in_time())

    def _abandon(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_exception(called_back())


async def _read_closed() -> bytes:
    raise closed_here()


class AsyncWire:
    """Every connection of one client, in one event loop."""

    def __init__(
        self,
        proxies: Proxies | None = None,
        names: Names | None = None,
        certificates: Certificates | None = None,
    ) -> None:
        self._certificates = certificates or Certificates()
        self.idle: Idle[AsyncConnection] = Idle()
        self.connections: set[AsyncConnection] = set()
        self._proxies = proxies or Proxies()
        self._names = names or Names()

    async def open(
        self, method: str, url: str, headers: Headers, body: Content, *, flight: Flight, connect_s: float
    ) -> WireAnswer:
        """Up to the answer's head. Raises ``WireError``: everything that goes wrong before it is a failed
        connection, except that a kept connection whose server has left it is replaced by a new one."""
        place = place_of(url)
        key = self._certificates.idle_key(place.key, flight.pool)
        if (connection := self.idle.take(key)) is not None:
            asked_s = _clock.monotonic_s()
            try:
                return await connection.open(method, headers, body, place=place, flight=flight)
            except WireError as error:
                if not is_stale(connection, error, flight, asked_s):
                    raise
        connection = await self._connect(place, flight, connect_s)
        return await connection.open(method, headers, body, place=place, flight=flight)

    def close(self) -> None:
        """Close every connection."""
        for connection in list(self.connections):
            connection.discard()

    def after_fork(self) -> None:
        """In the child: let go of the parent's connections without a word to their other ends."""
        for connection in self.connections:
            connection.forked()

    async def _connect(self, place: Place, flight: Flight, connect_s: float) -> AsyncConnection:
        proxy = self._proxies.proxy_for(place.key)
        left_s = max(0.0, flight.due_ms / 1_000 - _clock.monotonic_s())
        try:
            with _may_be_called_back(flight):
                async with asyncio.timeout(min(connect_s, left_s)):
                    connection = await self._dialled(place, proxy, flight.pool)
        except TimeoutError:
            raise not_connected_in_time(connect_s, left_s) from None
        except OSError as error:
            raise unreached(flight.pool, place.key, proxy, error) from None
        connection.http.proxy = None if place.tls else proxy
        self.connections.add(connection)
        return connection

    async def _dialled(self, place: Place, proxy: Proxy | None, pool: str) -> AsyncConnection:
        if proxy is None:
            return await self._upon(await dial(self._names, *place.key[1:]), place, pool)
        sock = await dial(self._names, proxy.host, proxy.port)
        tunnel = Tunnel(proxy, pool, place.key)
        if proxy.is_tls:
            return await self._within_tls(sock, place, tunnel)
        try:
            if place.tls:
                await lead_through(sock, tunnel)
        except BaseException:
            sock.close()
            raise
        return await self._upon(sock, place, pool)

    async def _upon(self, sock: socket.socket, place: Place, pool: str) -> AsyncConnection:
        certificates, host = self._certificates, place.key[1]
        context = certificates.context(certificates.name_for(pool)) if place.tls else None
        key = certificates.idle_key(place.key, pool)
        _, connection = await asyncio.get_running_loop().create_connection(
            lambda: AsyncConnection(self, key),
            sock=sock,
            ssl=context,
            server_hostname=host if place.tls else None,
        )
        return connection

    async def _within_tls(self, sock: socket.socket, place: Place, tunnel: Tunnel) -> AsyncConnection:
        """Over the TLS of a proxy, which is shown no certificate of the client's."""
        loop, certificates, proxy = asyncio.get_running_loop(), self._certificates, tunnel.proxy
        connection = AsyncConnection(self, certificates.idle_key(place.key, tunnel.pool))
        try:
            if not place.tls:
                await loop.create_connection(
                    lambda: connection, sock=sock, ssl=certificates.for_proxies, server_hostname=proxy.host
                )
                return connection
            outer = await tls_through(sock, tunnel, certificates.for_proxies)
        except ssl.SSLError as error:
            raise no_tls_with(proxy, tunnel.pool, error) from None
        context = certificates.context(certificates.name_for(tunnel.pool))
        try:
            await TlsTransport(outer, InnerTls(context, place.key[1]), connection).shaken
        except BaseException:
            outer.abort()
            raise
        return connection


@contextmanager
def _may_be_called_back(flight: Flight) -> Iterator[None]:
    """A flight may be called back while it connects, by cancelling its task. That cancellation becomes a
    ``WireError``; one that comes from elsewhere, also at the same moment, stays one."""
    task = asyncio.current_task()
    assert task is not None
    is_called_back = False
    before = task.cancelling()

    def abandon() -> None:
        nonlocal is_called_back
        is_called_back = True
        task.cancel()

    flight.abandon = abandon
    try:
        yield
    except asyncio.CancelledError:
        if is_called_back and task.uncancel() <= before:
            raise called_back() from None
        raise
    finally:
        flight.abandon = None
