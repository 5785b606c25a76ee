"""Which pool holds what, shared between processes through Redis, and a Redis that is away or silent."""

import asyncio
import json
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio as redis

import tieline
from tests.integration.answering import A, Asked, B, error, pools, raw
from tests.integration.test_client_state import always, offering, response
from tests.places import ROOT
from tests.stacks import RealStack
from tests.waiting import until
from tieline._tables.shared_holders import UNSENT_MAX, RedisHolders
from tieline.keys import Keys
from tieline.redis_client import connect

CHILD = "tests.integration.holders_child"
RUN_MAX_S = 240
REQUESTS = 50
WAITED_S = 0.3  # each of that many requests that waits for a silent Redis takes longer
ASK: dict[str, Any] = {"model": "m", "input": "hi"}


@asynccontextmanager
async def sharing(url: str, namespace: str, **bounds: int) -> AsyncIterator[RedisHolders]:
    """What a process shares, while it runs."""
    shared = RedisHolders(url, Keys(namespace), **bounds)
    task = asyncio.create_task(shared.run())
    try:
        yield shared
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def written(shared: RedisHolders) -> None:
    """Waits until Redis was told everything."""
    await until(lambda: shared.connected and not shared.unsent, what="the ids written")


def holds(name: str) -> Any:
    """A pool that makes a response of this id, and knows no other."""

    def does(_number: int, asked: Asked) -> bytes:
        return response(name) if asked.path.endswith(("/responses", name)) else error(404, "not_found")

    return does


async def run_child(kind: str, *arguments: str) -> dict[str, Any]:
    """What the process says."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", CHILD, kind, *arguments, stdout=asyncio.subprocess.PIPE, cwd=ROOT
    )
    async with asyncio.timeout(RUN_MAX_S):
        output, _ = await child.communicate()
    report: dict[str, Any] = json.loads(output)
    return report


@pytest.mark.parametrize(("maker", "asker"), [("async", "sync"), ("sync", "async")])
async def test_one_process_finds_what_another_was_given(
    maker: str, asker: str, redis_url: str, prefix: str, tmp_path: Path
) -> None:
    """A response that one process made at a pool is asked for there by another process, in whose table nearly
    all requests go elsewhere."""
    with pools(a=holds("resp_a"), b=always(error(404, "not_found"))) as running:
        path = offering(tmp_path, running)
        first = await run_child(maker, str(path), redis_url, prefix, "create")
        assert first == {"id": "resp_a", "pool": A}
        (tmp_path / "other").mkdir()
        path = offering(tmp_path / "other", {B: running[B], A: running[A]})
        second = await run_child(asker, str(path), redis_url, prefix, "retrieve", "resp_a", A)
    # A look-up on a busy machine may take longer than the few ms that it has.
    assert second["requests"] is not None


async def test_the_newest_are_kept_for_a_while(redis_url: str, prefix: str) -> None:
    """Redis keeps so many ids and each for so long; the keys go with them."""
    keys = Keys(prefix)
    async with connect(redis_url, keys) as looker, sharing(redis_url, prefix, ids_max=10) as shared:
        for number in range(25):
            shared.learned([f"resp_{number}"], A)
            await written(shared)
        assert await looker.hlen(keys.holders) == await looker.zcard(keys.holders_order) == 10
        found = await until(lambda: shared.look_up([f"resp_{number}" for number in range(25)]))
        assert found == {f"resp_{number}": A for number in range(15, 25)}
        async with sharing(redis_url, prefix, expiry_ms=60_000) as lasting:
            lasting.learned(["resp_x"], B)
            await written(lasting)
            assert 0 < await looker.pttl(keys.holders) <= 60_000
            assert 0 < await looker.pttl(keys.holders_order) <= 60_000
        async with sharing(redis_url, prefix, expiry_ms=50) as brief:
            brief.learned(["resp_y"], B)
            await written(brief)
        await until(lambda: looker_is_empty(looker, keys), what="all forgotten")


async def looker_is_empty(looker: "redis.Redis", keys: Keys) -> bool:
    """Whether Redis knows no id any more."""
    return not await looker.exists(keys.holders, keys.holders_order)


async def test_an_id_moves_with_its_pool(redis_url: str, prefix: str) -> None:
    """What was learned last counts, whatever the id is made of."""
    odd = "ä\ud800 " + "x" * 10_000
    async with sharing(redis_url, prefix) as shared:
        for pool in (A, B):
            shared.learned([odd], pool)
            await written(shared)
        assert await until(lambda: shared.look_up([odd, "other"])) == {odd: B}


async def test_what_is_learned_while_redis_is_silent_is_written_later(
    own_stack: RealStack, prefix: str
) -> None:
    """At most 10,000 ids, the newest; and a look-up meanwhile takes no more than its few ms."""
    async with sharing(own_stack.redis_url, prefix) as shared:
        await until(lambda: shared.connected)
        own_stack.valkey.pause()
        try:
            for number in range(UNSENT_MAX + 10):
                shared.learned([f"resp_{number}"], A)
            began_s = time.monotonic()
            for _ in range(REQUESTS):
                assert await shared.look_up(["resp_1"]) == {}
            assert time.monotonic() - began_s < REQUESTS * WAITED_S
            assert shared.unsent <= UNSENT_MAX
        finally:
            own_stack.valkey.resume()
        await until(lambda: shared.connected and not shared.unsent, 30, "the ids written")
        newest = f"resp_{UNSENT_MAX + 9}"
        assert await until(lambda: shared.look_up([newest, "resp_2"])) == {newest: A}


@pytest.fixture
def silent_address() -> Iterator[str]:
    """The address of a server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"redis://127.0.0.1:{server.getsockname()[1]}/0"


@pytest.mark.parametrize("kind", ["silent", "absent"])
async def test_requests_go_on_without_redis(kind: str, silent_address: str, tmp_path: Path) -> None:
    """With a Redis that is silent or away from the beginning, requests take as long as ever, and what this
    process was answered itself it still knows."""
    address = silent_address if kind == "silent" else "redis://127.0.0.1:1/0"
    with pools(a=holds("resp_a"), b=always(raw(b"{}"))) as running:
        path = offering(tmp_path, running)
        async with (
            tieline.AsyncClient(path, workload="chat", origin="eu", holders=address) as client,
            client.http_client(base_url=client.base_url) as http,
        ):
            assert await client.ready(60)
            await http.post("/responses", json=ASK)
            began_s = time.monotonic()
            for _ in range(REQUESTS):
                answer = await http.post("/responses", json={**ASK, "previous_response_id": "resp_a"})
                assert (answer.status_code, answer.headers["x-tieline-pool"]) == (200, A)
                assert (await http.get("/files/file_unknown")).status_code in (200, 404)
            assert time.monotonic() - began_s < REQUESTS * WAITED_S


def test_an_address_that_is_none_of_redis_is_refused(tmp_path: Path) -> None:
    """At once, with what is expected and no password."""
    with pytest.raises(tieline.ConfigurationError, match=r"holders='host': expected redis://"):
        tieline.Client(tmp_path / "t", workload="chat", origin="eu", holders="https://me:secret@host")
