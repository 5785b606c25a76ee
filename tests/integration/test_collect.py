"""Fetching over real HTTP: what is refused, and that a refused or unread body states nothing.

`FEEDS=whole .venv/bin/pytest tests/integration/test_collect.py -s` looks at the memory over more rounds.
"""

from __future__ import annotations

import gc
import gzip
import json
import os
import random
import tracemalloc
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from aiohttp import web

from controller.collect.collector import JSON_TYPES, Collector, Request, UnreadableError
from controller.collect.feeds.statuspage import Statuspage
from controller.collect.fetching import REVALIDATE_AFTER_MS, Fetcher, FetchError
from controller.process.secret_places import SecretPlace
from tests.integration.collecting import JSON, NOW_MS, FeedServer, Served, rounds_of
from tests.unit.controller.collect.feeds.mutating import mutated
from tests.unit.controller.collect.feeds.shapes import SHAPES, truth_of
from tieline.errors import KafkaUnavailableError
from tieline.events import Statement

ROUNDS = 3_600 if os.environ.get("FEEDS") == "whole" else 100  # an hour of a round a second
PAGE = {
    "components": [{"id": "1", "name": "US", "status": "major_outage"}],
    "incidents": [],
    "scheduled_maintenances": [],
}


@pytest.fixture
async def server() -> AsyncIterator[FeedServer]:
    async with FeedServer(default=Served(body=json.dumps(PAGE).encode())).listening() as server:
        yield server


def collector(url: str, **more: Any) -> Collector:
    """A collector of a page with one region."""
    fields = {"timeout_s": 5.0, "body_max_bytes": 100_000, **more}
    return Statuspage(
        name="page", url=url, provider="acme", regions={"US": ("us",)}, products={"*": ()}, **fields
    )


async def fetch(url: str, headers: dict[str, str] | None = None, now_ms: int = NOW_MS, **more: Any) -> bytes:
    """One request by a fetcher of its own."""
    fetcher = Fetcher(collector(url, **more))
    try:
        return (await fetcher.fetch(Request(url, JSON_TYPES), headers or {}, now_ms)).body
    finally:
        await fetcher.close()


async def test_a_compressed_body_is_asked_for_and_unpacked(server: FeedServer) -> None:
    """Only encodings that it can bound are asked for."""
    server.default = Served(headers={**JSON, "Content-Encoding": "gzip"}, body=gzip.compress(b"[1]"))
    assert await fetch(server.url) == b"[1]"
    assert server.requests[0][1]["Accept-Encoding"] == "gzip, deflate"


@pytest.mark.parametrize(
    ("served", "why"),
    [
        (Served(status=500), "HTTP 500"),
        (Served(status=304), "HTTP 304"),
        (Served(headers={"Content-Type": "text/html"}, body=b"<html>all is well</html>"), "text/html"),
        (Served(body=b"x" * 100_001), "more than 100000 bytes"),
        (Served(chunks=(b"x" * 50_000,) * 3), "more than 100000 bytes"),
        (
            Served(headers={**JSON, "Content-Encoding": "gzip"}, body=gzip.compress(bytes(10_000_000))),
            "more than 100000 bytes",
        ),
        (Served(headers={**JSON, "Content-Encoding": "br"}), "not asked for"),
        (Served(hangs=True), "within 0.5 s"),
        (Served(chunks=(b"[",) * 100, pause_s=0.1), "within 0.5 s"),
        (
            Served(status=302, headers={"Location": "http://elsewhere.example/"}),
            "redirects to 'elsewhere.example'",
        ),
        (Served(status=302, headers={"Location": "http://169.254.169.254/latest"}), "redirects to '169.254"),
        (Served(status=302, headers={}), "redirects to"),
        (Served(headers={**JSON, "Content-Length": "500"}, chunks=(b"[1, 2",)), "payload is not completed"),
    ],
)
async def test_a_bad_answer_gives_no_body(server: FeedServer, served: Served, why: str) -> None:
    """Wrong status, type, size, encoding or length, silence, and a redirect to elsewhere."""
    server.default = served
    with pytest.raises((FetchError, UnreadableError), match=why):
        await fetch(server.url, timeout_s=0.5 if "within" in why else 5.0)


@pytest.mark.parametrize("host", ["localhost", "127.1", "0x7f000001", "2130706433"])
async def test_a_name_of_this_machine_is_refused_however_it_is_spelled(server: FeedServer, host: str) -> None:
    """What resolves to loopback is not asked, unless the settings name loopback."""
    url = server.url.replace("127.0.0.1", host)
    with pytest.raises(FetchError, match=r"not a public address|not a canonical"):
        await fetch(url)
    assert server.requests == []
    if host == "localhost":
        assert await fetch(url, addresses=("127.0.0.0/8", "::1"))


async def test_a_redirect_is_followed_to_a_host_that_is_named(server: FeedServer) -> None:
    """Without the secrets of the first host; and never round and round."""
    other = server.url.replace("127.0.0.1", "localhost")
    server.answers["/from"] = Served(status=302, headers={"Location": f"{other}/to"})
    server.answers["/round"] = Served(status=302, headers={"Location": f"{other}/round"})
    open_: dict[str, Any] = {"redirect_hosts": ("localhost",), "addresses": ("127.0.0.1", "::1")}
    secret = {"Authorization": "Bearer secret"}
    assert json.loads(await fetch(f"{server.url}/from", secret, **open_)) == PAGE
    assert [headers.get("Authorization") for _, headers in server.requests] == ["Bearer secret", None]
    with pytest.raises(FetchError, match="more than 3 times"):
        await fetch(f"{server.url}/round", **open_)


