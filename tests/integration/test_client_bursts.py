"""A burst of requests whose pool is dead moves to the standby as fast as that answers."""

import asyncio
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from openai import AsyncOpenAI, OpenAI

import tieline
from tests.integration.routed import MODEL, ORIGIN, WORKLOAD
from tests.integration.scripted_pools import ScriptedPool, error, good, scripted, written_table
from tieline.table import ClientSettings

DEAD, STANDBY = "a/r/d", "b/r/d"
MESSAGES: Any = [{"role": "user", "content": "Where does it flow?"}]
REFUSALS = [error(503), error(429, headers="retry-after: 1\r\n")]


@asynccontextmanager
async def dead_and_standby(path: Path, refusal: bytes) -> AsyncIterator[tuple[Path, list[ScriptedPool]]]:
    """The table's file, and its pools: one of nearly all weight that refuses everything, and an idle one."""
    async with scripted(lambda _number, _body: refusal, lambda _number, _body: good()) as pools:
        named = dict(zip((DEAD, STANDBY), pools, strict=True))
        yield written_table(path / "routes.bin", named, (999_999, 1), ClientSettings()), pools


@pytest.mark.parametrize("refusal", REFUSALS, ids=["503", "429"])
async def test_300_at_once(tmp_path: Path, refusal: bytes) -> None:
    """All are served, and the dead pool is asked once for each at most.

    Half of them within 20 s, also on a busy machine: at 3 a second, the pace of retries, it takes 50 s.
    """
    async with dead_and_standby(tmp_path, refusal) as (path, pools):
        async with tieline.offline(path, workload=WORKLOAD, origin=ORIGIN) as client:
            assert await client.ready(60)
            llm = AsyncOpenAI(
                api_key="x", base_url=client.base_url, http_client=client.http_client(), max_retries=0
            )

            async def ask() -> float:
                began = time.monotonic()
                await llm.chat.completions.create(model=MODEL, messages=MESSAGES)
                return time.monotonic() - began

            async with llm:
                times = sorted(await asyncio.gather(*(ask() for _ in range(300))))
        assert times[150] <= 20.0
        assert pools[0].count <= 300
        assert pools[1].count == 300


@pytest.mark.parametrize("refusal", REFUSALS, ids=["503", "429"])
async def test_60_threads_at_once(tmp_path: Path, refusal: bytes) -> None:
    """The same with the synchronous client and SDK."""

    def burst(path: Path) -> int:
        table = tieline.Client(path, workload=WORKLOAD, origin=ORIGIN)
        with table as client, ThreadPoolExecutor(60) as threads:
            assert client.ready(60)
            http = client.http_client()
            with OpenAI(api_key="x", base_url=client.base_url, http_client=http, max_retries=0) as llm:
                tasks = [
                    threads.submit(llm.chat.completions.create, model=MODEL, messages=MESSAGES)
                    for _ in range(120)
                ]
                return sum(task.result().choices[0].message.content == "fine" for task in tasks)

    async with dead_and_standby(tmp_path, refusal) as (path, pools):
        assert await asyncio.to_thread(burst, path) == 120
        assert pools[0].count <= 120
