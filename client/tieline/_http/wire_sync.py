"""The connections of a synchronous client: blocking sockets around ``Http1``, used in the caller's own
thread.

A request that waits in ``recv`` is called back from another thread by shutting its socket down.
"""

import contextlib
import select
import socket
import ssl

from tieline._http.connections import Idle, WireAnswer, is_stale
from tieline._http.content import Content, pieces_of
from tieline._http.dial_sync import dial, lead_through
from tieline._http.failures import (
    broken_off,
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
from tieline._http.tls_in_tls import InnerTls, TlsSocket
from tieline._process import clock as _clock
from tieline._process.fork import let_go
from tieline.events import ResultClass

READ_BYTES = 64 * 1024


class SyncConnection:
    """One connection, one request at a time."""

    def __init__(self, wire: "SyncWire", key: IdleKey, sock: socket.socket | TlsSocket) -> None:
        self.key = key
        self.http = Http1()
        self.opened_s = _clock.monotonic_s()
        self.idle_until_s = 0.0
        self._wire = wire
        self._sock = sock
        self._flight: Flight | None = None

    def usable(self) -> bool:
        """Whether the server has kept it too: one on which something has come, between two requests, is being
        closed."""
        with contextlib.suppress(OSError, ValueError):
            poll = select.poll()
            poll.register(self._sock, select.POLLIN)
            return not poll.poll(0)
        return False

    def open(
        self, method: str, headers: Headers, body: Content, *, place: Place, flight: Flight
    ) -> WireAnswer:
        """Send a request and wait for its answer's head. The connection is closed by whatever goes wrong."""
        try:
            head = self.ask(flight, self.http.request(method, place, headers, body))
        except BaseException:
            self.discard()
            raise
        return self.answer(*head)

    def ask(self, flight: Flight, request: tuple[bytes, Content]) -> tuple[int, Headers]:
        """Send a request, its beginning and the rest; gives the answer's status and headers. Raises
        ``WireError``."""
        self._flight, self.http.pool = flight, flight.pool
        flight.abandon = lambda: self._abandon(flight)
        try:
            self._sock.settimeout(self._left_s())
            self._sock.sendall(request[0])
            for piece in pieces_of(request[1]) if request[1] else ():
                self._sock.settimeout(self._left_s())
                self._sock.sendall(piece)
                flight.moves(_clock.monotonic_ms())
        except TimeoutError:
            raise nothing_in_time() from None
        except OSError:
            pass  # a server that closes before it has read everything may have answered: reading tells
        while (head := self.http.head()) is None:
            self._wait(ResultClass.CONNECT)
        return head

    def read(self) -> bytes:
        """What has come of the body, b"" at its end. Raises ``WireError``."""
        while (data := self.http.body()) is None:
            self._wait(ResultClass.CUT)
        return data

    def answer(self, status: int, headers: Headers) -> WireAnswer:
        """The answer with this head, its body to be read."""
        return WireAnswer(status, headers, self, read=self.read, read_closed=_read_closed)

    def release(self) -> None:
        """The answer is not needed any more: keep the connection if it was read to its end."""
        if self._flight is None:
            return
        self._flight = None
        if self.http.reusable():
            self._wire.idle.give(self.key, self)
        else:
            self.discard()

    def discard(self) -> None:
        """Close it."""
        self._flight = None
        self._wire.connections.pop(self, None)
        with contextlib.suppress(OSError):
            self._sock.close()

    def forked(self) -> None:
        """In the child: the connection is the parent's."""
        let_go(self._sock)

    def _wait(self, failed_as: ResultClass) -> None:
        try:
            self._sock.settimeout(self._left_s())
            self.http.receive(self._sock.recv(READ_BYTES))
        except OSError as error:
            raise self._failure(error, failed_as) from None

    def _left_s(self) -> float:
        flight = self._flight
        if flight is None:
            raise closed_here()
        left_s = flight.due_ms / 1_000 - _clock.monotonic_s()
        if left_s <= 0 or flight.abandoned:
            raise nothing_in_time()
        return left_s

    def _failure(self, error: OSError, failed_as: ResultClass) -> WireError:
        if isinstance(error, TimeoutError):
            return nothing_in_time()
        return broken_off(self.http.pool, failed_as, error)

    def _abandon(self, flight: Flight) -> None:
        """From another thread: whoever waits in ``recv`` wakes. The connection may carry another flight by
        then."""
        if self._flight is flight:
            with contextlib.suppress(OSError):
                self._sock.shutdown(socket.SHUT_RDWR)


def _read_closed() -> bytes:
    raise closed_here()


class SyncWire:
    """Every connection of one client, for all its threads."""

    def __init__(
        self,
        proxies: Proxies | None = None,
        names: Names | None = None,
        certificates: Certificates | None = None,
    ) -> None:
        self._certificates = certificates or Certificates()
        self.idle: Idle[SyncConnection] = Idle()
        self.connections: dict[SyncConnection, None] = {}
        self._proxies = proxies or Proxies()
        self._names = names or Names()

    def open(
        self, method: str, url: str, headers: Headers, body: Content, *, flight: Flight, connect_s: float
    ) -> WireAnswer:
        """As ``AsyncWire.open``."""
        place = place_of(url)
        key = self._certificates.idle_key(place.key, flight.pool)
        if (connection := self.idle.take(key)) is not None:
            asked_s = _clock.monotonic_s()
            try:
                return connection.open(method, headers, body, place=place, flight=flight)
            except WireError as error:
                if not is_stale(connection, error, flight, asked_s):
                    raise
        connection = self._connect(place, flight, connect_s)
        return connection.open(method, headers, body, place=place, flight=flight)

    def close(self) -> None:
        """Close every connection."""
        for connection in list(self.connections):
            connection.discard()

    def after_fork(self) -> None:
        """In the child: let go of the parent's connections without a word to their other ends."""
        for connection in list(self.connections):
            connection.forked()

    def _connect(self, place: Place, flight: Flight, connect_s: float) -> SyncConnection:
        proxy = self._proxies.proxy_for(place.key)
        left_s = max(0.001, flight.due_ms / 1_000 - _clock.monotonic_s())
        try:
            sock = self._dialled(place, proxy, flight.pool, _clock.monotonic_s() + min(connect_s, left_s))
        except TimeoutError:
            raise not_connected_in_time(connect_s, left_s) from None
        except OSError as error:
            raise unreached(flight.pool, place.key, proxy, error) from None
        connection = SyncConnection(self, self._certificates.idle_key(place.key, flight.pool), sock)
        connection.http.proxy = None if place.tls else proxy
        self.connections[connection] = None
        return connection

    def _dialled(
        self, place: Place, proxy: Proxy | None, pool: str, until_s: float
    ) -> socket.socket | TlsSocket:
        host, port = (proxy.host, proxy.port) if proxy is not None else place.key[1:]
        sock = dial(self._names, host, port, until_s=until_s)
        try:
            if proxy is not None and proxy.is_tls:
                sock = self._proxy_tls(sock, proxy, pool, until_s)
            if proxy is not None and place.tls:
                lead_through(sock, Tunnel(proxy, pool, place.key), until_s)
            _set_time(sock, until_s)
            if not place.tls:
                return sock
            context = self._certificates.context(self._certificates.name_for(pool))
            if isinstance(sock, ssl.SSLSocket):
                return TlsSocket(sock, InnerTls(context, place.key[1]))
            return context.wrap_socket(sock, server_hostname=place.key[1])
        except BaseException:
            sock.close()
            raise

    def _proxy_tls(self, sock: socket.socket, proxy: Proxy, pool: str, until_s: float) -> socket.socket:
        """The proxy is shown no certificate of the client's."""
        _set_time(sock, until_s)
        try:
            return self._certificates.for_proxies.wrap_socket(sock, server_hostname=proxy.host)
        except ssl.SSLError as error:
            raise no_tls_with(proxy, pool, error) from None


def _set_time(sock: socket.socket, until_s: float) -> None:
    sock.settimeout(max(0.001, until_s - _clock.monotonic_s()))
