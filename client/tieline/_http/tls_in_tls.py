"""TLS with a pool within the TLS of a proxy, for blocking and for asynchronous connections.

``ssl`` can't wrap a socket that it has wrapped already, and asyncio can't start TLS over TLS before Python
3.11.8 without losing its errors. So the inner TLS works on memory (``InnerTls``, sans I/O), and the outer
connection carries its records::

    request -> InnerTls -> records -> outer TLS -> proxy -> records -> pool
"""

import asyncio
import ssl
from typing import Any

RECORDS_BYTES = 64 * 1024


class InnerTls:
    """PURE, sans I/O. One TLS connection with ``host``: records in and out, and what they carry. Whatever is
    called may leave ``records`` to send. Each method raises ``ssl.SSLError`` for what the other end does
    wrong."""

    def __init__(self, context: ssl.SSLContext, host: str) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)

    def receive(self, records: bytes) -> None:
        """Records as they came; b"" when no more will come."""
        if records:
            self._incoming.write(records)
        else:
            self._incoming.write_eof()

    def records(self) -> bytes:
        """What is to be sent now."""
        return self._outgoing.read()

    def handshake(self) -> bool:
        """Whether hands are shaken; otherwise more has to come."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def write(self, data: bytes | memoryview) -> None:
        """Turn data into records: all of it, as memory has no end."""
        rest = memoryview(data)
        while rest:
            rest = rest[self._tls.write(rest) :]

    def read(self) -> bytes | None:
        """Some of what has come; b"" at the end, whether or not the other end said goodbye, None while more
        has to come."""
        try:
            return self._tls.read(RECORDS_BYTES)
        except ssl.SSLWantReadError:
            return None
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""


class TlsSocket:
    """What a ``SyncConnection`` needs of a socket. Its methods raise OSError as a socket's own do; a time-out
    counts for each wait of the outer socket."""

    def __init__(self, outer: ssl.SSLSocket, inner: InnerTls) -> None:
        """Shakes hands. Leaves the outer socket open when that fails."""
        self._outer = outer
        self._inner = inner
        while not inner.handshake():
            self._exchange()
        self._send_records()

    def sendall(self, data: bytes | memoryview) -> None:
        """All of it, or an error."""
        self._inner.write(data)
        self._send_records()

    def recv(self, _size: int) -> bytes:
        """What has come, b"" at the end."""
        while (data := self._inner.read()) is None:
            self._exchange()
        return data

    def settimeout(self, timeout_s: float) -> None:
        """For each wait from now on."""
        self._outer.settimeout(timeout_s)

    def fileno(self) -> int:
        """Of the connection to the proxy, on which all that comes arrives."""
        return self._outer.fileno()

    def shutdown(self, how: int) -> None:
        """Wake whoever waits; from any thread."""
        self._outer.shutdown(how)

    def close(self) -> None:
        """Close the connection to the proxy, and with it the one to the pool."""
        self._outer.close()

    def _exchange(self) -> None:
        self._send_records()
        self._inner.receive(self._outer.recv(RECORDS_BYTES))

    def _send_records(self) -> None:
        if records := self._inner.records():
            self._outer.sendall(records)


class TlsTransport(asyncio.Transport, asyncio.Protocol):
    """The transport of a protocol that is carried by another transport, whose protocol it is. It begins to
    shake hands at once; await ``shaken``."""

    def __init__(self, outer: asyncio.Transport, inner: InnerTls, carried: asyncio.Protocol) -> None:
        super().__init__()
        self._outer = outer
        self._inner = inner
        self._carried = carried
        self.shaken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        outer.set_protocol(self)
        self._advance()

    # the outer transport's side

    def data_received(self, data: bytes) -> None:
        """Records of the inner TLS; those that come after the connection was closed here are dropped."""
        if not self._outer.is_closing():
            self._inner.receive(data)
            self._advance()

    def connection_lost(self, error: Exception | None) -> None:
        """The proxy's connection is closed, by whichever end."""
        if self.shaken.done():
            self._carried.connection_lost(error)
        else:
            self.shaken.set_exception(error or ConnectionResetError("closed during the TLS handshake"))

    def pause_writing(self) -> None:
        """The proxy takes bytes more slowly than they are given."""
        self._carried.pause_writing()

    def resume_writing(self) -> None:
        """It has taken most of them."""
        self._carried.resume_writing()

    # the carried protocol's side

    def write(self, data: Any) -> None:
        """Send it as fast as the proxy takes it; nothing once the connection is closing."""
        if not self._outer.is_closing():
            self._inner.write(data)
            self._outer.write(self._inner.records())

    def is_closing(self) -> bool:
        """Whether nothing can be sent any more."""
        return self._outer.is_closing()

    def pause_reading(self) -> None:
        """Take no more bytes for now."""
        self._outer.pause_reading()

    def resume_reading(self) -> None:
        """Take bytes again."""
        self._outer.resume_reading()

    def abort(self) -> None:
        """Close at once, whatever is on its way."""
        self._outer.abort()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """What the outer transport knows: its socket, for instance."""
        return self._outer.get_extra_info(name, default)

    def _advance(self) -> None:
        """As far as what has come allows."""
        try:
            if not self.shaken.done() and self._inner.handshake():
                self.shaken.set_result(None)
                self._carried.connection_made(self)
            while self.shaken.done() and (data := self._inner.read()) is not None:
                if not data:
                    self._outer.abort()
                    return
                self._carried.data_received(data)
        except ssl.SSLError as error:
            if not self.shaken.done():
                self.shaken.set_exception(error)
            self._outer.abort()
        finally:
            if records := self._inner.records():
                self._outer.write(records)
