"""Event streams of every API over real sockets: what fails over, what is handed on, and what counts."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import httpx2
import openai
import pytest
from aiohttp import web

import tieline
from tests.integration.recording import Asked, recording
from tests.integration.routed import MODEL, ORIGIN, WORKLOAD, pool_info, table
from tests.unit.client.providers.recorded_streams import (
    CHAT,
    COMPLETED,
    CREATED,
    DONE,
    OVERLOADED,
    RESPONSES,
    ROLE,
    STOP,
    STREAMS,
    TEXT,
    UNKNOWN,
    WORD,
    failed,
    typed,
)
from tieline._tables.last_good import write_last_good
from tieline.events import ResultClass
from tieline.providers.streams import Phase
from tieline.table import slices

FIRST, SECOND = "azure/uksouth/gpt", "gcp/europe-west4/gpt"
MESSAGES: Any = [{"role": "user", "content": "Where does it flow?"}]
SYNC, ASYNC = "synchronous", "asynchronous"
GOOD = {RESPONSES: CREATED + TEXT + COMPLETED, UNKNOWN: WORD}
OF_SDK: dict[str, tuple[bytes, Callable[[Any], Any]]] = {
    "chat without [DONE]": (
        STREAMS["chat without [DONE]"].body,
        lambda llm: llm.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True),
    ),
    "responses without event lines": (
        typed("response.output_text.delta", delta="Hi") + COMPLETED,
        lambda llm: llm.responses.create(model=MODEL, input="x", stream=True),
    ),
    "images": (
        STREAMS["images"].body,
        lambda llm: llm.images.generate(model=MODEL, prompt="x", stream=True, partial_images=1),
    ),
    "speech": (
        STREAMS["speech"].body,
        lambda llm: llm.audio.speech.create(model=MODEL, input="x", voice="v", stream_format="sse"),
    ),
}


def served(stream: bytes) -> Any:
    """A pool that answers every request with this stream."""

    async def answer(_asked: Asked) -> web.Response:
        return web.Response(body=stream, content_type="text/event-stream")

    return recording(answer)


def file_of(directory: Path, *urls: str) -> Path:
    """A table of these pools, the first with nearly all weight."""
    pools = tuple(pool_info(pool, f"{url}/v1") for pool, url in zip((FIRST, SECOND), urls, strict=False))
    made = table(pools, (1_000_000 - len(pools) + 1, *[1] * (len(pools) - 1)))
    path = directory / "routes.bin"
    write_last_good(path, made.generation, {ORIGIN: slices(made)[f"{WORKLOAD}/{ORIGIN}"]})
    return path


async def streamed(way: str, module: Any, file: Path, path: str, answers: int) -> tuple[str, bytes, bool]:
    """One request over a plain client: (the pool that answered, the bytes, whether the stream was whole)."""
    body, received = {"model": MODEL, "stream": True, "n": answers}, bytearray()

    async def use() -> tuple[str, bool]:
        async with tieline.offline(file, workload=WORKLOAD, origin=ORIGIN) as client:
            assert await client.ready(60)
            async with (
                client.http_client(library=module.__name__, base_url=client.base_url) as http,
                http.stream("POST", path, json=body) as answer,
            ):
                try:
                    async for data in answer.aiter_raw():
                        received.extend(data)
                except module.RemoteProtocolError:
                    return answer.headers["x-tieline-pool"], False
                return answer.headers["x-tieline-pool"], True

    def use_blocking() -> tuple[str, bool]:
        with tieline.Client(file, workload=WORKLOAD, origin=ORIGIN) as client:
            assert client.ready(60)
            with (
                client.http_client(library=module.__name__, base_url=client.base_url) as http,
                http.stream("POST", path, json=body) as answer,
            ):
                try:
                    for data in answer.iter_raw():
                        received.extend(data)
                except module.RemoteProtocolError:
                    return answer.headers["x-tieline-pool"], False
                return answer.headers["x-tieline-pool"], True

    pool, is_whole = await (use() if way == ASYNC else asyncio.to_thread(use_blocking))
    return pool, bytes(received), is_whole


@pytest.mark.parametrize(("way", "module"), [(ASYNC, httpx2), (SYNC, httpx2), (ASYNC, httpx), (SYNC, httpx)])
async def test_every_recorded_stream(way: str, module: Any, tmp_path: Path) -> None:
    """An error before any output fails over, unless it is the caller's own; everything else is handed on byte
    for byte, and is raised as broken only when its protocol's end has not come."""
    for name, row in STREAMS.items():
        good = GOOD.get(row.path, ROLE + WORD + STOP + DONE)
        if row.phase is not Phase.OUTPUT and row.path not in (CHAT, *GOOD):
            continue
        async with served(row.body) as bad, served(good) as other:
            file = file_of(tmp_path, bad.url, other.url)
            pool, data, is_whole = await streamed(way, module, file, row.path, row.answers)
        if row.phase is Phase.OUTPUT:
            assert (pool, data, is_whole) == (FIRST, row.body, row.complete), name
        else:
            assert (pool, data, is_whole) == (SECOND, good, True), name


