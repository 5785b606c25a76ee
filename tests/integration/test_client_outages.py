"""The client while Redis, its table, a pool or its own process goes away and comes back."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import openai
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from openai import AsyncOpenAI, OpenAI

import tieline
from controller.process.private_key import write_new_private_key
from lab.standins.process import StandinProcess
from tests.integration.routed import (
    MODEL,
    ORIGIN,
    SETTINGS,
    WORKLOAD,
    Publisher,
    Reports,
    fields_of,
    infos,
    pool_info,
    publisher,
    standins,
    table,
)
from tests.stacks import RealStack
from tests.waiting import until
from tieline.events import Demand, ResultClass
from tieline.keys import MANIFEST_FIELD, PLACE_FIELDS, SIGNATURE_FIELD
from tieline.signatures import sign_manifest
from tieline.table_hints import encode_hint

A, B = "azure/uksouth/gpt", "gcp/europe-west4/gpt"
MESSAGES: Any = [{"role": "user", "content": "Where does it flow?"}]


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[dict[str, StandinProcess]]:
    async with standins(tmp_path, *(pool.rsplit("/", 1)[0] for pool in (A, B))) as processes:
        yield processes


def client_for(redis_url: str, prefix: str, **more: Any) -> tieline.AsyncClient:
    """A client of this test's namespace."""
    return tieline.AsyncClient(redis_url, workload=WORKLOAD, origin=ORIGIN, namespace=prefix, **more)


def sdk(client: tieline.AsyncClient) -> AsyncOpenAI:
    """The openai SDK upon a client."""
    return AsyncOpenAI(
        api_key="unused", base_url=client.base_url, http_client=client.http_client(), max_retries=0
    )


async def ask(llm: AsyncOpenAI, **more: Any) -> str:
    """One request; the pool that served it."""
    raw = await llm.chat.completions.with_raw_response.create(
        model=MODEL, messages=MESSAGES, max_tokens=8, **more
    )
    return str(raw.headers["x-tieline-pool"])


async def test_requests_go_on_without_redis(
    own_stack: RealStack, prefix: str, running: dict[str, StandinProcess]
) -> None:
    """Redis stopped (it accepts and never answers): requests go on, the status says stale and why; when it is
    back, the status is live again."""
    async with publisher(own_stack.redis_url, prefix) as tables:
        await tables.publish(table(infos(running), (500_000, 500_000)))
        states: list[str] = []
        async with client_for(own_stack.redis_url, prefix) as client, sdk(client) as llm:
            client.on_status(lambda status: states.append(status.state.value))
            assert await client.ready(60)
            own_stack.valkey.pause()
            try:
                await until(lambda: client.status.state is tieline.State.STALE, what="stale")
                assert {await ask(llm) for _ in range(4)} == {A, B}
                await until(lambda: "Redis" in client.status.error, what="the error named")
                assert client.status.generation == "l1:1:1"
            finally:
                own_stack.valkey.resume()
            await until(lambda: client.status.state is tieline.State.LIVE, what="live again")
        assert states[-1] == "off"


async def test_a_restart_works_from_the_last_good_file(
    redis_url: str, prefix: str, tmp_path: Path, running: dict[str, StandinProcess]
) -> None:
    """With no control plane at all, a new process serves requests by the file of the one before it."""
    path = tmp_path / "routes.bin"
    async with publisher(redis_url, prefix) as tables:
        await tables.publish(table(infos(running), (0, 1_000_000)))
        async with client_for(redis_url, prefix, last_good=path) as client:
            assert await client.ready(60)
            await until(path.exists, what="the file")
    nowhere = "redis://127.0.0.1:1"
    async with client_for(nowhere, prefix, last_good=path) as client, sdk(client) as llm:
        assert not await client.ready(0.05)
        assert client.status.state is tieline.State.LAST_GOOD
        assert await ask(llm) == B
    async with (
        tieline.offline(path, workload=WORKLOAD, origin=ORIGIN) as client,
        sdk(client) as llm,
    ):
        assert await client.ready(60)
        assert await ask(llm) == B


async def test_without_any_table_it_says_so(prefix: str) -> None:
    """No control plane, no file: starting does not raise, a pick is shed, a request is a clear 503."""
    async with client_for("redis://127.0.0.1:1", prefix) as client, sdk(client) as llm:
        found = client.pick(MODEL)
        assert isinstance(found, tieline.Shed)
        assert found.reason is tieline.Reason.NO_TABLE
        with pytest.raises(openai.InternalServerError, match="no route table") as caught:
            await ask(llm)
        assert caught.value.status_code == 503


async def hinted(
    tables: Publisher, client: tieline.AsyncClient, hints: dict[str, dict[str, bytes]], wanted: str
) -> bool:
    """Whether the client has the wanted table after these hints, of which each may be lost."""
    for name, fields in hints.items():
        hint = encode_hint(name, urgent=True, fields=fields)
        await tables.connection.publish(tables.keys.routes_hint, hint)
    return await client.wait_for(wanted, 2)


