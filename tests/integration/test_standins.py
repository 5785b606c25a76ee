"""Stand-ins as callers meet them: real processes, real HTTP."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import openai
import pytest
import pytest_asyncio

from lab.standins.process import StandinProcess
from tests.integration.standins_calls import (
    KEY,
    KEYED,
    POOL,
    body,
    call,
    client,
    config,
    fresh_id,
    logged,
)
from tests.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")


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


FAULTS: list[tuple[str, dict[str, Any], bool, str, str]] = [
    ("503", {}, False, "503 service_unavailable", "fault"),
    ("429", {"retry_after_ms": 1_500}, True, "429 rate_limit_exceeded", "fault"),
    ("400", {"model": "big"}, False, "400 invalid_request", "fault"),
    ("401", {}, False, "401 invalid_api_key", "fault"),
    ("404", {}, True, "404 model_not_found", "fault"),
    ("hang", {}, False, "timeout", "aborted"),
    ("hang", {}, True, "timeout", "aborted"),
    ("reset", {}, False, "reset", "fault"),
    ("slow_first_token", {"delay_ms": 30_000}, True, "timeout", "aborted"),
    ("slow_first_token", {"delay_ms": 30_000}, False, "timeout", "aborted"),
    ("slow_first_token", {"delay_ms": 1}, True, "ok", "ok"),
    ("cut", {"after_chunks": 2}, True, "cut", "fault"),
    ("cut", {}, False, "cut", "fault"),
    ("end_without_done", {"after_chunks": 2}, True, "no done", "fault"),
    ("end_without_done", {"after_chunks": 99}, True, "no done", "fault"),
    ("end_without_done", {}, False, "ok", "ok"),
    ("error_event", {"error_code": "rate_limit_exceeded"}, True, "error event", "fault"),
]


@pytest.mark.parametrize(("kind", "fields", "stream", "sees", "logs"), FAULTS)
async def test_every_fault_strikes_and_goes(
    shared: StandinProcess, kind: str, fields: dict[str, Any], stream: bool, sees: str, logs: str
) -> None:
    """While a fault is on, callers see it and the log names it; once it is cleared, requests are answered."""
    request_id = fresh_id("fault")
    timeout_s = 0.5 if sees == "timeout" else 60.0
    async with client() as http:
        number = await shared.fault(kind, pools=[POOL], **fields)
        assert (
            await call(http, shared.url(POOL), request_id=request_id, timeout_s=timeout_s, stream=stream)
            == sees
        )
        attempt = await logged(shared, request_id, logs)
        assert attempt.fault == kind
        assert await shared.clear(fault_id=number) == 1
        assert await call(http, shared.url(POOL), stream=stream) == "ok"


async def test_refuse_closes_the_socket_and_opens_it_again(shared: StandinProcess) -> None:
    """Open connections are closed and new ones refused; once cleared, the pool answers on the same port."""
    async with client() as http:
        assert await call(http, shared.url(POOL)) == "ok"
        await shared.fault("refuse", pools=[POOL])
        # A caller may use its open connection before it learns that this was closed: that is a reset.
        assert await call(http, shared.url(POOL)) in ("reset", "refused")
        assert await call(http, shared.url(POOL)) == "refused"
        with pytest.raises(httpx2.ConnectError):
            await http.get(f"{shared.url(POOL)}/models")
        assert (await shared.state())["pools"][0]["listening"] is False
        assert await shared.clear(kind="refuse") == 1
        assert await call(http, shared.url(POOL)) == "ok"


async def test_a_fault_keeps_to_its_pool_its_model_and_its_share(shared: StandinProcess) -> None:
    """A fault of one model spares the other; a share of 30 % strikes some requests and not all."""
    async with client() as http:
        await shared.fault("400", pools=[POOL], model="big")
        assert await call(http, shared.url(POOL), model="small") == "ok"
        assert await call(http, shared.url(KEYED), model="big") == "401 invalid_api_key"  # its own, not ours
        await shared.clear()
        await shared.fault("503", share=0.3)
        answers = [await call(http, shared.url(POOL), tokens=1) for _ in range(60)]
        assert 1 <= answers.count("503 service_unavailable") <= 50
        assert answers.count("ok") == 60 - answers.count("503 service_unavailable")
        await shared.clear()


async def test_throttling_says_when_to_come_back(shared: StandinProcess) -> None:
    """A smaller capacity bites at once: 429 with Retry-After in seconds and ms; coming back then succeeds."""
    target = f"{shared.url(POOL)}/chat/completions"
    async with client() as http:
        await shared.capacity(tokens_per_s=100, pools=[POOL])
        try:
            both = await asyncio.gather(*(http.post(target, json=body(tokens=95)) for _ in range(2)))
            assert sorted(answer.status_code for answer in both) == [200, 429]
            refused = next(answer for answer in both if answer.status_code == 429)
            assert 0 < int(refused.headers["retry-after-ms"]) <= 1_000
            assert refused.headers["retry-after"] == "1"

            async def served() -> bool:
                return await call(http, shared.url(POOL), tokens=40) == "ok"

            await until(served, what="a place after Retry-After")
        finally:
            assert await shared.capacity(factor=1.0) == {POOL: 1e6, KEYED: 1e6}
        assert await call(http, shared.url(POOL), tokens=40) == "ok"


async def test_a_caller_that_leaves_is_logged(shared: StandinProcess) -> None:
    """An answer whose caller goes away in the middle ends as aborted, not as ok."""
    async with client() as http:
        wanted = body(stream=True, tokens=4_000)
        headers = {"x-tieline-request-id": "left"}
        target = f"{shared.url(POOL)}/chat/completions"
        async with http.stream("POST", target, json=wanted, headers=headers) as answer:
            await anext(answer.aiter_bytes())
    await logged(shared, "left", "aborted")


async def test_other_providers_paths_and_unknown_ones(shared: StandinProcess) -> None:
    """Any prefix before /chat/completions is served; any other path is a 404 in OpenAI's form."""
    base = shared.url(POOL).removesuffix("/v1")
    async with client() as http:
        for prefix in (
            "/openai/deployments/big",
            "/openai/v1",
            "/v1/projects/p/locations/l/endpoints/openapi",
        ):
            assert await call(http, base + prefix) == "ok"
        unknown = await http.post(f"{base}/v1/cookies", json={})
        assert (unknown.status_code, set(unknown.json()["error"])) == (
            404,
            {"message", "type", "param", "code"},
        )
        wrong = await http.post(f"{base}/v1/chat/completions", content=b"nonsense")
        assert (wrong.status_code, wrong.json()["error"]["type"]) == (400, "invalid_request_error")


