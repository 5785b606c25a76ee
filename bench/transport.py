"""What routing adds to a call of the openai SDK: `script/bench transport`.

One server in a process of its own; bare calls and routed calls take turns, and a sample is a routed call less
the bare call before it, so that whatever slows the machine slows both. `added stream` reads 18 events to the
end. `bare ...` is the SDK's own call, for scale; `requests/s` is one process with 32 calls at a time.
`LiteLLM Router` is its `acompletion` to the same server, against the bare call of the SDK beside it.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

from openai import AsyncOpenAI, OpenAI

import tieline
from bench._frame import Case, run
from bench._peers import litellm
from bench._pools import ASK, PLACE, running, write_table

PAIRS = 1_500
LITELLM_PAIRS = 200
WARM_UP = 100
BURSTS = 6
BURST_CALLS = 400
CALLS_AT_A_TIME = 32
POOLS = 8
TARGET = {"p50": 100.0}


async def _read(llm: AsyncOpenAI) -> None:
    async for _ in await llm.chat.completions.create(**ASK, stream=True):
        pass


async def _ask(llm: AsyncOpenAI) -> None:
    await llm.chat.completions.create(**ASK)


Call = Callable[[AsyncOpenAI], Awaitable[None]]


async def _pairs(call: Call, bare: AsyncOpenAI, routed: AsyncOpenAI) -> tuple[list[float], list[float]]:
    plain, added = [], []
    for number in range(-WARM_UP, PAIRS):
        began = time.perf_counter_ns()
        await call(bare)
        between = time.perf_counter_ns()
        await call(routed)
        ended = time.perf_counter_ns()
        if number >= 0:
            plain.append((between - began) / 1_000)
            added.append((ended - between - (between - began)) / 1_000)
    return plain, added


def _pairs_sync(bare: OpenAI, routed: OpenAI) -> tuple[list[float], list[float]]:
    plain, added = [], []
    for number in range(-WARM_UP, PAIRS):
        began = time.perf_counter_ns()
        bare.chat.completions.create(**ASK)
        between = time.perf_counter_ns()
        routed.chat.completions.create(**ASK)
        ended = time.perf_counter_ns()
        if number >= 0:
            plain.append((between - began) / 1_000)
            added.append((ended - between - (between - began)) / 1_000)
    return plain, added


async def _burst(llm: AsyncOpenAI) -> float:
    """Requests a second with so many calls at a time."""
    left = iter(range(BURST_CALLS))

    async def work() -> None:
        for _ in left:
            await _ask(llm)

    began = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(CALLS_AT_A_TIME)))
    return BURST_CALLS / (time.perf_counter() - began)


async def _asynchronous(url: str, path: Path) -> list[Case]:
    cases = []
    async with tieline.offline(path, **PLACE) as client:
        if not await client.ready(5):
            raise RuntimeError(f"no table: {client.status.error}")
        http = client.http_client()
        async with (
            AsyncOpenAI(api_key="none", base_url=url, max_retries=0) as bare,
            AsyncOpenAI(api_key="none", base_url=client.base_url, http_client=http, max_retries=0) as routed,
        ):
            calls: tuple[tuple[str, Call], ...] = (("async", _ask), ("stream", _read))
            for name, call in calls:
                plain, added = await _pairs(call, bare, routed)
                cases += [Case(f"added {name}", "us", added, TARGET), Case(f"bare {name}", "us", plain)]
            for name, llm in (("bare", bare), ("routed", routed)):
                await _burst(llm)
                rates = [await _burst(llm) for _ in range(BURSTS)]
                cases.append(Case(f"{name} throughput", "requests/s", rates))
    return cases


def _synchronous(url: str, path: Path) -> list[Case]:
    with tieline.Client(path, **PLACE) as client:
        if not client.ready(5):
            raise RuntimeError(f"no table: {client.status.error}")
        http = client.http_client()
        with (
            OpenAI(api_key="none", base_url=url, max_retries=0) as bare,
            OpenAI(api_key="none", base_url=client.base_url, http_client=http, max_retries=0) as routed,
        ):
            plain, added = _pairs_sync(bare, routed)
    return [Case("added sync", "us", added, TARGET), Case("bare sync", "us", plain)]


def measure() -> Iterator[Case]:
    """The three targets, the bare calls beside them, and throughput with and without."""
    with running("fine") as pools, tempfile.TemporaryDirectory() as directory:
        path, url = Path(directory) / "routes.bin", pools.urls[0]
        write_table(path, [url] * POOLS)
        yield from asyncio.run(_asynchronous(url, path))
        yield from _synchronous(url, path)
        asked = {"pools": POOLS, "pairs": LITELLM_PAIRS, "burst": BURST_CALLS, "at_a_time": CALLS_AT_A_TIME}
        yield from litellm("transport", url=url, **asked)


if __name__ == "__main__":
    sys.exit(run("transport", measure))