async def test_an_urgent_hint_brings_the_table_itself(redis_url: str, prefix: str) -> None:
    """A client needs no read before it leaves a lost pool. What is damaged in a hint changes nothing, and
    nothing that is read later takes a client back."""
    pools = (pool_info(A, "http://127.0.0.1:1"), pool_info(B, "http://127.0.0.1:2"))
    applied: list[str] = []
    async with publisher(redis_url, prefix) as tables, client_for(redis_url, prefix) as client:
        client.on_table(lambda table: applied.append(table.generation))
        await tables.publish(table(pools, (1_000_000, 0)))
        assert await client.ready(60)
        damaged = fields_of(table(pools, (0, 1_000_000), seq=2))
        damaged["slice:chat/eu"] += b"x"
        whole = fields_of(table(pools, (0, 1_000_000), seq=3))
        hints = {"l1:1:2": damaged, "l1:1:3": whole}  # the hash still has l1:1:1
        await until(lambda: hinted(tables, client, hints, "l1:1:3"), what="the table of the hint")
        await tables.publish(table(pools, (0, 1_000_000), seq=4))
        assert await client.wait_for("l1:1:4", 60)
        assert applied == ["l1:1:1", "l1:1:3", "l1:1:4"]


async def test_a_hint_brings_nothing_that_the_controllers_did_not_sign(
    redis_url: str, prefix: str, tmp_path: Path
) -> None:
    """Whoever can publish on the channel can't send the traffic of a client with keys elsewhere."""
    private = write_new_private_key(tmp_path / "controller.key")
    public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "controllers.pub").write_bytes(public)

    def signed(seq: int, *, namespace: str = prefix) -> dict[str, bytes]:
        fields = fields_of(table((pool_info(A, "http://127.0.0.1:1"),), (1_000_000,), seq=seq))
        return fields | {SIGNATURE_FIELD: sign_manifest(private, fields[MANIFEST_FIELD], namespace).encode()}

    unsigned = fields_of(table((pool_info(B, "http://127.0.0.1:2"),), (1_000_000,), seq=2))
    elsewhere = signed(3, namespace="another")
    applied: list[str] = []
    keys = [tmp_path / "controllers.pub"]
    async with (
        publisher(redis_url, prefix) as tables,
        client_for(redis_url, prefix, controller_keys=keys) as client,
    ):
        client.on_table(lambda table: applied.append(table.generation))
        await tables.connection.hset(tables.keys.routes, mapping=signed(1))  # type: ignore[arg-type]
        await until(lambda: client.status.generation == "l1:1:1", what="the first table")
        hints = {"l1:1:2": unsigned, "l1:1:3": elsewhere, "l1:1:4": signed(4)}
        await until(lambda: hinted(tables, client, hints, "l1:1:4"), what="the table that is signed")
        assert applied == ["l1:1:1", "l1:1:4"]


async def test_a_poll_reads_the_table_only_when_it_is_another(redis_url: str, prefix: str) -> None:
    """While the generation in force lies in Redis a client reads neither manifest nor slices, and it goes on
    polling. As soon as another generation lies there it reads them, without any hint."""
    pools = (pool_info(A, "http://127.0.0.1:1"), pool_info(B, "http://127.0.0.1:2"))
    async with publisher(redis_url, prefix) as tables, client_for(redis_url, prefix) as client:
        places = (b"l1", b"1", b"1")
        first = fields_of(table(pools, (1_000_000, 0))) | dict(zip(PLACE_FIELDS, places, strict=True))
        await tables.connection.hset(tables.keys.routes, mapping=first)  # type: ignore[arg-type]
        assert await client.ready(60)
        await tables.connection.hdel(tables.keys.routes, MANIFEST_FIELD, "slice:chat/eu")
        await tables.connection.set(tables.keys.overlay, b"an overlay that no poll can use")
        await until(lambda: client.status.overlay_error, what="a poll")
        await tables.connection.delete(tables.keys.overlay)
        await until(lambda: not client.status.overlay_error, what="another poll")
        assert not client.status.error
        second = fields_of(table(pools, (0, 1_000_000), seq=2)) | {"seq": b"2"}
        await tables.connection.hset(tables.keys.routes, mapping=second)  # type: ignore[arg-type]
        assert await client.wait_for("l1:1:2", 60)


