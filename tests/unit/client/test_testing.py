"""``tieline.testing`` is product code: what it promises to the tests of applications. No socket is opened."""

import sys
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

import tieline
from tests.waiting import until, until_sync
from tieline.table import ClientSettings
from tieline.testing import FakePools

A, B = "azure/swedencentral/gpt-4o", "gcp/europe-west4/gemini"
MODEL = "chat-large"
PLACE: dict[str, Any] = {"workload": "chat", "origin": "eu"}
MESSAGES: Any = [{"role": "user", "content": "Where does it flow?"}]
QUICK = ClientSettings(first_token_timeout_ms=200, idle_timeout_ms=200, stale_after_ms=400)


CONNECTED: list[object] = []  # an audit hook can't be taken away again: it looks at every test's connections


def _look(event: str, arguments: tuple[object, ...]) -> None:
    if event == "socket.connect":
        CONNECTED.append(arguments)


sys.addaudithook(_look)


@pytest.fixture(autouse=True)
def no_network() -> Iterator[None]:
    """No test here connects to anything."""
    CONNECTED.clear()
    yield
    assert CONNECTED == []


def fake(**more: Any) -> FakePools:
    """All on A, B beside it for the loss of azure."""
    return FakePools({A: 99, B: 1}, model=MODEL, settings=QUICK, **more)


def sdk(client: tieline.AsyncClient) -> AsyncOpenAI:
    """The real SDK over the fake pools."""
    return AsyncOpenAI(api_key="x", base_url=client.base_url, http_client=client.http_client(), max_retries=0)


async def ask(llm: AsyncOpenAI) -> str | None:
    """One whole answer."""
    answer = await llm.chat.completions.create(model=MODEL, messages=MESSAGES)
    return answer.choices[0].message.content


async def stream(llm: AsyncOpenAI) -> str:
    """One answer in pieces."""
    chunks = await llm.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)
    return "".join([chunk.choices[0].delta.content or "" async for chunk in chunks if chunk.choices])


async def test_the_real_sdk_is_served_whole_and_in_pieces() -> None:
    """By weight, under the pool's own name for the model, and everything asked can be looked at."""
    pools = fake(answer=lambda request: f"{request.json()['model']} says hello there")
    async with tieline.AsyncClient(pools, **PLACE) as client, sdk(client) as llm:
        assert await client.ready()
        answers = {await ask(llm) for _ in range(20)} | {await stream(llm)}
    assert answers == {"gpt-4o says hello there"} | {one for one in answers if one and "gemini" in one}
    assert pools.served()[A] >= 19
    assert pools.requests[0].path == "/chat/completions"
    assert pools.requests[0].json()["messages"] == MESSAGES
    assert pools.requests[0].headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    "fault", [{"status": 503}, {"kind": "refuse"}, {"kind": "hang"}, {"kind": "error_event"}, {"status": 429}]
)
async def test_faults_before_the_first_output_are_failed_over(fault: dict[str, Any]) -> None:
    """By the library's own rules: the other pool serves."""
    pools = fake()
    async with tieline.AsyncClient(pools, **PLACE) as client, sdk(client) as llm:
        assert await client.ready()
        pools.fault(A, **fault)
        for _ in range(3):
            assert await stream(llm) == f"from {B}"
        pools.clear()


async def test_a_fault_may_be_for_so_many_requests() -> None:
    """Then the pool serves again."""
    pools = FakePools({A: 1}, model=MODEL)
    async with tieline.AsyncClient(pools, **PLACE) as client, sdk(client) as llm:
        assert await client.ready()
        pools.fault(A, status=500, times=1)
        assert await ask(llm) == f"from {A}"
    assert pools.served() == {A: 2}


async def test_a_cut_after_the_first_output_is_raised() -> None:
    """As on the wire: nothing is spliced."""
    pools = FakePools({A: 1}, model=MODEL, answer=lambda _: "one two three")
    async with tieline.AsyncClient(pools, **PLACE) as client, sdk(client) as llm:
        assert await client.ready()
        pools.fault(A, "cut", after_chunks=3)
        with pytest.raises(openai.APIConnectionError):
            await stream(llm)


