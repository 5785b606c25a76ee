"""`tieline web` over the real stack: tables by stream and poll, reports to Kafka, tokens."""

import base64
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import aiokafka
import pytest

import tieline
from tests.integration.controllers import ControllerProcess, settings_of
from tests.integration.controllers import tieline as command
from tests.integration.replicated import create_topics
from tests.integration.routed import MODEL, ORIGIN, WORKLOAD, Publisher, pool_info, publisher, table
from tests.waiting import until
from tieline.cloudevents import decode
from tieline.events import Demand, ResultClass
from tieline.topics import Topics

A, B = "azure/uksouth/gpt", "gcp/europe-west4/gpt"
TOKEN, OTHER = "correct-horse-battery-staple", "another-horse-battery-staple"
POOLS = (pool_info(A, "http://127.0.0.1:1/v1"), pool_info(B, "http://127.0.0.1:2/v1"))


class Rig:
    """A running `tieline web` and what it serves from."""

    def __init__(self, url: str, process: ControllerProcess, tables: Publisher, tokens: Path) -> None:
        self.url, self.process, self.tables, self.tokens = url, process, tables, tokens

    def client(self, **more: Any) -> tieline.AsyncClient:
        settings = {"token": TOKEN, "workload": WORKLOAD, "origin": ORIGIN, **more}
        return tieline.AsyncClient(self.url, **settings)

    async def get(self, path: str, token: str = TOKEN, **headers: str) -> aiohttp.ClientResponse:
        """One request with an answer already read."""
        sent = {"authorization": f"Bearer {token}", **{k.replace("_", "-"): v for k, v in headers.items()}}
        async with aiohttp.ClientSession() as session, session.get(self.url + path, headers=sent) as answer:
            await answer.read()
            return answer


@asynccontextmanager
async def web(redis_url: str, kafka: str, prefix: str, directory: Path) -> AsyncIterator[Rig]:
    tokens = directory / "tokens"
    tokens.write_text(f"# who may ask\n{TOKEN}\n")
    settings = settings_of(kafka, redis_url, prefix)
    process = ControllerProcess(
        settings, directory / "web.log", "web", "--listen", "127.0.0.1:0", "--tokens", str(tokens)
    )
    await process.start()
    try:
        url = (await process.until_said("listening"))["url"]
        async with publisher(redis_url, settings.namespace) as tables:
            yield Rig(url, process, tables, tokens)
    finally:
        await process.kill()


@pytest.fixture
async def rig(redis_url: str, kafka_bootstrap: str, prefix: str, tmp_path: Path) -> AsyncIterator[Rig]:
    async with web(redis_url, kafka_bootstrap, prefix, tmp_path) as running:
        yield running


async def test_a_client_follows_tables_over_http(rig: Rig) -> None:
    """It becomes live on the first table, applies the next, and knows an urgent one as such."""
    await rig.tables.publish(table(POOLS, (0, 1_000_000), seq=1))
    urgent: dict[str, bool] = {}
    async with rig.client() as client:
        client.on_table(lambda applied: urgent.update({applied.generation: applied.urgent}))
        assert await client.ready(60), client.status
        found = client.pick(MODEL)
        assert isinstance(found, tieline.Route)
        assert (found.pool, found.generation) == (B, "l1:1:1")

        async def streams() -> bool:
            return bool((await (await rig.get("/v1/status")).json())["streams"] == 1)

        await until(streams, what="a stream of its own")
        await rig.tables.publish(table(POOLS, (1_000_000, 0), seq=2))
        assert await client.wait_for("l1:1:2", 60), client.status
        await rig.tables.publish(table(POOLS, (0, 1_000_000), seq=3), urgent_seq=3)
        assert await client.wait_for("l1:1:3", 60), client.status
        assert client.status.state is tieline.State.LIVE
    assert urgent == {"l1:1:1": False, "l1:1:2": False, "l1:1:3": True}

    async def gone() -> bool:
        return bool((await (await rig.get("/v1/status")).json())["streams"] == 0)

    await until(gone, what="the end of the stream")
    assert not [line for line in rig.process.log() if line.get("logger") == "aiohttp.server"]


async def test_what_is_served_goes_on_being_served(rig: Rig) -> None:
    """The table vanished from Redis, then an older one lies there: clients go on with the newest, also those
    that come now."""
    await rig.tables.publish(table(POOLS, (0, 1_000_000), seq=5))
    async with rig.client() as client:
        assert await client.ready(60), client.status

        async def says(error: str) -> bool:
            return bool((await (await rig.get("/v1/status")).json())["source_error"] == error)

        await rig.tables.connection.delete(rig.tables.keys.routes)
        await until(lambda: says("no route table has been published yet"), what="absence said")
        await rig.tables.publish(table(POOLS, (1_000_000, 0), seq=4), urgent_seq=4)
        await until(lambda: says(""), what="the older one seen")
        async with rig.client() as late:
            assert await late.ready(60), late.status
            assert late.status.generation == client.status.generation == "l1:1:5"