async def test_bad_tables_change_nothing(
    redis_url: str, prefix: str, running: dict[str, StandinProcess]
) -> None:
    """Older, foreign, damaged or vanished: the table held stays in force, and the status says what is
    wrong."""
    async with publisher(redis_url, prefix) as tables:
        good = table(infos(running), (0, 1_000_000), seq=5)
        await tables.publish(good)
        async with client_for(redis_url, prefix) as client:
            assert await client.ready(60)
            await tables.publish(table(infos(running), (1_000_000, 0), seq=9, lineage="l2"), urgent_seq=9)
            await until(lambda: "LINEAGE" in client.status.error, what="LINEAGE said")
            await tables.publish(good)
            await until(lambda: not client.status.error, what="all well again")
            await tables.connection.hset(tables.keys.routes, "slice:chat/eu", b"x")
            newer = msgspec.structs.replace(good.generation, seq=6)
            await tables.publish(msgspec.structs.replace(good, generation=newer))
            assert await client.wait_for("l1:1:6", 60)
            await tables.publish(table(infos(running), (1_000_000, 0), seq=4), urgent_seq=4)
            await tables.connection.delete(tables.keys.routes)
            await until(lambda: "no route table" in client.status.error, what="absence said")
            assert client.status.generation == "l1:1:6"
            found = client.pick(MODEL)
            assert isinstance(found, tieline.Route)
            assert found.pool == B


async def test_a_hung_pool_is_left_by_all_at_once(
    redis_url: str, prefix: str, running: dict[str, StandinProcess]
) -> None:
    """40 streams wait for a pool that was stopped dead: when the first few time out the rest fail over at
    once, none is lost, and the planner hears of it in an urgent report."""
    sink = Reports()
    async with publisher(redis_url, prefix) as tables:
        patient = msgspec.structs.replace(SETTINGS, first_token_timeout_ms=2_000)
        await tables.publish(table(infos(running), (700_000, 300_000), settings=patient))
        async with client_for(redis_url, prefix, kafka=sink) as client, sdk(client) as llm:
            assert await client.ready(60)
            await asyncio.gather(*(ask(llm) for _ in range(10)))
            os.kill(running[A].pid, signal.SIGSTOP)
            try:
                pools = await asyncio.gather(*(ask(llm, stream=True) for _ in range(40)))
            finally:
                os.kill(running[A].pid, signal.SIGCONT)
            assert set(pools) == {B}
            await until(lambda: any(r.urgent for r in sink.kept), what="an urgent report")
        rows = [row for report in sink.kept for row in report.pools if row.pool == A]
        assert any(row.ejected is ResultClass.TIMEOUT for row in rows)
        assert sum(row.outcomes.timeout for row in rows) >= 5


async def test_the_synchronous_twin_does_the_same(
    redis_url: str, prefix: str, running: dict[str, StandinProcess]
) -> None:
    """`Client` with the synchronous SDK: whole answers, streams, failover, options, and closing."""
    await running[A].fault("503")

    def use() -> tuple[set[str], str]:
        with tieline.Client(redis_url, workload=WORKLOAD, origin=ORIGIN, namespace=prefix) as client:
            assert client.ready(60), client.status
            http = client.http_client()
            with OpenAI(api_key="unused", base_url=client.base_url, http_client=http, max_retries=0) as llm:
                pools = set()
                for number in range(10):
                    with tieline.options(session=f"s{number}", deadline=10):
                        raw = llm.chat.completions.with_raw_response.create(
                            model=MODEL, messages=MESSAGES, max_tokens=8
                        )
                        pools.add(raw.headers["x-tieline-pool"])
                chunks = llm.chat.completions.create(
                    model=MODEL, messages=MESSAGES, max_tokens=24, stream=True
                )
                text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
            assert isinstance(client.pick(MODEL), tieline.Route)
        assert client.status.state is tieline.State.OFF
        return pools, text

    async with publisher(redis_url, prefix) as tables:
        await tables.publish(table(infos(running), (500_000, 500_000)))
        pools, text = await asyncio.to_thread(use)
    assert pools == {B}
    assert text


async def test_reports_arrive_on_kafka(
    redis_url: str, kafka_bootstrap: str, prefix: str, running: dict[str, StandinProcess]
) -> None:
    """With an address given, reports go to the demand topic as valid CloudEvents under the client's id."""
    import aiokafka

    from tests.integration.replicated import create_topics
    from tieline.cloudevents import decode
    from tieline.topics import Topics

    topics = Topics(prefix)
    await create_topics(kafka_bootstrap, topics)
    async with publisher(redis_url, prefix) as tables:
        await tables.publish(table(infos(running), (500_000, 500_000)))
        options = {"kafka": kafka_bootstrap, "client_id": "shop-1"}
        async with client_for(redis_url, prefix, **options) as client, sdk(client) as llm:
            assert await client.ready(60)
            await asyncio.gather(*(ask(llm) for _ in range(10)))
    consumer = aiokafka.AIOKafkaConsumer(
        topics.demand.name, bootstrap_servers=kafka_bootstrap, auto_offset_reset="earliest"
    )
    await consumer.start()
    served = 0
    try:
        async with asyncio.timeout(60):
            async for record in consumer:
                event = decode(record.headers, record.value, record.key)
                assert isinstance(event, Demand)
                assert event.client == "shop-1"
                served += sum(row.outcomes.ok for row in event.pools)
                if served == 10:
                    break
    finally:
        await consumer.stop()
    assert served == 10
