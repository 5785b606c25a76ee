"""Requests for `bench.picker`: connections that are kept, and pairs of requests at a steady pace."""

import asyncio
import json
import os
import time
from collections.abc import Sequence
from typing import cast

from bench._pools import MODEL
from bench._server import head_bytes_of_whole

BODY = json.dumps(
    {"model": MODEL, "messages": [{"role": "user", "content": "Where does it flow? " * 20}]}
).encode()
HEAD = (
    "POST /v1/chat/completions HTTP/1.1\r\nhost: llm.example\r\ncontent-type: application/json\r\n"
    "authorization: Bearer key\r\nuser-agent: OpenAI/Python\r\naccept: application/json\r\n"
    f"x-gateway-model-name: {MODEL}\r\ncontent-length: {len(BODY)}\r\n\r\n"
).encode()
# The picker reads the body only where no header names the model.
BY_BODY = HEAD.replace(b"x-gateway-model-name", b"x-request-name")
WARM_UP = 5


class Caller(asyncio.Protocol):
    """One connection, one request after another."""

    def __init__(self) -> None:
        self._answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._read = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ready for the first request."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """An answer is whole once it has as many bytes as it says."""
        self._read += data
        if not head_bytes_of_whole(self._read):
            return
        status, self._read = self._read[9:12], b""
        self._answer.set_result(status)

    def connection_lost(self, error: Exception | None) -> None:
        """A request that waits then fails."""
        if not self._answer.done():
            self._answer.set_exception(error or ConnectionError("Envoy has closed the connection"))
            self._answer.exception()

    async def ask(self, head: bytes = HEAD) -> float:
        """Microseconds until the answer. Raises RuntimeError for one that is no success."""
        self._answer = asyncio.get_running_loop().create_future()
        began = time.perf_counter_ns()
        self._transport.write(head + BODY)
        if (status := await self._answer) != b"200":
            raise RuntimeError(f"answered with {status.decode()}")
        return (time.perf_counter_ns() - began) / 1_000

    def close(self) -> None:
        """No more requests."""
        self._transport.close()


async def connected(port: int) -> Caller:
    """A connection to a port of this machine."""
    _, caller = await asyncio.get_running_loop().create_connection(Caller, "127.0.0.1", port)
    return caller


async def pairs(
    ports: Sequence[int], head: bytes, *, connections: int, count: int, per_s: float
) -> tuple[list[float], list[float]]:
    """(times of requests to the first port, how much longer those to the second took), in us.

    ``count`` pairs in all, ``per_s`` of them a second, over so many connections. In every second pair the
    second port comes first.
    """
    bare: list[float] = []
    added: list[float] = []

    async def work(number: int) -> None:
        first, second = await connected(ports[0]), await connected(ports[1])
        for _ in range(WARM_UP):
            await first.ask(head)
            await second.ask(head)
        every_s = connections / per_s
        due_s = time.perf_counter() + every_s * number / connections
        for turn in range(count // connections):
            await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
            due_s += every_s
            if turn % 2:
                longer, shorter = await second.ask(head), await first.ask(head)
            else:
                shorter, longer = await first.ask(head), await second.ask(head)
            bare.append(shorter)
            added.append(longer - shorter)
        first.close()
        second.close()

    await asyncio.gather(*(work(number) for number in range(connections)))
    return bare, added


async def busy(port: int, head: bytes, *, connections: int, for_s: float) -> int:
    """Requests that are answered in that time with so many at once."""
    until_s, count = time.perf_counter() + for_s, 0

    async def work() -> None:
        nonlocal count
        caller = await connected(port)
        while time.perf_counter() < until_s:
            await caller.ask(head)
            count += 1
        caller.close()

    await asyncio.gather(*(work() for _ in range(connections)))
    return count


def processor_us(pid: int) -> float:
    """Processor time of a process until now, in us."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:  # noqa: PTH123 (read for each sample)
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * 1e6 / os.sysconf("SC_CLK_TCK")
