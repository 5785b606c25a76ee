"""The openai SDKs of Python and npm, curl and a plain client, through a gateway, against the faults of
outcomes.md: what they get is what the client library gives.

A sample by default; ``MATRIX=whole`` tries every driver in every cell. Each case has a gateway of its own, in
this process, so that what one case does to a pool is nothing to the next. Not tried here: lists of models,
which a gateway answers itself, and a token that is replaced, as the pools of a gateway have fixed secrets.
"""

import asyncio
import itertools
import json
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import msgspec
import openai
import pytest

from controller.process.settings import Settings
from gateway.configuration import GatewayFile, parse_gateway
from gateway.worker import Post, Worker, serving
from lab.standins.process import StandinProcess
from tests.integration.gateways import AUTHORIZED, TOKEN, settings_of
from tests.integration.matrix_calls import CALLS, TIMED_OUT, Call, judged, raw_async, sdk_async
from tests.integration.matrix_table import FILE, Row, rows
from tests.integration.routed import MODEL, ORIGIN, SETTINGS, WORKLOAD, infos, standins, table
from tests.integration.sdk_matrix import SECOND, STEP
from tests.places import ROOT
from tests.waiting import SAFETY_NET_S
from tieline._tables.last_good import write_last_good
from tieline.table import ModelOffer, Split, slices
from tools.debian import programs
from tools.toolchains import node, node_packages

FAULTY, OTHER = "azure/uksouth/gpt", "gcp/europe-west4/gpt"
IS_WHOLE = os.environ.get("MATRIX") == "whole"
SILENCE_MAX_MS = 2_000  # as outcomes.md says
ROWS_APART = 9  # of the sample
AT_A_TIME = 4
CALL_MAX_S = 90  # a safety net
NPM = ROOT / "tests" / "integration" / "gateway_sdk"
Ask = Callable[[str, Call], Awaitable[str]]  # (the gateway's URL, what to ask) -> the outcome


class GatewayCase(NamedTuple):
    """One cell of the table by one driver."""

    row: Row
    call: Call
    driver: str

    @property
    def calls(self) -> int:
        """How many are made; the outcome is that of the last."""
        return 2 if self.row.order and self.row.order["kind"] in SECOND else 1

    @property
    def expected(self) -> frozenset[str]:
        """What outcomes.md says. Where the client library raises the time-out of the HTTP library, a gateway
        answers 504, or breaks what it has begun to hand on."""
        outcome = self.row.outcomes[self.call.column]
        if outcome == TIMED_OUT:
            return frozenset({"504 faulty 1", "broken"})
        is_flat = (self.row.order or {}).get("shape") == "flat"
        if is_flat and self.driver == "npm sdk":
            return frozenset({outcome, outcome.replace("error", "broken")})  # it raises APIConnectionError
        return frozenset({outcome})


def cases() -> Iterator[GatewayCase]:
    """The cases, fault by fault; of the sample each by one API and one driver in turn."""
    turn = itertools.count()
    for number, row in enumerate(rows(FILE.read_text())):
        if row.order is not None and row.order["kind"] == "token_revoked":
            continue
        if not IS_WHOLE and number % ROWS_APART:
            continue
        for column, outcome in row.outcomes.items():
            if column == "look up" or outcome == "-":
                continue
            pairs = [
                (call, driver)
                for call in CALLS
                for driver in DRIVERS
                if call.column == column and (call.sdk is not None or driver in ("httpx", "curl"))
            ]
            for call, driver in pairs if IS_WHOLE else [pairs[next(turn) * STEP % len(pairs)]]:
                yield GatewayCase(row, call, driver)


async def by_python_sdk(url: str, call: Call) -> str:
    """With the retries that it makes by default, but for speech, as in the client's matrix."""
    options: dict[str, Any] = {"max_retries": 0} if call.column == "sound" else {}
    async with openai.AsyncOpenAI(api_key=TOKEN, base_url=url, **options) as llm:
        return await sdk_async(llm, call)