async def test_the_table_sheds_and_changes_as_told() -> None:
    """A whole provider lost, a share shed, the control plane away: what the application would see."""
    pools = FakePools({A: 1}, model=MODEL, on_loss={"azure": {B: 1}}, settings=QUICK)
    async with tieline.AsyncClient(pools, **PLACE) as client:
        assert await client.ready()
        generation = pools.publish({A: 1}, shed=0.5)
        assert await client.wait_for(generation)
        found = [client.pick(MODEL) for _ in range(100)]
        assert sum(isinstance(one, tieline.Shed) for one in found) == 50
        pools.control_plane(reachable=False)
        await until(lambda: client.status.state is tieline.State.STALE, 5, "stale")
        assert "away" in client.status.error
        pools.control_plane(reachable=True)
        await until(lambda: client.status.state is tieline.State.LIVE, 5, "live")
    for wrong in ({A: 0}, {A: -1.0, B: 2}):
        with pytest.raises(ValueError, match="weights"):
            pools.publish(wrong)


async def test_the_last_resort_is_tried_when_nothing_else_is_left() -> None:
    """As the table names it; a pick finds it as well."""
    pools = FakePools({A: 1}, model=MODEL, last_resort=[B], settings=QUICK)
    async with tieline.AsyncClient(pools, **PLACE) as client, sdk(client) as llm:
        assert await client.ready()
        pools.fault(A, status=401)
        assert [await ask(llm) for _ in range(2)] == [f"from {B}"] * 2
        found = client.pick(MODEL)
        assert isinstance(found, tieline.Route)
        assert (found.pool, found.reason) == (B, tieline.Reason.LAST_RESORT)
        generation = pools.publish({A: 1})
        assert await client.wait_for(generation)
        with pytest.raises(openai.InternalServerError, match=f"{A}: auth"):
            await ask(llm)


def test_the_synchronous_client_works_alike() -> None:
    """Whole and in pieces, failed over from a hung and from a refusing pool, told of another table."""
    pools = fake()
    with tieline.Client(pools, **PLACE) as client:
        assert client.ready()
        http = client.http_client()
        with OpenAI(api_key="x", base_url=client.base_url, http_client=http, max_retries=0) as llm:
            for kind in ("refuse", "hang"):
                pools.fault(A, kind)
                chunks = llm.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)
                text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
                assert text == f"from {B}"
            answer = llm.chat.completions.create(model=MODEL, messages=MESSAGES, max_tokens=4)
            assert answer.choices[0].message.content == f"from {B}"
        generation = pools.publish({B: 1})
        until_sync(lambda: client.status.generation == generation, 5, "the next table")


@pytest.mark.parametrize(
    ("pool", "kind", "named"),
    [
        ("azure/swedencentral/gpt-40", "refuse", "no pool 'azure/swedencentral/gpt-40'"),
        (A, "429", "kind='429'"),
    ],
)
def test_a_fault_that_would_never_show_is_refused(pool: str, kind: Any, named: str) -> None:
    """A slip in its name must not make a test pass."""
    with pytest.raises(ValueError, match=named):
        fake().fault(pool, kind)


def test_pools_are_named_in_full() -> None:
    """Provider, region and deployment, or it is said so."""
    with pytest.raises(ValueError, match="'azure': expected provider/region/deployment"):
        FakePools({"azure": 1}, model=MODEL)


@pytest.mark.parametrize("base_url", ["https://api.openai.com/v1", "https://mine.openai.azure.com/openai/v1"])
async def test_an_sdk_with_another_base_url_is_routed_all_the_same(base_url: str) -> None:
    """The pool's own base takes its place: no path of another provider's reaches it, to be taken for a model
    that is not there."""
    pools = fake()
    async with tieline.AsyncClient(pools, **PLACE) as client:
        await client.ready()
        llm = AsyncOpenAI(api_key="x", base_url=base_url, http_client=client.http_client(), max_retries=0)
        await llm.chat.completions.create(model=MODEL, messages=MESSAGES)
    assert [request.path for request in pools.requests] == ["/chat/completions"]


async def test_a_result_may_be_reported_by_its_value() -> None:
    """It counts as what it says; one that there is not is refused."""
    async with tieline.AsyncClient(fake(), **PLACE) as client:
        await client.ready()
        found = client.pick(MODEL)
        assert isinstance(found, tieline.Route)
        for _ in range(5):
            found.report(tieline.Outcome("server_error"))  # type: ignore[arg-type]
        row = next(row for row in client.explain()["pools"] if row["pool"] == found.pool)
        assert row["out"] == "server_error"
        with pytest.raises(ValueError, match="'fine' is not a valid ResultClass"):
            found.report(tieline.Outcome("fine"))  # type: ignore[arg-type]
