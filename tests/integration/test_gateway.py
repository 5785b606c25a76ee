"""`tieline gateway` as a process of its own, over running stand-ins: what callers in any language get."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from openai import APIStatusError, AsyncOpenAI

from lab.stack.server import free_ports
from lab.standins.process import StandinProcess
from tests.integration.gateways import AUTHORIZED, DIGEST, TOKEN, GatewayProcess, running_gateway, settings_of
from tests.integration.routed import MODEL, ORIGIN, WORKLOAD, infos, standins, table
from tests.waiting import SAFETY_NET_S, until
from tieline._tables.last_good import write_last_good
from tieline.table import slices

A, B = "azure/uksouth/gpt", "gcp/europe-west4/gpt"
MESSAGES: Any = [{"role": "user", "content": "Where does it flow?"}]
ASK: dict[str, Any] = {"model": MODEL, "messages": MESSAGES, "max_tokens": 8}
LARGE_BYTES = 3 * 1024 * 1024


@pytest.fixture
async def pools(tmp_path: Path) -> AsyncIterator[dict[str, StandinProcess]]:
    async with standins(tmp_path, *(pool.rsplit("/", 1)[0] for pool in (A, B))) as processes:
        yield processes


@pytest.fixture
def tables(tmp_path: Path, pools: dict[str, StandinProcess]) -> str:
    """The path of a table of both pools."""
    path, wanted = tmp_path / "routes.bin", table(infos(pools), (500_000, 500_000))
    write_last_good(path, wanted.generation, {ORIGIN: slices(wanted)[f"{WORKLOAD}/{ORIGIN}"]})
    return str(path)


@pytest.fixture
async def gateway(tmp_path: Path, tables: str) -> AsyncIterator[GatewayProcess]:
    async with running_gateway(tmp_path, settings_of(tables)) as process:
        yield process


async def test_what_an_sdk_gets_from_it(gateway: GatewayProcess, pools: dict[str, StandinProcess]) -> None:
    """An SDK without any library of ours: whole answers, streams, uploads and the list of models; a pool that
    refuses is left; an error of the provider's stays that."""
    async with AsyncOpenAI(api_key=TOKEN, base_url=gateway.url, max_retries=0) as llm:
        assert [model.id async for model in llm.models.list()] == [MODEL]
        await pools[A].fault("refuse")
        for _ in range(4):
            raw = await llm.chat.completions.with_raw_response.create(**ASK)
            assert raw.headers["x-tieline-pool"] == B
            assert raw.parse().choices[0].message.content
        chunks = await llm.chat.completions.create(**{**ASK, "max_tokens": 24}, stream=True)
        assert len([chunk async for chunk in chunks]) > 2
        upload = await llm.files.create(file=("a.jsonl", b"x" * LARGE_BYTES), purpose="batch")
        assert upload.id
        await pools[B].fault("400")
        with pytest.raises(APIStatusError) as caught:
            await llm.chat.completions.create(**ASK)
        assert caught.value.status_code == 400


async def test_who_may_not_is_told_why(gateway: GatewayProcess) -> None:
    """In OpenAI's shape, with the code for programs and the remedy for people; the two paths for load
    balancers need no token."""
    async with httpx2.AsyncClient(base_url=gateway.url) as http:
        assert (await http.get(f"{gateway.root}/livez")).status_code == 200
        await until(lambda: _is_ready(http, gateway), what="the gateway is ready")
        refusals = [
            await http.post("/chat/completions", json=ASK),
            await http.post("/chat/completions", json=ASK, headers={"authorization": "Bearer wrong"}),
            await http.post(f"{gateway.root}/chat/completions", json=ASK, headers=AUTHORIZED),
            await http.get("/models", headers={**AUTHORIZED, "x-tieline-workload": "batch"}),
            await http.get("/models", headers={**AUTHORIZED, "x-tieline-origin": "asia"}),
        ]
    assert [(answer.status_code, answer.json()["error"]["code"]) for answer in refusals] == [
        (401, "tieline_token"),
        (401, "tieline_token"),
        (404, "tieline_unknown_path"),
        (403, "tieline_workload_not_allowed"),
        (400, "tieline_unknown_origin"),
    ]


async def _is_ready(http: httpx2.AsyncClient, gateway: GatewayProcess) -> bool:
    return (await http.get(f"{gateway.root}/readyz")).status_code == 200


