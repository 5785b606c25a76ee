"""Connections between a client and a pool: when one is kept, when it is left, and what that costs."""

import json
import socket
from pathlib import Path

import pytest

from tests.integration.connected import CLOSED, POOL, WAYS, Script, always, answer, connected, table_file

both = pytest.mark.parametrize("way", WAYS)


@both
async def test_kept_connections_that_went_stale_cost_nothing(way: str, tmp_path: Path) -> None:
    """Twenty kept connections are closed by the server when they are asked again: every request is served by
    a new one, in its first attempt and without a mark on the pool."""
    async with (
        connected(always(answer())) as pool,
        WAYS[way](table_file(tmp_path, pool.port)) as caller,
    ):
        assert {reply.status_code for reply in await caller.ask_at_once(20)} == {200}
        stale = pool.connections
        pool.script = lambda connection, _: CLOSED if connection <= stale else answer()
        replies = await caller.ask_at_once(20)
        assert [reply.status_code for reply in replies] == [200] * 20
        assert {reply.headers["x-tieline-attempts"] for reply in replies} == {"1"}
        assert not next(row for row in caller.client.explain()["pools"] if row["pool"] == POOL)["out"]


@both
async def test_a_new_connection_that_closes_is_a_failed_attempt(way: str, tmp_path: Path) -> None:
    """Only a kept connection is replaced without cost: a server that closes new ones as well is asked once
    more and not again."""
    async with (
        connected(always(answer())) as pool,
        WAYS[way](table_file(tmp_path, pool.port, attempts_max=1)) as caller,
    ):
        assert (await caller.ask()).status_code == 200
        pool.script = always(CLOSED)
        assert (await caller.ask()).status_code == 503
        assert len(pool.heads) == 3


@both
async def test_an_answer_that_began_is_not_asked_for_again(way: str, tmp_path: Path) -> None:
    """A kept connection that breaks within the head of an answer is a failed attempt."""
    async with (
        connected(always(answer())) as pool,
        WAYS[way](table_file(tmp_path, pool.port)) as caller,
    ):
        assert (await caller.ask()).status_code == 200
        pool.script = lambda connection, _: b"HTTP/1.1 200" if connection == 1 else answer()
        reply = await caller.ask()
        assert (reply.status_code, reply.headers["x-tieline-attempts"]) == (200, "2")


@both
async def test_a_server_says_for_how_long_it_keeps_a_connection(way: str, tmp_path: Path) -> None:
    """``Keep-Alive: timeout=0`` keeps it for no other request, ``timeout=60`` does."""
    async with (
        connected(always(answer("keep-alive: timeout=0, max=9"))) as pool,
        WAYS[way](table_file(tmp_path, pool.port)) as caller,
    ):
        for _ in range(3):
            await caller.ask()
        assert pool.connections == 3
        pool.script = always(answer("Keep-Alive: timeout=60"))
        for _ in range(3):
            await caller.ask()
        assert pool.connections == 4


@both
async def test_cookies_and_what_belongs_to_a_connection_stay_there(way: str, tmp_path: Path) -> None:
    """A provider's cookie reaches neither the caller's HTTP library nor the next request; nor do headers that
    either end's ``Connection`` names."""
    theirs = ("set-cookie: sid=1; Path=/", "connection: x-theirs", "x-theirs: 1", "upgrade: h2c", "x-kept: 1")
    mine = {"connection": "x-mine", "x-mine": "1", "te": "trailers", "cookie": "sid=2", "x-kept": "1"}
    async with (
        connected(always(answer(*theirs))) as pool,
        WAYS[way](table_file(tmp_path, pool.port)) as caller,
    ):
        replies = [await caller.ask(headers=mine), await caller.ask()]
        for reply in replies:
            assert reply.headers["x-kept"] == "1"
            assert not {"set-cookie", "connection", "x-theirs", "upgrade"} & set(reply.headers)
            assert not reply.cookies
        for head in pool.heads:
            names = {line.partition(b":")[0].lower() for line in head.splitlines()[1:]}
            assert not {b"cookie", b"connection", b"x-mine", b"te"} & names
        assert b"x-kept: 1" in pool.heads[0].lower()


@both
async def test_a_large_answer_is_handed_on_as_it_comes(way: str, tmp_path: Path) -> None:
    """More than 64 MiB of JSON, and the connection is kept after it."""
    body = json.dumps({"data": "x" * (66 * 1024 * 1024)}).encode()
    async with (
        connected(always(answer(body=body))) as pool,
        WAYS[way](table_file(tmp_path, pool.port)) as caller,
    ):
        reply = await caller.ask()
        assert (reply.status_code, reply.content == body) == (200, True)
        pool.script = always(answer())
        assert (await caller.ask()).status_code == 200
        assert pool.connections == 1


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (always(CLOSED), f"the connection was closed by {POOL} before any answer"),
        (always(b"HTTP/1.1 200 OK\r\n"), f"the connection was closed by {POOL} before any answer"),
        (always(answer()[:-1]), f"the connection was closed by {POOL} in the middle of the answer"),
        (always(b"SSH-2.0-x\r\n\r\n"), f"{POOL} sent something that is not a valid HTTP answer"),
    ],
)
@both
async def test_an_error_names_its_cause(way: str, script: Script, words: str, tmp_path: Path) -> None:
    """In the caller's words: the pool, and what became of the connection to it."""
    async with (
        connected(script) as pool,
        WAYS[way](table_file(tmp_path, pool.port, attempts_max=1)) as caller,
    ):
        reply = await caller.ask()
        assert reply.status_code == 503
        assert words in reply.json()["error"]["message"]


@both
async def test_a_pool_that_refuses_or_has_no_address_is_named(way: str, tmp_path: Path) -> None:
    """With the place that was tried."""
    with socket.socket() as bound:  # nobody listens there
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        async with WAYS[way](table_file(tmp_path, port, attempts_max=1)) as caller:
            message = (await caller.ask()).json()["error"]["message"]
            assert f"{POOL} refused the connection at 127.0.0.1:{port}" in message
    async with WAYS[way](table_file(tmp_path, 80, host="pool.invalid", attempts_max=1)) as caller:
        message = (await caller.ask()).json()["error"]["message"]
        assert f"{POOL}: the name pool.invalid has no address" in message
