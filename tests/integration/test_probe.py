"""The prober against real stand-ins and a real Kafka, and single probes against real sockets."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest
from aiohttp import web
from aiokafka import AIOKafkaConsumer

from controller.probe.prober import Prober
from controller.probe.region import Pace
from controller.probe.request import LONG_TOKENS, ProbeEnd, ProbeKind, ProbeTarget, probe
from lab.standins.config import Latency, PoolConfig, StandinConfig
from lab.standins.process import StandinProcess
from tests.integration.recording import Asked, chat, recording
from tests.integration.replicated import create_topics
from tieline.cloudevents import decode
from tieline.credentials import Credential, Credentials, Token
from tieline.events import Outcomes, PoolObservation, Report, ResultClass
from tieline.producer import Producer
from tieline.table import Adapter
from tieline.topics import Topics

PACE = Pace(interval_ms=300, timeout_ms=3_000, budget_per_pool=1_000.0)
TOKEN_STREAM = b'data: {"choices":[{"delta":{"content":"p"}}]}\n\ndata: [DONE]\n\n'


def monotonic_ms() -> int:
    """The clock of the prober."""
    return time.monotonic_ns() // 1_000_000


class Reports:
    """Reads the reports topic as it grows."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer
        self.reports: list[Report] = []

    async def until(self, fits: Callable[[PoolObservation], bool]) -> PoolObservation:
        async with asyncio.timeout(60):
            while True:
                record = await self._consumer.getone()
                event = decode(record.headers, record.value, record.key)
                assert isinstance(event, Report)
                self.reports.append(event)
                for row in event.pools:
                    if fits(row):
                        return row


