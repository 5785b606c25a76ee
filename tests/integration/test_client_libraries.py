"""The HTTP libraries: plain httpx2 and httpx, asynchronous and not, and httpx without httpx2."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest

import tieline
from lab.standins.process import StandinProcess
from tests.integration.routed import MODEL, ORIGIN, SETTINGS, WORKLOAD, infos, standins, table
from tieline._tables.last_good import write_last_good
from tieline.table import slices

A, B = "azure/uksouth/gpt", "gcp/europe-west4/gpt"
LIBRARIES = {"httpx2": httpx2, "httpx": httpx}
MESSAGES = [{"role": "user", "content": "Where does it flow?"}]
WITHOUT_HTTPX2 = """
import asyncio, sys
sys.modules["httpx2"] = None
import importlib.util
spec = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "httpx2" else spec(name, *rest)
import tieline
async def main(path):
    async with tieline.offline(path, workload="chat", origin="eu") as client:
        assert await client.ready(60)
        async with client.http_client(library="httpx", base_url=client.base_url) as http:
            body = {"model": "chat-large", "messages": [{"role": "user", "content": "x"}]}
            answer = await http.post("/chat/completions", json=body)
            print(answer.status_code, answer.headers["x-tieline-pool"])
asyncio.run(main(sys.argv[1]))
"""


def ask(**more: Any) -> dict[str, Any]:
    """A request's body."""
    return {"model": MODEL, "messages": MESSAGES, "max_tokens": 24, **more}


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[dict[str, StandinProcess]]:
    async with standins(tmp_path, *(pool.rsplit("/", 1)[0] for pool in (A, B))) as processes:
        yield processes


@pytest.fixture
def file(tmp_path: Path, running: dict[str, StandinProcess]) -> Path:
    """A table of both pools, as a last good file."""
    path, made = tmp_path / "routes.bin", table(infos(running), (500_000, 500_000), settings=SETTINGS)
    write_last_good(path, made.generation, {ORIGIN: slices(made)[f"{WORKLOAD}/{ORIGIN}"]})
    return path


@pytest.mark.parametrize("library", LIBRARIES)
async def test_plain_clients_are_routed(library: str, file: Path, running: dict[str, StandinProcess]) -> None:
    """Whole answers and streams, failed over from a refusing pool; a stream cut after its first output raises
    the library's own error."""
    await running[A].fault("503")
    module = LIBRARIES[library]
    async with tieline.offline(file, workload=WORKLOAD, origin=ORIGIN) as client:
        assert await client.ready(60)
        async with client.http_client(library=library, base_url=client.base_url) as http:
            assert isinstance(http, module.AsyncClient)
            for _ in range(3):
                answer = await http.post("/chat/completions", json=ask())
                assert (answer.status_code, answer.headers["x-tieline-pool"]) == (200, B)
                assert answer.json()["choices"][0]["message"]["content"]
            async with http.stream("POST", "/chat/completions", json=ask(stream=True)) as stream:
                lines = [line async for line in stream.aiter_lines()]
            assert "data: [DONE]" in lines
            await running[B].fault("cut", after_chunks=1)
            with pytest.raises(module.RemoteProtocolError):
                async with http.stream("POST", "/chat/completions", json=ask(stream=True)) as stream:
                    _ = [line async for line in stream.aiter_lines()]


@pytest.mark.parametrize("library", LIBRARIES)
async def test_plain_synchronous_clients_are_routed(
    library: str, file: Path, running: dict[str, StandinProcess]
) -> None:
    """The same without asyncio."""
    await running[A].fault("refuse")

    def use() -> tuple[set[str], list[str]]:
        with tieline.Client(file, workload=WORKLOAD, origin=ORIGIN) as client:
            assert client.ready(60)
            with client.http_client(library=library, base_url=client.base_url) as http:
                pools = {
                    http.post("/chat/completions", json=ask()).headers["x-tieline-pool"] for _ in range(4)
                }
                with http.stream("POST", "/chat/completions", json=ask(stream=True)) as stream:
                    return pools, list(stream.iter_lines())

    pools, lines = await asyncio.to_thread(use)
    assert pools == {B}
    assert "data: [DONE]" in lines


async def test_httpx_alone_is_enough(file: Path) -> None:
    """Where httpx2 is not installed, everything runs on httpx and the engine beneath it."""
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", WITHOUT_HTTPX2, str(file)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[0] == "200"


async def test_the_library_is_the_sdks(file: Path) -> None:
    """Without a name it is the one that the installed openai SDK is made of; an unknown name is refused."""
    async with tieline.offline(file, workload=WORKLOAD, origin=ORIGIN) as client:
        async with client.http_client() as http:
            assert isinstance(http, httpx2.AsyncClient)
        with pytest.raises(tieline.ConfigurationError, match="expected one of httpx2, httpx"):
            client.http_client(library="requests")