async def test_streams_end_before_the_gateway_does(tmp_path: Path, tables: str) -> None:
    """After SIGTERM a stream goes on to its end, while new requests are refused; the process then ends
    well."""
    settings = settings_of(tables, draining={"notice_s": 0, "within_s": SAFETY_NET_S})
    async with (
        running_gateway(tmp_path, settings) as gateway,
        httpx2.AsyncClient(base_url=gateway.url, headers=AUTHORIZED, timeout=SAFETY_NET_S) as http,
    ):
        asked = {**ASK, "max_tokens": 3_000, "stream": True}
        async with http.stream("POST", "/chat/completions", json=asked) as answer:
            pieces = answer.aiter_bytes()
            text = await anext(pieces)
            stopping = asyncio.create_task(gateway.child.stop(SAFETY_NET_S))
            await until(lambda: "not ready from now on" in gateway.child.output(), what="it is stopping")
            async for piece in pieces:
                text += piece
        assert text.endswith(b"data: [DONE]\n\n")
        assert await stopping == 0


async def test_a_stream_that_does_not_end_is_told(tmp_path: Path, tables: str) -> None:
    """Past the time for the end an error event says so, which SDKs raise; nothing looks like a whole
    answer."""
    settings = settings_of(tables, draining={"notice_s": 0, "within_s": 0})
    async with (
        running_gateway(tmp_path, settings) as gateway,
        httpx2.AsyncClient(base_url=gateway.url, headers=AUTHORIZED, timeout=60) as http,
    ):
        asked = {**ASK, "max_tokens": 100_000, "stream": True}
        text, stopping, failure = b"", None, ""
        try:
            async with http.stream("POST", "/chat/completions", json=asked) as answer:
                async for piece in answer.aiter_bytes():
                    stopping = stopping or asyncio.create_task(gateway.child.stop(60))
                    text += piece
        except httpx2.RemoteProtocolError as error:
            failure = str(error)
        assert "incomplete chunked read" in failure
        assert b"tieline_draining" in text
        assert b"[DONE]" not in text
        assert stopping is not None
        assert await stopping == 0


async def test_workers_share_what_must_hold_for_all(tmp_path: Path, tables: str) -> None:
    """A caller's limit, however its connections are spread; the figures; and a worker that was killed is
    started again while the others serve."""
    tokens = [{"name": "search", "sha256": DIGEST, "requests_per_s": 0.01}]
    settings = settings_of(tables, tokens=tokens, workers=2)
    (port,) = free_ports(1)
    async with (
        running_gateway(tmp_path, settings, "--monitor", f"127.0.0.1:{port}") as gateway,
        httpx2.AsyncClient(headers=AUTHORIZED, timeout=60) as http,
    ):
        monitor = f"http://127.0.0.1:{port}"
        answers = []
        for _ in range(6):
            async with httpx2.AsyncClient(headers=AUTHORIZED, timeout=60) as other:
                answers.append(await other.post(f"{gateway.url}/chat/completions", json=ASK))
        assert [answer.status_code for answer in answers] == [200, *[429] * 5]
        assert answers[-1].json()["error"]["code"] == "tieline_limit"
        assert int(answers[-1].headers["retry-after"]) > 60

        async def counted() -> bool:
            text = (await http.get(f"{monitor}/metrics")).text
            return 'outcome="4xx",workload="chat"} 5.0' in text

        await until(counted, what="the figures of both workers")
        first, second = children_of(gateway.child.pid)[:2]
        os.kill(first, signal.SIGKILL)
        await until(lambda: "is started again" in gateway.child.output(), what="another worker")
        assert (await http.get(f"{gateway.root}/livez")).status_code == 200
        assert second in children_of(gateway.child.pid)


async def test_every_worker_follows_the_tokens_of_the_file(tmp_path: Path, tables: str) -> None:
    """A token that is added to the file is taken on every connection soon, and one that is taken away on
    none, while the gateway goes on; a broken file changes nothing."""
    second, config = "another-token-of-some-length", tmp_path / "gateway.yaml"
    settings = settings_of(tables, workers=2)
    tokens = [{"name": "search", "secret": {"file": str(tmp_path / "search")}}]
    (tmp_path / "search").write_text(TOKEN)
    async with running_gateway(tmp_path, {**settings, "tokens": tokens}) as gateway:

        async def all_answer(shown: str, status: int) -> bool:
            """On each of several connections, which lead to both workers."""
            for _ in range(8):
                async with httpx2.AsyncClient(base_url=gateway.url, timeout=60) as http:
                    answer = await http.get("/models", headers={"x-api-key": shown})
                if answer.status_code != status:
                    return False
            return True

        assert await all_answer(TOKEN, 200)
        (tmp_path / "search").write_text(second)
        await until(lambda: all_answer(second, 200), what="the new token")
        await until(lambda: all_answer(TOKEN, 401), what="the old token is refused")
        config.write_text("{")
        failed = "those before stay in force"
        await until(lambda: gateway.child.output().count(failed) >= 2, what="both looked at a broken file")
        assert await all_answer(second, 200)


def children_of(pid: int) -> list[int]:
    """The processes that this one has started."""
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
