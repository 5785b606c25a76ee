"""What is dear is ordered once: through the real SDK with the retries that it makes by default."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import openai
import pytest

import tieline
from tests.integration.routed import MODEL, ORIGIN, WORKLOAD, table
from tests.integration.scripted_pools import SILENCE, ScriptedPool, good, scripted
from tests.integration.sdk_versions import run_with_sdk
from tieline._tables.last_good import write_last_good
from tieline.table import ClientSettings, ModelOffer, PoolInfo, slices

LIMIT_MS = 700
RUN_MAX_S = 240.0


def routes(path: Path, pools: list[ScriptedPool]) -> Path:
    """The file of a table whose first pool has nearly all weight; its model states how long a whole answer
    takes."""
    offers = ModelOffer(MODEL, "big", whole_answer_timeout_ms=LIMIT_MS), ModelOffer(MODEL, "big")
    infos = tuple(
        PoolInfo(f"{name}/r/d", "eu", f"http://127.0.0.1:{pool.port}/v1", models=(offer,))
        for name, pool, offer in zip("ab", pools, offers, strict=False)
    )
    weights = (999_999, 1) if len(pools) > 1 else (1_000_000,)
    routed = table(infos, weights, settings=ClientSettings())
    write_last_good(path, routed.generation, {ORIGIN: slices(routed)[f"{WORKLOAD}/{ORIGIN}"]})
    return path


async def test_a_declared_time_out_ends_as_one_and_is_not_ordered_again(
    tmp_path: Path, subtests: pytest.Subtests
) -> None:
    """Pictures, transcripts, speech and a long whole answer, from a pool that is silent: the SDK raises its
    ``APITimeoutError`` with its own two retries left as they are, and the pool sees one request of each. A
    plain client gets its library's time-out, and is served when it asks again."""
    async with asyncio.TaskGroup() as side_by_side:
        runs = {name: side_by_side.create_task(order_all(name, tmp_path)) for name in ("3", "2")}
    for version, run in runs.items():
        with subtests.test(openai=version):
            check_orders(run.result())


class Orders(NamedTuple):
    """The error of each order by its name, how often the silent pool got it, and what the other pool got."""

    errors: dict[str, str]
    counts: Counter[str]
    others: int


async def order_all(version: str, directory: Path) -> Orders:
    """Orders by this version of the SDK and by plain clients, at pools of its own."""
    bodies: list[bytes] = []

    def silent(_number: int, body: bytes) -> bytes:
        bodies.append(body)
        return SILENCE

    async with scripted(silent, lambda _number, _body: good()) as pools:
        of_two = routes(directory / f"two-{version}.bin", pools)
        of_one = routes(directory / f"one-{version}.bin", pools[:1])
        lines = await run_with_sdk(version, "costly_child.py", str(of_two), str(of_one), limit_s=RUN_MAX_S)
        errors = {line["name"]: line["error"] for line in lines}
        counts = Counter(name for body in bodies for name in errors if name.encode() in body)
        return Orders(errors, counts, pools[1].count)


def check_orders(orders: Orders) -> None:
    """Each ended as a time-out, and was sent once for each time that its caller asked."""
    assert orders.others == 0
    names = list(orders.errors)
    expected = {name: "APITimeoutError" for name in names if not name.startswith("plain")}
    assert len(expected) == 10
    expected |= dict.fromkeys(["plain, async", "plain, sync"], "ReadTimeout, ReadTimeout")
    assert orders.errors == expected
    assert orders.counts == {name: 2 if name.startswith("plain") else 1 for name in names}


async def test_pictures_are_not_ordered_twice(tmp_path: Path) -> None:
    """A silent pool may be drawing: after the time that its model states, where the caller declares none,
    there is an answer that the SDK does not retry, and the pool was asked once."""
    async with scripted(lambda _number, _body: SILENCE, lambda _number, _body: good()) as pools:
        path = routes(tmp_path / "routes.bin", pools)
        async with tieline.offline(path, workload=WORKLOAD, origin=ORIGIN) as client:
            assert await client.ready(60)
            http = client.http_client()
            async with openai.AsyncOpenAI(api_key="x", base_url=client.base_url, http_client=http) as llm:
                with pytest.raises(openai.APIStatusError) as raised:
                    await llm.images.generate(model=MODEL, prompt="a line")
        assert raised.value.status_code == 504
        assert raised.value.response.headers["x-tieline-gave-up"] == "may_be_billed"
        assert [pool.count for pool in pools] == [1, 0]


async def test_nor_by_the_synchronous_client(tmp_path: Path) -> None:
    """The same with the synchronous client and SDK."""

    def order(path: Path) -> openai.APIStatusError:
        with tieline.Client(path, workload=WORKLOAD, origin=ORIGIN) as client:
            assert client.ready(60)
            http = client.http_client()
            with openai.OpenAI(api_key="x", base_url=client.base_url, http_client=http) as llm:
                with pytest.raises(openai.APIStatusError) as raised:
                    llm.images.generate(model=MODEL, prompt="a line")
                return raised.value

    async with scripted(lambda _number, _body: SILENCE, lambda _number, _body: good()) as pools:
        error = await asyncio.to_thread(order, routes(tmp_path / "routes.bin", pools))
        assert error.status_code == 504
        assert [pool.count for pool in pools] == [1, 0]
