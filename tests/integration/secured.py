"""A Kafka that asks for TLS and a password, a token or a certificate, and that has users with rights of their
own; and a Valkey that does so too. For the tests beside this."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from controller.cli.access_rules import ROLES
from lab.stack.cache import cache_directory
from lab.stack.jars import ensure_jars
from lab.stack.kafka import Kafka
from lab.stack.server import LOOPBACK
from lab.stack.stack import silent
from lab.stack.valkey import Valkey
from tests.integration.certificates import certificate

USER, PASSWORD = "tieline", "p@ss:w/rd %1"
AUDIENCE = "kafka"
ROLE_USERS = {role: f"secured-{role}".replace("_", "-") for role in ROLES}
BLOCK_BYTES = 64 * 1024


class SecuredKafka(Kafka):
    """Clients come in by the third port: TLS, then SASL, PLAIN, SCRAM-SHA-512 or OAUTHBEARER; by the fourth:
    TLS with a certificate of their own; or by the fifth, which is for users that have the rights of one role.
    The two behind it, ``EXPIRED`` and ``ELSEWHERE``, show certificates that have to be refused: one that has
    expired, and one for another address.
    """

    ports_needed = 7
    format_options = (f"--add-scram=SCRAM-SHA-512=[name={USER},password={PASSWORD}]",)
    certificate: Path
    refused: Mapping[str, Path]
    client_certificate: Path
    token_keys: Path

    def _java(self) -> list[str]:
        program, *options = super()._java()
        return [
            program,
            f"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={self.token_keys.as_uri()}",
            *options,
        ]

    def command(self) -> list[str]:
        """Later settings win over earlier ones; the plain listener stays for the question if it answers."""
        plain, controller, secure, mutual, users, expired, elsewhere = self.ports
        jaas = "org.apache.kafka.common.security"
        plain_module = f"{jaas}.plain.PlainLoginModule required"
        passwords = " ".join(f'user_{name}="{PASSWORD}"' for name in (USER, *ROLE_USERS.values()))
        refused = dict(zip(self.refused, (expired, elsewhere), strict=True))
        listeners = {"PLAINTEXT": plain, "SECURE": secure, "MUTUAL": mutual, "USERS": users, **refused}
        advertised = ",".join(f"{name}://{LOOPBACK}:{port}" for name, port in listeners.items())
        settings = {
            "listeners": f"{advertised},CONTROLLER://{LOOPBACK}:{controller}",
            "advertised.listeners": advertised,
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,SECURE:SASL_SSL,MUTUAL:SSL,"
            "USERS:SASL_SSL,EXPIRED:SSL,ELSEWHERE:SSL,CONTROLLER:PLAINTEXT",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": f"User:ANONYMOUS;User:{USER};User:CN=app",
            "listener.name.mutual.ssl.client.auth": "required",
            "listener.name.mutual.ssl.truststore.type": "PEM",
            "listener.name.mutual.ssl.truststore.location": self.client_certificate,
            "listener.name.users.sasl.enabled.mechanisms": "PLAIN",
            "listener.name.users.plain.sasl.jaas.config": f"{plain_module} {passwords};",
            "listener.name.secure.oauthbearer.sasl.jaas.config": f"{jaas}.oauthbearer.OAuthBearerLoginModule "
            "required;",
            "listener.name.secure.oauthbearer.sasl.server.callback.handler.class": f"{jaas}.oauthbearer."
            "OAuthBearerValidatorCallbackHandler",
            "listener.name.secure.sasl.oauthbearer.jwks.endpoint.url": self.token_keys.as_uri(),
            "listener.name.secure.sasl.oauthbearer.expected.audience": AUDIENCE,
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": self.certificate,
            "listener.name.secure.sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-512,OAUTHBEARER",
            "listener.name.secure.plain.sasl.jaas.config": f"{jaas}.plain.PlainLoginModule required "
            f'user_{USER}="{PASSWORD}";',
            "listener.name.secure.scram-sha-512.sasl.jaas.config": f"{jaas}.scram.ScramLoginModule required;",
        }
        for name, shown in self.refused.items():
            settings[f"listener.name.{name.lower()}.ssl.keystore.type"] = "PEM"
            settings[f"listener.name.{name.lower()}.ssl.keystore.location"] = shown
        with (self.place / "server.properties").open("a") as file:
            file.writelines(f"{name}={value}\n" for name, value in settings.items())
        return super().command()


class LockedValkey(Valkey):
    """Answers nobody without the password; TLS is put in front of it."""

    def command(self) -> list[str]:
        """With a password from the start."""
        return [*super().command(), "--requirepass", PASSWORD]

    async def answers(self) -> bool:
        """It says that it wants a password."""
        try:
            reader, writer = await asyncio.open_connection(LOOPBACK, self.port)
        except OSError:
            return False
        writer.write(b"PING\r\n")
        said = await reader.readline()
        writer.close()
        await writer.wait_closed()
        return said.startswith(b"-NOAUTH")


@dataclass
class Secured:
    """Where both are; ``settings`` lets a command in."""

    kafka: str
    redis: str
    authorities: Path
    settings: dict[str, str]
    stack: tuple[SecuredKafka, LockedValkey]
    place: Path


@asynccontextmanager
async def secured(place: Path) -> AsyncIterator[Secured]:
    """Both, running."""
    authority, key_and_certificate = certificates(place)
    password = place / "password"
    password.write_text(PASSWORD + "\n")
    kafka = SecuredKafka(place / "kafka", await asyncio.to_thread(ensure_jars, cache_directory(), silent))
    kafka.certificate = key_and_certificate
    kafka.refused = {
        "EXPIRED": certificate(place, "expired-server", ends_in=-timedelta(days=1)),
        "ELSEWHERE": certificate(place, "elsewhere", address="127.0.0.9"),
    }
    kafka.client_certificate, _ = certificates(place / "app", "app")
    certificates(place / "stranger", "app")
    kafka.token_keys = place / "token-keys.json"
    token_key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    kafka.token_keys.write_bytes(key_set(token_key))
    (place / "token").write_text(token_for(token_key, lasts_s=3_600))
    (place / "expired").write_text(token_for(token_key, lasts_s=-600))
    valkey = LockedValkey(place / "valkey")
    async with AsyncExitStack() as undo:
        undo.push_async_callback(kafka.kill)
        undo.push_async_callback(valkey.kill)
        await asyncio.gather(kafka.start(), valkey.start())
        port = await undo.enter_async_context(tls_in_front(valkey.port, key_and_certificate))
        settings = {
            "TIELINE_KAFKA": f"{LOOPBACK}:{kafka.ports[2]}",
            "TIELINE_KAFKA_CA_FILE": str(authority),
            "TIELINE_KAFKA_SASL": "SCRAM-SHA-512",
            "TIELINE_KAFKA_USER": USER,
            "TIELINE_KAFKA_PASSWORD_FILE": str(password),
            "TIELINE_REDIS": f"rediss://{LOOPBACK}:{port}/0",
            "TIELINE_REDIS_CA_FILE": str(authority),
            "TIELINE_REDIS_PASSWORD_FILE": str(password),
        }
        servers = settings["TIELINE_KAFKA"], settings["TIELINE_REDIS"]
        yield Secured(*servers, authority, settings=settings, stack=(kafka, valkey), place=place)


def key_set(key: rsa.RSAPrivateKey) -> bytes:
    """The public half as a JSON Web Key Set, which the broker checks tokens with."""
    numbers = key.public_key().public_numbers()
    parts = {"n": numbers.n, "e": numbers.e}
    texts = {name: _text(number.to_bytes((number.bit_length() + 7) // 8)) for name, number in parts.items()}
    return json.dumps(
        {"keys": [{"kty": "RSA", "kid": "one", "use": "sig", "alg": "RS256", **texts}]}
    ).encode()


def token_for(key: rsa.RSAPrivateKey, *, lasts_s: int) -> str:
    """A JSON Web Token of the user, as an identity provider would give it out."""
    now_s = int(time.time())
    claims = {"sub": USER, "aud": AUDIENCE, "iat": now_s - 1_000, "exp": now_s + lasts_s}
    head = _text(json.dumps({"alg": "RS256", "kid": "one", "typ": "JWT"}).encode())
    signed = f"{head}.{_text(json.dumps(claims).encode())}"
    return f"{signed}.{_text(key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def certificates(place: Path, name: str = "local") -> tuple[Path, Path]:
    """A certificate that is its own authority, and one file of key and certificate for servers."""
    place.mkdir(exist_ok=True)
    key, certificate, both = place / "key.pem", place / "certificate.pem", place / "server.pem"
    openssl = (
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        f"/CN={name}",
    )
    names = ["-addext", f"subjectAltName=IP:{LOOPBACK},DNS:localhost"]
    subprocess.run([*openssl, *names, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    both.write_text(key.read_text() + certificate.read_text())
    return certificate, both


@asynccontextmanager
async def tls_in_front(port: int, certificate: Path) -> AsyncIterator[int]:
    """A port that speaks TLS and hands everything on to ``port``."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection(LOOPBACK, port)
        await asyncio.gather(_pump(reader, inner_writer), _pump(inner_reader, writer))

    server = await asyncio.start_server(serve, LOOPBACK, 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while block := await reader.read(BLOCK_BYTES):
            writer.write(block)
            await writer.drain()
    except (OSError, ssl.SSLError):
        pass  # one side is gone: so is the other
    finally:
        writer.close()
