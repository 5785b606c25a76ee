"""The real Envoy by the route table: weights, drains, losses, faults and credentials; what it tells; and that
it goes on without Tieline.

The 20,000 requests of docs/envoy.md by hand: ENVOY_REQUESTS=20000 script/test tests/integration/test_envoy.py
"""

import asyncio
import os
import random
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from msgspec.structs import replace
from openai import APIStatusError, AsyncOpenAI

from controller.envoy.resources import ENDPOINTS, ROUTES
from lab.standins.config import PoolConfig, StandinConfig
from lab.standins.process import StandinProcess
from tests.integration.enveloped import EnvoyRun, ask, ask_often, following, new_run, until_only
from tests.integration.routed import (
    LATENCY,
    MODEL,
    SETTINGS,
    infos,
    pool_info,
    standins,
    table,
)
from tests.waiting import until
from tieline.table import MILLION, Split

REQUESTS = int(os.environ.get("ENVOY_REQUESTS", "1000"))
A, B, C = "azure/uksouth/gpt", "gcp/europe-west4/gpt", "oci/london/gpt"
KEY = "a secret of the pool"
RECORDING_BYTES = 4 * 1024 * 1024


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[dict[str, StandinProcess]]:
    """Three pools of three providers."""
    async with standins(tmp_path / "standins", *(pool.rsplit("/", 1)[0] for pool in (A, B, C))) as processes:
        yield processes


@pytest.fixture
async def run(tmp_path: Path) -> AsyncIterator[EnvoyRun]:
    """An Envoy that a test may start; it is ended afterwards."""
    envoy_run = new_run(tmp_path / "envoy")
    yield envoy_run
    if envoy_run.child is not None:
        await envoy_run.child.stop()


async def written(run: EnvoyRun, part: str) -> None:
    """Wait until the files name this pool, the route table last."""
    file = run.directory / ROUTES

    def is_written() -> bool:
        texts = [path.read_text() for path in (run.directory / ENDPOINTS).glob("*.json")]
        return file.exists() and MODEL in file.read_text() and any(part in text for text in texts)

    await until(is_written, what=f"{part} in {run.directory}")


async def test_envoy_follows_the_table_and_goes_on_without_tieline(
    run: EnvoyRun, running: dict[str, StandinProcess]
) -> None:
    """Weights within 1 %: Envoy deals requests out in turn, so that its share of a pool is off by less than
    one request for each pool and worker. A drain; a pool that is killed; and a second one that is killed when
    all of Tieline is gone: no request is lost."""
    pools = infos(running)
    run.publish(table(pools, (600_000, 300_000, 100_000)))
    async with following(run):
        await written(run, A)
        await run.start()
        counts = await ask_often(run, REQUESTS)
        assert sum(counts.values()) == REQUESTS
        for pool, share in ((A, 0.6), (B, 0.3), (C, 0.1)):
            assert abs(counts[pool] / REQUESTS - share) <= 0.01, counts
        await until(lambda: run.reported("ok").total() >= REQUESTS, what="every outcome in a report")
        assert run.reported("ok") == counts
        requests = sum(flow.requests for report in run.reports.kept for flow in report.flows)
        assert requests == REQUESTS

        drained = table(pools, (0, 900_000, 100_000), seq=2)
        run.publish(drained)
        await until_only(run, {B: None, C: None})

        await running[B].kill()
        counts = await ask_often(run, 60)
        assert set(counts) == {C}
        await until(lambda: run.reported("connect")[B], what="the loss of a pool in a report")
        run.publish(table(pools, (500_000, 0, 500_000), seq=3))
        await until_only(run, {A: None, C: None})
    await running[A].kill()
    assert set(await ask_often(run, 60)) == {C}


async def test_the_share_to_shed_is_answered_with_the_tables_reason(
    run: EnvoyRun, running: dict[str, StandinProcess]
) -> None:
    """As the client answers it: 429, which the openai SDK does not repeat. A model that nobody serves, and a
    route that is not followed, are told so."""
    run.publish(table(infos(running), (0, 0, 0), shed=MILLION))
    async with following(run), httpx2.AsyncClient() as http:
        await until(lambda: (run.directory / ROUTES).exists(), what="the files")
        await run.start()
        answer = await ask(http, run)
        assert (answer.status_code, answer.headers["x-tieline-reason"]) == (429, "shed")
        assert answer.json()["error"]["message"] == "capacity"
        await until(lambda: any(flow.shed_requests for report in run.reports.kept for flow in report.flows))
        async with AsyncOpenAI(api_key="unused", base_url=run.url) as llm:
            with pytest.raises(APIStatusError, match="capacity"):
                await llm.chat.completions.create(
                    model=MODEL, messages=[{"role": "user", "content": "Where?"}]
                )
        unknown = await ask(http, run, model="unknown")
        assert (unknown.status_code, unknown.headers["x-tieline-reason"]) == (503, "no_model")
        elsewhere = await http.get(f"{run.url}/models", headers={"x-tieline-origin": "mars"})
        assert (elsewhere.status_code, elsewhere.headers["x-tieline-reason"]) == (503, "no_route")


