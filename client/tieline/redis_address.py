"""PURE. Addresses of Redis: one server, servers behind Sentinels, or a cluster.

``redis://host:port/0``, ``rediss://`` with TLS, ``unix:///path``
    One server. It is read by redis-py's own rules.
``redis+sentinel://host:port,host:port,host:port/name/0``
    The Sentinels, the name that they know the primary by, and the number of the database.
``redis+cluster://host:port,host:port,host:port``
    Some nodes of a cluster. One of them has to answer, so name several.

``rediss+sentinel://`` and ``rediss+cluster://`` are the same with TLS, also to the Sentinels. User, password
and options are those of the servers. Sentinels get the options ``sentinel_user`` and ``sentinel_password``.

Tests: tests/unit/client/test_redis_address.py.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from msgspec import Struct

EXPECTED = (
    "expected redis://host:port/0, redis+sentinel://host:port,host:port/name/0, "
    "redis+cluster://host:port,host:port, or rediss in the place of redis with TLS, "
    "with percent-encoding for / ? # , in a password"
)
PLAIN_SCHEMES = ("redis", "rediss", "unix")
SENTINEL, CLUSTER = "sentinel", "cluster"
SCHEMES = (*PLAIN_SCHEMES, *(f"{base}+{kind}" for base in PLAIN_SCHEMES[:2] for kind in (SENTINEL, CLUSTER)))
SERVER_PORT, SENTINEL_PORT = 6379, 26379
NODES_MAX = 32
_SENTINEL_OPTIONS = ("sentinel_user", "sentinel_password")


class Place(NamedTuple):
    """Where a server listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class RedisAddress(Struct, frozen=True, kw_only=True):
    """``url``: what redis-py takes for the server; behind Sentinels and on a cluster its host is only one of
    ``nodes``. ``nodes``: URLs of those that know where the primary is; empty for one server. ``service``: the
    name that Sentinels know the primary by."""

    kind: Literal["server", "sentinel", "cluster"]
    url: str
    nodes: tuple[str, ...] = ()
    service: str = ""


class RedisAddressError(ValueError):
    """An address that can't be used. The message repeats nothing of it, as it may hold a password."""


def is_redis(address: str) -> bool:
    """Whether an address is meant as one of Redis, valid or not."""
    return address.partition("://")[0] in SCHEMES and "://" in address


def parse_redis(address: str) -> RedisAddress:
    """What an address names. Raises RedisAddressError."""
    try:
        return _parsed(address)
    except RedisAddressError:
        raise
    except ValueError:  # its message repeats a part of the address
        raise RedisAddressError(EXPECTED) from None


def _parsed(address: str) -> RedisAddress:
    parts = urlsplit(address)
    if parts.scheme not in SCHEMES or parts.fragment:
        raise RedisAddressError(EXPECTED)
    base, _, kind = parts.scheme.partition("+")
    if not kind:
        _check_plain(address)
        return RedisAddress(kind="server", url=address)
    user, _, hosts = parts.netloc.rpartition("@")
    path = [part for part in parts.path.split("/") if part]
    places = [_place(text, SENTINEL_PORT if kind == SENTINEL else SERVER_PORT) for text in hosts.split(",")]
    if len(places) > NODES_MAX:
        raise RedisAddressError(f"at most {NODES_MAX} nodes may be named")
    options = dict(parse_qsl(parts.query))
    for_nodes = {name: options.pop(name, "") for name in _SENTINEL_OPTIONS}
    if kind == CLUSTER:
        if path not in ([], ["0"]) or any(for_nodes.values()) or options.get("db", "0") != "0":
            raise RedisAddressError(
                "a cluster has no name and only database 0: leave out what follows its nodes"
            )
        urls = tuple(_url(base, user, place, options=options) for place in places)
        return RedisAddress(kind="cluster", url=urls[0], nodes=urls)
    if not path or len(path) > 2 or not all(part.isdecimal() for part in path[1:]):
        raise RedisAddressError(
            "the path must be the name that the Sentinels know the primary by, and may have the number of "
            "the database after it, e.g. /mymaster/0"
        )
    login = (
        f"{for_nodes['sentinel_user']}:{for_nodes['sentinel_password']}" if any(for_nodes.values()) else ""
    )
    return RedisAddress(
        kind="sentinel",
        url=_url(base, user, places[0], database="".join(path[1:]), options=options),
        nodes=tuple(_url(base, _quoted(login), place, options=options) for place in places),
        service=path[0],
    )


def _check_plain(address: str) -> None:
    parts = urlsplit(address)
    databases = [parts.path.strip("/"), dict(parse_qsl(parts.query)).get("db", "")]
    numbered = all(not database or database.isdecimal() for database in databases)
    if parts.scheme != "unix" and (parts.port == 0 or not numbered):
        raise RedisAddressError(EXPECTED)


def _place(text: str, port: int) -> Place:
    """``host``, ``host:port`` or ``[address]:port``. Raises ValueError."""
    parts = urlsplit(f"//{text}")
    if not parts.hostname or parts.port == 0 or parts.path or "@" in text:
        raise RedisAddressError(EXPECTED)
    return Place(parts.hostname, parts.port or port)


def _url(base: str, user: str, place: Place, *, database: str = "", options: Mapping[str, str]) -> str:
    login = f"{user}@" if user else ""
    query = f"?{urlencode(options)}" if options else ""
    return f"{base}://{login}{place}/{database}{query}"


def _quoted(login: str) -> str:
    return quote(login, safe=":")
