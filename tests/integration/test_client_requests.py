"""Real requests of the real openai SDK through the client: where they go, and what faults do to them."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import openai
import pytest
import pytest_asyncio
from openai import AsyncOpenAI

import tieline
from lab.standins.process import StandinProcess
from tests.integration.routed import (
    MODEL,
    ORIGIN,
    SETTINGS,
    WORKLOAD,
    Publisher,
    Reports,
    infos,
    publisher,
    standins,
    table,
)
from tieline.events import Demand
from tieline.table import Split

A, B, C = "azure/uksouth/gpt", "gcp/europe-west4/gpt", "oci/uk-london-1/gpt"
EVEN = (400_000, 300_000, 300_000)
IMPATIENT = msgspec.structs.replace(SETTINGS, first_token_timeout_ms=2_000, idle_timeout_ms=2_000)
MESSAGES: Any = [{"role": "user", "content": "Where does it flow?"}]


class Rig:
    """Three pools, a published table, a running client and the SDK upon it."""

    def __init__(
        self,
        running: dict[str, StandinProcess],
        tables: Publisher,
        client: tieline.AsyncClient,
        llm: AsyncOpenAI,
        reports: list[Demand],
    ) -> None:
        self.running, self.tables, self.client, self.llm, self.reports = running, tables, client, llm, reports

    async def whole(self, **more: Any) -> tuple[str, str]:
        """One request that doesn't stream: (pool, text)."""
        raw = await self.llm.chat.completions.with_raw_response.create(
            model=MODEL, messages=MESSAGES, max_tokens=8, **more
        )
        answer = raw.parse()
        return raw.headers["x-tieline-pool"], answer.choices[0].message.content or ""

    async def stream(self) -> tuple[str, str]:
        """One streamed request, read to its end: (pool, text)."""
        raw = await self.llm.chat.completions.with_raw_response.create(
            model=MODEL, messages=MESSAGES, max_tokens=24, stream=True
        )
        text = ""
        async for chunk in raw.parse():
            text += (chunk.choices[0].delta.content or "") if chunk.choices else ""
        return raw.headers["x-tieline-pool"], text

    async def apply(self, weights: tuple[int, ...], *, seq: int, **more: Any) -> None:
        """Publish these weights over A, B, C as an urgent generation and wait for it."""
        wanted = table(infos(self.running), weights, seq=seq, **more)
        await self.tables.publish(wanted, urgent_seq=seq)
        assert await self.client.wait_for(str(wanted.generation), 60)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[dict[str, StandinProcess]]:
    """The stand-ins of all tests here; each test begins without faults."""
    names = [pool.rsplit("/", 1)[0] for pool in (A, B, C)]
    async with standins(tmp_path_factory.mktemp("standins"), *names) as processes:
        yield processes


@pytest.fixture
async def rig(redis_url: str, prefix: str, running: dict[str, StandinProcess]) -> AsyncIterator[Rig]:
    sink = Reports()
    for process in running.values():
        await process.clear()
    async with publisher(redis_url, prefix) as tables:
        await tables.publish(table(infos(running), EVEN))
        client = tieline.AsyncClient(
            redis_url, workload=WORKLOAD, origin=ORIGIN, namespace=prefix, kafka=sink
        )
        async with client:
            assert await client.ready(60), client.status
            llm = AsyncOpenAI(
                api_key="unused", base_url=client.base_url, http_client=client.http_client(), max_retries=0
            )
            async with llm:
                yield Rig(running, tables, client, llm, sink.kept)


async def test_requests_divide_by_weight(rig: Rig) -> None:
    """Over 100 requests, each pool serves what its weight says, to one request."""
    seen = Counter([(await rig.whole())[0] for _ in range(100)])
    assert abs(seen[A] - 40) <= 2
    assert abs(seen[B] - 30) <= 2
    assert abs(seen[C] - 30) <= 2


async def test_streams_arrive_whole(rig: Rig) -> None:
    """A streamed answer says the same as the whole one, from whatever pool."""
    texts = {(await rig.stream())[1] for _ in range(6)}
    assert len(texts) == 1
    assert all(texts)


