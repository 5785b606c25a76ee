"""A pool that slows down gets a smaller share before anything fails, and its own share back: over sockets."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import tieline
from lab.standins.process import StandinProcess
from tests.integration.routed import MODEL, ORIGIN, WORKLOAD, infos, standins, table
from tieline._tables.last_good import write_last_good
from tieline.table import ClientSettings, slices

SLOW, QUICK = "a/r/gpt", "b/r/gpt"
BODY: Any = {
    "model": MODEL,
    "messages": [{"role": "user", "content": "flow"}],
    "max_tokens": 8,
    "stream": True,
}
ROUNDS = 12  # of so many requests, three at once


@asynccontextmanager
async def two_pools(path: Path) -> AsyncIterator[tuple[Path, StandinProcess]]:
    """The file of a table with two pools of equal weight, and the one that is to slow down."""
    async with standins(path, "a/r", "b/r") as running:
        routes = table(infos(running), (500_000, 500_000), settings=ClientSettings())
        file = path / "routes.bin"
        write_last_good(file, routes.generation, {ORIGIN: slices(routes)[f"{WORKLOAD}/{ORIGIN}"]})
        yield file, running[SLOW]


async def shares_over_a_slow_spell(slow: StandinProcess, ask: Callable[[], Any]) -> list[float]:
    """The pool's share of answers as usual, while it takes half a second, and afterwards."""

    async def share(rounds: int) -> float:
        pools: Counter[str] = Counter()
        for _ in range(rounds):
            pools.update(await asyncio.gather(ask(), ask(), ask()))
        return pools[SLOW] / pools.total()

    shares = [await share(2 * ROUNDS)]
    await slow.fault("slow_first_token", delay_ms=500)
    await share(2 * ROUNDS)
    shares.append(await share(ROUNDS))
    await slow.clear()
    for _ in range(40):
        await share(ROUNDS)
        if (last := await share(ROUNDS)) > 0.4:
            break
    return [*shares, last]


async def test_a_slow_pool_gets_less_and_then_its_own_again(tmp_path: Path) -> None:
    """Half, then far less with every request served and the pool not out, then half again."""
    async with (
        two_pools(tmp_path) as (path, slow),
        tieline.offline(path, workload=WORKLOAD, origin=ORIGIN) as client,
    ):
        assert await client.ready(60)
        async with client.http_client(base_url=client.base_url) as http:

            async def ask() -> str:
                answer = await http.post("/chat/completions", json=BODY)
                assert answer.status_code == 200
                assert {row["out"] for row in client.explain()["pools"]} == {None}
                return str(answer.headers["x-tieline-pool"])

            before, during, after = await shares_over_a_slow_spell(slow, ask)
    assert 0.4 <= before <= 0.6
    assert during <= 0.2
    assert after > 0.4


async def test_by_the_synchronous_client_too(tmp_path: Path) -> None:
    """The same, each request in a thread."""
    async with two_pools(tmp_path) as (path, slow):
        client = tieline.Client(str(path), workload=WORKLOAD, origin=ORIGIN)
        with client, client.http_client(base_url=client.base_url) as http:
            assert client.ready(60)

            def ask() -> Any:
                return asyncio.to_thread(
                    lambda: http.post("/chat/completions", json=BODY).headers["x-tieline-pool"]
                )

            before, during, after = await shares_over_a_slow_spell(slow, ask)
    assert 0.4 <= before <= 0.6
    assert during <= 0.2
    assert after > 0.4
