"""`tieline picker` behind a real Envoy: weights, drains, what is shed, bodies, and parts that are lost."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx

from lab.picked_envoy import PickedEnvoy
from lab.stack.server import LOOPBACK, free_ports
from lab.stack.valkey import Valkey
from lab.standins.process import StandinProcess
from picker.messages import HealthCheckRequest, HealthCheckResponse
from picker.server import SERVING
from tests.integration.controllers import ControllerProcess, settings_of
from tests.integration.ingesting import read_all
from tests.integration.replicated import create_topics
from tests.integration.routed import MODEL, Publisher, infos, publisher, standins, table
from tests.waiting import until
from tieline.cloudevents import decode
from tieline.events import Demand
from tieline.topics import Topics
from tools import toolchains

A, B = "a/r/gpt", "b/r/gpt"
FILE = """
listen: {listen}
drain_s: {drain_s}
routes: [{{workload: chat, origin: eu}}]
"""
# Where only headers are read, the body has to have the name that the pools know.
BY_HEADER: dict[str, Any] = {
    "json": {"model": "big", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 4},
    "headers": {"x-gateway-model-name": MODEL},
}
BY_BODY: dict[str, Any] = {"json": {**BY_HEADER["json"], "model": MODEL}}


@dataclass
class World:
    """What runs in one test."""

    pools: dict[str, StandinProcess]
    tables: Publisher
    picker: ControllerProcess
    listen: str
    envoy: PickedEnvoy
    http: httpx.AsyncClient

    async def ask(self, listener: str = "headers", **request: Any) -> httpx.Response:
        """One request through Envoy."""
        url = f"{self.envoy.url(listener)}/v1/chat/completions"
        return await self.http.post(url, **(request or BY_HEADER))

    async def served(self, count: int) -> Counter[str]:
        """By which pools so many requests are answered; all of them well."""
        answers = [await self.ask() for _ in range(count)]
        assert {answer.status_code for answer in answers} == {200}, [answer.text for answer in answers]
        return Counter(answer.headers["x-tieline-pool"] for answer in answers)

    async def publish(self, *weights: int, shed: int = 0) -> None:
        """The next table, over A and B in this order."""
        self.tables.seq += 1
        seq = self.tables.seq
        await self.tables.publish(table(infos(self.pools), weights, seq=seq, shed=shed), urgent_seq=seq)


@asynccontextmanager
async def world(
    redis_url: str, kafka: str, prefix: str, directory: Path, *, drain_s: float = 0, fails_open: bool = False
) -> AsyncIterator[World]:
    """Two pools of equal weight, a picker and an Envoy."""
    settings, listen = settings_of(kafka, redis_url, prefix), f"{LOOPBACK}:{free_ports(1)[0]}"
    file = directory / "picker.yaml"
    file.write_text(FILE.format(listen=listen, drain_s=drain_s))
    picker = ControllerProcess(settings, directory / "picker.log", "picker", "--config", str(file))
    async with (
        standins(directory, "a/r", "b/r") as pools,
        publisher(redis_url, settings.namespace) as tables,
        httpx.AsyncClient(timeout=20) as http,
    ):
        places = [f"{LOOPBACK}:{process.ports[pool]}" for pool, process in pools.items()]
        envoy = PickedEnvoy(
            directory / "envoy", toolchains.envoy(), picker=listen, pools=places, fails_open=fails_open
        )
        here = World(pools, tables, picker, listen=listen, envoy=envoy, http=http)
        await here.publish(500_000, 500_000)
        await picker.start()
        try:
            await picker.until_said("listening")
            await envoy.start()
            yield here
        finally:
            await envoy.stop()
            await picker.kill()


async def health(listen: str) -> int:
    """What gRPC's health check says."""
    async with grpc.aio.insecure_channel(listen) as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=HealthCheckResponse.FromString,
        )
        return int((await check(HealthCheckRequest())).status)


