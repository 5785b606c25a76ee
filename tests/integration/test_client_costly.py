"""What is dear is ordered once: through the real SDK with the retries that it makes by default."""

import asyncio
from pathlib import Path
from typing import Any

import openai
import pytest

import tieline
from tests.integration.routed import MODEL, ORIGIN, WORKLOAD, table
from tests.integration.scripted_pools import SILENCE, ScriptedPool, good, scripted
from tieline._tables.last_good import write_last_good
from tieline.table import ClientSettings, ModelOffer, PoolInfo, slices

LIMIT_MS = 700


def routes(path: Path, pools: list[ScriptedPool]) -> Path:
    """A table whose first pool has nearly all weight; its model states how long a whole answer takes."""
    offers = ModelOffer(MODEL, "big", whole_answer_timeout_ms=LIMIT_MS), ModelOffer(MODEL, "big")
    infos = tuple(
        PoolInfo(f"{name}/r/d", "eu", f"http://127.0.0.1:{pool.port}/v1", models=(offer,))
        for name, pool, offer in zip("ab", pools, offers, strict=True)
    )
    routed = table(infos, (999_999, 1), settings=ClientSettings())
    write_last_good(path / "routes.bin", routed.generation, {ORIGIN: slices(routed)[f"{WORKLOAD}/{ORIGIN}"]})
    return path / "routes.bin"


@pytest.mark.parametrize("options", [{"timeout": 1.0}, {}], ids=["declared", "of the offer"])
async def test_pictures_are_not_ordered_twice(tmp_path: Path, options: dict[str, Any]) -> None:
    """A silent pool may be drawing: after the caller's time-out, or the model's own, there is an answer that
    the SDK does not retry, and the pool was asked once."""
    async with scripted(lambda _number, _body: SILENCE, lambda _number, _body: good()) as pools:
        path = routes(tmp_path, pools)
        async with tieline.offline(path, workload=WORKLOAD, origin=ORIGIN) as client:
            assert await client.ready(5)
            http = client.http_client()
            async with openai.AsyncOpenAI(api_key="x", base_url=client.base_url, http_client=http) as llm:
                with pytest.raises(openai.APIStatusError) as raised:
                    await llm.images.generate(model=MODEL, prompt="a line", **options)
        assert raised.value.status_code == 504
        assert raised.value.response.headers["x-tieline-gave-up"] == "may_be_billed"
        assert [pool.count for pool in pools] == [1, 0]


@pytest.mark.parametrize("options", [{"timeout": 1.0}, {}], ids=["declared", "of the offer"])
async def test_nor_by_the_synchronous_client(tmp_path: Path, options: dict[str, Any]) -> None:
    """The same with the synchronous client and SDK."""

    def order(path: Path) -> openai.APIStatusError:
        with tieline.Client(path, workload=WORKLOAD, origin=ORIGIN) as client:
            assert client.ready(5)
            http = client.http_client()
            with openai.OpenAI(api_key="x", base_url=client.base_url, http_client=http) as llm:
                with pytest.raises(openai.APIStatusError) as raised:
                    llm.images.generate(model=MODEL, prompt="a line", **options)
                return raised.value

    async with scripted(lambda _number, _body: SILENCE, lambda _number, _body: good()) as pools:
        error = await asyncio.to_thread(order, routes(tmp_path, pools))
        assert error.status_code == 504
        assert [pool.count for pool in pools] == [1, 0]