async def test_a_redirect_reaches_no_address_that_is_not_named(server: FeedServer) -> None:
    """A host that may be redirected to, and whose address is inside the network, is refused nevertheless."""
    port = server.url.rpartition(":")[2]
    server.answers["/from"] = Served(status=302, headers={"Location": f"http://127.0.0.2:{port}/to"})
    with pytest.raises(FetchError, match=r"127\.0\.0\.2 is not a public address"):
        await fetch(f"{server.url}/from", redirect_hosts=("127.0.0.2",))


async def test_an_unchanged_body_is_read_again(server: FeedServer) -> None:
    """By its validators; after a quarter of an hour the whole body is fetched whatever the server says."""
    whole = Served(headers={**JSON, "ETag": '"1"', "Last-Modified": "yesterday"}, body=b"[1]")
    server.respond = lambda request: Served(status=304) if "If-None-Match" in request.headers else whole
    fetcher = Fetcher(collector(server.url))
    request = Request(server.url, JSON_TYPES)
    for now_ms in (NOW_MS, NOW_MS + 60_000, NOW_MS + REVALIDATE_AFTER_MS):
        assert (await fetcher.fetch(request, {}, now_ms)).body == b"[1]"
    await fetcher.close()
    assert [headers.get("If-None-Match") for _, headers in server.requests] == [None, '"1"', None]
    assert server.requests[1][1]["If-Modified-Since"] == "yesterday"


async def test_a_round_states_what_was_read_and_a_failed_one_nothing(server: FeedServer) -> None:
    """A page that fails is asked again later, and its server's Retry-After is heeded."""
    async with rounds_of(collector(server.url, interval_s=60.0)) as (rounds, fetcher, taken):
        assert await rounds.round(fetcher) == 60.0
        assert [(e.region, e.kind, len(e.claims)) for e in taken.events if isinstance(e, Statement)] == [
            ("us", "status", 1),
            ("us", "maintenance", 0),
        ]
        server.default = Served(status=429, headers={"Retry-After": "280"})
        assert await rounds.round(fetcher) >= 280.0
        for served in (Served(status=503), Served(body=b"{"), Served(body=b"[]"), Served(body=b"")):
            server.default = served
            assert await rounds.round(fetcher) > 0
            assert rounds.trouble
        assert (rounds.failures, len(taken.events)) == (5, 2)
        server.default = Served(body=json.dumps(PAGE).encode())
        assert await rounds.round(fetcher) == 60.0
        assert rounds.trouble == ""
        sequences = {event.sequence for event in taken.events}
        assert len(sequences) == 2


async def test_an_event_that_kafka_does_not_take_fails_the_round(server: FeedServer) -> None:
    """It is read and sent again in the next round."""
    async with rounds_of(collector(server.url)) as (rounds, fetcher, taken):
        taken.error = KafkaUnavailableError("Kafka is away")
        await rounds.round(fetcher)
        assert (rounds.trouble, rounds.events) == ("Kafka is away", 0)
        taken.error = None
        await rounds.round(fetcher)
        assert (rounds.trouble, rounds.events) == ("", 2)


async def test_an_event_that_the_policy_refuses_keeps_no_other_from_being_sent(server: FeedServer) -> None:
    """The round has failed, and says which event it was."""
    async with rounds_of(collector(server.url)) as (rounds, fetcher, taken):
        taken.refuses = "status"
        await rounds.round(fetcher)
        assert [event.kind for event in taken.events if isinstance(event, Statement)] == ["maintenance"]
        assert (rounds.trouble, rounds.failures) == ("no statement of the kind status", 1)


async def test_a_secret_is_read_anew_in_every_round(server: FeedServer, tmp_path: Any) -> None:
    """A token that was replaced is noticed; one that is missing fails the round."""
    token = tmp_path / "token"
    settings = collector(server.url, authorization=SecretPlace(file=str(token)))
    async with rounds_of(settings) as (rounds, fetcher, _):
        await rounds.round(fetcher)
        assert "can't be read" in rounds.trouble
        for text in ("Bearer 1", "Bearer 2"):
            token.write_text(text)
            await rounds.round(fetcher)
        assert [headers["Authorization"] for _, headers in server.requests] == ["Bearer 1", "Bearer 2"]


async def test_the_memory_of_a_collector_does_not_grow(server: FeedServer) -> None:
    """Round after round of good, mutated and hostile answers, with names that nobody has seen yet."""
    shape, rng = SHAPES["statuspage"], random.Random(1)
    hostile = (
        Served(headers={**JSON, "Content-Encoding": "gzip"}, body=gzip.compress(bytes(5_000_000))),
        Served(chunks=(b"x" * 60_000,) * 3),
        Served(headers={"Content-Type": "text/html"}, body=b"<html/>"),
    )

    def answer(request: web.Request) -> Served:
        body = shape.write(truth_of(shape, rng), rng)
        headers = {**JSON, "ETag": f'"{rng.random()}"'}
        return rng.choice((*hostile, Served(headers=headers, body=mutated(shape, body, rng))))

    server.respond = answer
    feed = msgspec.structs.replace(shape.feed, url=server.url, body_max_bytes=100_000)
    async with rounds_of(feed) as (rounds, fetcher, taken):

        async def memory_after(count: int) -> int:
            for _ in range(count):
                await rounds.round(fetcher)
                taken.events.clear()
                server.requests.clear()
            gc.collect()
            return tracemalloc.get_traced_memory()[0]

        tracemalloc.start()
        try:
            before = await memory_after(ROUNDS // 2)
            growth = await memory_after(ROUNDS) - before
        finally:
            tracemalloc.stop()
        assert growth < 512 * 1024
        assert 0 < rounds.failures < 1.5 * ROUNDS