@asynccontextmanager
async def reporting(
    bootstrap: str,
    prefix: str,
    targets: dict[str, list[ProbeTarget]],
    sources: dict[str, Credential] | None = None,
) -> AsyncIterator[Reports]:
    """A prober on these targets, with these secrets, and its reports."""
    topics = Topics(prefix)
    await create_topics(bootstrap, topics)
    consumer = AIOKafkaConsumer(
        topics.reports.name, bootstrap_servers=bootstrap, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        async with Producer(bootstrap, source="prober", prefix=prefix) as producer:
            credentials = Credentials(sources, monotonic_ms)
            prober = Prober(targets, producer, PACE, credentials=credentials, monotonic_ms=monotonic_ms)
            task = asyncio.create_task(prober.run())
            try:
                yield Reports(consumer)
            finally:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
    finally:
        await consumer.stop()


@asynccontextmanager
async def probing(
    bootstrap: str, prefix: str, directory: Path
) -> AsyncIterator[tuple[StandinProcess, Reports]]:
    """One stand-in process with two pools, a prober on both, and its reports."""
    pools = tuple(
        PoolConfig(name, ("m",), 10_000, latency=Latency(first_token_ms=5, token_ms=1)) for name in ("a", "b")
    )
    config = StandinConfig("azure", "eastus", pools, log_dir=str(directory))
    async with await StandinProcess.spawn(config) as standin:
        targets = {
            pool: [ProbeTarget(pool, standin.url(pool), "openai", model="m")] for pool in standin.ports
        }
        async with reporting(bootstrap, prefix, targets) as reports:
            yield standin, reports


async def test_both_pools_of_a_region_are_reported_in_one_record(
    kafka_bootstrap: str, prefix: str, tmp_path: Path
) -> None:
    """Successes with their latency, one record a round, sequences rising."""
    async with probing(kafka_bootstrap, prefix, tmp_path) as (_, reports):
        await reports.until(lambda row: row.outcomes.ok > 0)
        row = await reports.until(lambda row: row.outcomes.ok > 0)
    assert row.first_token_p50_ms is not None
    assert row.first_token_p50_ms > 0
    assert all(len(report.pools) == 2 for report in reports.reports)
    sequences = [report.sequence for report in reports.reports]
    assert sequences == sorted(set(sequences))


async def test_a_frozen_pool_shows_before_its_time_out(
    kafka_bootstrap: str, prefix: str, tmp_path: Path
) -> None:
    """SIGSTOP: the age of what is under way is told first, the time-out follows, SIGCONT heals it."""
    async with probing(kafka_bootstrap, prefix, tmp_path) as (standin, reports):
        await reports.until(lambda row: row.outcomes.ok > 0)
        os.kill(standin.pid, signal.SIGSTOP)
        row = await reports.until(lambda row: row.oldest_in_flight_ms > 150)
        assert row.outcomes.timeout == 0
        await reports.until(lambda row: row.outcomes.timeout > 0)
        assert max(row.in_flight for report in reports.reports for row in report.pools) <= 2
        os.kill(standin.pid, signal.SIGCONT)
        await reports.until(lambda row: row.outcomes.ok > 0)


async def test_a_killed_pool_is_reported_as_unreachable_at_once(
    kafka_bootstrap: str, prefix: str, tmp_path: Path
) -> None:
    """SIGKILL: the next round says connect, without waiting for any time-out."""
    async with probing(kafka_bootstrap, prefix, tmp_path) as (standin, reports):
        await reports.until(lambda row: row.outcomes.ok > 0)
        os.kill(standin.pid, signal.SIGKILL)
        row = await reports.until(lambda row: row.outcomes.connect > 0)
        assert row.outcomes.timeout == 0


def counted(name: str, row: PoolObservation) -> bool:
    """Whether the row counts an outcome of this class."""
    return int(getattr(row.outcomes, name)) > 0


async def test_faults_are_told_by_their_class(kafka_bootstrap: str, prefix: str, tmp_path: Path) -> None:
    """A 503 is the server's, a 401 a configuration fault, a stream that breaks a cut."""
    async with probing(kafka_bootstrap, prefix, tmp_path) as (standin, reports):
        for kind, name, more in (
            ("503", "server_error", {}),
            ("401", "auth", {}),
            ("cut", "cut", {"after_chunks": 1}),
            ("end_without_done", "cut", {"after_chunks": 1}),
        ):
            number = await standin.fault(kind, **more)
            await reports.until(partial(counted, name))
            await standin.clear(fault_id=number)


async def probed(
    url: str,
    adapter: Adapter = "openai",
    credential: Credential | None = None,
    kind: ProbeKind = ProbeKind.TINY_STREAM,
) -> ProbeEnd:
    """One probe of the pool at this URL, with this secret."""
    target = ProbeTarget("azure/eastus/a", url, adapter, model="gpt-4o")
    auth = None
    if credential is not None:
        secret, is_token, _ = await Credentials({"a": credential}, monotonic_ms).get("a")
        assert isinstance(secret, str)
        auth = target.auth(secret, is_token=is_token)
    async with httpx2.AsyncClient(trust_env=False) as http:
        return await probe(http, target, auth, kind, timeout_s=60, monotonic_ms=monotonic_ms)


async def streams(_asked: Asked) -> web.Response:
    """One token, and the end."""
    return web.Response(body=TOKEN_STREAM, content_type="text/event-stream")


@pytest.mark.parametrize(
    ("adapter", "base", "path", "credential", "name", "value"),
    [
        ("openai", "/v1", "/v1/chat/completions", "k", "authorization", "Bearer k"),
        ("azure", "/openai/v1", "/openai/v1/chat/completions", "k", "api-key", "k"),
        (
            "azure",
            "/openai/v1",
            "/openai/v1/chat/completions",
            lambda: Token("t"),
            "authorization",
            "Bearer t",
        ),
        (
            "azure_classic",
            "/openai/",
            "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21",
            "k",
            "api-key",
            "k",
        ),
    ],
)
async def test_a_probe_asks_as_applications_do(
    adapter: Adapter, base: str, path: str, credential: Credential, name: str, value: str
) -> None:
    """Each provider's own URL and header: a key goes into ``api-key`` at Azure, a function's token does
    not."""
    async with recording(streams) as server:
        end = await probed(server.url + base, adapter, credential)
    (asked,) = server.asked
    secrets = {key: asked.headers[key] for key in ("authorization", "api-key") if key in asked.headers}
    assert (end.result, asked.path, asked.json()["model"]) == (ResultClass.OK, path, "gpt-4o")
    assert secrets == {name: value}
    assert end.first_token_ms is not None


async def test_a_long_probe_times_each_token_after_the_first(tmp_path: Path) -> None:
    """As the stream gives no token counts, each of its events counts as one; a whole answer names its
    tokens."""
    pool = PoolConfig(
        "a", ("gpt-4o",), 10_000, latency=Latency(first_token_ms=5, token_ms=10), chunk_tokens=1
    )
    config = StandinConfig("azure", "eastus", (pool,), log_dir=str(tmp_path))
    async with await StandinProcess.spawn(config) as standin:
        url = standin.url("azure/eastus/a")
        end = await probed(url, kind=ProbeKind.LONG_STREAM)
        assert end.result is ResultClass.OK
        assert end.per_token_ms is not None
        assert end.per_token_ms > 5
        whole = await probed(url, kind=ProbeKind.LONG_WHOLE)
    assert whole.result is ResultClass.OK
    assert whole.usage is not None
    assert whole.usage[1] == LONG_TOKENS


@pytest.mark.parametrize(
    ("status", "error", "result", "refuses_limit"),
    [
        (400, {"code": "model_not_found", "message": "x"}, "not_found", False),
        (400, {"code": "unsupported_parameter", "message": "x", "param": "max_tokens"}, "client_error", True),
        (403, {"code": "permission_denied", "message": "x"}, "auth", False),
    ],
)
async def test_a_refusal_is_read_with_its_error(
    status: int, error: dict[str, str], result: str, refuses_limit: bool
) -> None:
    """As applications read it: a 400 may say that the model is unknown, or that the probe was the wrong
    one."""

    async def refuses(_asked: Asked) -> web.Response:
        return web.json_response({"error": error}, status=status)

    async with recording(refuses) as server:
        end = await probed(f"{server.url}/v1")
    assert (end.result, end.refuses_limit) == (result, refuses_limit)


@pytest.mark.parametrize("kind", [ProbeKind.TINY_STREAM, ProbeKind.TINY_WHOLE])
@pytest.mark.parametrize(
    ("body", "content_type"),
    [(b"", "application/json"), (b"<html></html>", "text/html"), (b'{"id": "c', "application/json")],
    ids=["empty", "html", "half"],
)
async def test_a_good_status_is_no_answer_by_itself(kind: ProbeKind, body: bytes, content_type: str) -> None:
    """A gateway's page, or half a document, is a failure of the pool, also for applications."""

    async def answer(_asked: Asked) -> web.Response:
        return web.Response(body=body, content_type=content_type)

    async with recording(answer) as server:
        assert (await probed(f"{server.url}/v1", kind=kind)).result is ResultClass.SERVER_ERROR


@pytest.mark.parametrize(
    ("response", "result"),
    [
        ({"status": 302, "headers": {"location": "/elsewhere"}}, "server_error"),
        ({"body": b'data: {"error":{"code":429}}\n\n', "content_type": "text/event-stream"}, "throttled"),
        ({"body": b'data: {"error":{"code":"x"}}\n\n', "content_type": "text/event-stream"}, "server_error"),
        ({"body": b'data: {"choices":[]}\n\n', "content_type": "text/event-stream"}, "cut"),
        ({"body": b'{"choices":[]}', "content_type": "application/json"}, "ok"),
    ],
    ids=["redirect", "429 in a stream", "error in a stream", "stream without its end", "not a stream"],
)
async def test_a_probe_reads_an_answer_as_applications_do(response: dict[str, Any], result: str) -> None:
    """A redirect is a broken endpoint and not followed; a rate limit inside a stream is about capacity; a
    pool that answers whole where a stream was asked for serves."""

    async def answer(_asked: Asked) -> web.Response:
        return web.Response(**response)

    async with recording(answer) as server:
        assert (await probed(f"{server.url}/v1")).result == result
    assert len(server.asked) == 1


@pytest.mark.parametrize(("head", "result"), [(b"", "connect"), (b"HTTP/1.1 200 OK\r\n", "cut")])
async def test_a_connection_that_breaks_is_a_cut_once_the_answer_has_begun(head: bytes, result: str) -> None:
    """Before the answer's head it is a failed connection."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head and head + b"content-type: text/event-stream\r\ncontent-length: 99\r\n\r\n: x\n\n")
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        assert (await probed(f"http://127.0.0.1:{port}/v1")).result == result


async def test_a_part_that_fails_shows_beside_what_serves(kafka_bootstrap: str, prefix: str) -> None:
    """Where streams fail and whole answers come, a report shows both, and again after a while."""

    def shows_both(row: PoolObservation) -> bool:
        return counted("server_error", row) and counted("ok", row)

    async def whole_only(asked: Asked) -> web.Response:
        return web.Response(status=503) if asked.json()["stream"] else await chat(asked)

    async with recording(whole_only) as server:
        target = ProbeTarget("azure/eastus/a", f"{server.url}/v1", "openai", model="m")
        async with reporting(kafka_bootstrap, prefix, {target.pool: [target]}) as reports:
            await reports.until(shows_both)
            await reports.until(lambda row: counted("ok", row) and not counted("server_error", row))
            await reports.until(shows_both)


async def test_a_refused_token_is_not_sent_again(kafka_bootstrap: str, prefix: str) -> None:
    """As in the client library: the next probe asks the function for another."""
    tokens = iter(range(1, 1_000))

    async def refuses_the_first(asked: Asked) -> web.Response:
        return (
            web.Response(status=401)
            if asked.headers["authorization"] == "Bearer t-1"
            else await streams(asked)
        )

    async with recording(refuses_the_first) as server:
        target = ProbeTarget("azure/eastus/a", f"{server.url}/v1", "openai", model="m", credential="azure-eu")
        sources: dict[str, Credential] = {"azure-eu": lambda: Token(f"t-{next(tokens)}", 3_600_000)}
        async with reporting(kafka_bootstrap, prefix, {target.pool: [target]}, sources) as reports:
            await reports.until(partial(counted, "auth"))
            await reports.until(partial(counted, "ok"))
    assert {asked.headers["authorization"] for asked in server.asked} == {"Bearer t-1", "Bearer t-2"}


async def test_a_function_that_fails_accuses_nobody(kafka_bootstrap: str, prefix: str) -> None:
    """No probe is sent without its secret, and none is counted, until the function gives one."""
    calls: list[None] = []

    def fails_twice() -> Token:
        calls.append(None)
        if len(calls) < 3:
            raise RuntimeError("no token today")
        return Token("t", 3_600_000)

    async with recording(streams) as server:
        target = ProbeTarget("azure/eastus/a", f"{server.url}/v1", "openai", model="m", credential="azure-eu")
        sources: dict[str, Credential] = {"azure-eu": fails_twice}
        async with reporting(kafka_bootstrap, prefix, {target.pool: [target]}, sources) as reports:
            await reports.until(partial(counted, "ok"))
    assert all(row.outcomes.auth == 0 for report in reports.reports for row in report.pools)
    assert any(row.outcomes == Outcomes() for report in reports.reports for row in report.pools)
    assert {asked.headers["authorization"] for asked in server.asked} == {"Bearer t"}
