"""PURE. What an application gives its client, looked at before anything is done with it: a setting that can't
work is named at once, with what to give instead, and a secret is never repeated."""

import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
from msgspec import Struct

from tieline._request.options import Timeouts
from tieline.errors import ConfigurationError
from tieline.events import Name
from tieline.table import Generation
from tieline.topics import may_be_prefix

_GENERATION = re.compile(r"(.+):([0-9]+):([0-9]+)\Z")
_REDIS_EXPECTED = (
    "source: no usable address of Redis: expected redis://[user:password@]host:port/database, with "
    "percent-encoding for / ? # in a password"
)


class Given(Struct):
    """The arguments of a client that are values; each is checked as its type says."""

    workload: Any
    origin: Any
    origins: Any
    namespace: Any
    client_id: Any
    token: Any
    credentials: Any
    overlay_keys: Any
    timeouts: Any

    def check(self) -> None:
        """Raises ConfigurationError for the first that can't be."""
        for kind, items in (("origins", "names"), ("overlay_keys", "keys")):
            value = getattr(self, kind)
            if isinstance(value, str | Path) or not isinstance(value, Collection):
                raise ConfigurationError(f"{kind}={value!r}: expected a list of {items}, as in {kind}=[...]")
        _name("workload", self.workload)
        for origin in (self.origin, *self.origins):
            _name("origin", origin)
        if self.client_id is not None:
            _name("client_id", self.client_id)
        if not isinstance(self.namespace, str) or not may_be_prefix(self.namespace):
            raise ConfigurationError(f"namespace={self.namespace!r}: letters, digits and . _ - only")
        if self.token is not None:
            _secret("token", self.token)
        _credentials(self.credentials)
        if self.timeouts is not None and not isinstance(self.timeouts, Timeouts):
            raise ConfigurationError(f"timeouts={self.timeouts!r}: expected tieline.Timeouts(...)")


def generation(text: str) -> Generation:
    """``lineage:epoch:seq`` as a value. Raises ConfigurationError."""
    found = _GENERATION.match(text) if isinstance(text, str) else None
    if found is None:
        raise ConfigurationError(f"generation={text!r}: expected lineage:epoch:seq, as in status.generation")
    return Generation(found[1], int(found[2]), int(found[3]))


def redis_url(url: str) -> str:
    """Redis's address. Raises ConfigurationError for one that its library would misread."""
    try:
        parts = urlsplit(url)
        databases = [parts.path.strip("/"), *parse_qs(parts.query).get("db", [])]
        usable = parts.scheme == "unix" or (
            parts.port != 0 and not parts.fragment and all(not one or one.isdecimal() for one in databases)
        )
    except ValueError:
        usable = False
    if not usable:
        raise ConfigurationError(_REDIS_EXPECTED)
    return url


def _name(kind: str, value: Any) -> None:
    try:
        msgspec.convert(value, Name)
    except msgspec.ValidationError:
        raise ConfigurationError(
            f"{kind}={value!r} is no valid name: letters, digits and . _ + : - only, at most 96"
        ) from None


def _credentials(given: Any) -> None:
    if given is None:
        return
    if not isinstance(given, Mapping):
        raise ConfigurationError("credentials: expected a mapping from the names in the table to secrets")
    for name, value in given.items():
        if value is not None:  # from the environment then
            _secret(f"credentials[{name!r}]", value)


def _secret(place: str, value: Any) -> None:
    if not isinstance(value, str | Callable):
        kind = type(value).__name__
        raise ConfigurationError(f"{place}: expected a string or a function that gives one, not {kind}")