async def test_the_official_sdk_is_content(shared: StandinProcess) -> None:
    """openai's SDK reads models, whole answers and streams with usage, and raises its own errors."""
    async with openai.AsyncOpenAI(api_key=KEY, base_url=shared.url(KEYED), max_retries=0) as sdk:
        assert [model.id async for model in sdk.models.list()] == ["big", "small"]
        question: Any = [{"role": "user", "content": "x" * 40}]
        whole = await sdk.chat.completions.create(model="big", messages=question, max_tokens=20)
        assert whole.usage is not None
        assert (whole.usage.prompt_tokens, whole.usage.completion_tokens) == (10, 20)
        chunks = [
            chunk
            async for chunk in await sdk.chat.completions.create(
                model="big",
                messages=question,
                max_tokens=20,
                stream=True,
                stream_options={"include_usage": True},
            )
        ]
        said = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
        assert "".join(said) == whole.choices[0].message.content
        assert chunks[0].choices[0].delta.role == "assistant"
        assert [c.choices[0].finish_reason for c in chunks if c.choices and c.choices[0].finish_reason] == [
            "length"
        ]
        assert chunks[-1].usage == whole.usage
        with pytest.raises(openai.NotFoundError):
            await sdk.chat.completions.create(model="unheard-of", messages=question)
        with pytest.raises(openai.AuthenticationError):
            await sdk.with_options(api_key="wrong").chat.completions.create(model="big", messages=question)
    assert KEY.encode() not in shared.log_path.read_bytes()
    assert KEY.encode() not in shared.log_path.with_suffix(".output").read_bytes()


async def test_the_admin_port_is_strict(shared: StandinProcess) -> None:
    """A wrong order is a 400 with one sentence and changes nothing; the log can be read in pieces."""
    async with httpx2.AsyncClient(base_url=shared.admin_url) as http:
        for path, wrong in (
            ("/faults", b'{"kind":"meteor"}'),
            ("/faults", b'{"kind":"hang","seconds":3}'),
            ("/capacity", b'{"tokens_per_s":-1}'),
            ("/capacity", b'{"tokens_per_s":1,"factor":1}'),
            ("/capacity", b'{"factor":1,"pools":["nowhere"]}'),
            ("/capacity", b"{}"),
        ):
            answer = await http.post(path, content=wrong)
            assert answer.status_code == 400, wrong
            assert answer.json()["error"].endswith(".")
        assert (await http.delete("/faults?kind=meteor")).status_code == 400
        assert (await http.get("/log?offset=x")).status_code == 400
        state = (await http.get("/state")).json()
        assert (state["faults"], state["pools"][0]["tokens_per_s"]) == ([], 1e6)
        first = await http.get("/log")
        assert first.content.startswith(b'{"event":"started"')
        rest = await http.get(f"/log?offset={first.headers['x-next-offset']}")
        assert rest.content == b""
