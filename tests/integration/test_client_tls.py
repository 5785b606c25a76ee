"""Pools over TLS: a certificate that the environment trusts is taken, any other is a failed connection."""

import asyncio
import datetime
import ssl
from collections.abc import AsyncIterator, Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

import tieline
from tests.integration.routed import MODEL, ORIGIN, SETTINGS, WORKLOAD, pool_info, table
from tieline._tables.last_good import write_last_good
from tieline.table import slices

POOL = "azure/uksouth/gpt"
WHOLE = b'{"choices":[{"message":{"content":"to the sea"}}]}'
STREAM = b'data: {"choices":[{"delta":{"content":"to the sea"}}]}\n\ndata: [DONE]\n\n'
ASK = {"model": MODEL, "messages": [{"role": "user", "content": "?"}]}
LARGE = "x" * 700_000


def certificate(path: Path, name: str = "a pool") -> Path:
    """A certificate for this machine that nobody knows yet, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(secret + made.public_bytes(serialization.Encoding.PEM))
    return path


class Server:
    """Counts its connections."""

    def __init__(self) -> None:
        self.connections = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request after the other."""
        self.connections += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
                asked = await reader.readexactly(length)
                streams = b'"stream":true' in asked.replace(b" ", b"")
                body, kind = (STREAM, "text/event-stream") if streams else (WHOLE, "application/json")
                writer.write(f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\n".encode())
                writer.write(b"content-length: %d\r\n\r\n" % len(body) + body)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[tuple[Server, Path, Path]]:
    """(server, the table that leads to it, its certificate)."""
    pem, server = certificate(tmp_path / "pool.pem"), Server()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pem)
    async with await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=context) as listening:
        port = listening.sockets[0].getsockname()[1]
        made = table((pool_info(POOL, f"https://127.0.0.1:{port}/v1"),), (1_000_000,), settings=SETTINGS)
        path = tmp_path / "routes.bin"
        write_last_good(path, made.generation, {ORIGIN: slices(made)[f"{WORKLOAD}/{ORIGIN}"]})
        yield server, path, pem


async def asynchronously(path: Path, asks: list[dict[str, Any]]) -> list[Any]:
    """The answers to these."""
    async with (
        tieline.offline(path, workload=WORKLOAD, origin=ORIGIN) as client,
        client.http_client(base_url=client.base_url) as http,
    ):
        assert await client.ready(60)
        return [await http.post("/chat/completions", json=ask) for ask in asks]


async def synchronously(path: Path, asks: list[dict[str, Any]]) -> list[Any]:
    """The same in another thread."""

    def use() -> list[Any]:
        with (
            tieline.Client(path, workload=WORKLOAD, origin=ORIGIN) as client,
            client.http_client(base_url=client.base_url) as http,
        ):
            assert client.ready(60)
            return [http.post("/chat/completions", json=ask) for ask in asks]

    return await asyncio.to_thread(use)


Way = Callable[[Path, list[dict[str, Any]]], Any]


@pytest.mark.parametrize("way", [asynchronously, synchronously])
async def test_a_trusted_pool(
    way: Way, served: tuple[Server, Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole answers, streams and large questions over one connection, kept alive between them."""
    server, path, pem = served
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    large = {**ASK, "messages": [{"role": "user", "content": LARGE}]}
    answers = await way(path, [ASK, {**ASK, "stream": True}, large, ASK])
    assert [answer.status_code for answer in answers] == [200] * 4
    assert [answer.content for answer in answers] == [WHOLE, STREAM, WHOLE, WHOLE]
    assert server.connections == 1


@pytest.mark.parametrize("way", [asynchronously, synchronously])
async def test_a_pool_that_nobody_vouches_for(way: Way, served: tuple[Server, Path, Path]) -> None:
    """It is asked nothing; the caller hears why."""
    server, path, _ = served
    (answer,) = await way(path, [ASK])
    assert answer.status_code == 503
    assert "CERTIFICATE_VERIFY_FAILED" in answer.text
    assert server.connections == 0
