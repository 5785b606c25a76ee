"""Makes the source of tables and the sink of reports from the addresses that the application passed."""

import logging
from pathlib import Path
from typing import NamedTuple, TypeAlias

from tieline._reports.reporter import Sink
from tieline._request.memory import SharedHolders
from tieline._setup.arguments import checked_redis_url
from tieline._tables.checks import TableSource
from tieline._tables.last_good import FileSource
from tieline.credentials import SecretSource
from tieline.errors import ConfigurationError, MissingExtraError
from tieline.kafka import Brokers
from tieline.keys import Keys
from tieline.redis_address import is_redis

SourceAddress: TypeAlias = str | Path | TableSource
_HTTP = ("https://", "http://")
_log = logging.getLogger("tieline")


class Subscription(NamedTuple):
    """Which tables a client follows. ``token``: what a controller's endpoint asks for."""

    namespace: str
    workload: str
    origins: tuple[str, ...]
    token: SecretSource | None

    def __repr__(self) -> str:
        return f"Subscription({self.namespace!r}, {self.workload!r}, {self.origins!r})"  # without the token


def source_at(address: SourceAddress, subscription: Subscription) -> TableSource:
    """The source of tables. ``redis://``, ``rediss://``, ``unix://``, ``redis+sentinel://``,
    ``redis+cluster://``: Redis (``tieline.redis_address``). ``https://``, ``http://``: a controller's
    endpoint. A path: a last good file. Anything with ``run(subscriber)`` is taken as it is.

    Raises ConfigurationError for an address that can't work, MissingExtraError without the package it needs.
    """
    if isinstance(address, Path):
        return FileSource(address, subscription.workload, subscription.origins)
    if not isinstance(address, str):
        return _checked(address)
    if is_redis(address):
        return _redis(address, subscription)
    if address.startswith(_HTTP):
        return _http(address, subscription)
    if not address or "://" in address or address.rpartition(":")[2].isdigit():
        raise ConfigurationError(
            f"source={_shown(address)!r}: expected redis://host:port, https://host:port or the path of a file"
        )
    return FileSource(Path(address), subscription.workload, subscription.origins)


def sink_at(
    reports: str | Brokers | Sink | None, address: SourceAddress, subscription: Subscription
) -> Sink | None:
    """Where reports go: for an address of Kafka a producer; for None the controller's endpoint if the table
    comes from there (``address``), otherwise nowhere. Anything with ``post(event)`` is taken as it is."""
    if reports is None:
        over_http = isinstance(address, str) and address.startswith(_HTTP)
        return _http_sink(str(address), subscription) if over_http else None
    if not isinstance(reports, str | Brokers):
        if not callable(getattr(reports, "post", None)):
            kind = type(reports).__name__
            raise ConfigurationError(f"kafka={kind}: expected host:port, tieline.Brokers(...), or a sink")
        return reports
    from tieline.producer import Producer

    return Producer(reports, prefix=subscription.namespace)


def shared_holders_at(address: str | None, namespace: str) -> SharedHolders | None:
    """What processes share of which pool holds what, at this address of Redis; None for None. Raises
    ConfigurationError for what is no such address, MissingExtraError without the package that it needs."""
    if address is None:
        return None
    if not isinstance(address, str) or not is_redis(address):
        shown = _shown(address) if isinstance(address, str) else type(address).__name__
        raise ConfigurationError(f"holders={shown!r}: expected redis://host:port, or None to share nothing")
    try:
        from tieline._tables.shared_holders import RedisHolders
    except ImportError:
        raise MissingExtraError("redis", "redis") from None
    return RedisHolders(checked_redis_url(address, "holders"), Keys(namespace))


def _redis(url: str, subscription: Subscription) -> TableSource:
    try:
        from tieline._tables.redis import RedisSource
    except ImportError:
        raise MissingExtraError("redis", "redis") from None
    keys = Keys(subscription.namespace)
    return RedisSource(
        checked_redis_url(url), keys, workload=subscription.workload, origins=subscription.origins
    )


def _http(url: str, subscription: Subscription) -> TableSource:
    from tieline._http.endpoint import Endpoint, http_engine, is_plain
    from tieline._tables.http import HttpSource

    http_engine()
    if is_plain(url):
        _log.warning("%s: table, reports and token travel unencrypted; use https://", _shown(url))
    endpoint = Endpoint(url, subscription.token)
    return HttpSource(endpoint, subscription.workload, subscription.origins)


def _http_sink(url: str, subscription: Subscription) -> Sink:
    from tieline._http.endpoint import Endpoint
    from tieline._reports.http_sink import HttpSink

    return HttpSink(Endpoint(url, subscription.token))


def _checked(source: TableSource) -> TableSource:
    if not callable(getattr(source, "run", None)):
        kind = type(source).__name__
        raise ConfigurationError(
            f"source={kind}: expected an address, a path, or something with run(subscriber)"
        )
    return source


def _shown(address: str) -> str:
    """The address as an error may repeat it: without what may be a password."""
    return address.rpartition("@")[2]
