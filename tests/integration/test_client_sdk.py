"""The real openai SDK, its latest 3.x and the last 2.x, and plain clients, against the faults of outcomes.md.

A sample by default; ``MATRIX=whole`` tries every API and every driver in every cell.
"""

import asyncio
import fcntl
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from lab.standins.process import StandinProcess
from tests.integration.matrix_table import FILE, rows
from tests.integration.routed import MODEL, ORIGIN, SETTINGS, WORKLOAD, infos, standins, table
from tests.places import ROOT
from tieline._tables.last_good import write_last_good
from tieline.table import ModelOffer, Split, slices

LOCK = Path(__file__).with_name("requirements-openai2.lock")
FAULTY, OTHER = "azure/uksouth/gpt", "gcp/europe-west4/gpt"
EXTENT = os.environ.get("MATRIX", "sample")  # "whole" takes about half an hour
RUN_MAX_S = 240.0 if EXTENT == "sample" else 3_600.0
INSTALL_MAX_S = 180


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[dict[str, StandinProcess]]:
    async with standins(tmp_path, *(pool.rsplit("/", 1)[0] for pool in (FAULTY, OTHER))) as processes:
        yield processes


def environment_of_openai_2() -> str:
    """The Python of an environment with the last 2.x and nothing else, made once from its lock."""
    name = hashlib.sha256(LOCK.read_bytes() + sys.version.encode()).hexdigest()[:16]
    place = ROOT / ".cache" / f"openai2-{name}"
    python, stamp = place / "bin" / "python", place / "ready"
    place.parent.mkdir(exist_ok=True)
    with (place.parent / "openai2.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.exists():
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(place)], check=True)
            pip = [str(python), "-m", "pip", "--disable-pip-version-check", "--retries", "2", "install", "-q"]
            got = subprocess.run([*pip, "--require-hashes", "-r", str(LOCK)], timeout=INSTALL_MAX_S)
            if got.returncode:
                pytest.skip("openai 2.x can't be had here: the package index is out of reach")
            stamp.touch()
    return str(python)


@pytest.mark.timeout(RUN_MAX_S + INSTALL_MAX_S + 60)
@pytest.mark.parametrize(("version", "drivers"), [("3", 6), ("2", 4)])
async def test_every_fault_has_its_outcome(
    version: str, drivers: int, tmp_path: Path, running: dict[str, StandinProcess]
) -> None:
    """Async and sync, streamed and whole, with the SDK's own retries left as they are by default: each fault
    ends as the rules say, after as many attempts, and the SDK never asks a second time."""
    python = sys.executable if version == "3" else await asyncio.to_thread(environment_of_openai_2)
    settings = msgspec.structs.replace(SETTINGS, first_token_timeout_ms=1_000, idle_timeout_ms=1_000)
    lost = {"azure": Split((1,), (1_000_000,))}
    offer = ModelOffer(MODEL, "big", 128_000, ("tools",), whole_answer_timeout_ms=1_500)
    pools = tuple(msgspec.structs.replace(pool, models=(offer,), credential="key") for pool in infos(running))
    made = table(pools, (1_000_000, 0), settings=settings, on_loss=lost)
    path = tmp_path / "routes.bin"
    write_last_good(path, made.generation, {ORIGIN: slices(made)[f"{WORKLOAD}/{ORIGIN}"]})
    urls = [running[pool].admin_url for pool in (FAULTY, OTHER)]
    done = await asyncio.to_thread(
        subprocess.run,
        [python, str(Path(__file__).with_name("sdk_matrix.py")), str(path), *urls, EXTENT],
        capture_output=True,
        text=True,
        timeout=RUN_MAX_S,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'client'}:{ROOT}"},
    )
    lines: list[dict[str, Any]] = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines, done.stderr
    assert not lines[:-1], "\n".join(json.dumps(line) for line in lines)
    assert lines[-1]["openai"].split(".")[0] == version
    assert lines[-1]["rows"] == len(rows(FILE.read_text()))
    assert (lines[-1]["paths"], lines[-1]["drivers"]) == (11, drivers)