async def test_each_pool_gets_requests_in_its_own_form(run: EnvoyRun, tmp_path: Path) -> None:
    """By the openai SDK and by curl: the pool's own name for the model, its own path, and its secret from the
    operator's file, in the place of whatever the caller sent."""
    keyed = PoolConfig("keyed", ("big",), tokens_per_s=1e7, latency=LATENCY, bearer_key=KEY)
    config = StandinConfig("azure", "uksouth", (keyed,), log_dir=str(tmp_path / "standins"))
    process = await StandinProcess.spawn(config)
    pool = "azure/uksouth/keyed"
    (run.directory / "credentials" / "key").write_text(KEY)
    try:
        info = pool_info(pool, process.url(pool), credential="key")
        run.publish(table((info,), (MILLION,)))
        async with following(run):
            await written(run, pool)
            await run.start()
            async with AsyncOpenAI(api_key="the caller's own", base_url=run.url, max_retries=0) as llm:
                raw = await llm.chat.completions.with_raw_response.create(
                    model=MODEL,
                    messages=[{"role": "user", "content": 'a "model": "of the prompt"'}],
                    max_tokens=4,
                )
                assert raw.headers["x-tieline-pool"] == pool
                assert raw.parse().usage is not None
                text = ""
                async for part in await llm.chat.completions.create(
                    model=MODEL, messages=[{"role": "user", "content": "Where?"}], max_tokens=9, stream=True
                ):
                    text += (part.choices[0].delta.content or "") if part.choices else ""
                assert text
            body = '{"messages": [{"role": "user", "content": "x"}], "max_tokens": 3, "model": "chat-large"}'
            command = ["curl", "-sS", "-H", "content-type: application/json", "-d", body]
            done = await asyncio.to_thread(
                subprocess.run,
                [*command, f"{run.url}/chat/completions"],
                capture_output=True,
                text=True,
                check=True,
            )
            assert '"choices"' in done.stdout
            await until(lambda: run.reported("ok")[pool] >= 3, what="three outcomes in reports")
            assert sum(row.units for report in run.reports.kept for row in report.pools) > 0
    finally:
        await process.stop()


async def test_faults_end_as_in_the_clients_matrix(run: EnvoyRun, running: dict[str, StandinProcess]) -> None:
    """Each fault of one pool that Envoy can see: the other answers, and the report says what it was. The
    caller's own mistake is its own. The openai SDK asks once: it is told not to repeat what was repeated."""
    pools = tuple(info for info in infos(running) if info.pool in (A, B))
    settings = replace(SETTINGS, first_token_timeout_ms=2_000)
    on_loss = {"azure": Split((1,), (MILLION,))}
    llm = AsyncOpenAI(api_key="unused", base_url=run.url)
    async with following(run), httpx2.AsyncClient() as http, llm:
        run.publish(table(pools, (MILLION, 0), on_loss=on_loss, settings=settings))
        await written(run, A)
        await run.start()
        for kind, status, pool, result in (
            ("400", 400, A, "client_error"),
            ("503", 200, B, "server_error"),
            ("refuse", 200, B, "connect"),
            ("hang", 200, B, "timeout"),
            ("401", 200, B, "auth"),
            ("429", 200, B, "throttled"),
        ):
            await until(lambda: _answers(run, http), what="an answer of the first pool")
            await running[A].fault(kind)
            struck = Struck(run, result)
            while not struck.is_reported():
                answer = await _by_sdk(llm, stream=kind == "hang")
                assert answer in ((status, pool), (200, B)), kind
            await running[A].clear()


async def test_an_upload_is_sent_again_with_the_other_pools_own_name(
    run: EnvoyRun, running: dict[str, StandinProcess]
) -> None:
    """A recording of some megabytes, as the openai SDK sends it, whole and as a stream: the first pool fails,
    and the form reaches the second one with that pool's name for the model."""
    pools = tuple(info for info in infos(running) if info.pool in (A, B))
    run.publish(table(pools, (MILLION, 0), on_loss={"azure": Split((1,), (MILLION,))}))
    sound = random.Random(1).randbytes(RECORDING_BYTES)
    async with following(run):
        await written(run, A)
        await run.start()
        await running[A].fault("503")
        async with AsyncOpenAI(api_key="unused", base_url=run.url, max_retries=0) as llm:
            ask_for: Any = llm.audio.transcriptions.with_raw_response.create
            whole = await ask_for(model=MODEL, file=("a.wav", sound, "audio/wav"))
            assert whole.headers["x-tieline-pool"] == B
            assert whole.parse().text
            streamed = await ask_for(model=MODEL, file=("a.wav", sound, "audio/wav"), stream=True)
            kinds = [event.type async for event in streamed.parse()]
            assert kinds[-1] == "transcript.text.done"
        await until(lambda: run.reported("ok")[B] >= 2, what="both in reports")


async def _by_sdk(llm: AsyncOpenAI, *, stream: bool) -> tuple[int, str]:
    """The status and the pool of one request by the openai SDK, with the retries that it makes by default."""
    messages: Any = [{"role": "user", "content": "Where?"}]
    try:
        raw: Any = await llm.chat.completions.with_raw_response.create(
            model=MODEL, messages=messages, max_tokens=4, stream=stream
        )
    except APIStatusError as error:
        return error.status_code, error.response.headers["x-tieline-pool"]
    if stream:
        async for _ in raw.parse():
            pass
    return raw.status_code, raw.headers["x-tieline-pool"]


async def _answers(run: EnvoyRun, http: httpx2.AsyncClient) -> bool:
    answer = await ask(http, run)
    return answer.status_code == 200 and answer.headers["x-tieline-pool"] == A


class Struck:
    """Whether a report says that the first pool's requests end so. A pool that is coming back gets a part of
    them only, so that not every request meets its fault."""

    def __init__(self, run: EnvoyRun, result: str) -> None:
        self._run, self._result = run, result
        self._before = run.reported(result)[A]

    def is_reported(self) -> bool:
        """By the reports so far."""
        return self._run.reported(self._result)[A] > self._before
