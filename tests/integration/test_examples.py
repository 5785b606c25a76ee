"""The programs in examples/client run as they stand, over running stand-ins."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from controller.policy_file import load_policy
from lab.standins.config import parse
from lab.standins.process import StandinProcess
from tests.integration.routed import ORIGIN, WORKLOAD, infos, standins, table
from tests.places import ROOT
from tieline._tables.last_good import write_last_good
from tieline.table import slices

EXAMPLES = ROOT / "examples" / "client"
A, B = "azure/uksouth/gpt", "gcp/europe-west4/gpt"


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