async def by_httpx(url: str, call: Call) -> str:
    """A plain client."""
    async with httpx2.AsyncClient(base_url=url, headers=AUTHORIZED, timeout=60) as http:
        return await raw_async(http, call)


async def by_curl(url: str, call: Call) -> str:
    """The program, as its manual shows it. Its status 18 is a transfer that broke."""
    headers = {**AUTHORIZED, **call.headers}
    words = [str(programs("curl", "curl") / "curl"), "-sS", "-i", "--no-buffer", f"{url}{call.path}"]
    for name, value in headers.items():
        words += ["-H", f"{name}: {value}"]
    if call.file is None:
        words += ["-H", "content-type: application/json", "-d", json.dumps(call.json)]
    else:
        field, (name, _, kind) = call.file
        for each, value in call.json.items():
            words += ["-F", f"{each}={'true' if value is True else value}"]
        words += ["-F", f"{field}=@-;filename={name};type={kind}"]
    process = await asyncio.create_subprocess_exec(
        *words, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate(call.file[1][1] if call.file is not None else b"")
    return _judged_curl(call, output, process.returncode or 0)


def _judged_curl(call: Call, output: bytes, status: int) -> str:
    """By the judge of plain clients."""
    head, _, body = output.partition(b"\r\n\r\n")
    if head.startswith(b"HTTP/1.1 100"):
        head, _, body = body.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines if ": " in line)
    answer = CurlAnswer(int(first.split()[1]), headers)
    return judged(call, answer, body, broken=status == 18)


class CurlAnswer(NamedTuple):
    """As the judge reads it."""

    status_code: int
    headers: dict[str, str]