@pytest.mark.parametrize("kind", ["503", "429", "401", "404", "refuse", "reset", "hang"])
@pytest.mark.parametrize("streamed", [False, True])
async def test_faults_are_failed_over(rig: Rig, kind: str, streamed: bool) -> None:
    """Whatever a pool does before its first output, the caller gets a good answer from another."""
    if kind == "hang":
        await rig.apply(EVEN, seq=2, settings=IMPATIENT)
    # It says for how long it turns requests away: longer than a test takes.
    await rig.running[A].fault(kind, **({"retry_after_ms": 300_000} if kind == "429" else {}))
    limit = asyncio.Semaphore(10)

    async def one() -> str:
        async with limit:
            return (await (rig.stream() if streamed else rig.whole()))[0]

    pools = await asyncio.gather(*(one() for _ in range(30)))
    assert A not in pools
    (left,) = [row for row in rig.client.explain()["pools"] if row["pool"] == A]
    assert left["models_out"] if kind == "404" else left["out"]
    assert rig.client.explain()["in_flight"] == {}


async def test_own_errors_are_returned(rig: Rig) -> None:
    """A 400 is the caller's own: returned as it is after one attempt, and no pool is left for it."""
    for process in rig.running.values():
        await process.fault("400")
    with pytest.raises(openai.BadRequestError) as caught:
        await rig.whole()
    assert caught.value.response.headers["x-tieline-attempts"] == "1"
    assert all(row["out"] is None for row in rig.client.explain()["pools"])


@pytest.mark.parametrize("kind", ["cut", "end_without_done"])
async def test_broken_streams_are_never_spliced(rig: Rig, kind: str) -> None:
    """A stream that breaks after its first output raises, also when it just ends, and is reported as cut."""
    for process in rig.running.values():
        await process.fault(kind, after_chunks=1)
    with pytest.raises(openai.APIConnectionError):
        await rig.stream()
    await rig.client.flush()
    assert sum(pool.outcomes.cut for report in rig.reports for pool in report.pools) == 1


async def test_errors_inside_a_stream_before_output_fail_over(rig: Rig) -> None:
    """An error event in a 200 that comes before any output is a failure of that attempt only."""
    await rig.running[A].fault("error_event", after_chunks=0, error_code="rate_limit_exceeded")
    pools = [(await rig.stream())[0] for _ in range(10)]
    assert A not in pools


async def test_everything_down_is_a_plain_error(rig: Rig) -> None:
    """With every pool failing, the caller gets one HTTP error after three attempts, and no SDK retry."""
    for process in rig.running.values():
        await process.fault("503")
    with pytest.raises(openai.InternalServerError) as caught:
        await rig.whole()
    headers = caught.value.response.headers
    assert headers["x-tieline-attempts"] == "3"
    assert headers["x-should-retry"] == "false"


async def test_shed_is_said(rig: Rig) -> None:
    """What the table sheds is a 429 with the table's reason, sent nowhere, and reported as shed."""
    await rig.apply((0, 0, 0), seq=2, shed=1_000_000)
    with pytest.raises(openai.RateLimitError) as caught:
        await rig.whole()
    assert caught.value.response.headers["x-tieline-reason"] == "shed"
    assert "capacity" in str(caught.value)
    await rig.client.flush()
    assert sum(flow.shed_requests for report in rig.reports for flow in report.flows) == 1


async def test_new_tables_move_requests(rig: Rig) -> None:
    """Once a generation is in force, not one request goes to a pool without weight; an urgent one is reported
    at once."""
    seen: list[tieline.Applied] = []
    rig.client.on_table(seen.append)
    await rig.apply((0, 1_000_000, 0), seq=2)
    assert {(await rig.whole())[0] for _ in range(10)} == {B}
    assert [applied.generation for applied in seen] == ["l1:1:2"]
    assert seen[0].urgent
    await rig.client.flush()
    assert any(report.urgent and report.generation == "l1:1:2" for report in rig.reports)


async def test_lost_provider_applies_on_loss(rig: Rig) -> None:
    """When a provider's pools are left, the table's own on_loss weights apply."""
    lost = Split((1, 2), (900_000, 100_000), 0)
    await rig.apply((800_000, 0, 200_000), seq=2, on_loss={"azure": lost})
    await rig.running[A].fault("503")
    pools = Counter([(await rig.whole())[0] for _ in range(60)])
    assert pools[B] > 35
    assert A not in pools


async def test_sessions_stay(rig: Rig) -> None:
    """All requests of a session go to one pool, and reports count what was offered and served."""
    with tieline.options(session="conv-42"):
        pools = {(await rig.whole())[0] for _ in range(8)}
    assert len(pools) == 1
    await rig.client.flush()
    assert sum(flow.requests for report in rig.reports for flow in report.flows) == 8
    assert sum(pool.outcomes.ok for report in rig.reports for pool in report.pools) == 8
    assert sum(pool.units for report in rig.reports for pool in report.pools) > 0
