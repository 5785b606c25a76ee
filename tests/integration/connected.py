"""A pool that a test scripts by connection, and requests to it through the clients of both kinds."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

from msgspec.structs import replace

import tieline
from tests.integration.routed import MODEL, ORIGIN, SETTINGS, WORKLOAD, pool_info, table
from tieline._tables.last_good import write_last_good
from tieline.table import slices

POOL = "azure/uksouth/gpt"
ASK: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "?"}]}
BODY = b'{"choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":"sea"}}]}'
CLOSED = b""  # instead of an answer: the connection is closed, as after a part of an answer

Script: TypeAlias = Callable[[int, int], bytes]  # (connection, request upon it), from 1 -> the answer


def answer(*lines: str, body: bytes = BODY) -> bytes:
    """A whole answer with these header lines."""
    head = "".join(f"{line}\r\n" for line in ("content-type: application/json", *lines))
    return f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\n{head}\r\n".encode() + body


def always(data: bytes) -> Script:
    """The same answer to every request."""
    return lambda _connection, _request: data


def _is_whole(data: bytes) -> bool:
    head, end, body = data.partition(b"\r\n\r\n")
    length = head.partition(b"content-length: ")[2].partition(b"\r\n")[0]
    return bool(end) and len(body) == int(length or b"0")


class ConnectedPool:
    """Answers by ``script``, which a test may replace. ``connections`` are counted, ``heads`` kept, and the
    names in the certificates that clients have shown, one for each connection."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.connections = 0
        self.heads: list[bytes] = []
        self.clients: list[str] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, to its end."""
        self.connections += 1
        connection, request = self.connections, 0
        shown = writer.get_extra_info("peercert") or {}
        self.clients.append(shown["subject"][0][0][1] if shown else "")
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                self.heads.append(head)
                length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
                await reader.readexactly(int(length or b"0"))
                request += 1
                data = self.script(connection, request)
                writer.write(data)
                await writer.drain()
                if not _is_whole(data):
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def connected(script: Script, tls: ssl.SSLContext | None = None) -> AsyncIterator[ConnectedPool]:
    """A running pool."""
    pool = ConnectedPool(script)
    async with await asyncio.start_server(pool.serve, "127.0.0.1", 0, backlog=1_024, ssl=tls) as server:
        pool.port = server.sockets[0].getsockname()[1]
        yield pool


def table_file(
    directory: Path, port: int, *, host: str = "127.0.0.1", scheme: str = "http", attempts_max: int = 3
) -> Path:
    """The file of a table whose only pool is at this place."""
    path = directory / "routes.bin"
    info = pool_info(POOL, f"{scheme}://{host}:{port}/v1")
    wanted = table((info,), (1_000_000,), settings=replace(SETTINGS, attempts_max=attempts_max))
    write_last_good(path, wanted.generation, {ORIGIN: slices(wanted)[f"{WORKLOAD}/{ORIGIN}"]})
    return path


class AsyncCaller:
    """Requests of an asynchronous client."""

    def __init__(self, client: tieline.AsyncClient, http: Any) -> None:
        self.client = client
        self._http = http

    async def ask(self, **more: Any) -> Any:
        """The answer to one request."""
        return await self._http.post("/chat/completions", **{"json": ASK, **more})

    async def ask_at_once(self, count: int) -> Sequence[Any]:
        """The answers to so many at the same time."""
        return await asyncio.gather(*(self.ask() for _ in range(count)))


class SyncCaller:
    """The same from threads."""

    def __init__(self, client: tieline.Client, http: Any, threads: ThreadPoolExecutor) -> None:
        self.client = client
        self._http = http
        self._threads = threads

    async def ask(self, **more: Any) -> Any:
        """The answer to one request."""
        loop = asyncio.get_running_loop()
        fields = {"json": ASK, **more}
        return await loop.run_in_executor(
            self._threads, lambda: self._http.post("/chat/completions", **fields)
        )

    async def ask_at_once(self, count: int) -> Sequence[Any]:
        """The answers to so many at the same time."""
        return await asyncio.gather(*(self.ask() for _ in range(count)))


Caller: TypeAlias = AsyncCaller | SyncCaller


@asynccontextmanager
async def asynchronous(path: Path, **more: Any) -> AsyncIterator[AsyncCaller]:
    """An asynchronous client over the table in this file."""
    async with (
        tieline.offline(path, workload=WORKLOAD, origin=ORIGIN, **more) as client,
        client.http_client(base_url=client.base_url) as http,
    ):
        assert await client.ready(60)
        yield AsyncCaller(client, http)


@asynccontextmanager
async def synchronous(path: Path, **more: Any) -> AsyncIterator[SyncCaller]:
    """A synchronous one."""

    def start() -> tieline.Client:
        client = tieline.Client(path, workload=WORKLOAD, origin=ORIGIN, **more)
        client.__enter__()
        assert client.ready(60)
        return client

    client = await asyncio.to_thread(start)
    try:
        with (
            client.http_client(base_url=client.base_url) as http,
            ThreadPoolExecutor(20) as threads,
        ):
            yield SyncCaller(client, http, threads)
    finally:
        await asyncio.to_thread(client.close)


Way: TypeAlias = Callable[..., AbstractAsyncContextManager[Caller]]
WAYS: dict[str, Way] = {"async": asynchronous, "sync": synchronous}
