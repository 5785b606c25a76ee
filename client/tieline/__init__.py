"""Tieline's client library: routes inference requests between providers, in memory.

Names are imported when they are first used, so that ``import tieline`` costs nothing and optional packages
stay optional.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tieline._brokers import Brokers
    from tieline._client import AsyncClient
    from tieline._errors import ClosedError, ConfigurationError, MissingExtraError, TielineError
    from tieline._offline import offline
    from tieline._options import Timeouts, options
    from tieline._producer import Producer
    from tieline._providers.credentials import Token
    from tieline._providers.tokens import EntraToken, GoogleToken
    from tieline._route import Needs, Outcome, Reason, Route, Shed
    from tieline._status import Applied, State, Status
    from tieline._sync import Client
    from tieline.events import ResultClass

_HOMES = {
    "Applied": "_status",
    "AsyncClient": "_client",
    "Brokers": "_brokers",
    "Client": "_sync",
    "ClosedError": "_errors",
    "ConfigurationError": "_errors",
    "EntraToken": "_providers.tokens",
    "GoogleToken": "_providers.tokens",
    "MissingExtraError": "_errors",
    "Needs": "_route",
    "Outcome": "_route",
    "Producer": "_producer",
    "Reason": "_route",
    "ResultClass": "events",
    "Route": "_route",
    "Shed": "_route",
    "State": "_status",
    "Status": "_status",
    "TielineError": "_errors",
    "Timeouts": "_options",
    "Token": "_providers.credentials",
    "offline": "_offline",
    "options": "_options",
}

__all__ = [
    "Applied",
    "AsyncClient",
    "Brokers",
    "Client",
    "ClosedError",
    "ConfigurationError",
    "EntraToken",
    "GoogleToken",
    "MissingExtraError",
    "Needs",
    "Outcome",
    "Producer",
    "Reason",
    "ResultClass",
    "Route",
    "Shed",
    "State",
    "Status",
    "TielineError",
    "Timeouts",
    "Token",
    "offline",
    "options",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'tieline' has no attribute {name!r}")
    value = getattr(import_module(f"tieline.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
