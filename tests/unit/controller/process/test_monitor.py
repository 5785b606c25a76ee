"""What a long-running command answers on its monitor port, over real sockets."""

from __future__ import annotations

import asyncio
import socket

import httpx
import pytest

from controller.process.errors import SettingError, UserError
from controller.process.monitor import Figure, Vitals, monitored
from controller.process.settings import Address, read_address

COUNTS = Figure("records", "records by kind", {"good": 2, 'b"ad\n': 1}, "kind", counter=True)


def free_address() -> Address:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return Address("127.0.0.1", probe.getsockname()[1])


async def test_a_well_process_says_so_and_counts() -> None:
    """200 on /healthz; the figures in Prometheus' text, odd label values escaped."""
    address = free_address()
    async with monitored(address, lambda: Vitals("", (COUNTS,))), httpx.AsyncClient() as http:
        base = f"http://127.0.0.1:{address.port}"
        assert (await http.get(f"{base}/healthz")).text == "ok\n"
        text = (await http.get(f"{base}/metrics")).text
    assert "tieline_healthy 1.0" in text
    assert 'tieline_records_total{kind="good"} 2.0' in text
    assert 'kind="b\\"ad\\n"' in text


async def test_a_complaint_is_503_with_the_sentence() -> None:
    """Whoever restarts it, or looks why, reads the reason; metrics go on."""
    address = free_address()
    async with monitored(address, lambda: Vitals("Kafka is away", ())), httpx.AsyncClient() as http:
        base = f"http://127.0.0.1:{address.port}"
        answer = await http.get(f"{base}/healthz")
        assert (answer.status_code, answer.text) == (503, "Kafka is away\n")
        assert "tieline_healthy 0.0" in (await http.get(f"{base}/metrics")).text


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
