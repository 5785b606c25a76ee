"""Pools behind a real proxy on loopback: through a tunnel for https, by whole URLs for http."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import tieline
from tests.integration.connected import POOL, WAYS, always, answer, connected, table_file
from tests.integration.test_client_tls import certificate

both = pytest.mark.parametrize("way", WAYS)


class Proxy:
    """Connects whoever asks, or refuses with ``refusal``. ``heads``: what it was asked."""

    def __init__(self) -> None:
        self.heads: list[bytes] = []
        self.refusal = b""
        self.port = 0
        self.open: dict[asyncio.StreamWriter, asyncio.Task[None] | None] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, to its end."""
        self.open[writer] = asyncio.current_task()
        try:
            await self._serve(reader, writer)
        finally:
            writer.close()
            del self.open[writer]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            head = await reader.readuntil(b"\r\n\r\n")
            self.heads.append(head)
            method, target, _ = head.split(b"\r\n", 1)[0].split(b" ")
            if self.refusal:
                writer.write(self.refusal)
            else:
                place = target if method == b"CONNECT" else target.split(b"/")[2]
                host, _, port = place.rpartition(b":")
                far_reader, far_writer = await asyncio.open_connection(host.decode(), int(port))
                if method == b"CONNECT":
                    writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                else:
                    far_writer.write(head)
                await asyncio.gather(hand_on(reader, far_writer), hand_on(far_reader, writer))


async def hand_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Everything that comes, to its end."""
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def proxied() -> AsyncIterator[Proxy]:
    """A running proxy."""
    proxy = Proxy()
    async with await asyncio.start_server(proxy.serve, "127.0.0.1", 0) as server:
        proxy.port = server.sockets[0].getsockname()[1]
        yield proxy
        tasks = [task for task in proxy.open.values() if task is not None]
        for writer in list(proxy.open):
            writer.transport.abort()
        await asyncio.gather(*tasks)


@both
async def test_a_pool_over_http(way: str, tmp_path: Path) -> None:
    """The proxy is asked for whole URLs, and told who asks; the connection to it is kept."""
    async with proxied() as proxy, connected(always(answer())) as pool:
        url = f"http://me:secret@127.0.0.1:{proxy.port}"
        async with WAYS[way](table_file(tmp_path, pool.port), proxy=url) as caller:
            assert [(await caller.ask()).status_code for _ in range(2)] == [200, 200]
        (head,) = proxy.heads
        assert head.startswith(f"POST http://127.0.0.1:{pool.port}/v1/chat/completions HTTP/1.1".encode())
        assert b"proxy-authorization: Basic bWU6c2VjcmV0" in head


@both
async def test_a_pool_over_https(way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TLS is spoken with the pool itself through a tunnel; the environment names the proxy."""
    pem = certificate(tmp_path / "pool.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    async with proxied() as proxy, connected(always(answer()), tls=context) as pool:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("NO_PROXY", "")
        file = table_file(tmp_path, pool.port, scheme="https")
        async with WAYS[way](file) as caller:
            assert [(await caller.ask()).status_code for _ in range(2)] == [200, 200]
        (head,) = proxy.heads
        assert head.startswith(f"CONNECT 127.0.0.1:{pool.port} HTTP/1.1\r\n".encode())
        assert not any(b"proxy-" in head.lower() for head in pool.heads)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        async with WAYS[way](file) as caller:
            assert (await caller.ask()).status_code == 200
        assert len(proxy.heads) == 1


@both
async def test_a_proxy_that_refuses(way: str, tmp_path: Path) -> None:
    """The caller hears that it was the proxy, and what it said."""
    async with proxied() as proxy:
        proxy.refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n"
        file = table_file(tmp_path, 443, scheme="https", attempts_max=1)
        async with WAYS[way](file, proxy=f"http://127.0.0.1:{proxy.port}") as caller:
            reply = await caller.ask()
        assert reply.status_code == 503
        words = f"the proxy 127.0.0.1:{proxy.port} gave {POOL} no connection to 127.0.0.1:443: HTTP 407"
        assert words in reply.json()["error"]["message"]


@both
async def test_a_pool_that_asks_for_a_certificate(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is shown the client's own; without one there is no connection."""
    pem = certificate(tmp_path / "pool.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(pem))
    context.load_cert_chain(pem)
    context.verify_mode = ssl.CERT_REQUIRED
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    async with connected(always(answer()), tls=context) as pool:
        file = table_file(tmp_path, pool.port, scheme="https", attempts_max=1)
        async with WAYS[way](file, proxy="", client_cert=pem) as caller:
            assert (await caller.ask()).status_code == 200
        async with WAYS[way](file, proxy="") as caller:
            assert (await caller.ask()).status_code == 503
    with pytest.raises(tieline.ConfigurationError, match="client_cert"):
        tieline.offline(file, workload="w", origin="o", client_cert=tmp_path / "none.pem")