class NpmSdk:
    """The SDK of npm, in one process of Node that makes all calls."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._waiting: dict[int, asyncio.Future[str]] = {}
        self._ids = itertools.count()

    async def __call__(self, url: str, call: Call) -> str:
        """One call."""
        number = next(self._ids)
        self._waiting[number] = asyncio.get_running_loop().create_future()
        fields: dict[str, Any] = {"id": number, "url": url, "key": TOKEN, "sdk": call.sdk, "json": call.json}
        fields |= {"headers": call.headers, "isStream": call.streamed}
        fields["retries"] = 0 if call.column == "sound" else 2
        if call.file is not None:
            field, (name, content, kind) = call.file
            fields["file"] = {"field": field, "name": name, "content": content.decode(), "type": kind}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(fields).encode() + b"\n")
        return await self._waiting[number]

    async def read(self) -> None:
        """Hands on what the process says, until it ends."""
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            answer = json.loads(line)
            self._waiting.pop(answer["id"]).set_result(answer["result"])


@asynccontextmanager
async def npm_sdk() -> AsyncIterator[NpmSdk]:
    """Runs as long as the context lasts."""
    place = await asyncio.to_thread(node_packages, NPM)
    process = await asyncio.create_subprocess_exec(
        str(node()),
        str(place / "calls.mjs"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    sdk = NpmSdk(process)
    reading = asyncio.create_task(sdk.read())
    try:
        yield sdk
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()
        await reading


DRIVERS = ("python sdk", "npm sdk", "httpx", "curl")


@asynccontextmanager
async def fresh_gateway(file: GatewayFile, folder: Path) -> AsyncIterator[tuple[Worker, str]]:
    """A gateway that has seen no request, and its URL."""
    folder.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        async with serving(file, Settings(kafka=""), listening, Post(0, 1, folder)) as worker:
            for job in worker.jobs.values():
                job.close()
            client = worker.clients[WORKLOAD]
            assert await client.ready(SAFETY_NET_S), client.status
            yield worker, f"http://127.0.0.1:{listening.getsockname()[1]}/v1"


async def outcome_of(case: GatewayCase, asks: dict[str, Ask], file: GatewayFile, folder: Path) -> str:
    """What became of a case, whether the pool is out afterwards, and whether an SDK asked again by itself."""
    async with fresh_gateway(file, folder) as (worker, url):
        for _ in range(case.calls):
            async with asyncio.timeout(CALL_MAX_S):
                result = await asks[case.driver](url, case.call)
        pools = worker.clients[WORKLOAD].explain()["pools"]
        result += " out" if any(row["out"] or row["models_out"] for row in pools) else ""
        asked = worker.figures.requests + len(worker.drain)
    return result if asked == case.calls else f"{result}, asked {asked} times"


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[dict[str, StandinProcess]]:
    async with standins(tmp_path, *(pool.rsplit("/", 1)[0] for pool in (FAULTY, OTHER))) as processes:
        yield processes


@pytest.fixture
def file(tmp_path: Path, running: dict[str, StandinProcess], monkeypatch: pytest.MonkeyPatch) -> GatewayFile:
    """All weight is on the faulty pool; what is lost there goes to the other."""
    monkeypatch.setenv("TIELINE_CREDENTIAL_KEY", "a-key-of-the-pools")
    settings = msgspec.structs.replace(
        SETTINGS, first_token_timeout_ms=SILENCE_MAX_MS, idle_timeout_ms=SILENCE_MAX_MS
    )
    offer = ModelOffer(MODEL, "big", 128_000, ("tools",), whole_answer_timeout_ms=SILENCE_MAX_MS)
    pools = tuple(msgspec.structs.replace(pool, models=(offer,), credential="key") for pool in infos(running))
    lost = {"azure": Split((1,), (1_000_000,))}
    wanted = table(pools, (1_000_000, 0), settings=settings, on_loss=lost)
    path = tmp_path / "routes.bin"
    write_last_good(path, wanted.generation, {ORIGIN: slices(wanted)[f"{WORKLOAD}/{ORIGIN}"]})
    return parse_gateway(json.dumps(settings_of(str(path), access_log="")))


@pytest.mark.timeout(3_600 if IS_WHOLE else 600)
async def test_every_fault_has_its_outcome(
    tmp_path: Path, running: dict[str, StandinProcess], file: GatewayFile
) -> None:
    """For each driver and each API, after as many attempts, and no SDK asks a second time."""
    wrong, numbers = [], itertools.count()
    doubtful: list[GatewayCase] = []
    async with npm_sdk() as npm:
        asks: dict[str, Ask] = {
            "python sdk": by_python_sdk,
            "npm sdk": npm,
            "httpx": by_httpx,
            "curl": by_curl,
        }
        slots = asyncio.Semaphore(AT_A_TIME)

        async def ended(case: GatewayCase) -> str:
            async with slots:
                try:
                    return await outcome_of(case, asks, file, tmp_path / f"case-{next(numbers)}")
                except TimeoutError:
                    return "nothing in time"

        async def tried(case: GatewayCase) -> None:
            if await ended(case) not in case.expected:
                doubtful.append(case)

        for _, group in itertools.groupby(cases(), lambda case: case.row):
            of_row = list(group)
            for alone in [[case] for case in of_row] if of_row[0].calls > 1 else [of_row]:
                await set_faults(alone[0].row, running)
                await asyncio.gather(*(tried(case) for case in alone))
                # On a machine that stands still for two seconds each pool seems silent: such cases are tried
                # once more, one by one.
                for case in doubtful:
                    await set_faults(case.row, running)
                    if (result := await ended(case)) not in case.expected:
                        wrong.append(
                            (case.row.order, case.row.everywhere, case.call.path, case.driver, result)
                        )
                doubtful.clear()
    assert not wrong, "\n".join(map(repr, wrong))


async def set_faults(row: Row, running: dict[str, StandinProcess]) -> None:
    """Switch on the fault of this row and no other."""
    for pool, process in running.items():
        await process.clear()
        if row.order is not None and (row.everywhere or pool == FAULTY):
            fields = {name: value for name, value in row.order.items() if name != "kind"}
            await process.fault(row.order["kind"], **fields)
