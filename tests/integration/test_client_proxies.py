"""Pools behind a real proxy on loopback: through a tunnel for https, by whole URLs for http."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvloop

import tieline
from tests.integration.connected import ASK, POOL, WAYS, always, answer, connected, table_file
from tests.integration.routed import ORIGIN, SETTINGS, WORKLOAD, pool_info, table
from tests.integration.test_client_tls import certificate
from tests.waiting import until
from tieline._tables.last_good import write_last_good
from tieline.table import slices

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
async def proxied(tls: ssl.SSLContext | None = None) -> AsyncIterator[Proxy]:
    """A running proxy."""
    proxy = Proxy()
    async with await asyncio.start_server(proxy.serve, "127.0.0.1", 0, ssl=tls) as server:
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
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    async with proxied() as proxy, connected(always(answer()), tls=server_tls(pem)) as pool:
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


def server_tls(pem: Path) -> ssl.SSLContext:
    """What a server with this certificate speaks."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pem)
    return context


async def asked_within_tls(way: str, directory: Path, *, body: bytes = b"sea") -> tuple[bytes, list[bytes]]:
    """Two requests to an https pool through an https proxy: the last answer, and what the proxy was asked."""
    tls = server_tls(directory / "both.pem")
    whole = answer(body=b'{"choices":[{"message":{"content":"%b"},"finish_reason":"stop"}]}' % body)
    async with proxied(tls) as proxy, connected(always(whole), tls=tls) as pool:
        url = f"https://me:secret@127.0.0.1:{proxy.port}"
        async with WAYS[way](table_file(directory, pool.port, scheme="https"), proxy=url) as caller:
            replies = [await caller.ask(json={**ASK, "user": "x" * 700_000}), await caller.ask()]
        assert [reply.status_code for reply in replies] == [200, 200]
        assert pool.connections == 1
        assert not any(b"proxy-" in head.lower() for head in pool.heads)
        return replies[-1].content, proxy.heads


@both
async def test_a_pool_within_the_tls_of_a_proxy(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection to the proxy is encrypted, and in it the one to the pool; large questions and answers
    come whole, and the connection is kept."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate(tmp_path / "both.pem")))
    content, heads = await asked_within_tls(way, tmp_path, body=b"x" * 500_000)
    assert len(content) > 500_000
    assert len(heads) == 1
    assert b"proxy-authorization: Basic bWU6c2VjcmV0" in heads[0]


def test_a_pool_within_the_tls_of_a_proxy_in_uvloop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same in the other event loop that applications use."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate(tmp_path / "both.pem")))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        content, _ = runner.run(asked_within_tls("async", tmp_path))
    assert b"sea" in content


@both
async def test_an_http_pool_behind_an_https_proxy(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proxy is asked for whole URLs over TLS; the connection is kept."""
    pem = certificate(tmp_path / "proxy.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    async with proxied(server_tls(pem)) as proxy, connected(always(answer())) as pool:
        file = table_file(tmp_path, pool.port)
        async with WAYS[way](file, proxy=f"https://127.0.0.1:{proxy.port}") as caller:
            assert [(await caller.ask()).status_code for _ in range(2)] == [200, 200]
        assert len(proxy.heads) == 1
        assert proxy.heads[0].startswith(f"POST http://127.0.0.1:{pool.port}/v1/".encode())


@both
async def test_a_proxy_that_nobody_vouches_for(way: str, tmp_path: Path) -> None:
    """It learns neither the password nor the pool; the caller hears that it was the proxy."""
    pem = certificate(tmp_path / "proxy.pem")
    async with proxied(server_tls(pem)) as proxy:
        for scheme in ("https", "http"):
            file = table_file(tmp_path, 443, scheme=scheme, attempts_max=1)
            async with WAYS[way](file, proxy=f"https://me:secret@127.0.0.1:{proxy.port}") as caller:
                reply = await caller.ask()
            assert reply.status_code == 503
            words = f"the proxy for {POOL}: the certificate of 127.0.0.1 is not trusted"
            assert words in reply.json()["error"]["message"]
        assert proxy.heads == []


@both
async def test_an_untrusted_pool_behind_an_https_proxy(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller hears that it is the pool whose certificate is not trusted, and the proxy's connection is
    closed."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate(tmp_path / "proxy.pem")))
    other = server_tls(certificate(tmp_path / "pool.pem"))
    async with (
        proxied(server_tls(tmp_path / "proxy.pem")) as proxy,
        connected(always(answer()), tls=other) as pool,
    ):
        file = table_file(tmp_path, pool.port, scheme="https", attempts_max=1)
        async with WAYS[way](file, proxy=f"https://127.0.0.1:{proxy.port}") as caller:
            reply = await caller.ask()
            await until(lambda: not proxy.open, what="the connection to the proxy is closed")
        assert f"{POOL}: the certificate of 127.0.0.1 is not trusted" in reply.json()["error"]["message"]


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


def pool_tls(pem: Path, *clients: Path) -> ssl.SSLContext:
    """A pool that asks for a certificate, and knows these."""
    context = server_tls(pem)
    for client in clients:
        context.load_verify_locations(client)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


@both
async def test_a_pool_that_asks_for_a_certificate(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is shown the client's own; without one there is no connection."""
    pem = certificate(tmp_path / "pool.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    async with connected(always(answer()), tls=pool_tls(pem, pem)) as pool:
        file = table_file(tmp_path, pool.port, scheme="https", attempts_max=1)
        async with WAYS[way](file, proxy="", client_cert=pem) as caller:
            assert (await caller.ask()).status_code == 200
        async with WAYS[way](file, proxy="", client_cert={"azure": pem}) as caller:
            assert (await caller.ask()).status_code == 200
        for other in (None, {"azure/uk": pem, "gcp": pem}):
            async with WAYS[way](file, proxy="", client_cert=other) as caller:
                assert (await caller.ask()).status_code == 503
    for wrong in (tmp_path / "none.pem", {"azure": tmp_path / "none.pem"}):
        with pytest.raises(tieline.ConfigurationError, match="client_cert"):
            tieline.offline(file, workload="w", origin="o", client_cert=wrong)


@both
async def test_each_pool_is_shown_its_own_certificate(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where pools share a place: no request travels over a connection of another identity."""
    pem = certificate(tmp_path / "server.pem")
    first, second = certificate(tmp_path / "1.pem", "first"), certificate(tmp_path / "2.pem", "second")
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    async with connected(always(answer()), tls=pool_tls(pem, first, second)) as place:
        url = f"https://127.0.0.1:{place.port}"
        infos = (pool_info("azure/uksouth/a", f"{url}/a"), pool_info("azure/uksouth/b", f"{url}/b"))
        wanted = table(infos, (500_000, 500_000), settings=SETTINGS)
        file = tmp_path / "routes.bin"
        write_last_good(file, wanted.generation, {ORIGIN: slices(wanted)[f"{WORKLOAD}/{ORIGIN}"]})
        certificates = {"azure": first, "azure/uksouth/b": second}
        async with WAYS[way](file, proxy="", client_cert=certificates) as caller:
            replies = [await caller.ask() for _ in range(20)]
    assert {reply.headers["x-tieline-pool"] for reply in replies} == {info.pool for info in infos}
    assert sorted(place.clients) == ["first", "second"]
