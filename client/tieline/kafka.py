"""Where Kafka is, and how to be let in: one value that every connection is made from."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass, field
from typing import Any

from tieline.errors import ConfigurationError

PLAIN, SCRAM_256, SCRAM_512 = "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"
MECHANISMS = (PLAIN, SCRAM_256, SCRAM_512)
_SERVER = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:\d{1,5})?\Z")


@dataclass(frozen=True, slots=True)
class Brokers:
    """``servers`` is ``host:port[,host:port...]``. ``tls``: None is an open connection.

    ``mechanism``: one of ``MECHANISMS`` with ``username`` and ``password``, or empty for no SASL; whoever
    shows a certificate instead gives it to ``tls``. Printed, it is the servers alone.
    """

    servers: str
    tls: ssl.SSLContext | None = None
    mechanism: str = ""
    username: str = ""
    password: str = field(default="", repr=False)

    def __str__(self) -> str:
        return self.servers

    @property
    def protocol(self) -> str:
        """What Kafka calls ``security.protocol``."""
        if self.mechanism:
            return "SASL_SSL" if self.tls else "SASL_PLAINTEXT"
        return "SSL" if self.tls else "PLAINTEXT"

    def arguments(self) -> dict[str, Any]:
        """What every aiokafka client takes to connect."""
        told: dict[str, Any] = {"bootstrap_servers": self.servers, "security_protocol": self.protocol}
        if self.tls:
            told["ssl_context"] = self.tls
        if self.mechanism:
            told |= {
                "sasl_mechanism": self.mechanism,
                "sasl_plain_username": self.username,
                "sasl_plain_password": self.password,
            }
        return told


def brokers_of(kafka: str | Brokers) -> Brokers:
    """The servers of an open Kafka may be given as text."""
    return Brokers(kafka) if isinstance(kafka, str) else kafka


def connecting(kafka: str | Brokers) -> dict[str, Any]:
    """The arguments of an aiokafka client: ``AIOKafkaProducer(**connecting(kafka), acks="all")``."""
    return brokers_of(kafka).arguments()


def checked_brokers(given: Any) -> Brokers:
    """Kafka's address. Raises ConfigurationError for one that can't be."""
    kafka = Brokers(given) if isinstance(given, str) else given
    if not isinstance(kafka, Brokers):
        raise ConfigurationError(f"kafka={type(given).__name__}: expected host:port or tieline.Brokers(...)")
    if not all(_SERVER.match(server.strip()) for server in kafka.servers.split(",")):
        shown = kafka.servers.rpartition("@")[2]
        raise ConfigurationError(f"kafka={shown!r}: expected host:port[,host:port...] without any scheme")
    if kafka.mechanism and kafka.mechanism not in MECHANISMS:
        raise ConfigurationError(f"kafka: mechanism={kafka.mechanism!r} is none of {', '.join(MECHANISMS)}")
    return kafka
