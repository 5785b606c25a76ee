"""The TypeScript client: its own tests under Node, its types, and the real openai SDK through it."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import aiokafka
import msgspec
import pytest
from aiohttp import web

from controller.web.plain import plain_table
from tests.integration.http_server import listening_on
from tests.integration.matrix_table import FILE, Row, rows
from tests.integration.replicated import create_topics
from tests.integration.routed import MODEL, SETTINGS, infos, standins, table
from tests.integration.test_web import TOKEN
from tests.integration.test_web import web as serving_web
from tests.places import ROOT
from tieline.cloudevents import decode
from tieline.events import Demand
from tieline.table import Manifest, ModelOffer, RouteTable, Split, checksum, decode_slice, slices
from tieline.topics import Topics
from tools.toolchains import INSTALL_MAX_S, NODE_FOR_TYPESCRIPT, node, node_packages, npm

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
    for name in ("package.json", "tsconfig.json", "README.md"):
        shutil.copy(PACKAGE / name, place)
    (place / "node_modules").symlink_to(node_packages(PACKAGE) / "node_modules")
    compiler = place / "node_modules" / "typescript" / "bin" / "tsc"
    run(node(NODE_FOR_TYPESCRIPT), compiler, "-p", "tsconfig.json", cwd=place)
    return place


@pytest.fixture(scope="module")
def project(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of its own, into which npm installed the archive that `npm pack` made. Beside it are the SDK
    and the compiler that were fetched before."""
    place = tmp_path_factory.mktemp("project")
    run(*npm(), "pack", "--ignore-scripts", "--pack-destination", place, cwd=built)
    [archive] = place.glob("tieline-*.tgz")
    (place / "package.json").write_text('{"name": "project", "private": true, "type": "module"}')
    quiet = ("--offline", "--ignore-scripts", "--no-audit", "--no-fund")
    run(*npm(), "install", *quiet, archive.name, cwd=place)
    for name in ("openai", "typescript", "@types", "undici-types"):
        (place / "node_modules" / name).symlink_to(built / "node_modules" / name)
    return place


def test_the_archive_holds_what_its_users_need(project: Path) -> None:
    """The compiled sources with their types and the README, and neither tests nor TypeScript."""
    package = project / "node_modules" / "tieline"
    names = {str(path.relative_to(package)) for path in package.rglob("*") if path.is_file()}
    sources = {path.stem for path in (PACKAGE / "src").glob("*.ts")}
    compiled = {f"dist/src/{stem}{suffix}" for stem in sources for suffix in (".js", ".d.ts")}
    assert names == {"package.json", "README.md", *compiled}


USER_OF_TYPES = """
import { Client, StreamBrokenError, type Route } from "tieline";

export async function first(client: Client): Promise<string> {
  const choice = client.pick("chat-large", { session: "one" });
  const route: Route | undefined = choice.kind === "route" ? choice : undefined;
  return route === undefined ? client.status.state : route.target.url;
}
export const isBroken = (error: unknown): boolean => error instanceof StreamBrokenError;
"""
USER_OF_THE_SDK = """
import OpenAI from "openai";
import { Client } from "tieline";

export const sdk = (client: Client): OpenAI =>
  new OpenAI({ baseURL: client.baseURL, fetch: client.fetch, apiKey: "unused", maxRetries: 0 });
"""
WRONG_USER = """
import { Client } from "tieline";

export const client = await Client.start({ url: 1, workload: "chat", origin: "eu" });
"""


