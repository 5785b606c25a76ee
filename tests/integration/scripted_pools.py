"""Pools on real sockets whose every answer a test scripts, and a route table over them in a file."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

from tests.integration.routed import ORIGIN, WORKLOAD, pool_info, table
from tieline._tables.last_good import write_last_good
from tieline.table import ClientSettings, slices

SILENCE = b""  # an answer that never comes; the connection stays open
Script: TypeAlias = Callable[[int, bytes], bytes]  # (number of the request from 1, its body) -> the answer


def answer(status: int, body: Mapping[str, Any], *, headers: str = "") -> bytes:
    """A whole HTTP answer with a JSON body; ``headers`` are lines that end in CRLF."""
    data = json.dumps(body).encode()
    head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {len(data)}\r\n"
    return f"{head}{headers}\r\n".encode() + data


def good(text: str = "fine", *, headers: str = "") -> bytes:
    """A whole chat completion; ``headers`` are lines that end in CRLF."""
    message = {"role": "assistant", "content": text}
    choices = [{"index": 0, "finish_reason": "stop", "message": message}]
    usage = {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}
    fields = {"id": "c", "object": "chat.completion", "created": 1, "model": "big"}
    return answer(200, {**fields, "choices": choices, "usage": usage}, headers=headers)


def error(status: int, *, code: str = "x", message: str = "no", headers: str = "") -> bytes:
    """An answer with an error in OpenAI's shape."""
    fields = {"message": message, "type": "error", "param": None, "code": code}
    return answer(status, {"error": fields}, headers=headers)


class ScriptedPool:
    """A server that answers by ``script``, which a test may replace. ``count``: requests that reached it."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.count = 0
        self.port = 0
        self._open: dict[asyncio.StreamWriter, asyncio.Task[Any] | None] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, to its end."""
        self._open[writer] = asyncio.current_task()
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
                body = await reader.readexactly(int(length or b"0"))
                self.count += 1
                data = self.script(self.count, body)
                if data is SILENCE:
                    await reader.read(1)  # until the caller hangs up
                    return
                writer.write(data)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            del self._open[writer]
            writer.close()

    async def hang_up(self) -> None:
        """Break all connections."""
        tasks = [task for task in self._open.values() if task is not None]
        for writer in list(self._open):
            writer.transport.abort()
        await asyncio.gather(*tasks)


@asynccontextmanager
async def scripted(*scripts: Script) -> AsyncIterator[list[ScriptedPool]]:
    """A running pool for each of the scripts."""
    pools = [ScriptedPool(script) for script in scripts]
    servers = [await asyncio.start_server(pool.serve, "127.0.0.1", 0, backlog=1_024) for pool in pools]
    for pool, server in zip(pools, servers, strict=True):
        pool.port = server.sockets[0].getsockname()[1]
    try:
        yield pools
    finally:
        for pool, server in zip(pools, servers, strict=True):
            server.close()
            await pool.hang_up()
            await server.wait_closed()


def written_table(
    path: Path, pools: Mapping[str, ScriptedPool], weights: tuple[int, ...], settings: ClientSettings
) -> Path:
    """The file of a table in which the pools have these weights, for ``tieline.offline``."""
    infos = tuple(pool_info(name, f"http://127.0.0.1:{pool.port}/v1") for name, pool in pools.items())
    made = table(infos, weights, settings=settings)
    write_last_good(path, made.generation, {ORIGIN: slices(made)[f"{WORKLOAD}/{ORIGIN}"]})
    return path