async def test_reports_go_on_to_kafka(rig: Rig, kafka_bootstrap: str, prefix: str) -> None:
    """What a client saw arrives on the demand topic under its own id, and none is dropped."""
    topics = Topics(prefix.rstrip("."))
    await create_topics(kafka_bootstrap, topics)
    await rig.tables.publish(table(POOLS, (0, 1_000_000)))
    async with rig.client(client_id="shop-1") as client:
        assert await client.ready(60), client.status
        found = client.pick(MODEL)
        assert isinstance(found, tieline.Route)
        found.report(tieline.Outcome(ResultClass.OK, units=812.0, first_token_ms=240.0))
        assert await client.flush(60)
        assert client.status.reports_dropped == 0
    consumer = aiokafka.AIOKafkaConsumer(
        topics.demand.name, bootstrap_servers=kafka_bootstrap, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        while True:
            record = await consumer.getone()
            event = decode(record.headers, record.value, record.key)
            assert isinstance(event, Demand)
            assert event.client == "shop-1"
            if event.pools:
                break
    finally:
        await consumer.stop()
    (row,) = event.pools
    assert (row.pool, row.units, row.first_token_p50_ms, row.outcomes.ok) == (B, 812.0, 240.0, 1)
    assert event.generation == "l1:1:1"


async def test_a_wrong_token_is_refused_and_never_repeated(rig: Rig) -> None:
    """Without a valid token nothing is told; the client's status says why; a token added to the file holds
    without a restart; no token is ever written down."""
    await rig.tables.publish(table(POOLS, (0, 1_000_000)))
    assert (await rig.get("/v1/table/chat", token=OTHER)).status == 401
    assert (await rig.get("/v1/status", token="")).status == 401
    await until(lambda: _found(rig, "/v1/health", token=""), what="health without a token")
    async with rig.client(token=OTHER) as client:
        await until(lambda: "401" in client.status.error, what="the refusal said")
        assert OTHER not in client.status.error
        assert client.status.state is tieline.State.INITIALIZING
        rig.tokens.write_text(f"{TOKEN}\n{OTHER}\n")
        assert await client.ready(60), client.status
        rig.tokens.write_text(f"{TOKEN}\n")
        await until(lambda: "401" in client.status.error, what="the token taken back")
        assert isinstance(client.pick(MODEL), tieline.Route)
    said = str(rig.process.log())
    assert TOKEN not in said
    assert OTHER not in said


async def test_the_table_is_json_for_everybody_else(rig: Rig) -> None:
    """Without asking for msgpack one gets JSON with weights and addresses together; with its ETag, 304 until
    there is a newer one."""
    await rig.tables.publish(table(POOLS, (250_000, 700_000), shed=50_000))
    answer = await until(lambda: _found(rig, "/v1/table/chat?origin=eu"), what="the table")
    body = await answer.json()
    digest = base64.b64encode(hashlib.sha256((await answer.text()).encode()).digest()).decode()
    assert answer.headers["content-digest"] == f"sha-256=:{digest}:"
    assert body["generation"] == "l1:1:1"
    (route,) = body["routes"]
    assert (route["workload"], route["origin"], route["shed_ppm"]) == ("chat", "eu", 50_000)
    assert [(pool["pool"], pool["weight_ppm"]) for pool in route["pools"]] == [(A, 250_000), (B, 700_000)]
    assert route["pools"][0]["models"][0]["name"] == "big"
    assert body["settings"]["attempts_max"] == 3
    etag = answer.headers["etag"]
    assert (await rig.get("/v1/table/chat?origin=eu", if_none_match=etag)).status == 304
    await rig.tables.publish(table(POOLS, (0, 1_000_000), seq=2))

    async def newer() -> bool:
        return (await rig.get("/v1/table/chat?origin=eu", if_none_match=etag)).status == 200

    await until(newer, what="the next table")
    missing = await rig.get("/v1/table/chat?origin=mars")
    assert missing.status == 404
    assert "it has chat/eu" in await missing.text()


async def _found(rig: Rig, path: str, token: str = TOKEN) -> aiohttp.ClientResponse | None:
    answer = await rig.get(path, token)
    return answer if answer.status == 200 else None


async def test_mistakes_are_said_in_one_line(redis_url: str, kafka_bootstrap: str, prefix: str) -> None:
    """An open address without tokens, a key without a certificate, a port that is none: refused at once."""
    settings = settings_of(kafka_bootstrap, redis_url, prefix)
    for arguments, words in (
        (("--listen", "0.0.0.0:0"), "needs tokens"),
        (("--tls-key", "key.pem"), "both --tls-cert and --tls-key"),
        (("--listen", "localhost"), "give an address and a port"),
        (("--tokens", "/nowhere/tokens"), "can't be read"),
    ):
        ended = await command(settings, "web", *arguments)
        assert ended.status == 2
        assert words in ended.err
        assert ended.err.count("\n") == 1
