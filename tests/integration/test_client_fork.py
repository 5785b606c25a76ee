"""A client in a process that forks, as servers with worker processes do: parent and child both go on."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from lab.standins.process import StandinProcess
from tests.integration.routed import ORIGIN, WORKLOAD, infos, standins, table
from tieline._tables.last_good import write_last_good
from tieline.table import slices

A, B = "azure/uksouth/gpt", "gcp/europe-west4/gpt"
RUN_MAX_S = 240


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[dict[str, StandinProcess]]:
    async with standins(tmp_path, *(pool.rsplit("/", 1)[0] for pool in (A, B))) as processes:
        yield processes


async def forked(how: str, tmp_path: Path, running: dict[str, StandinProcess]) -> dict[str, dict[str, Any]]:
    """What parent and child told."""
    made = table(infos(running), (500_000, 500_000))
    path = tmp_path / "routes.bin"
    write_last_good(path, made.generation, {ORIGIN: slices(made)[f"{WORKLOAD}/{ORIGIN}"]})
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, str(Path(__file__).with_name("fork_child.py")), how, str(path)],
        capture_output=True,
        text=True,
        timeout=RUN_MAX_S,
    )
    assert done.returncode == 0, done.stderr
    return {told["who"]: told for told in map(json.loads, done.stdout.splitlines())}


@pytest.mark.parametrize("how", ["sync", "async"])
async def test_parent_and_child_both_go_on(
    how: str, tmp_path: Path, running: dict[str, StandinProcess]
) -> None:
    """Each with connections of its own, none of which the other has, as a client of its own in the reports,
    and each tells of its own requests only."""
    told = await forked(how, tmp_path, running)
    parent, child = told["parent"], told["child"]
    for one in (parent, child):
        assert {pool.split()[0] for pool in one["pools"]} == {"200"}
        assert len(one["pools"]) == one["requests"] == 5
    kept = set(parent["before"]) & set(parent["sockets"])
    assert kept, "the parent goes on with its connections"
    pools = {socket for socket in child["sockets"] if socket in parent["before"]}
    assert len(pools) <= 2, "what asyncio's own loop holds to wake itself, and nothing else"
    assert len(parent["clients"]) == len(child["clients"]) == 1
    assert parent["clients"] != child["clients"]


async def test_a_child_that_only_picks(tmp_path: Path, running: dict[str, StandinProcess]) -> None:
    """It has the table at once and follows it from its first pick on."""
    told = await forked("pick", tmp_path, running)
    assert {tuple(one["pools"]) for one in told.values()} == {("Route",) * 5}
    assert told["child"]["requests"] == 5
