"""Tieline's client library: routes inference requests between pools of several providers, in memory.

What is public:

- the names in ``__all__``, from this package: ``AsyncClient``, ``Client``, ``offline`` and ``options`` to
  route requests; ``Producer`` and ``SyncProducer`` to send events; the values that these take and return; and
  their errors, which ``help(tieline.TielineError)`` draws as a tree;
- the modules without an underscore. For applications: ``testing`` (fake pools), ``metrics``, ``overlay``,
  ``credentials``, ``identity_tokens`` and ``request_signing``; for gateways ``forwarding``, for other
  proxies ``proxying``. For event producers, and for programs that read Tieline's topics and tables:
  ``events``, ``offers``, ``cloudevents``, ``registration``, ``topics``, ``table``, ``kafka``, ``keys``,
  ``providers``, ``model_paths``. Small tools are public because the rest of Tieline uses them: ``backoff``,
  ``cancelling`` and ``quantiles``.

Everything whose name begins with an underscore is private and may change. The private wings, from the call of
the application down to the wire: ``_setup`` (how a client is put together), ``_tables`` (where tables come
from), ``_routing`` (which pool), ``_health`` (which pools this process keeps away from), ``_request`` (one
request), ``_transports`` and ``_http`` (its way to the pool and back), ``_reports`` and ``_sending`` (what
was observed, and its way out), ``_process`` (clock and forks). Each explains itself in its ``__init__``.

Names are imported when they are first used. So ``import tieline`` loads nothing, and a package that is
optional is only needed by those who use it. Each public name has one home, the module in ``_HOMES``;
tests/unit/client/test_public_names.py keeps the lists below equal.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tieline import backoff as backoff
    from tieline import cancelling as cancelling
    from tieline import cloudevents as cloudevents
    from tieline import credentials as credentials
    from tieline import errors as errors
    from tieline import event_fields as event_fields
    from tieline import events as events
    from tieline import forwarding as forwarding
    from tieline import identity_tokens as identity_tokens
    from tieline import kafka as kafka
    from tieline import keys as keys
    from tieline import leader_events as leader_events
    from tieline import metrics as metrics
    from tieline import model_paths as model_paths
    from tieline import offers as offers
    from tieline import order_signing as order_signing
    from tieline import overlay as overlay
    from tieline import producer as producer
    from tieline import providers as providers
    from tieline import proxying as proxying
    from tieline import quantiles as quantiles
    from tieline import registration as registration
    from tieline import request_signing as request_signing
    from tieline import table as table
    from tieline import testing as testing
    from tieline import topics as topics
    from tieline._client import AsyncClient, offline
    from tieline._request.options import Timeouts, options
    from tieline._routing.route import Needs, Outcome, Reason, Route, Shed
    from tieline._sending.connection import Delivery
    from tieline._sync import Client
    from tieline._sync_producer import SyncProducer
    from tieline._tables.status import Applied, State, Status
    from tieline.credentials import ForHosts, MissingCredentialError, Token
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
        StreamRestartedError,
        TielineError,
        TooLargeError,
    )
    from tieline.events import ResultClass
    from tieline.identity_tokens import EntraToken, GoogleToken
    from tieline.kafka import Brokers
    from tieline.producer import Producer, ProducerStatus, Refusal
    from tieline.request_signing import OciSigner

_HOMES = {
    "_client": ("AsyncClient", "offline"),
    "_request.options": ("Timeouts", "options"),
    "_routing.route": ("Needs", "Outcome", "Reason", "Route", "Shed"),
    "_sending.connection": ("Delivery",),
    "_sync": ("Client",),
    "_sync_producer": ("SyncProducer",),
    "_tables.status": ("Applied", "State", "Status"),
    "credentials": ("ForHosts", "MissingCredentialError", "Token"),
    "errors": (
        "ClosedError",
        "ConfigurationError",
        "InvalidEventError",
        "KafkaUnavailableError",
        "MissingExtraError",
        "MissingTopicError",
        "ProducerClosedError",
        "ProducerError",
        "RefusedError",
        "StreamRestartedError",
        "TielineError",
        "TooLargeError",
    ),
    "events": ("ResultClass",),
    "kafka": ("Brokers",),
    "producer": ("Producer", "ProducerStatus", "Refusal"),
    "identity_tokens": ("EntraToken", "GoogleToken"),
    "request_signing": ("OciSigner",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
_MODULES = frozenset(
    {
        "backoff",
        "cancelling",
        "blame",
        "cloudevents",
        "credentials",
        "errors",
        "event_fields",
        "events",
        "forwarding",
        "kafka",
        "keys",
        "leader_events",
        "metrics",
        "misfits",
        "model_paths",
        "offers",
        "order_signing",
        "overlay",
        "private_files",
        "producer",
        "providers",
        "proxying",
        "quantiles",
        "redis_address",
        "redis_client",
        "redis_primary",
        "registration",
        "request_signing",
        "signatures",
        "table",
        "table_hints",
        "testing",
        "tls_faults",
        "unknown_values",
        "identity_tokens",
        "topics",
    }
)

__all__ = [
    "Applied",
    "AsyncClient",
    "Brokers",
    "Client",
    "ClosedError",
    "ConfigurationError",
    "Delivery",
    "EntraToken",
    "ForHosts",
    "GoogleToken",
    "InvalidEventError",
    "KafkaUnavailableError",
    "MissingCredentialError",
    "MissingExtraError",
    "MissingTopicError",
    "Needs",
    "OciSigner",
    "Outcome",
    "Producer",
    "ProducerClosedError",
    "ProducerError",
    "ProducerStatus",
    "Reason",
    "Refusal",
    "RefusedError",
    "ResultClass",
    "Route",
    "Shed",
    "State",
    "Status",
    "StreamRestartedError",
    "SyncProducer",
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
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'tieline' has no attribute {name!r}")
    value = getattr(import_module(f"tieline.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, *_MODULES})
