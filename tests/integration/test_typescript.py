"""The TypeScript client: its own tests under Node, its types, and the real openai SDK through it."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web

from controller.web.plain import plain_table
from tests.integration.http_server import listening_on
from tests.integration.matrix_table import FILE, Row, rows
from tests.integration.routed import MODEL, SETTINGS, infos, standins, table
from tests.places import ROOT
from tieline.table import Manifest, ModelOffer, RouteTable, Split, checksum, decode_slice, slices
from tools.toolchains import INSTALL_MAX_S, NODE_FOR_TYPESCRIPT, node, node_packages

PACKAGE = ROOT / "clients" / "typescript"
RUN_MAX_S = 300.0
FAULTY, OTHER = "azure/uksouth/gpt", "gcp/europe-west4/gpt"
COLUMNS = ("text", "chat stream", "responses stream")
SILENCE_MAX_MS = 2_000  # as outcomes.md says
IS_WHOLE = os.environ.get("MATRIX") == "whole"
# Node's fetch may or may not notice in time that a kept connection was closed; else the other pool is asked.
OWN_OUTCOMES = {"stale_connections": "faulty 1|other 2"}


def run(*command: str | Path, cwd: Path, limit_s: float = RUN_MAX_S) -> str:
    """What a program prints, on both streams. It must end well."""
    done = subprocess.run(
        [*map(str, command)], cwd=cwd, capture_output=True, text=True, check=False, timeout=limit_s
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_it_decides_as_the_python_client_does() -> None:
    """Every conformance vector gives here what it gives there, and its own tests pass. Node leaves out the
    types, so nothing is installed for this but Node."""
    tests = sorted((PACKAGE / "test").glob("*.test.ts"))
    assert tests
    run(node(NODE_FOR_TYPESCRIPT), "--test", *tests, cwd=PACKAGE)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as `npm run build` makes it, with what it is developed with beside it."""
    place = tmp_path_factory.mktemp("typescript")
    for name in ("src", "test"):
        shutil.copytree(PACKAGE / name, place / name)
    for name in ("package.json", "tsconfig.json"):
        shutil.copy(PACKAGE / name, place)
    (place / "node_modules").symlink_to(node_packages(PACKAGE) / "node_modules")
    compiler = place / "node_modules" / "typescript" / "bin" / "tsc"
    run(node(NODE_FOR_TYPESCRIPT), compiler, "-p", "tsconfig.json", cwd=place)
    return place


@pytest.mark.timeout(INSTALL_MAX_S + 2 * RUN_MAX_S)
def test_its_types_hold_and_it_can_be_packed(built: Path) -> None:
    """The strict compiler finds nothing, and what it writes can be imported as users of the package do."""
    run(node(NODE_FOR_TYPESCRIPT), "-e", "import('tieline').then(Object.keys)", cwd=built)


def plain_text(made: RouteTable) -> str:
    """The table as `tieline web` serves it."""
    parts = [decode_slice(data, checksum(data)) for data in slices(made).values()]
    manifest = Manifest(made.generation, made.made_ms, {})
    return plain_table(manifest, parts, b"").encoded().decode()


def sample(table_rows: list[Row]) -> list[dict[str, Any]]:
    """Every row, with one column in turn; with MATRIX=whole all of them."""
    tasks = []
    for number, row in enumerate(table_rows):
        columns = [column for column in COLUMNS if row.outcomes[column] != "-"]
        tried = columns if IS_WHOLE else columns[number % len(columns) :][:1] if columns else []
        kind = row.order["kind"] if row.order else ""
        outcomes = {column: OWN_OUTCOMES.get(kind, row.outcomes[column]) for column in tried}
        tasks.append({"order": row.order, "everywhere": row.everywhere, "outcomes": outcomes})
    return tasks


@pytest.mark.timeout(INSTALL_MAX_S + 3 * RUN_MAX_S)
async def test_the_openai_sdk_meets_every_fault_with_its_outcome(built: Path, tmp_path: Path) -> None:
    """Streamed and whole, with the SDK's own retries left as they are by default: each fault of outcomes.md
    ends as it does with the Python client, and the SDK never asks a second time."""
    settings = msgspec.structs.replace(
        SETTINGS, first_token_timeout_ms=SILENCE_MAX_MS, idle_timeout_ms=SILENCE_MAX_MS
    )
    offer = ModelOffer(MODEL, "big", 128_000, ("tools",), whole_answer_timeout_ms=SILENCE_MAX_MS)
    lost = {"azure": Split((1,), (1_000_000,))}
    async with standins(tmp_path, *(pool.rsplit("/", 1)[0] for pool in (FAULTY, OTHER))) as running:
        pools = tuple(
            msgspec.structs.replace(pool, models=(offer,), credential="key") for pool in infos(running)
        )
        text = plain_text(table(pools, (1_000_000, 0), settings=settings, on_loss=lost))

        async def answer(request: web.Request) -> web.Response:
            if request.path.startswith("/v1/table/"):
                return web.Response(text=text, content_type="application/json")
            return web.Response(status=202 if request.method == "POST" else 503)

        async with listening_on(answer, method="*") as url:
            task = {
                "url": url,
                "faulty": running[FAULTY].admin_url,
                "other": running[OTHER].admin_url,
                "rows": sample(rows(FILE.read_text())),
            }
            lines = await talked_to(built / "dist" / "test" / "matrix.js", json.dumps(task))
    assert not lines[:-1], "\n".join(map(json.dumps, lines))
    assert lines[-1]["cases"] >= len(task["rows"]) - 5


async def talked_to(program: Path, text: str) -> list[dict[str, Any]]:
    """The JSON lines that a program prints which reads this text."""
    child = await asyncio.create_subprocess_exec(
        str(node(NODE_FOR_TYPESCRIPT)),
        str(program),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, errors = await asyncio.wait_for(child.communicate(text.encode()), 2 * RUN_MAX_S)
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    assert child.returncode == 0, errors.decode()
    return [json.loads(line) for line in out.splitlines()]
