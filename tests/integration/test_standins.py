"""Stand-ins as callers meet them: real processes, real HTTP, real signals."""

import asyncio
import itertools
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import openai
import pytest
import pytest_asyncio

from controller.standins import ledger
from controller.standins.config import Latency, PoolConfig, StandinConfig
from controller.standins.process import SpawnError, StandinProcess

pytestmark = pytest.mark.asyncio(loop_scope="module")

POOL, KEYED = "azure/uksouth/gpt-4o", "azure/uksouth/keyed"
KEY = "a key that must never be logged"
LATENCY = Latency(first_token_ms=20, spread=0.1, token_ms=1)
_ids = itertools.count(1)


def config(log_dir: Path, **more: Any) -> StandinConfig:
    """Two pools of one region, quick, and with more capacity than any test needs."""
    pool = PoolConfig("gpt-4o", ("big", "small"), tokens_per_s=1e6, latency=LATENCY)
    keyed = msgspec.structs.replace(pool, deployment="keyed", bearer_key=KEY)
    return StandinConfig("azure", "uksouth", (pool, keyed), log_dir=str(log_dir), **more)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[StandinProcess]:
    """One process for the tests that leave it as they found it."""
    async with await StandinProcess.spawn(config(tmp_path_factory.mktemp("standins"))) as process:
        yield process


@asynccontextmanager
async def client() -> AsyncIterator[httpx2.AsyncClient]:
    """An HTTP client whose time-out is far above any answer's time."""
    async with httpx2.AsyncClient(timeout=5.0) as http:
        yield http


def body(*, model: str = "big", stream: bool = False, tokens: int = 24) -> dict[str, Any]:
    """A chat request."""
    messages = [{"role": "user", "content": "Where does it flow?"}]
    return {"model": model, "messages": messages, "max_tokens": tokens, "stream": stream}


async def call(
    http: httpx2.AsyncClient, url: str, *, timeout_s: float = 5.0, request_id: str = "", **asked: Any
) -> str:
    """One request; what the caller makes of its answer, in a word."""
    headers = {"x-request-id": request_id or f"call-{next(_ids)}"}
    target = f"{url}/chat/completions"
    try:
        sending = http.stream("POST", target, json=body(**asked), headers=headers, timeout=timeout_s)
        async with sending as answer:
            text = (await answer.aread()).decode()
    except httpx2.ConnectError:
        return "refused"
    except httpx2.ReadTimeout:
        return "timeout"
    except httpx2.ReadError:
        return "reset"
    except httpx2.RemoteProtocolError:
        return "cut"
    if answer.status_code != 200:
        return f"{answer.status_code} {msgspec.json.decode(text)['error']['code']}"
    if asked.get("stream") and "data: [DONE]" not in text:
        return "error event" if '"error"' in text else "no done"
    return "ok"


def seen_of(process: StandinProcess) -> tuple[ledger.Attempt, ...]:
    """What the process's log says."""
    return ledger.attempts(ledger.parse(process.log_path.read_bytes().splitlines(keepends=True)))


async def logged(process: StandinProcess, request_id: str, outcome: str) -> ledger.Attempt:
    """Wait until the log says that a request ended so (an end that callers don't see comes when it comes)."""
    async with asyncio.timeout(5):
        while True:
            found = [one for one in seen_of(process) if one.id == request_id]
            if found and found[-1].outcome == outcome:
                return found[-1]
            await asyncio.sleep(0.01)


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
    """While a fault is on callers see it and the log names it; cleared, the next request is answered."""
    request_id = f"fault-{next(_ids)}"
    timeout_s = 0.5 if sees == "timeout" else 5.0
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
    """Also a caller with an open connection is refused; cleared, the pool answers on the same port."""
    async with client() as http:
        assert await call(http, shared.url(POOL)) == "ok"
        await shared.fault("refuse", pools=[POOL])
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
        assert 5 <= answers.count("503 service_unavailable") <= 35
        assert answers.count("ok") == 60 - answers.count("503 service_unavailable")
        await shared.clear()


