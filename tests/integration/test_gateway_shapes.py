"""Anthropic's Messages API and Gemini's own API through a gateway: passed on in their own shapes, over two
running stand-ins, of which the first has all weight until it is lost or has failed a request."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import msgspec
import pytest

from lab.standins.process import StandinProcess
from tests.integration.gateways import TOKEN, GatewayProcess, running_gateway, settings_of
from tests.integration.matrix_drivers import FAULTY, OTHER
from tests.integration.routed import MODEL, ORIGIN, WORKLOAD, pool_info, standins, table
from tests.waiting import until
from tieline._tables.last_good import write_last_good
from tieline.table import ModelOffer, PoolInfo, Split, slices

PROMPT = "Where does it flow?"
VERTEX = "/v1/projects/mine/locations/here/publishers/google/models"
MESSAGE: dict[str, Any] = {
    "model": MODEL,
    "max_tokens": 24,
    "messages": [{"role": "user", "content": PROMPT}],
}
CONTENTS = [{"role": "user", "parts": [{"text": PROMPT}]}]
GENERATE: dict[str, Any] = {"contents": CONTENTS, "generationConfig": {"maxOutputTokens": 24}}


class Shape(NamedTuple):
    """How a caller asks. ``whole``, ``stream``: path and body. ``end``: what a stream must contain to be
    whole. ``error``: the shape of the provider's errors in streams, and the code of one. ``adapter``: of the
    first pool, and ``place``: what its URL ends with."""

    whole: tuple[str, dict[str, Any]]
    stream: tuple[str, dict[str, Any]]
    headers: dict[str, str]
    end: str
    error: tuple[str, str]
    adapter: Any
    place: str = ""


SHAPES = {
    "messages": Shape(
        ("/v1/messages", MESSAGE),
        ("/v1/messages", {**MESSAGE, "stream": True}),
        {"x-api-key": TOKEN, "anthropic-version": "2023-06-01"},
        end="event: message_stop",
        error=("anthropic", "overloaded_error"),
        adapter="anthropic",
    ),
    "gemini": Shape(
        (f"/v1beta/models/{MODEL}:generateContent", GENERATE),
        (f"/v1beta/models/{MODEL}:streamGenerateContent?alt=sse", GENERATE),
        {"x-goog-api-key": TOKEN},
        end='"finishReason":"MAX_TOKENS"',
        error=("google", "UNAVAILABLE"),
        adapter="openai",
    ),
    "vertex": Shape(
        (f"{VERTEX}/{MODEL}:generateContent", GENERATE),
        (f"{VERTEX}/{MODEL}:streamGenerateContent?alt=sse", GENERATE),
        {"authorization": f"Bearer {TOKEN}"},
        end='"finishReason":"MAX_TOKENS"',
        error=("google", "UNAVAILABLE"),
        adapter="vertex",
        place="/projects/p/locations/l/endpoints/openapi",
    ),
}


@pytest.fixture(params=SHAPES)
def shape(request: pytest.FixtureRequest) -> Shape:
    return SHAPES[request.param]


@pytest.fixture
async def pools(tmp_path: Path) -> AsyncIterator[dict[str, StandinProcess]]:
    async with standins(tmp_path, *(pool.rsplit("/", 1)[0] for pool in (FAULTY, OTHER))) as processes:
        yield processes


@asynccontextmanager
async def gateway_to(
    pools: tuple[PoolInfo, PoolInfo], folder: Path
) -> AsyncIterator[tuple[GatewayProcess, httpx2.AsyncClient]]:
    """A gateway before these, and a client of its."""
    path, lost = folder / "routes.bin", {"azure": Split((1,), (1_000_000,))}
    wanted = table(pools, (1_000_000, 0), on_loss=lost)
    write_last_good(path, wanted.generation, {ORIGIN: slices(wanted)[f"{WORKLOAD}/{ORIGIN}"]})
    settings = settings_of(str(path), access_log=str(folder / "access.jsonl"))
    async with (
        running_gateway(folder, settings) as gateway,
        httpx2.AsyncClient(base_url=gateway.root, timeout=60) as http,
    ):
        yield gateway, http


def offering(pool: str, url: str, name: str = "big", **more: Any) -> PoolInfo:
    """A pool whose model is offered by both APIs."""
    offer = ModelOffer(MODEL, name, 128_000, ("messages", "gemini"))
    return msgspec.structs.replace(pool_info(pool, url, **more), models=(offer,))


async def test_requests_are_passed_on_in_their_own_shape(
    tmp_path: Path, pools: dict[str, StandinProcess], shape: Shape
) -> None:
    """Whole and as a stream, to another pool where the first fails before its first output; after it the
    stream breaks, as it does without its own end. What they cost is read by their own names."""
    name = "google/big" if shape.adapter == "vertex" else "big"
    first = offering(FAULTY, pools[FAULTY].url(FAULTY) + shape.place, name, adapter=shape.adapter)
    kind, code = shape.error
    event = {"shape": kind, "error_code": code}
    async with gateway_to((first, offering(OTHER, pools[OTHER].url(OTHER))), tmp_path) as (_, http):

        async def ask(*, is_stream: bool) -> tuple[str, str, bool]:
            """(pool, text, whether it broke)."""
            path, body = shape.stream if is_stream else shape.whole
            text, is_broken = "", False
            async with http.stream("POST", path, json=body, headers=shape.headers) as answer:
                assert answer.status_code == 200, await answer.aread()
                try:
                    async for piece in answer.aiter_text():
                        text += piece
                except httpx2.RemoteProtocolError:
                    is_broken = True
            return answer.headers["x-tieline-pool"], text, is_broken

        for is_stream in (False, True):
            pool, text, is_broken = await ask(is_stream=is_stream)
            assert (pool, is_broken) == (FAULTY, False)
            assert "tie" in text
            assert shape.end in text or not is_stream
            await pools[FAULTY].fault("503")
            assert (await ask(is_stream=is_stream))[0] == OTHER
            await pools[FAULTY].clear()
        await pools[FAULTY].fault("error_event", after_chunks=0, **event)
        pool, text, is_broken = await ask(is_stream=True)
        assert (pool, is_broken, shape.end in text) == (OTHER, False, True)
        await pools[FAULTY].clear()
        await pools[FAULTY].fault("end_without_done", after_chunks=1)
        pool, text, is_broken = await ask(is_stream=True)
        assert (pool, is_broken, shape.end in text) == (FAULTY, True, False)

        entries = await until(lambda: _entries(tmp_path, 6), what="all lines of the access log")
        used = {(entry["prompt_tokens"], entry["answer_tokens"]) for entry in entries if not entry["ended"]}
        assert used == {(5, 24)}


def _entries(folder: Path, count: int) -> list[dict[str, Any]]:
    """The lines of the access log; none before there are so many."""
    lines = [json.loads(line) for line in (folder / "access.jsonl").read_text().splitlines()]
    return lines if len(lines) >= count else []
