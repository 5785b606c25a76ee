"""Requests that name what a provider holds, and forms, on real sockets by the openai SDK."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
import pytest
from msgspec import Struct

import tieline
from tests.integration.answering import KINDS, A, Asked, B, Does, Kind, Pool, chat, error, pools, raw
from tieline._tables.last_good import write_last_good
from tieline.table import Generation, ModelOffer, PoolInfo, Route, RouteTable, Split, slices

Call = Callable[[Any], Any]  # an SDK's client -> the answer, or what to await for it
MILLION = 1_000_000


class Got(Struct):
    """What came of one call: the answer, or the status and the words of the error with its headers."""

    answer: Any = None
    status: int = 200
    text: str = ""
    headers: dict[str, str] = {}


def offering(folder: Path, running: dict[str, Pool], *, hosts: dict[str, str] | None = None) -> Path:
    """A table in which nearly all requests go to the first pool. Each pool has its own name for ``m``, ``b``
    alone offers ``whisper``. ``hosts``: another pool whose endpoint a pool shares."""
    infos = []
    for name in running:
        port = running[(hosts or {}).get(name, name)].port
        models = [ModelOffer("m", f"m-{name[0]}")]
        if name == B:
            models.append(ModelOffer("whisper", "whisper-1"))
        infos.append(PoolInfo(name, "eu", f"http://127.0.0.1:{port}/v1", models=tuple(models)))
    others = len(infos) - 1
    split = Split(tuple(range(len(infos))), (MILLION - others, *[1] * others))
    table = RouteTable(Generation("t", 1, 1), 1_000, tuple(infos), (Route("chat", "eu", "critical", split),))
    path = folder / "routes.bin"
    write_last_good(path, table.generation, {"eu": slices(table)["chat/eu"]})
    return path


def ask(kind: Kind, path: Path, *calls: Call) -> list[Got]:
    """Calls of the SDK one after another through one client."""
    return asyncio.run(_ask_async(path, calls)) if kind == "async" else _ask_sync(path, calls)


async def _ask_async(path: Path, calls: tuple[Call, ...]) -> list[Got]:
    results = []
    async with (
        tieline.AsyncClient(path, workload="chat", origin="eu") as client,
        client.http_client() as http,
    ):
        assert await client.ready(timeout=60)
        llm = openai.AsyncOpenAI(api_key="unused", base_url=client.base_url, http_client=http, max_retries=0)
        for call in calls:
            try:
                results.append(Got(await call(llm)))
            except openai.APIStatusError as failure:
                results.append(_failed(failure))
    return results


def _ask_sync(path: Path, calls: tuple[Call, ...]) -> list[Got]:
    results = []
    with tieline.Client(path, workload="chat", origin="eu") as client, client.http_client() as http:
        assert client.ready(timeout=60)
        llm = openai.OpenAI(api_key="unused", base_url=client.base_url, http_client=http, max_retries=0)
        for call in calls:
            try:
                results.append(Got(call(llm)))
            except openai.APIStatusError as failure:
                results.append(_failed(failure))
    return results


def _failed(failure: openai.APIStatusError) -> Got:
    return Got(None, failure.status_code, text=str(failure.message), headers=dict(failure.response.headers))


def response(name: str) -> bytes:
    """A whole answer of the responses API."""
    fields = {"id": name, "object": "response", "created_at": 1, "model": "m", "status": "completed"}
    more = {"parallel_tool_calls": False, "tool_choice": "auto", "tools": []}
    item = {"id": "rs_1", "type": "reasoning", "summary": [], "encrypted_content": "secret"}
    return raw(json.dumps({**fields, **more, "output": [item]}).encode())


def first_only(good: bytes) -> Does:
    """A pool that answers well once and fails from then on."""
    return lambda number, _asked: good if number == 1 else error(503)


def always(answer: bytes) -> Does:
    """A pool with this one answer."""
    return lambda _number, _asked: answer


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "own",
    [
        {"metadata": {"thread_id": "t-1", "conversation_id": "c"}},
        {
            "tools": [
                {"type": "function", "function": {"name": "f", "parameters": {"example": {"file_id": "x"}}}}
            ]
        },
    ],
)
def test_labels_of_the_callers_own_keep_failover(kind: Kind, own: dict[str, Any], tmp_path: Path) -> None:
    """A request with names in its metadata or schemas that only look like a provider's state is served by
    another pool when its own fails."""

    def call(llm: Any) -> Any:
        return llm.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}], **own)

    with pools(a=first_only(chat("a")), b=always(chat("b"))) as running:
        got = ask(kind, offering(tmp_path, running), *[call] * 6)
    assert [one.text for one in got if one.status != 200] == []
    assert [one.answer.choices[0].message.content for one in got] == ["a", *"bbbbb"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "ties",
    [
        {"previous_response_id": "resp_1"},
        {"input": [{"type": "reasoning", "id": "x", "summary": [], "encrypted_content": "secret"}]},
    ],
)
def test_what_a_pool_holds_binds_until_it_is_unbound(
    kind: Kind, ties: dict[str, Any], tmp_path: Path
) -> None:
    """A follow-up goes to the pool that answered, and its failure says who holds what. Unbound it is served
    elsewhere, without what the other pool could not know."""

    def follow_up(llm: Any) -> Any:
        return llm.responses.create(**{"model": "m", "input": "hi", **ties})

    def free(llm: Any) -> Any:
        return llm.responses.create(
            **{"model": "m", "input": "hi", **ties}, extra_headers={"x-tieline-unbind": "true"}
        )

    with pools(a=first_only(response("resp_1")), b=always(response("resp_2"))) as running:
        path = offering(tmp_path, running)
        got = ask(kind, path, lambda llm: llm.responses.create(model="m", input="hi"), follow_up, free)
        asked = running[B].asked
    assert (got[1].status, got[1].headers["x-tieline-gave-up"]) == (503, "bound")
    assert got[1].headers["x-tieline-held"].endswith(f"is held by {A}")
    assert got[2].answer.id == "resp_2"
    assert [b"resp_1" in one.body or b"secret" in one.body for one in asked] == [False]


@pytest.mark.parametrize("kind", KINDS)
def test_pools_of_one_endpoint_and_credential_share_their_state(kind: Kind, tmp_path: Path) -> None:
    """When the deployment that answered fails, another one of the same endpoint continues its response."""

    def does(_number: int, asked: Asked) -> bytes:
        if b'"m-a"' in asked.body and b"resp_1" in asked.body:
            return error(503)
        return response("resp_1" if b'"m-a"' in asked.body else "resp_3")

    def follow_up(llm: Any) -> Any:
        return llm.responses.create(model="m", input="hi", previous_response_id="resp_1")

    with pools(a=does, b=always(error(500)), c=always(error(500))) as running:
        path = offering(tmp_path, running, hosts={"c/r/d": A})
        got = ask(kind, path, lambda llm: llm.responses.create(model="m", input="hi"), *[follow_up] * 3)
        assert running[B].asked == []
    assert [one.answer.id for one in got] == ["resp_1", "resp_3", "resp_3", "resp_3"]


def part(asked: Asked, name: str) -> str:
    """The value of one part of a form that reached a pool."""
    return asked.body.split(f'name="{name}"\r\n\r\n'.encode())[1].split(b"\r\n")[0].decode()


@pytest.mark.parametrize("kind", KINDS)
def test_the_model_of_a_form_chooses_its_pool(kind: Kind, tmp_path: Path) -> None:
    """Only the pool that offers the model is asked, by its own name for it."""

    def transcribe(llm: Any) -> Any:
        return llm.audio.transcriptions.create(model="whisper", file=("a.wav", b"RIFF"))

    with pools(a=always(error(404, "model_not_found")), b=always(raw(b'{"text": "hello"}'))) as running:
        got = ask(kind, offering(tmp_path, running), transcribe)
        assert running[A].asked == []
        assert [part(asked, "model") for asked in running[B].asked] == ["whisper-1"]
    assert got[0].answer.text == "hello"


@pytest.mark.parametrize("kind", KINDS)
def test_a_form_whose_model_a_pool_does_not_have_fails_over(kind: Kind, tmp_path: Path) -> None:
    """The other pool gets the whole form, under its own name for the model."""
    file = b"\x89PNG" + bytes(range(256)) * 4

    def edit(llm: Any) -> Any:
        return llm.images.edit(model="m", prompt="bluer", image=("a.png", file, "image/png"))

    with pools(
        a=always(error(404, "model_not_found")), b=always(raw(b'{"created": 1, "data": []}'))
    ) as running:
        got = ask(kind, offering(tmp_path, running), edit)
        first, second = running[A].asked[0], running[B].asked[0]
    assert got[0].status == 200
    assert (part(first, "model"), part(second, "model")) == ("m-a", "m-b")
    assert first.body.replace(b"m-a", b"m-b") == second.body
    assert file in second.body


@pytest.mark.parametrize("kind", KINDS)
def test_large_files_are_sent_again_whole(kind: Kind, tmp_path: Path) -> None:
    """A recording of 8 MB reaches both pools byte for byte, each under its own name for the model."""
    file = bytes(range(256)) * 32_768

    def transcribe(llm: Any) -> Any:
        return llm.audio.transcriptions.create(model="m", file=("a.wav", file))

    with pools(a=always(error(404, "model_not_found")), b=always(raw(b'{"text": "hello"}'))) as running:
        got = ask(kind, offering(tmp_path, running), transcribe)
        first, second = running[A].asked[0], running[B].asked[0]
    assert got[0].answer.text == "hello"
    assert file in first.body
    assert first.body.replace(b"\r\nm-a\r\n", b"\r\nm-b\r\n") == second.body


def test_an_answer_that_comes_before_the_whole_file_is_taken(tmp_path: Path) -> None:
    """A server that refuses a file by its length, without reading it, is heard at once."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(error(413, "too_large"))
        await writer.drain()
        await gone.wait()
        writer.close()

    async def run() -> Got:
        server = await asyncio.start_server(refuse, "127.0.0.1", 0)
        pool = Pool(always(b""))
        pool.port = server.sockets[0].getsockname()[1]
        path = offering(tmp_path, {A: pool})
        file = ("a.wav", bytes(32_000_000))
        got = await _ask_async(path, (lambda llm: llm.audio.transcriptions.create(model="m", file=file),))
        gone.set()
        server.close()
        pool.close()
        return got[0]

    gone = asyncio.Event()
    assert asyncio.run(run()).status == 413
