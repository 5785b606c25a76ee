"""What asks a proxy for what outcomes.md is about: both openai SDKs, a plain client and curl."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import httpx2
import openai

from lab.standins.process import StandinProcess
from tests.integration.gateways import AUTHORIZED, TOKEN
from tests.integration.matrix_calls import CALLS, Call, judged, raw_async, sdk_async
from tests.integration.matrix_table import Row
from tests.integration.sdk_matrix import STEP
from tests.places import ROOT
from tools.debian import programs
from tools.toolchains import node, node_packages

FAULTY, OTHER = "azure/uksouth/gpt", "gcp/europe-west4/gpt"
DRIVERS = ("python sdk", "npm sdk", "httpx", "curl")
NPM = ROOT / "tests" / "integration" / "gateway_sdk"
Ask = Callable[[str, Call], Awaitable[str]]  # (the proxy's URL, what to ask) -> the outcome


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
    if call.method == "GET":
        words += ["-G"]
    elif call.file is None:
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


@asynccontextmanager
async def all_drivers() -> AsyncIterator[Mapping[str, Ask]]:
    """Every driver by its name, as long as the context lasts."""
    async with npm_sdk() as npm:
        yield {"python sdk": by_python_sdk, "npm sdk": npm, "httpx": by_httpx, "curl": by_curl}


def can_ask(driver: str, call: Call) -> bool:
    """Whether this driver can make the call: the SDKs hide how some streams end, and the script of Node's has
    no calls without a body."""
    return driver in ("httpx", "curl") or (
        call.sdk is not None and (driver, call.method) != ("npm sdk", "GET")
    )


def askings(column: str, turn: Iterator[int], *, whole: bool) -> list[tuple[Call, str]]:
    """Each call of this column with each driver that can make it; not ``whole``: one of these pairs, another
    one for each number of ``turn``."""
    pairs = [
        (call, driver)
        for call in CALLS
        for driver in DRIVERS
        if call.column == column and can_ask(driver, call)
    ]
    return pairs if whole else [pairs[next(turn) * STEP % len(pairs)]]


async def set_faults(row: Row, running: dict[str, StandinProcess]) -> None:
    """Switch on the fault of this row and no other."""
    for pool, process in running.items():
        await process.clear()
        if row.order is not None and (row.everywhere or pool == FAULTY):
            fields = {name: value for name, value in row.order.items() if name != "kind"}
            await process.fault(row.order["kind"], **fields)
