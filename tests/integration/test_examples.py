"""The programs in examples/client run as they stand, over running stand-ins."""

import asyncio
import importlib.util
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import uvicorn
from openai import APIStatusError, AsyncOpenAI

from controller.policy_file import load_policy
from lab.standins.config import parse
from lab.standins.process import StandinProcess
from tests.integration.routed import MODEL, ORIGIN, WORKLOAD, infos, standins, table
from tests.places import ROOT
from tests.waiting import until
from tieline._tables.last_good import write_last_good
from tieline.table import slices

EXAMPLES = ROOT / "examples" / "client"
A, B = "azure/uksouth/gpt", "gcp/europe-west4/gpt"
MESSAGES: Any = [{"role": "user", "content": "Where does it flow?"}]


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[dict[str, StandinProcess]]:
    async with standins(tmp_path, *(pool.rsplit("/", 1)[0] for pool in (A, B))) as processes:
        yield processes


@pytest.fixture
def file(tmp_path: Path, running: dict[str, StandinProcess]) -> Path:
    """A table of both pools, as a last good file."""
    path, made = tmp_path / "routes.bin", table(infos(running), (500_000, 500_000))
    write_last_good(path, made.generation, {ORIGIN: slices(made)[f"{WORKLOAD}/{ORIGIN}"]})
    return path


@pytest.mark.parametrize(
    ("name", "lines"), [("openai_async", [B, ""]), ("openai_sync", [B, ""]), ("plain_httpx", ["200", "send"])]
)
async def test_a_program_runs_though_a_pool_refuses(
    name: str, lines: list[str], file: Path, running: dict[str, StandinProcess]
) -> None:
    """It ends well, and says what came of each of its requests."""
    await running[A].fault("503")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(EXAMPLES / f"{name}.py"),
        str(file),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    said = out.decode().splitlines()
    assert len(said) == len(lines)
    for line, begin in zip(said, lines, strict=True):
        assert line.startswith(begin)
        assert line


def test_what_the_examples_run_against_fits_together() -> None:
    """The policy routes the programs' requests to the stand-ins beside it, by their ports and models, with
    the secrets that the README names."""
    policy = load_policy(EXAMPLES / "policy.yaml")
    assert [(one.id, one.models) for one in policy.workloads] == [("chat", ("chat-large",))]
    processes = {
        one.provider: one for one in parse((EXAMPLES / "standins.yaml").read_text(), "standins.yaml")
    }
    assert len(policy.pools) == len(processes) == 2
    for pool in policy.pools:
        provider, region, deployment = pool.id.split("/")
        process = processes[provider]
        (standin,) = process.pools
        assert (process.region, standin.deployment) == (region, deployment)
        assert urlsplit(pool.url).port == standin.port
        assert (pool.models[0].model, pool.models[0].name) == ("chat-large", standin.models[0])
        assert standin.bearer_key == f"key-of-{pool.credential}"


async def test_the_gateway_routes_for_whoever_calls_it(
    file: Path, running: dict[str, StandinProcess]
) -> None:
    """The SDK without any library of ours: whole, in pieces, failed over; an error stays an error; and the
    status says which pool is out."""
    made = importlib.util.spec_from_file_location("gateway", EXAMPLES / "gateway.py")
    assert made is not None
    assert made.loader is not None
    module = importlib.util.module_from_spec(made)
    made.loader.exec_module(module)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(module.gateway(str(file)), log_level="error", ws="none"))
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        try:
            await until(lambda: server.started, what="the gateway listens")
            url = f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
            async with AsyncOpenAI(api_key="unused", base_url=url, max_retries=0) as llm:
                await use(llm, running)
        finally:
            server.should_exit = True
            await serving


async def use(llm: AsyncOpenAI, running: dict[str, StandinProcess]) -> None:
    """One pool refuses, then both."""
    await running[A].fault("refuse")
    for _ in range(4):
        raw = await llm.chat.completions.with_raw_response.create(
            model=MODEL, messages=MESSAGES, max_tokens=8
        )
        assert raw.headers["x-tieline-pool"] == B
        assert raw.parse().choices[0].message.content
    chunks = await llm.chat.completions.create(model=MODEL, messages=MESSAGES, max_tokens=24, stream=True)
    assert len([chunk async for chunk in chunks]) > 2
    await running[B].fault("400")
    with pytest.raises(APIStatusError) as caught:
        await llm.chat.completions.create(model=MODEL, messages=MESSAGES, max_tokens=8)
    assert caught.value.status_code == 400
