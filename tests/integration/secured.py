"""A Kafka that asks for TLS and a password, and a Valkey that does so too, for the tests beside this."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.stack.cache import cache_directory
from lab.stack.jars import ensure_jars
from lab.stack.kafka import Kafka
from lab.stack.server import LOOPBACK
from lab.stack.stack import silent
from lab.stack.valkey import Valkey

USER, PASSWORD = "tieline", "p@ss:w/rd %1"
BLOCK_BYTES = 64 * 1024


class SecuredKafka(Kafka):
    """Clients come in by the third port: TLS, then SASL, PLAIN or SCRAM-SHA-512."""

    ports_needed = 3
    format_options = (f"--add-scram=SCRAM-SHA-512=[name={USER},password={PASSWORD}]",)
    certificate: Path

    def command(self) -> list[str]:
        """Later settings win over earlier ones; the plain listener stays for the question if it answers."""
        plain, controller, secure = self.ports
        jaas = "org.apache.kafka.common.security"
        settings = {
            "listeners": f"PLAINTEXT://{LOOPBACK}:{plain},SECURE://{LOOPBACK}:{secure},"
            f"CONTROLLER://{LOOPBACK}:{controller}",
            "advertised.listeners": f"PLAINTEXT://{LOOPBACK}:{plain},SECURE://{LOOPBACK}:{secure}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,SECURE:SASL_SSL,CONTROLLER:PLAINTEXT",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": self.certificate,
            "listener.name.secure.sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-512",
            "listener.name.secure.plain.sasl.jaas.config": f"{jaas}.plain.PlainLoginModule required "
            f'user_{USER}="{PASSWORD}";',
            "listener.name.secure.scram-sha-512.sasl.jaas.config": f"{jaas}.scram.ScramLoginModule required;",
        }
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


@asynccontextmanager
async def secured(place: Path) -> AsyncIterator[Secured]:
    """Both, running."""
    certificate, key_and_certificate = certificates(place)
    password = place / "password"
    password.write_text(PASSWORD + "\n")
    kafka = SecuredKafka(place / "kafka", await asyncio.to_thread(ensure_jars, cache_directory(), silent))
    kafka.certificate = key_and_certificate
    valkey = LockedValkey(place / "valkey")
    async with AsyncExitStack() as undo:
        undo.push_async_callback(kafka.kill)
        undo.push_async_callback(valkey.kill)
        await asyncio.gather(kafka.start(), valkey.start())
        port = await undo.enter_async_context(tls_in_front(valkey.port, key_and_certificate))
        settings = {
            "TIELINE_KAFKA": f"{LOOPBACK}:{kafka.ports[2]}",
            "TIELINE_KAFKA_CA_FILE": str(certificate),
            "TIELINE_KAFKA_SASL": "SCRAM-SHA-512",
            "TIELINE_KAFKA_USER": USER,
            "TIELINE_KAFKA_PASSWORD_FILE": str(password),
            "TIELINE_REDIS": f"rediss://{LOOPBACK}:{port}/0",
            "TIELINE_REDIS_CA_FILE": str(certificate),
            "TIELINE_REDIS_PASSWORD_FILE": str(password),
        }
        yield Secured(settings["TIELINE_KAFKA"], settings["TIELINE_REDIS"], certificate, settings)


def certificates(place: Path) -> tuple[Path, Path]:
    """A certificate that is its own authority, and one file of key and certificate for servers."""
    key, certificate, both = place / "key.pem", place / "certificate.pem", place / "server.pem"
    openssl = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=local")
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
