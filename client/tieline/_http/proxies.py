"""Proxies between a client and the pools: the one that the application names, or what the environment says by
``HTTPS_PROXY``, ``HTTP_PROXY``, ``ALL_PROXY`` and ``NO_PROXY``, read as httpx reads them.

An https pool is reached through a tunnel (CONNECT, RFC 9110, section 9.3.6), in which TLS is spoken with the
pool itself. An http pool is asked for by its whole URL (RFC 9112, section 3.2.2). The connection to the proxy
is encrypted too where its URL is an https one.
"""

import ssl
from base64 import b64encode
from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies

from msgspec import Struct

from tieline._http.failures import not_connected
from tieline._http.messages import Headers, WireError
from tieline.errors import ConfigurationError
from tieline.events import ResultClass

TUNNEL_HEAD_MAX_BYTES = 16 * 1024
_PORTS = {"http": 80, "https": 443}
_EXPECTED = "expected http:// or https://[user:password@]host:port; SOCKS is not supported"

Key = tuple[str, str, int]  # scheme, host, port


class Proxy(Struct, frozen=True):
    """``authorization``: the value of its own header, b"" without a user. ``is_tls``: the connection to it is
    encrypted."""

    host: str
    port: int
    authorization: bytes = b""
    is_tls: bool = False

    def __repr__(self) -> str:
        return f"Proxy({self.host}:{self.port})"

    @property
    def headers(self) -> Headers:
        """What each request to it says."""
        return [(b"proxy-authorization", self.authorization)] if self.authorization else []


class Proxies(Struct, frozen=True):
    """A proxy by the pool's scheme, and the hosts that are reached without one."""

    by_scheme: Mapping[str, Proxy] = {}
    exceptions: tuple[str, ...] = ()

    def proxy_for(self, key: Key) -> Proxy | None:
        """The proxy through which this place is reached, or None."""
        proxy = self.by_scheme.get(key[0])
        if proxy is None or any(_covers(exception, key) for exception in self.exceptions):
            return None
        return proxy


class Tunnel:
    """Sans I/O: a proxy is asked to connect to a pool. Send ``request``, then ``receive`` what comes."""

    def __init__(self, proxy: Proxy, pool: str, key: Key) -> None:
        self.proxy = proxy
        self.pool = pool
        _, host, port = key
        place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        lines = [f"CONNECT {place} HTTP/1.1".encode(), b"Host: " + place.encode()]
        lines += [name + b": " + value for name, value in proxy.headers]
        self.request = b"\r\n".join([*lines, b"", b""])
        self._said = f"the proxy {proxy.host}:{proxy.port} gave {pool} no connection to {place}"
        self._head = b""

    def receive(self, data: bytes) -> bool:
        """Whether the tunnel stands; b"" means that no more will come. Raises ``WireError``."""
        self._head += data
        head, end, _ = self._head.partition(b"\r\n\r\n")
        if end:
            status = head.split(b"\r\n", 1)[0].split(b" ", 2)[1:2]
            if head.startswith(b"HTTP/1.") and status and status[0].startswith(b"2"):
                return True
            status_text = status[0].decode("latin-1") if status else "no HTTP status"
            raise WireError(ResultClass.CONNECT, f"{self._said}: HTTP {status_text}")
        if not data:
            raise WireError(ResultClass.CONNECT, f"{self._said}: it closed the connection")
        if len(self._head) > TUNNEL_HEAD_MAX_BYTES:
            raise WireError(ResultClass.CONNECT, f"{self._said}: its answer is too long")
        return False


def proxies_of(proxy: str | None) -> Proxies:
    """The proxy of this URL for every place; None for those of the environment, "" for none at all. Raises
    ConfigurationError."""
    if proxy is not None:
        return Proxies(dict.fromkeys(("http", "https"), _proxy_of("proxy", proxy)) if proxy else {})
    urls = getproxies()
    exceptions = tuple(entry.strip().lower() for entry in urls.get("no", "").split(",") if entry.strip())
    by_scheme = {}
    for scheme in ("http", "https"):
        name = scheme if urls.get(scheme) else "all"
        if url := urls.get(name):
            by_scheme[scheme] = _proxy_of(f"{name.upper()}_PROXY", url)
    return Proxies(by_scheme, exceptions)


def unreached(pool: str, key: Key, proxy: Proxy | None, error: OSError) -> WireError:
    """No connection: the pool's fault, or the proxy's before it. An error of TLS is the pool's; one of the
    proxy's own TLS is raised as ``no_tls_with``."""
    if proxy is None or isinstance(error, ssl.SSLError):
        return not_connected(pool, key[1], key[2], error)
    return not_connected(f"the proxy for {pool}", proxy.host, proxy.port, error)


def no_tls_with(proxy: Proxy, pool: str, error: ssl.SSLError) -> WireError:
    """The proxy of a pool has no certificate that is trusted, or speaks no TLS."""
    return not_connected(f"the proxy for {pool}", proxy.host, proxy.port, error)


def _proxy_of(name: str, url: object) -> Proxy:
    """``name``: where it was stated. Its value may hold a password and is not repeated."""
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}") if isinstance(url, str) else None
        usable = parts is not None and parts.scheme in _PORTS and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if parts is None or not usable:
        raise ConfigurationError(f"{name}: not a usable proxy: {_EXPECTED}")
    authorization = b""
    if parts.username is not None:
        user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = b"Basic " + b64encode(user.encode())
    return Proxy(
        parts.hostname or "",
        parts.port or _PORTS[parts.scheme],
        authorization,
        is_tls=parts.scheme == "https",
    )


def _covers(exception: str, key: Key) -> bool:
    """Whether an entry of ``NO_PROXY`` covers a place: ``*``, a name and all below it, ``.name`` for those
    below it only, an address, a network; each may have a scheme before and a port behind it."""
    scheme, host, port = key
    own_scheme, _, entry = exception.rpartition("://")
    if own_scheme not in ("", "all", scheme):
        return False
    if "/" in entry:
        return _in_network(host, entry)
    entry, own_port = _without_port(entry)
    if own_port not in ("", str(port)):
        return False
    entry = entry.removeprefix("*") if entry != "*" else entry
    if entry == "*" or entry == host:
        return True
    return host.endswith(entry if entry.startswith(".") else f".{entry}") and not _is_address(host)


def _without_port(entry: str) -> tuple[str, str]:
    if entry.startswith("["):
        host, _, port = entry[1:].partition("]")
        return host, port.removeprefix(":")
    host, separator, port = entry.rpartition(":")
    return (host, port) if separator and ":" not in host else (entry, "")


def _in_network(host: str, network: str) -> bool:
    try:
        return ip_address(host) in ip_network(network, strict=False)
    except ValueError:
        return False


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
