"""Tieline's client library: routes inference requests between providers, in memory.

Names are imported when they are first used, so that ``import tieline`` costs nothing and optional packages
stay optional.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tieline import cloudevents as cloudevents
    from tieline import events as events
    from tieline import metrics as metrics
    from tieline import overlay as overlay
    from tieline import table as table
    from tieline import testing as testing
    from tieline import topics as topics
    from tieline._brokers import Brokers
    from tieline._client import AsyncClient
    from tieline._errors import ClosedError, ConfigurationError, MissingExtraError, TielineError
    from tieline._link import (
        Delivery,
        InvalidEventError,
        KafkaUnavailableError,
        MissingTopicError,
        ProducerClosedError,
        ProducerError,
        RefusedError,
        TooLargeError,
    )
    from tieline._offline import offline
    from tieline._options import Timeouts, options
    from tieline._producer import Producer, ProducerStatus
    from tieline._providers.credentials import MissingCredentialError, Token
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
    "Delivery": "_link",
    "EntraToken": "_providers.tokens",
    "GoogleToken": "_providers.tokens",
    "InvalidEventError": "_link",
    "KafkaUnavailableError": "_link",
    "MissingCredentialError": "_providers.credentials",
    "MissingExtraError": "_errors",
    "MissingTopicError": "_link",
    "Needs": "_route",
    "Outcome": "_route",
    "Producer": "_producer",
    "ProducerClosedError": "_link",
    "ProducerError": "_link",
    "ProducerStatus": "_producer",
    "Reason": "_route",
    "RefusedError": "_link",
    "ResultClass": "events",
    "Route": "_route",
    "Shed": "_route",
    "State": "_status",
    "Status": "_status",
    "TielineError": "_errors",
    "Timeouts": "_options",
    "Token": "_providers.credentials",
    "TooLargeError": "_link",
    "offline": "_offline",
    "options": "_options",
}
_MODULES = frozenset({"cloudevents", "events", "metrics", "overlay", "table", "testing", "topics"})

__all__ = [
    "Applied",
    "AsyncClient",
    "Brokers",
    "Client",
    "ClosedError",
    "ConfigurationError",
    "Delivery",
    "EntraToken",
    "GoogleToken",
    "InvalidEventError",
    "KafkaUnavailableError",
    "MissingCredentialError",
    "MissingExtraError",
    "MissingTopicError",
    "Needs",
    "Outcome",
    "Producer",
    "ProducerClosedError",
    "ProducerError",
    "ProducerStatus",
    "Reason",
    "RefusedError",
    "ResultClass",
    "Route",
    "Shed",
    "State",
    "Status",
    "TielineError",
    "Timeouts",
    "Token",
    "TooLargeError",
    "offline",
    "options",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"tieline.{name}")
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'tieline' has no attribute {name!r}")
    value = getattr(import_module(f"tieline.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, *_MODULES})
