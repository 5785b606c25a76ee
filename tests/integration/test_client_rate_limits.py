"""Rate-limit headers over real sockets: a pool that says how little is left is not run over."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from openai import AsyncOpenAI, OpenAI

import tieline
from lab.standins.process import StandinProcess
from tests.integration.routed import MODEL, ORIGIN, WORKLOAD, Reports, pool_info, standin, table
from tests.integration.scripted_pools import ScriptedPool, error, good, scripted, written_table
from tieline._tables.last_good import write_last_good
from tieline.table import ClientSettings, slices

TIGHT, WIDE = "a/r/d", "b/r/d"
MESSAGES: Any = [{"role": "user", "content": "Where does it flow?"}]
WEIGHTS = (999_999, 1)
ASSUMED_S = 1.0  # for what a client takes the window of a pool that does not state its end


def openai(left: int) -> str:
    """OpenAI's headers, as lines."""
    return f"x-ratelimit-remaining-requests: {left}\r\nx-ratelimit-reset-requests: 20s\r\n"


def anthropic(left: int) -> str:
    """Anthropic's headers, as lines."""
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 20))
    return f"anthropic-ratelimit-requests-remaining: {left}\r\nanthropic-ratelimit-requests-reset: {at}\r\n"


def azure(left: int) -> str:
    """Azure's headers, as lines."""
    return f"x-ratelimit-remaining-requests: {left}\r\n"


SHAPES = [openai, anthropic, azure]


class Window:
    """A provider that serves four requests and no more for 20 s, and says so."""

    def __init__(self, shape: Any) -> None:
        self.refused = 0
        self._shape = shape
        self._told_s = 0.0

    def __call__(self, number: int, _body: bytes) -> bytes:
        if number == 1:
            self._told_s = time.monotonic()
        if number <= 4:
            return good(headers=self._shape(4 - number))
        # Who was told no end may ask again when the time is over that it assumes.
        self.refused += self._shape is not azure or time.monotonic() - self._told_s < ASSUMED_S
        return error(429, headers="retry-after: 20\r\n" + self._shape(0))


@pytest.mark.parametrize("shape", SHAPES)
async def test_three_left_are_not_run_over_by_fifty(tmp_path: Path, shape: Any) -> None:
    """One answer says that three are left: of the next fifty at once three go there, the others elsewhere,
    and there is no 429."""
    window = Window(shape)
    async with scripted(window, lambda _number, _body: good()) as pools:
        path = _table(tmp_path, pools)
        async with tieline.offline(path, workload=WORKLOAD, origin=ORIGIN) as client:
            assert await client.ready(60)
            http = client.http_client()
            async with AsyncOpenAI(
                api_key="x", base_url=client.base_url, http_client=http, max_retries=0
            ) as llm:
                await llm.chat.completions.create(model=MODEL, messages=MESSAGES)
                await asyncio.gather(
                    *(llm.chat.completions.create(model=MODEL, messages=MESSAGES) for _ in range(50))
                )
        assert (pools[1].count, window.refused) == (47, 0)


@pytest.mark.parametrize("shape", SHAPES)
async def test_nor_by_the_threads_of_a_synchronous_client(tmp_path: Path, shape: Any) -> None:
    """The same with the synchronous client and SDK. Where one thread's answer overtakes another's, what is
    left counts as less than it is for a moment, so that fewer than three may go there, but never more."""
    window = Window(shape)

    def ask(path: Path) -> None:
        with (
            tieline.Client(path, workload=WORKLOAD, origin=ORIGIN) as client,
            ThreadPoolExecutor(50) as threads,
        ):
            assert client.ready(60)
            http = client.http_client()
            with OpenAI(api_key="x", base_url=client.base_url, http_client=http, max_retries=0) as llm:
                llm.chat.completions.create(model=MODEL, messages=MESSAGES)
                tasks = [
                    threads.submit(llm.chat.completions.create, model=MODEL, messages=MESSAGES)
                    for _ in range(50)
                ]
                assert all(task.result().choices for task in tasks)

    async with scripted(window, lambda _number, _body: good()) as pools:
        await asyncio.to_thread(ask, _table(tmp_path, pools))
        assert window.refused == 0
        assert 47 <= pools[1].count < 50


