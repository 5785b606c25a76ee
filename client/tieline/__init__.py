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
    from tieline._client import AsyncClient, offline
    from tieline._request.options import Timeouts, options
    from tieline._routing.route import Needs, Outcome, Reason, Route, Shed
    from tieline._sending.connection import Delivery
    from tieline._sync import Client
    from tieline._tables.status import Applied, State, Status
    from tieline.credentials import MissingCredentialError, Token
    from tieline.errors import (
        ClosedError,
        ConfigurationError,
        InvalidEventError,
        KafkaUnavailableError,
        MissingExtraError,
        MissingTopicError,
        ProducerClosedError,
        ProducerError,
        RefusedError,
        TielineError,
        TooLargeError,
    )
    from tieline.events import ResultClass
    from tieline.kafka import Brokers
    from tieline.producer import Producer, ProducerStatus
    from tieline.tokens import EntraToken, GoogleToken

_HOMES = {
    "Applied": "_tables.status",
    "AsyncClient": "_client",
    "Brokers": "kafka",
    "Client": "_sync",
    "ClosedError": "errors",
    "ConfigurationError": "errors",
    "Delivery": "_sending.connection",
    "EntraToken": "tokens",
    "GoogleToken": "tokens",
    "InvalidEventError": "errors",
    "KafkaUnavailableError": "errors",
    "MissingCredentialError": "credentials",
    "MissingExtraError": "errors",
    "MissingTopicError": "errors",
    "Needs": "_routing.route",
    "Outcome": "_routing.route",
    "Producer": "producer",
    "ProducerClosedError": "errors",
    "ProducerError": "errors",
    "ProducerStatus": "producer",
    "Reason": "_routing.route",
    "RefusedError": "errors",
    "ResultClass": "events",
    "Route": "_routing.route",
    "Shed": "_routing.route",
    "State": "_tables.status",
    "Status": "_tables.status",
    "TielineError": "errors",
    "Timeouts": "_request.options",
    "Token": "credentials",
    "TooLargeError": "errors",
    "offline": "_client",
    "options": "_request.options",
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