async def test_envoy_routes_by_the_table(
    redis_url: str, kafka_bootstrap: str, prefix: str, tmp_path: Path
) -> None:
    """Weights, a drain and what is shed take effect; bodies of each mode name the model; the planner hears of
    the load; without a picker Envoy fails closed."""
    topics = Topics(prefix.rstrip("."), partitions=1)
    await create_topics(kafka_bootstrap, topics)
    async with world(redis_url, kafka_bootstrap, prefix, tmp_path) as here:
        assert await health(here.listen) == SERVING
        await here.publish(750_000, 250_000)
        await until(lambda: _is_first(here, A, 0.75), what="the new weights")
        counts = await here.served(100)
        assert abs(counts[A] - 75) <= 3

        for listener in ("buffered", "duplex"):
            answer = await here.ask(listener, **BY_BODY)
            assert (answer.status_code, answer.json()["choices"][0]["finish_reason"]) == (200, "length")
        stream = await here.ask("duplex", json={**BY_BODY["json"], "stream": True})
        assert stream.text.rstrip().endswith("data: [DONE]")

        await here.publish(0, 1_000_000)
        await until(lambda: _is_first(here, B, 1.0), what="the drain")
        assert await here.served(30) == {B: 30}

        async def is_reported() -> bool:
            rows = await read_all(kafka_bootstrap, topics.demand.name)
            events = [decode(row.headers, row.value, row.key) for row in rows]
            reports = [event for event in events if isinstance(event, Demand)]
            units = sum(flow.offered_units for report in reports for flow in report.flows)
            counts = Counter({row.pool: 0 for report in reports for row in report.pools})
            for report in reports:
                for row in report.pools:
                    counts[row.pool] += row.outcomes.ok
            return units > 0 and counts[A] >= 75 and counts[B] >= 55

        await until(is_reported, what="the load in reports")

        await here.publish(0, 200_000, shed=800_000)

        async def is_shed() -> bool:
            answer = await here.ask()
            return answer.status_code == 429 and answer.headers["x-tieline-reason"] == "shed"

        await until(is_shed, what="a request that is shed")
        await here.picker.kill()
        answer = await here.ask()
        assert (answer.status_code, "x-tieline-pool" in answer.headers) == (500, False)


async def _is_first(here: World, pool: str, share: float) -> bool:
    counts = await here.served(8)
    return abs(counts[pool] / 8 - share) <= 1 / 8


async def test_requests_go_on_while_parts_are_lost(prefix: str, tmp_path: Path) -> None:
    """A pool that is killed costs no request, and is left; neither does the loss of Redis. A picker that
    stops lets its open requests end, and Envoy goes on without it where it fails open."""
    valkey = Valkey(tmp_path / "valkey")
    await valkey.start()
    try:
        async with world(valkey.url, "", prefix, tmp_path, fails_open=True) as here:
            assert set(await here.served(10)) == {A, B}
            await here.pools[A].kill()

            async def is_left() -> bool:
                return await here.served(10) == {B: 10}

            await until(is_left, what="the killed pool is left")
            await valkey.stop()
            assert await here.served(10) == {B: 10}
            await _stop_while_open(here)
            assert (await here.ask()).status_code in (200, 503)  # Envoy asks any pool, one of which is dead
            await valkey.start()  # whoever ends with this test may speak to it
    finally:
        await valkey.stop()


async def _stop_while_open(here: World) -> None:
    """SIGTERM while a request waits for its answer: the answer still comes."""
    here.pools[B].pause()
    request = asyncio.create_task(here.ask())

    async def is_sent() -> bool:
        answer = await here.http.get(f"{here.envoy.admin}/stats?filter=cluster.pools.upstream_rq_active")
        return "cluster.pools.upstream_rq_active: 1" in answer.text.splitlines()

    await until(is_sent, what="the request at the pool")
    assert await here.picker.stop() == 0
    here.pools[B].resume()
    answer = await request
    assert answer.status_code == 200, answer.text