async def test_alone_the_rest_wait_their_turn(tmp_path: Path) -> None:
    """With no other pool, requests wait until the stated reset instead of being refused."""
    seconds = {"at": 0.0, "early": 0.0}

    def script(number: int, _body: bytes) -> bytes:
        if number == 1:
            seconds["at"] = time.monotonic()
            return good(headers="x-ratelimit-remaining-requests: 2\r\nx-ratelimit-reset-requests: 3s\r\n")
        seconds["early"] += time.monotonic() - seconds["at"] < 2.95
        return good()

    async with scripted(script) as pools:
        path = written_table(tmp_path / "routes.bin", {TIGHT: pools[0]}, (1_000_000,), ClientSettings())
        async with tieline.offline(path, workload=WORKLOAD, origin=ORIGIN) as client:
            assert await client.ready(60)
            async with client.http_client(base_url=client.base_url) as http:
                answers = []
                for count in (1, 20):
                    body = {"model": MODEL, "messages": MESSAGES}
                    answers += await asyncio.gather(
                        *(http.post("/chat/completions", json=body) for _ in range(count))
                    )
        assert {answer.status_code for answer in answers} == {200}
        assert seconds["early"] == 2


@pytest.mark.parametrize("shape", ["openai", "azure"])
async def test_what_is_left_is_heeded_and_reported(tmp_path: Path, shape: str) -> None:
    """A small stand-in that states its bucket of tokens serves what it holds and hardly answers 429; the
    client's report says what was left there, and nothing of a pool that does not say it."""
    small = standin("a", "r", tmp_path, tokens_per_s=200, burst_s=5, rate_limit_headers=shape)
    processes = [await StandinProcess.spawn(small), await StandinProcess.spawn(standin("b", "r", tmp_path))]
    tight, wide = "a/r/gpt", "b/r/gpt"
    try:
        infos = (pool_info(tight, processes[0].url(tight)), pool_info(wide, processes[1].url(wide)))
        path = tmp_path / "routes.bin"
        routes = table(infos, WEIGHTS)
        write_last_good(path, routes.generation, {ORIGIN: slices(routes)[f"{WORKLOAD}/{ORIGIN}"]})
        sink = Reports()
        async with tieline.AsyncClient(str(path), workload=WORKLOAD, origin=ORIGIN, kafka=sink) as client:
            assert await client.ready(60)
            async with client.http_client(base_url=client.base_url) as http:
                body = {"model": MODEL, "messages": MESSAGES, "max_tokens": 64}
                pools = []
                for _ in range(10):
                    answers = await asyncio.gather(
                        *(http.post("/chat/completions", json=body) for _ in range(6))
                    )
                    assert {answer.status_code for answer in answers} == {200}
                    pools += [answer.headers["x-tieline-pool"] for answer in answers]
            assert await client.flush(60)
    finally:
        for process in processes:
            await process.stop()
    rows = [row for report in sink.kept for row in report.pools]
    assert 8 <= pools.count(tight) < 60
    assert sum(row.outcomes.throttled for row in rows if row.pool == tight) <= 2
    lefts = [row.rate_limit_left for row in rows if row.pool == tight and row.outcomes.ok]
    assert lefts
    assert all(left is not None and 0 <= left < 1 for left in lefts)
    assert all(row.rate_limit_left is None for row in rows if row.pool == wide)


def _table(path: Path, pools: list[ScriptedPool]) -> Path:
    named = dict(zip((TIGHT, WIDE), pools, strict=True))
    return written_table(path / "routes.bin", named, WEIGHTS, ClientSettings())
