"""What a long-running command answers on its monitor port, over real sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import httpx
import pytest

from controller.process.errors import SettingError, UserError
from controller.process.monitor import Vitals, histogram, labelled, monitored
from controller.process.settings import Address, read_address

COUNTS = labelled("records", "records by kind", "kind", values={"good": 2, 'b"ad\n': 1}, counter=True)


def free_address() -> Address:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return Address("127.0.0.1", probe.getsockname()[1])


async def test_a_ready_process_says_so_and_counts() -> None:
    """200 on both questions; the figures in Prometheus' text, odd label values escaped, and the process's
    own."""
    times = histogram("step_seconds", "steps", (0.01, 0.1))
    times.observe(0.05)
    address = free_address()
    vitals = Vitals("", (COUNTS,), (times,))
    async with monitored(address, lambda: vitals), httpx.AsyncClient() as http:
        base = f"http://127.0.0.1:{address.port}"
        assert (await http.get(f"{base}/livez")).text == "ok\n"
        assert (await http.get(f"{base}/readyz")).text == "ok\n"
        text = (await http.get(f"{base}/metrics")).text
    assert "tieline_ready 1.0" in text
    assert 'tieline_records_total{kind="good"} 2.0' in text
    assert 'kind="b\\"ad\\n"' in text
    assert 'tieline_step_seconds_bucket{le="0.1"} 1.0' in text
    assert "tieline_process_resident_memory_bytes" in text
    assert "_created" not in text


async def test_what_a_restart_would_not_help_leaves_it_alive() -> None:
    """While Kafka is away /readyz says why with status 503, and whoever restarts it on /livez leaves it
    alone."""
    address = free_address()
    async with monitored(address, lambda: Vitals("Kafka is away", ())), httpx.AsyncClient() as http:
        base = f"http://127.0.0.1:{address.port}"
        answer = await http.get(f"{base}/readyz")
        assert (answer.status_code, answer.text) == (503, "Kafka is away\n")
        assert (await http.get(f"{base}/livez")).status_code == 200
        assert "tieline_ready 0.0" in (await http.get(f"{base}/metrics")).text


async def test_a_stuck_process_is_neither_alive_nor_ready() -> None:
    """Both answer 503 with the sentence, so that it is restarted and nobody counts on it meanwhile."""
    address = free_address()
    vitals = Vitals("", (), stuck="it has not looked for 61 s")
    async with monitored(address, lambda: vitals), httpx.AsyncClient() as http:
        for name in ("livez", "readyz"):
            answer = await http.get(f"http://127.0.0.1:{address.port}/{name}")
            assert (answer.status_code, answer.text) == (503, "it has not looked for 61 s\n")


async def test_nothing_listens_without_an_address_or_afterwards() -> None:
    """No address, no port; and the port is free again at the end."""
    address = free_address()
    async with monitored(None, lambda: Vitals("", ())):
        pass
    for _ in range(2):
        async with monitored(address, lambda: Vitals("", ())):
            _, writer = await asyncio.open_connection(*address)
            writer.close()
            await writer.wait_closed()


async def test_a_taken_port_is_said() -> None:
    """One sentence with the setting's name."""
    address = free_address()
    async with monitored(address, lambda: Vitals("", ())):
        with pytest.raises(UserError, match=f"TIELINE_MONITOR: can't listen on 127.0.0.1:{address.port}"):
            async with monitored(address, lambda: Vitals("", ())):
                pass


def test_an_address_is_host_and_port() -> None:
    """Or nothing; anything else is refused by name."""
    assert read_address("[::1]:9464") == Address("::1", 9464)
    assert read_address(" ") is None
    for wrong in ("9464", "host:", ":0", "host:70000", ":9464"):
        with pytest.raises(SettingError, match="TIELINE_MONITOR"):
            read_address(wrong)


@asynccontextmanager
async def connected(address: Address) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection, which may be ended by the other side."""
    reader, writer = await asyncio.open_connection(address.host, address.port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def ends(reader: asyncio.StreamReader) -> bool:
    """Whether the other side ends the connection without a word, within 20 s."""
    try:
        return not await asyncio.wait_for(reader.read(1), 20)
    except ConnectionResetError:
        return True


async def test_who_says_nothing_is_shown_out() -> None:
    """A connection without a whole request ends after some seconds, so that it does not hold a descriptor
    for good."""
    address = free_address()
    async with (
        monitored(address, lambda: Vitals("", ()), first_request_within_s=0.05),
        connected(address) as (reader, writer),
    ):
        writer.write(b"GET /livez HTTP/1.1\r\nhost:")
        assert await ends(reader)


async def test_connections_beyond_the_most_are_closed_at_once() -> None:
    """Those that are open go on, and are served."""
    address = free_address()
    async with (
        monitored(address, lambda: Vitals("", ()), connections_max=1),
        connected(address) as (reader, writer),
        connected(address) as (unwanted, _),
    ):
        assert await ends(unwanted)
        writer.write(b"GET /livez HTTP/1.1\r\nhost: here\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