async def test_throttling_says_when_to_come_back(shared: StandinProcess) -> None:
    """A smaller capacity bites at once: 429 with Retry-After in seconds and ms; coming back then succeeds."""
    target = f"{shared.url(POOL)}/chat/completions"
    async with client() as http:
        await shared.capacity(tokens_per_s=100, pools=[POOL])
        try:
            assert await call(http, shared.url(POOL), tokens=95) == "ok"
            refused = await http.post(target, json=body(tokens=40))
            assert refused.status_code == 429
            wait_ms = int(refused.headers["retry-after-ms"])
            assert 50 < wait_ms <= 600
            assert refused.headers["retry-after"] == "1"
            await asyncio.sleep(wait_ms / 1_000)
            assert await call(http, shared.url(POOL), tokens=40) == "ok"
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
        unknown = await http.post(f"{base}/v1/embeddings", json={})
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
    assert KEY.encode() not in shared.log_path.with_suffix(".stderr").read_bytes()


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


async def test_sigkill_loses_no_line(tmp_path: Path) -> None:
    """Every request that a caller saw answered is in the log as ok; one under way is there as in flight.

    A second life comes back on the same ports and goes on with the same log.
    """
    process = await StandinProcess.spawn(config(tmp_path))
    async with process, client() as http:
        url, answers = process.url(POOL), {}

        async def ask(request_id: str) -> None:
            answers[request_id] = await call(http, url, request_id=request_id, stream=True)

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(ask(f"r-{index}")) for index in range(150)]
            under_way = group.create_task(call(http, url, request_id="long", stream=True, tokens=4_000))
            await asyncio.wait(tasks[:20])
            os.kill(process.pid, signal.SIGKILL)
        assert await process.wait() == -signal.SIGKILL
        assert under_way.result() in {"cut", "reset"}
        seen = {attempt.id: attempt.outcome for attempt in seen_of(process)}
        succeeded = {request_id for request_id, answer in answers.items() if answer == "ok"}
        assert len(succeeded) >= 20
        assert {seen[request_id] for request_id in succeeded} == {"ok"}
        assert seen["long"] == "in_flight"
        async with await StandinProcess.spawn(process.config_as_run) as second:
            assert second.ports == process.ports
            assert await call(http, url, request_id="second-life") == "ok"
        assert {attempt.id for attempt in seen_of(process)} >= {"long", "second-life", *succeeded}


async def test_a_stop_is_orderly(tmp_path: Path) -> None:
    """SIGTERM ends with status 0 within seconds, cuts what hangs, and the log says so."""
    process = await StandinProcess.spawn(config(tmp_path))
    async with client() as http:
        await process.fault("hang")
        hanging = asyncio.create_task(call(http, process.url(POOL), request_id="hanging", timeout_s=20))
        await logged(process, "hanging", "in_flight")
        assert await process.stop() == 0
        assert await hanging in {"cut", "reset"}
    assert [attempt.outcome for attempt in seen_of(process)] == ["stopped"]


async def test_it_dies_with_its_parent(tmp_path: Path) -> None:
    """A stand-in whose parent is killed is gone within seconds, however the parent died."""
    script = (
        "import asyncio, sys, msgspec\n"
        "from controller.standins.config import StandinConfig\n"
        "from controller.standins.process import StandinProcess\n"
        "async def main():\n"
        "    config = msgspec.json.decode(sys.argv[1], type=StandinConfig)\n"
        "    process = await StandinProcess.spawn(config)\n"
        "    print(process.pid, flush=True)\n"
        "    await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, msgspec.json.encode(config(tmp_path)), stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    pid = int(await parent.stdout.readline())
    assert _runs(pid)
    parent.kill()
    await parent.wait()
    async with asyncio.timeout(5):
        while _runs(pid):  # noqa: ASYNC110 - the end of somebody else's child can't be awaited
            await asyncio.sleep(0.02)


def _runs(pid: int) -> bool:
    """Whether a process runs (a zombie, which only waits to be collected, doesn't)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
    except OSError:
        return False


async def test_a_port_that_is_taken_is_one_sentence(shared: StandinProcess, tmp_path: Path) -> None:
    """A child that can't listen ends, and the spawner says why."""
    clash = msgspec.structs.replace(shared.config_as_run, log_dir=str(tmp_path))
    with pytest.raises(SpawnError, match=r"azure/uksouth ended with status 2 .*[Aa]ddress already in use"):
        await StandinProcess.spawn(clash)
