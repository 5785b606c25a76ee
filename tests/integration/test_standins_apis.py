"""Every API of the stand-ins as the openai SDK reads it, and the faults that are not for chat alone."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import openai
import pytest
import pytest_asyncio

from lab.standins.process import StandinProcess
from tests.integration.standins_calls import POOL, body, call, client, config, fresh_id, logged

pytestmark = pytest.mark.asyncio(loop_scope="module")
MODEL: Any = "big"
SOUND: Any = ("a.wav", b"RIFF", "audio/wav")
PICTURE: Any = ("a.png", b"PNG", "image/png")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[StandinProcess]:
    """One process for the tests that leave it as they found it."""
    async with await StandinProcess.spawn(config(tmp_path_factory.mktemp("standins"))) as process:
        yield process


@pytest_asyncio.fixture(loop_scope="module", autouse=True)
async def no_fault_left(shared: StandinProcess) -> AsyncIterator[None]:
    """A test that fails must not fail those after it."""
    yield
    await shared.clear()


@pytest_asyncio.fixture(loop_scope="module")
async def sdk(shared: StandinProcess) -> AsyncIterator[openai.AsyncOpenAI]:
    """The SDK at one pool, without retries."""
    async with openai.AsyncOpenAI(api_key="unused", base_url=shared.url(POOL), max_retries=0) as llm:
        yield llm


async def test_the_sdk_reads_whole_answers_of_every_api(sdk: openai.AsyncOpenAI) -> None:
    """Each call of the SDK returns its own type, filled."""
    completion = await sdk.completions.create(model=MODEL, prompt="Where to?")
    assert completion.choices[0].text
    response = await sdk.responses.create(model=MODEL, input="Where to?")
    assert response.output_text
    assert (await sdk.responses.retrieve(response.id)).output_text == response.output_text
    vectors = await sdk.embeddings.create(model=MODEL, input=["a", "b"])
    assert [len(row.embedding) for row in vectors.data] == [8, 8]
    assert (await sdk.images.generate(model=MODEL, prompt="a line", n=2)).data
    assert (await sdk.images.edit(model=MODEL, prompt="a line", image=PICTURE)).data
    assert (await sdk.audio.transcriptions.create(model=MODEL, file=SOUND)).text
    sound = await sdk.audio.speech.create(model=MODEL, input="Where to?", voice="alloy")
    assert (await sound.aread()).startswith(b"ID3")
    assert not (await sdk.moderations.create(model=MODEL, input="Where to?")).results[0].flagged


async def test_the_sdk_reads_streams_of_every_api(sdk: openai.AsyncOpenAI) -> None:
    """Each stream has more than one event of output, and the last is the one by which its API ends."""
    chat = await sdk.completions.create(model=MODEL, prompt="Where to?", stream=True)
    assert [part.choices[0].finish_reason async for part in chat][-1] == "stop"
    asked: Any = {"model": MODEL, "stream": True}
    streams: list[tuple[Any, str]] = [
        (await sdk.responses.create(**asked, input="x"), "response.completed"),
        (await sdk.images.generate(**asked, prompt="x"), "image_generation.completed"),
        (await sdk.images.edit(**asked, prompt="x", image=PICTURE), "image_edit.completed"),
        (await sdk.audio.transcriptions.create(**asked, file=SOUND), "transcript.text.done"),
    ]
    for stream, last in streams:
        kinds = [event.type async for event in stream]
        assert (len(kinds) > 2, kinds[-1]) == (True, last)
    spoken = sdk.audio.speech.with_streaming_response.create(
        model=MODEL, input="x", voice="alloy", stream_format="sse"
    )
    async with spoken as answer:
        events = [json.loads(line[6:]) async for line in answer.iter_lines() if line.startswith("data: ")]
    assert (len(events) > 2, events[-1]["type"]) == (True, "speech.audio.done")


async def test_files_batches_and_models_are_kept_and_found(sdk: openai.AsyncOpenAI) -> None:
    """What was uploaded is found by its id until it is deleted; models are listed and found."""
    uploaded = await sdk.files.create(file=("a.jsonl", b"{}"), purpose="batch")
    assert (await sdk.files.retrieve(uploaded.id)).id == uploaded.id
    batch = await sdk.batches.create(
        input_file_id=uploaded.id, endpoint="/v1/chat/completions", completion_window="24h"
    )
    assert (await sdk.batches.retrieve(batch.id)).status == "validating"
    assert (await sdk.files.delete(uploaded.id)).deleted
    with pytest.raises(openai.NotFoundError):
        await sdk.files.retrieve(uploaded.id)
    assert (await sdk.models.retrieve(MODEL)).id == MODEL
    with pytest.raises(openai.NotFoundError):
        await sdk.models.retrieve("unheard-of")


FAULTS: list[tuple[str, dict[str, Any], bool, str, str]] = [
    ("status", {"status": 402, "error_code": "billing_error"}, False, "402 billing_error", "fault"),
    ("status", {"status": 403, "word": "flow"}, True, "403 x", "fault"),
    ("status", {"status": 403, "word": "forbidden"}, True, "ok", "ok"),
    ("404", {"path": "/embeddings"}, False, "ok", "ok"),
    ("stall", {"after_chunks": 0}, True, "timeout", "aborted"),
    ("stall", {"after_chunks": 2}, True, "timeout", "aborted"),
    ("stall", {}, False, "timeout", "aborted"),
    ("error_event", {"after_chunks": 1, "shape": "flat"}, True, "error event", "fault"),
    ("dialect", {"dialect": "no_done"}, True, "no done", "ok"),
    ("dialect", {"dialect": "crlf"}, True, "ok", "ok"),
]


@pytest.mark.parametrize(("kind", "fields", "stream", "sees", "logs"), FAULTS)
async def test_every_fault_strikes(
    shared: StandinProcess, kind: str, fields: dict[str, Any], stream: bool, sees: str, logs: str
) -> None:
    """While a fault is on, callers whose request it concerns see it, and the log names how that ended."""
    request_id = fresh_id("fault")
    await shared.fault(kind, pools=[POOL], **fields)
    async with client() as http:
        timeout_s = 0.5 if sees == "timeout" else 60.0
        assert (
            await call(http, shared.url(POOL), request_id=request_id, timeout_s=timeout_s, stream=stream)
            == sees
        )
        await logged(shared, request_id, logs)


@pytest.mark.parametrize(
    ("content", "starts", "media_type"),
    [
        ("empty", b"", "application/json"),
        ("html", b"<html>", "text/html"),
        ("broken_json", b'{"id"', "application/json"),
        ("error_only", b'{"error"', "application/json"),
    ],
)
async def test_a_body_can_be_no_answer(
    shared: StandinProcess, content: str, starts: bytes, media_type: str
) -> None:
    """Status 200 with nothing, a page, half a document, or an error alone."""
    await shared.fault("body", content=content)
    async with client() as http:
        answer = await http.post(f"{shared.url(POOL)}/chat/completions", json=body())
    assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (200, media_type)
    assert answer.content.startswith(starts)


async def test_faults_strike_what_uses_no_capacity(shared: StandinProcess) -> None:
    """Lists and what is kept are refused as well, unless the fault is for another path."""
    async with client() as http:
        await shared.fault("503", path="/files")
        assert (await http.get(f"{shared.url(POOL)}/files")).status_code == 503
        assert (await http.get(f"{shared.url(POOL)}/models")).status_code == 200


async def test_a_revoked_token_is_refused_until_another_comes(shared: StandinProcess) -> None:
    """The first secret after the order is refused, always; any other is taken."""
    await shared.fault("token_revoked", pools=[POOL])
    async with client() as http:
        statuses = [
            (
                await http.post(
                    f"{shared.url(POOL)}/chat/completions",
                    json=body(),
                    headers={"authorization": f"Bearer {token}"},
                )
            ).status_code
            for token in ("old", "old", "new", "old")
        ]
    assert statuses == [401, 401, 200, 401]


async def test_a_burst_is_throttled(shared: StandinProcess) -> None:
    """Beyond so many requests in a second, callers get 429."""
    await shared.fault("burst", pools=[POOL], requests_per_s=3, retry_after_ms=200)
    async with client() as http:
        at_once = (call(http, shared.url(POOL), tokens=1) for _ in range(12))
        answers = await asyncio.gather(*at_once)
    assert answers.count("ok") >= 3
    assert "429 rate_limit_exceeded" in answers


async def test_a_stale_connection_is_reset_and_a_new_one_serves(shared: StandinProcess) -> None:
    """The second request on a connection is reset; on a new connection it is served."""
    await shared.fault("stale_connections", pools=[POOL])
    async with client() as http:
        assert await call(http, shared.url(POOL)) == "ok"
        assert await call(http, shared.url(POOL)) == "reset"
        assert await call(http, shared.url(POOL)) == "ok"


async def test_refusals_carry_the_headers_that_were_ordered(shared: StandinProcess) -> None:
    """Retry-After as a date, and a provider's word on whether to try again."""
    date = "Wed, 21 Oct 2099 07:28:00 GMT"
    await shared.fault("status", status=503, headers={"Retry-After": date, "x-should-retry": "false"})
    async with httpx2.AsyncClient() as http:
        refused = await http.post(f"{shared.url(POOL)}/chat/completions", json=body())
    assert (refused.headers["retry-after"], refused.headers["x-should-retry"]) == (date, "false")
