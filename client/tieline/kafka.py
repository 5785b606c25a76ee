"""Where Kafka is, and how to authenticate: one value that every connection is made from."""

from __future__ import annotations

import asyncio
import logging
import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tieline.cancelling import whole
from tieline.errors import ConfigurationError
from tieline.tls_faults import advice_on, tls_fault

PLAIN, SCRAM_256, SCRAM_512 = "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"
OAUTH = "OAUTHBEARER"
MECHANISMS = (PLAIN, SCRAM_256, SCRAM_512, OAUTH)
REQUEST_TIMEOUT_MS = 5_000  # of one request of a consumer or admin client, until Kafka counts as away
CONNECT_GRACE_S = 1.0  # to a connection that is being made when its task is cancelled
REFUSAL_WITHIN_S = 1.0  # a handshake, and the alert of a broker that wants another client certificate
_SERVER = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:\d{1,5})?\Z")


_log = logging.getLogger("tieline")


@dataclass(frozen=True, slots=True)
class Brokers:
    """``servers``: ``host:port[,host:port...]``. ``tls``: None for a connection that is not encrypted.

    ``mechanism``: one of ``MECHANISMS``, with ``username`` and ``password``; empty for no SASL. For
    OAUTHBEARER ``token`` takes their place: a function that returns a token, called in a thread whenever a
    connection is made. A client certificate is given to ``tls`` instead. ``str()`` of it is the servers
    alone, without secrets.
    """

    servers: str
    tls: ssl.SSLContext | None = None
    mechanism: str = ""
    username: str = ""
    password: str = field(default="", repr=False)
    token: Callable[[], str] | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return self.servers

    @property
    def protocol(self) -> str:
        """Kafka's ``security.protocol``."""
        if self.mechanism:
            return "SASL_SSL" if self.tls else "SASL_PLAINTEXT"
        return "SSL" if self.tls else "PLAINTEXT"

    def arguments(self) -> dict[str, Any]:
        """The arguments that every aiokafka client takes to connect."""
        arguments: dict[str, Any] = {"bootstrap_servers": self.servers, "security_protocol": self.protocol}
        if self.tls:
            arguments["ssl_context"] = self.tls
        if self.mechanism == OAUTH:
            arguments |= {"sasl_mechanism": OAUTH, "sasl_oauth_token_provider": _provider(self.token)}
        elif self.mechanism:
            arguments |= {
                "sasl_mechanism": self.mechanism,
                "sasl_plain_username": self.username,
                "sasl_plain_password": self.password,
            }
        return arguments

    # What connects to these brokers is made here and nowhere else: the simulator has brokers of its own.

    def consumer(self, *topics: str, **options: Any) -> Any:
        """A consumer, not connected yet (``connect``). ``options``: those of aiokafka."""
        from aiokafka import AIOKafkaConsumer

        return AIOKafkaConsumer(*topics, **self.arguments(), **options)

    def producer(self, **options: Any) -> Any:
        """A producer, not connected yet."""
        from aiokafka import AIOKafkaProducer

        return AIOKafkaProducer(**self.arguments(), **options)

    def admin(self, **options: Any) -> Any:
        """A client for topics and groups, not connected yet."""
        from aiokafka.admin import AIOKafkaAdminClient

        return AIOKafkaAdminClient(**self.arguments(), **options)

    def client(self, **options: Any) -> Any:
        """A client for single requests of Kafka's protocol, not connected yet."""
        from aiokafka.client import AIOKafkaClient

        return AIOKafkaClient(**self.arguments(), **options)


def _provider(token: Callable[[], str] | None) -> Any:
    """What aiokafka asks for a token."""
    from aiokafka.abc import AbstractTokenProvider

    if token is None:
        raise ConfigurationError(f"kafka: mechanism={OAUTH!r} needs token=, a function that returns a token")
    ask = token

    class Provider(AbstractTokenProvider):  # type: ignore[misc]
        async def token(self) -> str:
            return await asyncio.to_thread(ask)

    return Provider()


def brokers_of(kafka: str | Brokers) -> Brokers:
    """``Brokers`` as they are, and text as the servers of a Kafka without TLS and SASL."""
    return Brokers(kafka) if isinstance(kafka, str) else kafka


async def connect(client: Any) -> None:
    """Start an aiokafka producer, consumer or admin client. Raises what its ``start`` raises; where TLS is
    the reason, the error says what is wrong with it, and its cause is the error of OpenSSL.

    aiokafka loses sight of its first connection when it is cancelled while it asks for the brokers. So a
    start that is cancelled gets a second to end; with a Kafka that answers it needs milliseconds.
    """
    from aiokafka.errors import KafkaConnectionError

    try:
        await whole(client.start(), grace_s=CONNECT_GRACE_S)
    except KafkaConnectionError:
        if (refusal := await _tls_refusal(client)) is not None:
            server, error = refusal
            raise KafkaConnectionError(f"TLS with {server} fails: {advice_on(error)}") from error
        raise


async def _tls_refusal(client: Any) -> tuple[str, BaseException] | None:
    """(server, why TLS with it fails) for the first server with which it does; None if that is not the
    reason. aiokafka only logs the reason, so one more handshake asks for it.

    A broker that wants another client certificate says so after the handshake, in TLS 1.3.
    """
    inner = getattr(client, "client", None) or client._client
    if (context := getattr(inner, "_ssl_context", None)) is None:
        return None
    for host, port, _ in inner.hosts:
        try:
            async with asyncio.timeout(REFUSAL_WITHIN_S):
                reader, writer = await asyncio.open_connection(host, port, ssl=context)
                try:
                    await reader.read(1)
                finally:
                    writer.transport.abort()
        except OSError as error:  # also TimeoutError, of a broker that waits for our request as it should
            if tls_fault(error) is not None:
                return f"{host}:{port}", error
    return None


async def close_consumer(consumer: Any) -> None:
    """Close an aiokafka consumer, also when the caller is cancelled meanwhile. May be called again.

    ``stop`` ends before it has closed the connections when a fetch had failed or waits to be tried again, so
    they are closed here. That needs a private attribute of aiokafka.
    """
    await whole(_close_consumer(consumer))


async def _close_consumer(consumer: Any) -> None:
    try:
        await consumer.stop()
    except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001  whatever had failed, it has to go
        _log.debug("a consumer of Kafka could not be closed in order: %s", error or type(error).__name__)
    finally:
        await consumer._client.close()


def checked_brokers(kafka: Any) -> Brokers:
    """``kafka``, which the application passed, as ``Brokers``. Raises ConfigurationError for an address or a
    mechanism that can't work."""
    brokers = brokers_of(kafka)
    if not isinstance(brokers, Brokers):
        raise ConfigurationError(f"kafka={type(kafka).__name__}: expected host:port or tieline.Brokers(...)")
    if not all(_SERVER.match(server.strip()) for server in brokers.servers.split(",")):
        shown = brokers.servers.rpartition("@")[2]  # without what may be a password
        raise ConfigurationError(f"kafka={shown!r}: expected host:port[,host:port...] without a scheme")
    if brokers.mechanism and brokers.mechanism not in MECHANISMS:
        raise ConfigurationError(
            f"kafka: mechanism={brokers.mechanism!r}: expected one of {', '.join(MECHANISMS)}"
        )
    if (brokers.mechanism == OAUTH) != (brokers.token is not None):
        raise ConfigurationError(f"kafka: token= and mechanism={OAUTH!r} go together")
    return brokers
