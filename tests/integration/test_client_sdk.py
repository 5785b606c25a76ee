"""The real openai SDK, its latest 3.x and the last 2.x, and plain clients, against the faults of outcomes.md.

A sample by default; ``MATRIX=whole`` tries every API and every driver in every cell.
"""

import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from lab.standins.process import StandinProcess
from tests.integration.matrix_table import FILE, rows
from tests.integration.routed import MODEL, ORIGIN, SETTINGS, WORKLOAD, infos, standins, table
from tests.integration.sdk_versions import INSTALL_MAX_S, run_with_sdk
from tieline._tables.last_good import write_last_good
from tieline.table import ModelOffer, Split, slices

FAULTY, OTHER = "azure/uksouth/gpt", "gcp/europe-west4/gpt"
EXTENT = os.environ.get("MATRIX", "sample")  # "whole" takes about half an hour
SILENCE_MAX_MS = 2_000  # as outcomes.md says
RUN_MAX_S = 400.0 if EXTENT == "sample" else 3_600.0


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[dict[str, StandinProcess]]:
    async with standins(tmp_path, *(pool.rsplit("/", 1)[0] for pool in (FAULTY, OTHER))) as processes:
        yield processes


@pytest.mark.timeout(RUN_MAX_S + INSTALL_MAX_S + 60)
@pytest.mark.parametrize(("version", "drivers"), [("3", 6), ("2", 4)])
async def test_every_fault_has_its_outcome(
    version: str, drivers: int, tmp_path: Path, running: dict[str, StandinProcess]
) -> None:
    """Async and sync, streamed and whole, with the SDK's own retries left as they are by default: each fault
    ends as the rules say, after as many attempts, and the SDK never asks a second time."""
    settings = msgspec.structs.replace(
        SETTINGS, first_token_timeout_ms=SILENCE_MAX_MS, idle_timeout_ms=SILENCE_MAX_MS
    )
    lost = {"azure": Split((1,), (1_000_000,))}
    offer = ModelOffer(MODEL, "big", 128_000, ("tools",), whole_answer_timeout_ms=SILENCE_MAX_MS)
    pools = tuple(msgspec.structs.replace(pool, models=(offer,), credential="key") for pool in infos(running))
    made = table(pools, (1_000_000, 0), settings=settings, on_loss=lost)
    path = tmp_path / "routes.bin"
    write_last_good(path, made.generation, {ORIGIN: slices(made)[f"{WORKLOAD}/{ORIGIN}"]})
    urls = [running[pool].admin_url for pool in (FAULTY, OTHER)]
    lines = await run_with_sdk(version, "sdk_matrix.py", str(path), *urls, EXTENT, limit_s=RUN_MAX_S)
    assert not lines[:-1], "\n".join(json.dumps(line) for line in lines)
    assert lines[-1]["openai"].split(".")[0] == version
    assert lines[-1]["rows"] == len(rows(FILE.read_text()))
    assert (lines[-1]["paths"], lines[-1]["drivers"]) == (11, drivers)