@pytest.mark.parametrize("way", [ASYNC, SYNC])
@pytest.mark.parametrize("kind", OF_SDK)
async def test_the_sdk_reads_every_api_to_its_end(kind: str, way: str, tmp_path: Path) -> None:
    """Streams that are complete by their own protocol are not broken, and the pool stays in."""
    stream, call = OF_SDK[kind]
    async with served(stream) as only:
        file = file_of(tmp_path, only.url)

        async def use() -> list[Any]:
            async with tieline.offline(file, workload=WORKLOAD, origin=ORIGIN) as client:
                assert await client.ready(60)
                llm = openai.AsyncOpenAI(
                    api_key="x", base_url=client.base_url, http_client=client.http_client()
                )
                for _ in range(6):
                    answer = await call(llm)
                    if kind == "speech":
                        await answer.aread()
                    else:
                        assert [event async for event in answer]
                return [row for row in client.explain()["pools"] if row["out"]]

        def use_blocking() -> list[Any]:
            with tieline.Client(file, workload=WORKLOAD, origin=ORIGIN) as client:
                assert client.ready(60)
                llm = openai.OpenAI(api_key="x", base_url=client.base_url, http_client=client.http_client())
                for _ in range(6):
                    answer = call(llm)
                    assert answer.read() if kind == "speech" else list(answer)
                return [row for row in client.explain()["pools"] if row["out"]]

        assert await (use() if way == ASYNC else asyncio.to_thread(use_blocking)) == []


async def outcomes(file: Path, ask: Any, times: int) -> tuple[list[str], list[str]]:
    """(how each request of the SDK ended, the pools that are out after them)."""
    ends = []
    async with tieline.offline(file, workload=WORKLOAD, origin=ORIGIN) as client:
        assert await client.ready(60)
        async with openai.AsyncOpenAI(
            api_key="x", base_url=client.base_url, http_client=client.http_client()
        ) as llm:
            for _ in range(times):
                try:
                    async for _event in await ask(llm):
                        pass
                    ends.append("good")
                except openai.APIError:
                    ends.append("broken")
        return ends, [row["pool"] for row in client.explain()["pools"] if row["out"]]


async def test_errors_after_output_count_against_the_pool(tmp_path: Path) -> None:
    """Five streams that die by an error event after their first token are as bad as five that are cut."""
    async with served(ROLE + WORD + OVERLOADED + DONE) as bad, served(ROLE + WORD + STOP + DONE) as good:
        ends, outs = await outcomes(
            file_of(tmp_path, bad.url, good.url), OF_SDK["chat without [DONE]"][1], 12
        )
    assert ends == ["broken"] * 5 + ["good"] * 7
    assert outs == [FIRST]


async def test_a_response_that_fails_first_fails_over(tmp_path: Path) -> None:
    """``response.failed`` before any output is a failed attempt."""
    bad_stream = CREATED + failed(code="server_error", message="boom")
    async with served(bad_stream) as bad, served(CREATED + TEXT + COMPLETED) as good:
        ask = OF_SDK["responses without event lines"][1]
        ends, outs = await outcomes(file_of(tmp_path, bad.url, good.url), ask, 8)
    assert ends == ["good"] * 8
    assert outs == [FIRST]
    assert len(bad.asked) == 5