@pytest.mark.timeout(INSTALL_MAX_S + 3 * RUN_MAX_S)
@pytest.mark.parametrize(("module", "resolution"), [("node16", "node16"), ("esnext", "bundler")])
def test_types_resolve_in_a_project(project: Path, module: str, resolution: str) -> None:
    """Under the strict compiler, both ways in which projects find packages. The types of the package itself
    are checked as well, what fits the SDK fits, and a wrong option is found."""
    compiler = (node(NODE_FOR_TYPESCRIPT), project / "node_modules" / "typescript" / "bin" / "tsc")
    options = ["--strict", "--noEmit", "--target", "es2022", "--types", "node"]
    options += ["--module", module, "--moduleResolution", resolution]
    for name, text in (("types", USER_OF_TYPES), ("sdk", USER_OF_THE_SDK), ("wrong", WRONG_USER)):
        (project / f"{name}.mts").write_text(text)
    run(*compiler, *options, "types.mts", cwd=project)
    with pytest.raises(AssertionError) as caught:
        run(*compiler, *options, "--skipLibCheck", "sdk.mts", "wrong.mts", cwd=project)
    [line] = [line for line in str(caught.value).splitlines() if line.startswith(("sdk.mts", "wrong.mts"))]
    assert line.startswith("wrong.mts")
    assert "Type 'number' is not assignable to type 'string'" in line


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
            printed = await printed_by(built / "dist" / "test" / "matrix.js", json.dumps(task))
    assert not printed[:-1], "\n".join(printed)
    assert json.loads(printed[-1])["cases"] >= len(task["rows"]) - 5


def example() -> str:
    """The program in the package's README."""
    text = (PACKAGE / "README.md").read_text()
    return text.partition("```js\n")[2].partition("```")[0]


@pytest.mark.timeout(INSTALL_MAX_S + 3 * RUN_MAX_S)
async def test_the_program_of_the_readme_runs_by_what_tieline_web_serves(
    project: Path, tmp_path: Path, redis_url: str, kafka_bootstrap: str, prefix: str
) -> None:
    """It runs in a project that installed the package. Its table comes from `tieline web`, which takes its
    reports to Kafka.

    A pool that fails costs an attempt. Without the endpoint the program runs by its last good file.
    """
    topics = Topics(prefix.rstrip("."))
    await create_topics(kafka_bootstrap, topics)
    program, last_good = project / "example.mjs", tmp_path / "last-good"
    program.write_text(example())
    names = [pool.rsplit("/", 1)[0] for pool in (FAULTY, OTHER)]
    async with (
        standins(tmp_path, *names) as running,
        serving_web(redis_url, kafka_bootstrap, prefix, tmp_path) as rig,
    ):
        made = table(infos(running), (1_000_000, 0), on_loss={"azure": Split((1,), (1_000_000,))})
        await rig.tables.publish(made)
        settings = {"TIELINE_URL": rig.url, "TIELINE_TOKEN": TOKEN, "TIELINE_LAST_GOOD": str(last_good)}
        lines = await printed_by(program, **settings)
        assert lines[-2:] == [f"served by {FAULTY} after 1", "live l1:1:1"]
        await running[FAULTY].fault("503")
        assert (await printed_by(program, **settings))[-2] == f"served by {OTHER} after 2"
        away = {**settings, "TIELINE_URL": "http://127.0.0.1:1"}
        assert (await printed_by(program, **away))[-2:] == [f"served by {OTHER} after 2", "last_good l1:1:1"]
        counted = await outcomes_of(kafka_bootstrap, topics.demand.name)
    assert counted == {FAULTY: {"ok": 1, "server_error": 1}, OTHER: {"ok": 1}}


async def outcomes_of(bootstrap: str, topic: str) -> dict[str, dict[str, int]]:
    """Pool -> outcomes, of all reports up to the last ones of two clients that closed."""
    consumer = aiokafka.AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    counted: dict[str, dict[str, int]] = {}
    closed = 0
    await consumer.start()
    try:
        while closed < 2:
            record = await consumer.getone()
            event = decode(record.headers, record.value, record.key)
            assert isinstance(event, Demand)
            closed += event.state == "off"
            for row in event.pools:
                counts = counted.setdefault(row.pool, {})
                for name, count in msgspec.structs.asdict(row.outcomes).items():
                    if count:
                        counts[name] = counts.get(name, 0) + count
    finally:
        await consumer.stop()
    return counted


async def printed_by(program: Path, text: str = "", **settings: str) -> list[str]:
    """The lines that a program prints which reads this text and ends well."""
    child = await asyncio.create_subprocess_exec(
        str(node(NODE_FOR_TYPESCRIPT)),
        str(program),
        env={**os.environ, **settings},
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
    return out.decode().splitlines()
