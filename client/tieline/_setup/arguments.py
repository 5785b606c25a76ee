"""PURE. Checks the arguments of a client before anything is done with them."""

import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from tieline._request.options import Timeouts, check_recovery
from tieline.errors import ConfigurationError
from tieline.event_fields import Name
from tieline.redis_address import RedisAddressError, parse_redis
from tieline.table import Generation
from tieline.topics import may_be_prefix

_LISTS = {"origins": "names", "overlay_keys": "keys", "controller_keys": "keys", "pool_hosts": "hosts"}
_GENERATION = re.compile(r"(.+):([0-9]+):([0-9]+)\Z")


class ClientArguments(Struct, frozen=True, kw_only=True):
    """The arguments of a client that are plain values, as the application passed them: of any type."""

    workload: Any
    origin: Any
    origins: Any
    namespace: Any
    client_id: Any
    token: Any
    credentials: Any
    overlay_keys: Any
    controller_keys: Any
    pool_hosts: Any
    timeouts: Any
    stream_recovery: Any
    stream_recovery_bytes_max: Any

    def check(self) -> None:
        """Raise ConfigurationError for the first argument that can't work."""
        for argument, items in _LISTS.items():
            value = getattr(self, argument)
            if isinstance(value, str | Path) or not isinstance(value, Collection):
                raise ConfigurationError(
                    f"{argument}={value!r}: expected a list of {items}: {argument}=[...]"
                )
        for host in self.pool_hosts:
            if not isinstance(host, str) or not host.strip() or "/" in host or host != host.lower():
                raise ConfigurationError(
                    f"pool_hosts: {host!r}: expected a host in small letters such as '*.openai.azure.com', "
                    "with a port behind it if only that one is meant"
                )
        _check_name("workload", self.workload)
        for origin in (self.origin, *self.origins):
            _check_name("origin", origin)
        if self.client_id is not None:
            _check_name("client_id", self.client_id)
        if not isinstance(self.namespace, str) or not may_be_prefix(self.namespace):
            raise ConfigurationError(
                f"namespace={self.namespace!r}: expected letters, digits and . _ -, at most 100"
            )
        if self.token is not None:
            _check_secret("token", self.token)
        _check_credentials(self.credentials)
        if self.timeouts is not None and not isinstance(self.timeouts, Timeouts):
            raise ConfigurationError(f"timeouts={self.timeouts!r}: expected tieline.Timeouts(...)")
        check_recovery("stream_recovery", self.stream_recovery)
        bytes_max = self.stream_recovery_bytes_max
        if not isinstance(bytes_max, int) or bytes_max < 1:
            raise ConfigurationError(
                f"stream_recovery_bytes_max={bytes_max!r}: expected a number of bytes above 0"
            )


def parse_generation(text: str) -> Generation:
    """``lineage:epoch:seq`` as a value. Raises ConfigurationError."""
    match = _GENERATION.match(text) if isinstance(text, str) else None
    if match is None:
        raise ConfigurationError(f"generation={text!r}: expected lineage:epoch:seq, as in status.generation")
    return Generation(match[1], int(match[2]), int(match[3]))


def checked_redis_url(url: str, argument: str = "source") -> str:
    """The address of Redis that an argument names. Raises ConfigurationError for one that redis-py would
    misread."""
    try:
        parse_redis(url)
    except RedisAddressError as error:
        raise ConfigurationError(f"{argument} is not a usable address of Redis: {error}") from None
    return url


def _check_name(argument: str, value: Any) -> None:
    try:
        msgspec.convert(value, Name)
    except msgspec.ValidationError:
        raise ConfigurationError(
            f"{argument}={value!r} is not a valid name: letters, digits and . _ + : - only, at most 96"
        ) from None


def _check_credentials(credentials: Any) -> None:
    if credentials is None:
        return
    if not isinstance(credentials, Mapping):
        raise ConfigurationError("credentials: expected a mapping from the names in the table to secrets")
    for name, entry in credentials.items():
        value = entry.secret if hasattr(entry, "hosts") else entry
        is_signer = callable(getattr(value, "sign", None))
        if value is not None and not is_signer:  # None: the secret comes from the environment
            _check_secret(f"credentials[{name!r}]", value)


def _check_secret(argument: str, value: Any) -> None:
    if not isinstance(value, str | Callable):
        kind = type(value).__name__
        raise ConfigurationError(f"{argument}: expected a string or a function that returns one, not {kind}")
