"""The asynchronous wire connects in every event loop that an application may run, also by a host's name."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

import pytest
import uvloop

from tieline._http.flights import Flight
from tieline._http.wire_async import AsyncWire
from tieline._process import clock as _clock

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


async def answer(served: asyncio.Event, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Serve one request, and wait until the other end is gone."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(ANSWER)
    await reader.read()
    writer.close()
    await writer.wait_closed()
    served.set()


async def asked_by(host: str) -> int:
    """The status that a server on loopback gives to a request under this name."""
    served = asyncio.Event()
    server = await asyncio.start_server(partial(answer, served), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    wire, flight = AsyncWire(), Flight("pool", _clock.monotonic_ms())
    flight.due_ms += 10_000
    try:
        found = await wire.open("GET", f"http://{host}:{port}/", [], b"", flight=flight, connect_s=10.0)
        status = found.status
    finally:
        wire.close()
        server.close()
        await server.wait_closed()
    await served.wait()
    return status


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
@pytest.mark.parametrize("loop", LOOPS)
def test_a_request_connects(loop: str, host: str) -> None:
    """One loop takes an argument that another refuses, yet the answer comes in both."""
    factory: Callable[[], asyncio.AbstractEventLoop] = LOOPS[loop]
    with asyncio.Runner(loop_factory=factory) as runner:
        assert runner.run(asked_by(host)) == 200
