"""Where tables come from and where reports go, by the address given. Optional packages are named here."""

import logging
from pathlib import Path
from typing import NamedTuple, TypeAlias

from tieline._reports.report import Sink
from tieline._setup.given import redis_url
from tieline._tables.checks import Source
from tieline._tables.file import FileSource
from tieline.credentials import Credential
from tieline.errors import ConfigurationError, MissingExtraError
from tieline.kafka import Brokers
from tieline.keys import Keys

Place: TypeAlias = str | Path | Source
_REDIS = ("redis://", "rediss://", "unix://")
_HTTP = ("https://", "http://")
_log = logging.getLogger("tieline")


class Wanted(NamedTuple):
    """What a client follows."""

    namespace: str
    workload: str
    origins: tuple[str, ...]
    token: Credential | None


def source(place: Place, wanted: Wanted) -> Source:
    """``redis://``, ``rediss://``, ``unix://``: Redis. ``https://``, ``http://``: a controller's endpoint. A
    path: a last good file. Anything with ``run(holder)`` is taken as it is.

    Raises ConfigurationError for an address that can't be one, MissingExtraError without the package.
    """
    if isinstance(place, Path):
        return FileSource(place, wanted.workload, wanted.origins)
    if not isinstance(place, str):
        return _checked(place)
    if place.startswith(_REDIS):
        return _redis(place, wanted)
    if place.startswith(_HTTP):
        return _http(place, wanted)
    if not place or "://" in place or place.rpartition(":")[2].isdigit():
        raise ConfigurationError(
            f"source={_shown(place)!r}: expected redis://host:port, https://host:port or the path of a file"
        )
    return FileSource(Path(place), wanted.workload, wanted.origins)


def sink(reports: str | Brokers | Sink | None, place: Place, wanted: Wanted) -> Sink | None:
    """Where reports go: a producer for the address of Kafka; the controller's endpoint if the table comes
    from there; else nowhere. Anything with ``post(event)`` is taken as it is."""
    if reports is None:
        return _http_sink(place, wanted) if isinstance(place, str) and place.startswith(_HTTP) else None
    if not isinstance(reports, str | Brokers):
        if not callable(getattr(reports, "post", None)):
            kind = type(reports).__name__
            raise ConfigurationError(f"kafka={kind}: expected host:port, tieline.Brokers(...), or a sink")
        return reports
    from tieline.producer import Producer

    return Producer(reports, prefix=wanted.namespace)


def _redis(url: str, wanted: Wanted) -> Source:
    try:
        from tieline._tables.redis import RedisSource
    except ImportError:
        raise MissingExtraError("redis", "redis") from None
    return RedisSource(redis_url(url), Keys(wanted.namespace), wanted.workload, wanted.origins)


def _http(url: str, wanted: Wanted) -> Source:
    from tieline._http.endpoint import Endpoint, http_engine, is_plain
    from tieline._tables.http import HttpSource

    http_engine()
    if is_plain(url):
        _log.warning("%s: table, reports and token travel unencrypted; use https://", _shown(url))
    return HttpSource(Endpoint(url, wanted.token), wanted.workload, wanted.origins)


def _http_sink(url: str, wanted: Wanted) -> Sink:
    from tieline._http.endpoint import Endpoint
    from tieline._reports.http_sink import HttpSink

    return HttpSink(Endpoint(url, wanted.token))


def _checked(given: Source) -> Source:
    if not callable(getattr(given, "run", None)):
        raise ConfigurationError(
            f"source={type(given).__name__}: expected an address, a path, or something with run(holder)"
        )
    return given


def _shown(place: str) -> str:
    """An address as it may be repeated: without what may be a password."""
    return place.rpartition("@")[2]
