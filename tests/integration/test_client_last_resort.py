"""Real requests when no pool of their route is left: served by the table's last resort, or told why each is
out."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import openai
import pytest
import pytest_asyncio
from openai import AsyncOpenAI

import tieline
from lab.standins.process import StandinProcess
from tests.integration.routed import MODEL, ORIGIN, WORKLOAD, infos, publisher, standins, table
from tieline.table import ClientSettings

A, B, L = "azure/uksouth/gpt", "gcp/europe-west4/gpt", "oci/uk-london-1/gpt"
MESSAGES: Any = [{"role": "user", "content": "Where does it flow?"}]
HALF = (500_000, 500_000, 0)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[dict[str, StandinProcess]]:
    """The stand-ins of all tests here; each test begins without faults."""
    names = [pool.rsplit("/", 1)[0] for pool in (A, B, L)]
    async with standins(tmp_path_factory.mktemp("standins"), *names) as processes:
        yield processes


@asynccontextmanager
async def sdk(
    redis_url: str, prefix: str, running: dict[str, StandinProcess], last_resort: tuple[int, ...]
) -> AsyncIterator[tuple[AsyncOpenAI, tieline.AsyncClient]]:
    """The SDK upon a running client; all weight is on A and B."""
    for process in running.values():
        await process.clear()
    async with publisher(redis_url, prefix) as tables:
        slow = ClientSettings()  # the last pool of all must not be called silent on a busy machine
        await tables.publish(table(infos(running), HALF, last_resort=last_resort, settings=slow))
        client = tieline.AsyncClient(redis_url, workload=WORKLOAD, origin=ORIGIN, namespace=prefix)
        async with client:
            assert await client.ready(60), client.status
            http = client.http_client()
            async with AsyncOpenAI(
                api_key="unused", base_url=client.base_url, http_client=http, max_retries=0
            ) as llm:
                yield llm, client


async def ask(llm: AsyncOpenAI, *, stream: bool = False, **more: Any) -> tuple[str, str]:
    """One request, read to its end: (pool, reason)."""
    raw = await llm.chat.completions.with_raw_response.create(
        model=MODEL, messages=MESSAGES, max_tokens=8, stream=stream, **more
    )
    answer: Any = raw.parse()
    if stream:
        assert [chunk async for chunk in answer]
    return raw.headers["x-tieline-pool"], raw.headers["x-tieline-reason"]


async def arrived(process: StandinProcess) -> int:
    """Requests that have reached its pool."""
    (pool,) = (await process.state())["pools"]
    return int(pool["arrived"])


@pytest.mark.parametrize(
    "fault",
    [{"kind": "refuse"}, {"kind": "429", "retry_after_ms": 300_000}, {"kind": "401"}],
    ids=lambda f: f["kind"],
)
@pytest.mark.parametrize("streamed", [False, True])
async def test_the_last_resort_serves_every_request(
    redis_url: str, prefix: str, running: dict[str, StandinProcess], fault: dict[str, Any], streamed: bool
) -> None:
    """While all pools of the route refuse, are at their limits for minutes, or turn credentials away."""
    async with sdk(redis_url, prefix, running, (2,)) as (llm, client):
        for pool in (A, B):
            await running[pool].fault(**fault)
        served = await asyncio.gather(*(ask(llm, stream=streamed) for _ in range(8)))
        assert set(served) == {(L, "last_resort")}
        row = next(row for row in client.explain()["pools"] if row["pool"] == L)
        assert (row["last_resort"], row["out"], row["weight_ppm"]) == (1, None, 0)


async def test_without_one_a_503_says_why_each_pool_is_out(
    redis_url: str, prefix: str, running: dict[str, StandinProcess]
) -> None:
    """A request that all refuse ends with a provider's own words, the next one with why each pool is out."""
    async with sdk(redis_url, prefix, running, ()) as (llm, _):
        await running[A].fault("401")
        await running[B].fault("404")
        with pytest.raises(openai.APIStatusError, match=r"Incorrect API key|does not exist") as refusal:
            await ask(llm)
        assert refusal.value.status_code in (401, 404)
        with pytest.raises(openai.InternalServerError) as none_left:
            await ask(llm)
        assert none_left.value.status_code == 503
        assert f"{A}: auth; {B}: not_found" in str(none_left.value)
        for error, attempts in ((refusal.value, "2"), (none_left.value, None)):
            headers = error.response.headers
            assert headers["x-should-retry"] == "false"
            assert headers.get("x-tieline-attempts") == attempts


async def test_it_is_not_buried(redis_url: str, prefix: str, running: dict[str, StandinProcess]) -> None:
    """A burst goes there as far as it shows room: one that turns requests away is sent few of them, and who
    can't have a place before his deadline is told so."""
    async with sdk(redis_url, prefix, running, (2,)) as (llm, _):
        for pool in (A, B):
            await running[pool].fault("401")
        await ask(llm)  # both are out
        before = await arrived(running[L])
        await running[L].fault("429", retry_after_ms=100)
        with tieline.options(deadline=2):
            ended = await asyncio.gather(*(ask(llm) for _ in range(60)), return_exceptions=True)
        assert all(isinstance(end, openai.APIStatusError | openai.APITimeoutError) for end in ended)
        assert await arrived(running[L]) - before <= 30


async def test_it_takes_a_burst_as_it_answers(
    redis_url: str, prefix: str, running: dict[str, StandinProcess]
) -> None:
    """A last resort that answers takes over all of a burst."""
    async with sdk(redis_url, prefix, running, (2,)) as (llm, _):
        for pool in (A, B):
            await running[pool].fault("401")
        assert set(await asyncio.gather(*(ask(llm) for _ in range(60)))) == {(L, "last_resort")}
