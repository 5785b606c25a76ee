"""How soon a process leaves a pool whose requests hang, and how soon it is back at one that is well again."""

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
from tests.integration.scripted_pools import SILENCE, ScriptedPool, error, good, scripted, written_table
from tests.waiting import SAFETY_NET_S, until
from tieline.table import ClientSettings
from tieline.testing import FakePools

A, B = "a/r/d", "b/r/d"
MESSAGES: Any = [{"role": "user", "content": "Where does it flow?"}]
WEIGHTS = (900_000, 100_000)


@asynccontextmanager
async def running(
    path: Path, pools: list[ScriptedPool]
) -> AsyncIterator[tuple[tieline.AsyncClient, AsyncOpenAI]]:
    """A client of these two pools, and the SDK upon it."""
    file = written_table(
        path / "routes.bin", dict(zip((A, B), pools, strict=True)), WEIGHTS, ClientSettings()
    )
    async with tieline.offline(file, workload=WORKLOAD, origin=ORIGIN) as client:
        assert await client.ready(60)
        http = client.http_client()
        async with AsyncOpenAI(api_key="x", base_url=client.base_url, http_client=http, max_retries=0) as llm:
            yield client, llm


def out(client: tieline.AsyncClient) -> list[str]:
    """Pools that are left now."""
    return [row["pool"] for row in client.explain()["pools"] if row["out"]]


async def test_a_pool_that_mostly_hangs_loses_no_request(tmp_path: Path) -> None:
    """Two of three requests to a pool of 90 % of the weight hang, and callers wait 8 s: each is served by the
    other pool in that time, and the pool is left."""
    hangs = scripted(lambda number, _: SILENCE if number % 3 else good(), lambda _number, _body: good())
    async with hangs as pools, running(tmp_path, pools) as (client, llm):
        for _ in range(2):
            calls = (
                llm.chat.completions.create(model=MODEL, messages=MESSAGES, timeout=8) for _ in range(40)
            )
            await asyncio.gather(*calls)
        await until(lambda: out(client) == [A], what="the pool left")


async def test_threads_fare_the_same(tmp_path: Path) -> None:
    """The same with the synchronous client."""

    def use(file: Path) -> int:
        with (
            tieline.Client(file, workload=WORKLOAD, origin=ORIGIN) as client,
            ThreadPoolExecutor(40) as threads,
        ):
            assert client.ready(60)
            http = client.http_client()
            with OpenAI(api_key="x", base_url=client.base_url, http_client=http, max_retries=0) as llm:
                ask = llm.with_options(timeout=8).chat.completions.create
                tasks = [threads.submit(ask, model=MODEL, messages=MESSAGES) for _ in range(80)]
                return sum(task.result().choices[0].message.content == "fine" for task in tasks)

    hangs = scripted(lambda number, _: SILENCE if number % 3 else good(), lambda _number, _body: good())
    async with hangs as pools:
        named = dict(zip((A, B), pools, strict=True))
        file = written_table(tmp_path / "routes.bin", named, WEIGHTS, ClientSettings())
        assert await asyncio.to_thread(use, file) == 80


@pytest.mark.parametrize("fault", [error(503), error(401, code="invalid_api_key")], ids=["503", "401"])
async def test_a_pool_that_is_well_again_is_back_within_seconds(tmp_path: Path, fault: bytes) -> None:
    """It is tried after a second; one request finds it well, and its share grows step by step. No request is
    lost meanwhile."""
    async with (
        scripted(lambda _number, _body: fault, lambda _number, _body: good()) as pools,
        running(tmp_path, pools) as (client, llm),
    ):
        for _ in range(10):
            await llm.chat.completions.create(model=MODEL, messages=MESSAGES)
        assert out(client) == [A]
        pools[0].script = lambda _number, _body: good()
        began = time.monotonic()

        async def whole() -> bool:
            await llm.chat.completions.create(model=MODEL, messages=MESSAGES)
            row = next(row for row in client.explain()["pools"] if row["pool"] == A)
            return row["out"] is None and row["kept_back"] == 0

        await until(whole, what="all of its share")
        assert time.monotonic() - began >= 3.0


async def test_what_waits_at_a_pool_that_hangs_goes_on_once_the_table_leaves_it() -> None:
    """Too few requests have failed there for the process to leave the pool by itself, and no more will come.
    A whole answer may take minutes, so that its own limit would keep the caller waiting."""
    settings = ClientSettings(first_token_timeout_ms=200)
    fake = FakePools({A: 1, B: 1}, model=MODEL, settings=settings)
    async with tieline.AsyncClient(fake, workload=WORKLOAD, origin=ORIGIN) as client:
        assert await client.ready(SAFETY_NET_S)
        http = client.http_client()
        llm = AsyncOpenAI(api_key="x", base_url=client.base_url, http_client=http, max_retries=0)
        fake.fault(A, kind="hang")
        asked: Any = {"model": MODEL, "messages": MESSAGES}
        answers = [asyncio.create_task(llm.chat.completions.create(**asked)) for _ in range(4)]
        await until(lambda: len(fake.requests) == len(answers), what="each is at a pool")
        assert A in {request.pool for request in fake.requests}
        while not client.core.router.health(A).straight:  # the first stream there runs out of its time
            stream = await llm.chat.completions.create(**asked, stream=True)
            assert [chunk async for chunk in stream]
        assert not out(client)
        fake.publish({B: 1})
        async with asyncio.timeout(SAFETY_NET_S / 4):
            texts = {(await answer).choices[0].message.content for answer in answers}
    assert texts == {f"from {B}"}
