"""Where an endpoint listens and with which certificate, how many connections its port takes, and for how long
one may stay there without a request.

Whoever opens connections and says nothing, or dictates a request a byte a minute, would hold descriptors
until none is left for Kafka and Redis. So a connection that makes no whole request within some seconds is
ended, and beyond the most that may be open at once the next one is closed as soon as it is there. A
connection that has made a request is the HTTP server's own affair: it ends one that is idle. Used by
`controller.web.server`, for callers and hooks, by `gateway.server` and by `monitor`; `picker.server` uses the
address and the certificate alone. Tested in tests/unit/controller/process/test_listening.py, and over sockets
in tests/integration/test_web_bounds.py.
"""

import asyncio
import ssl
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

from aiohttp import web

from controller.process.errors import SettingError
from tieline.errors import ConfigurationError
from tieline.private_files import read_private_file

REFUSED = "connections refused"
NO_REQUEST = "connections ended: no request"


class Listen(NamedTuple):
    """Where to listen, and the files of certificate and key for TLS."""

    host: str
    port: int
    certificate: Path | None = None
    key: Path | None = None

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the address."""
        return self.host == "localhost" or ip_address(self.host).is_loopback

    @property
    def address(self) -> str:
        """Host and port in one text, with brackets around the host where IPv6 needs them."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def read_listen(
    text: str, certificate: Path | None = None, key: Path | None = None, *, setting: str = "--listen"
) -> Listen:
    """The place in ``ADDRESS:PORT`` or ``[::1]:PORT``. Raises ``SettingError``, which names ``setting``."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    try:
        if host != "localhost":
            ip_address(host)
        number = int(port)
    except ValueError:
        number = -1
    if not 0 <= number < 65_536:
        raise SettingError(
            f"{setting} {text!r}: give an address and a port, e.g. 127.0.0.1:8440 or 0.0.0.0:8440"
        )
    if (certificate is None) != (key is None):
        raise SettingError("give both --tls-cert and --tls-key, or neither")
    return Listen(host, number, certificate, key=key)


def tls_context(
    listen: Listen, *, callers: Path | None = None, protocols: Sequence[str] = ()
) -> ssl.SSLContext | None:
    """What a server of TLS shows its callers; None without a certificate. ``callers``: a file with the
    authority whose certificate each of them must show. ``protocols``: what is spoken over it, for ALPN.
    Raises ``SettingError`` for files that can't be used, and for a key that others can read."""
    if listen.certificate is None or listen.key is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(listen.certificate, listen.key)
    except (OSError, ssl.SSLError) as error:
        raise SettingError(
            f"the certificate {listen.certificate} and its key can't be used: {error.strerror or error}"
        ) from None
    try:
        read_private_file(listen.key)
    except ConfigurationError as error:
        raise SettingError(f"the key for TLS: {error}") from None
    if callers is not None:
        try:
            context.load_verify_locations(callers)
        except (OSError, ssl.SSLError) as error:
            raise SettingError(
                f"the authority of callers {callers} can't be read: {error.strerror or error}"
            ) from None
        context.verify_mode = ssl.CERT_REQUIRED
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context


class ConnectionGate:
    """Makes the protocols of a listening socket. ``count`` is told of each connection that is turned away,
    as ``REFUSED`` or ``NO_REQUEST``."""

    def __init__(
        self,
        server: web.Server,
        *,
        connections_max: int,
        first_request_within_s: float,
        count: Callable[[str], None],
    ) -> None:
        self._server = server
        self._connections_max = connections_max
        self._first_request_within_s = first_request_within_s
        self._count = count
        self._is_closed = False
        self._mute: dict[int, asyncio.TimerHandle] = {}  # connections that have made no request yet

    def connect(self) -> asyncio.BaseProtocol:
        """The protocol of a new connection."""
        if self._is_closed:
            return _Refusal()
        # A connection in its TLS handshake is mute, and not yet among those of the server.
        open_now = {*self._mute, *map(id, self._server.connections)}
        if len(open_now) >= self._connections_max:
            self._count(REFUSED)
            return _Refusal()
        handler = self._server()
        # The timer keeps the handler alive, so that nothing else gets its id while it is a key here.
        loop = asyncio.get_running_loop()
        self._mute[id(handler)] = loop.call_later(self._first_request_within_s, self._end_mute, handler)
        return handler

    def close(self) -> None:
        """A connection that was taken before the socket was closed, and gets its protocol only now, is closed
        at once: the server would not know it at its end."""
        self._is_closed = True

    def note_request(self, request: web.BaseRequest) -> None:
        """A connection has made a request. Middleware calls it for each."""
        if (timer := self._mute.pop(id(request.protocol), None)) is not None:
            timer.cancel()

    def _end_mute(self, handler: web.RequestHandler) -> None:
        del self._mute[id(handler)]
        if handler.transport is not None:
            self._count(NO_REQUEST)
            handler.transport.abort()


class _Refusal(asyncio.Protocol):
    """Closes a connection at once, because there are too many, or the server has ended."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.abort()