async def test_usage_of_a_streamed_response_is_reported(tmp_path: Path) -> None:
    """It is read from ``response.usage``: the load served is known, not estimated."""
    reported: list[tuple[ResultClass, float]] = []
    async with (
        served(CREATED + TEXT + COMPLETED) as only,
        tieline.offline(file_of(tmp_path, only.url), workload=WORKLOAD, origin=ORIGIN) as client,
        client.http_client(base_url=client.base_url) as http,
    ):
        assert await client.ready(60)
        client.core.router.on_outcome.append(
            lambda _target, outcome: reported.append((outcome.result, outcome.units))
        )
        await http.post("/responses", json={"model": MODEL, "stream": True})
    assert reported == [(ResultClass.OK, 7.0)]


def words_of(stream: bytes) -> str:
    """The text of a chat completion's stream."""
    return "Grüße" * stream.count(WORD)


@pytest.mark.parametrize("way", [ASYNC, SYNC])
@pytest.mark.parametrize("mode", ["whole", "restart"])
async def test_a_broken_stream_is_recovered(mode: str, way: str, tmp_path: Path) -> None:
    """Held back, the caller never learns of the break; restarted, it begins again with the new response,
    which the SDK reads as any other."""
    cut, good = ROLE + WORD + WORD, ROLE + WORD + WORD + WORD + STOP + DONE
    ask: dict[str, Any] = {"model": MODEL, "messages": MESSAGES, "stream": True}
    chunk_type = openai.types.chat.ChatCompletionChunk

    async def use(file: Path) -> list[str]:
        texts = [""]
        async with tieline.offline(file, workload=WORKLOAD, origin=ORIGIN, stream_recovery=mode) as client:
            assert await client.ready(60)
            llm = openai.AsyncOpenAI(api_key="x", base_url=client.base_url, http_client=client.http_client())
            parts = await llm.chat.completions.create(**ask)
            try:
                async for part in parts:
                    texts[-1] += part.choices[0].delta.content or ""
            except tieline.StreamRestartedError as error:
                texts.append("")
                async for part in openai.AsyncStream(cast_to=chunk_type, response=error.response, client=llm):
                    texts[-1] += part.choices[0].delta.content or ""
        return texts

    def use_blocking(file: Path) -> list[str]:
        texts = [""]
        with tieline.Client(file, workload=WORKLOAD, origin=ORIGIN, stream_recovery=mode) as client:
            assert client.ready(60)
            llm = openai.OpenAI(api_key="x", base_url=client.base_url, http_client=client.http_client())
            try:
                for part in llm.chat.completions.create(**ask):
                    texts[-1] += part.choices[0].delta.content or ""
            except tieline.StreamRestartedError as error:
                texts.append("")
                for part in openai.Stream(cast_to=chunk_type, response=error.response, client=llm):
                    texts[-1] += part.choices[0].delta.content or ""
        return texts

    async with served(cut) as bad, served(good) as other:
        file = file_of(tmp_path, bad.url, other.url)
        texts = await (use(file) if way == ASYNC else asyncio.to_thread(use_blocking, file))
    assert texts == ([words_of(cut), words_of(good)] if mode == "restart" else [words_of(good)])


@pytest.mark.parametrize("module", [httpx2, httpx])
async def test_a_plain_client_begins_again(module: Any, tmp_path: Path) -> None:
    """The new response is of the same library, and keeps the options that the request was made with; where no
    pool is left the break itself is raised."""
    cut, good = ROLE + WORD, ROLE + WORD + STOP + DONE
    body = {"model": MODEL, "stream": True}

    async def ask(file: Path, texts: list[bytes]) -> None:
        async with (
            tieline.offline(file, workload=WORKLOAD, origin=ORIGIN) as client,
            client.http_client(library=module.__name__, base_url=client.base_url) as http,
        ):
            assert await client.ready(60)
            with tieline.options(stream_recovery="restart"):
                request = http.build_request("POST", "/chat/completions", json=body)
                response = await http.send(request, stream=True)
            while response is not None:
                texts.append(b"")
                try:
                    async for data in response.aiter_raw():
                        texts[-1] += data
                    response = None
                except tieline.StreamRestartedError as error:
                    response = error.response
                    assert isinstance(response, module.Response)

    texts: list[bytes] = []
    async with served(cut) as bad, served(good) as other:
        await ask(file_of(tmp_path, bad.url, other.url), texts)
    assert texts == [cut, good]
    async with served(cut) as bad, served(cut) as other:
        with pytest.raises(module.RemoteProtocolError):
            await ask(file_of(tmp_path, bad.url, other.url), texts)
    assert len(texts) == 2 + 3
