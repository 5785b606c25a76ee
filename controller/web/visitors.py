"""Who may look at the page: by bearer token, by a browser's session, or signed in by a reverse proxy.

A browser can't send a bearer token with each request, so its user types the token once and gets a session: a
cookie that scripts can't read and other sites can't send. It holds an expiry and its HMAC under the token's
digest. So any endpoint with the same tokens knows the session, nothing is stored, and a session ends together
with its token. Pure, but for the clock that the caller passes.
"""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from http.cookies import CookieError, SimpleCookie
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from controller.process.errors import SettingError
from controller.web.admission import Tokens

SESSION_COOKIE = "tieline_session"
SESSION_MS = 12 * 3_600_000
PURPOSE = b"tieline-session-1:"
NAME_MAX = 200
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class ProxyTrust:
    """A header in which a reverse proxy names whom it has signed in, believed only from these addresses."""

    header: str = ""
    networks: tuple[Network, ...] = ()

    def name(self, peer: str, value: str) -> str:
        """Whom the proxy at ``peer`` has signed in; empty if it named nobody or is not trusted."""
        if not self.header or not value.strip() or not self.includes(peer):
            return ""
        return value.strip()[:NAME_MAX]

    def includes(self, peer: str) -> bool:
        """Whether the address is one of the trusted proxies."""
        try:
            address = ip_address(peer.partition("%")[0])
        except ValueError:
            return False
        return any(address in network for network in self.networks)


def read_proxy_trust(header: str | None, addresses: Sequence[str]) -> ProxyTrust:
    """What ``--trusted-header`` and ``--trusted-proxy`` say. Raises ``SettingError``."""
    if bool(header) != bool(addresses):
        raise SettingError(
            "give both --trusted-header and --trusted-proxy, or neither: the header is believed only from "
            "the proxies that are named"
        )
    if header and not all(char.isalnum() or char == "-" for char in header):
        raise SettingError(f"--trusted-header {header!r}: give the name of a header, e.g. X-Forwarded-Email")
    networks = []
    for address in addresses:
        try:
            networks.append(ip_network(address))
        except ValueError:
            raise SettingError(
                f"--trusted-proxy {address!r}: give an address or a network, e.g. 10.0.0.5 or 10.0.0.0/24"
            ) from None
    return ProxyTrust(header or "", tuple(networks))


@dataclass(frozen=True, slots=True)
class Caller:
    """What a request says of who sends it: the address it comes from, and four of its headers."""

    peer: str
    host: str = ""
    authorization: str = ""
    cookie: str = ""
    signed_in: str = ""  # the value of the trusted header


class Visitors:
    """Decides who may look at the page: without tokens and a trusted proxy, everybody on this machine."""

    def __init__(self, tokens: Tokens, proxy: ProxyTrust) -> None:
        self._tokens = tokens
        self._proxy = proxy

    @property
    def needs_sign_in(self) -> bool:
        """Whether a browser without a session must type a token."""
        return len(self._tokens) > 0

    def allowed(self, caller: Caller, now_ms: int) -> bool:
        """Whether the caller may look."""
        if self._proxy.name(caller.peer, caller.signed_in):
            return True
        if not self._tokens:
            return not self._proxy.header and _is_loopback_name(caller.host)
        if self._tokens.allowed(caller.authorization):
            return True
        return self._is_session(_cookie(caller.cookie, SESSION_COOKIE), now_ms)

    def session_for(self, token: str, now_ms: int) -> str | None:
        """The cookie for whoever typed this token; None if it is not valid."""
        if not self._tokens or not self._tokens.allowed(f"Bearer {token}"):
            return None
        expires_ms = now_ms + SESSION_MS
        return f"{expires_ms}.{_mark(sha256(token.strip().encode()).digest(), expires_ms)}"

    def _is_session(self, cookie: str, now_ms: int) -> bool:
        text, _, mark = cookie.partition(".")
        if not text.isascii() or not text.isdigit() or len(text) > 16 or not mark.isascii():
            return False
        expires_ms = int(text)
        marks = [_mark(digest, expires_ms) for digest in self._tokens.digests]
        fits = sum(hmac.compare_digest(mark, expected) for expected in marks)
        return fits > 0 and now_ms < expires_ms


def _mark(digest: bytes, expires_ms: int) -> str:
    return hmac.new(digest, PURPOSE + str(expires_ms).encode(), sha256).hexdigest()


def _cookie(header: str, name: str) -> str:
    try:
        morsel = SimpleCookie(header).get(name)
    except CookieError:
        return ""
    return morsel.value if morsel is not None else ""


def _is_loopback_name(host: str) -> bool:
    """Whether a browser asked for this machine by one of its own names. Another name that leads here was put
    into the DNS by somebody, who could then read the page through a visitor's browser."""
    name = host.rsplit("]", 1)[0].lstrip("[") if host.startswith("[") else host.partition(":")[0]
    return name.lower() in LOOPBACK_NAMES
