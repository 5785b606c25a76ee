"""Traces over real sockets: the README's own snippet, and requests through the clients of both kinds."""

import asyncio
import re
from pathlib import Path
from typing import Any

import httpx2
import pytest
from openai import APIConnectionError, AsyncOpenAI, OpenAI
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

import tieline
from tests.integration.connected import CLOSED, POOL, WAYS, always, answer, connected, table_file
from tests.integration.routed import ORIGIN, WORKLOAD, infos, standins, table
from tests.places import ROOT
from tests.unit.client.test_readme import SNIPPETS, compiled
from tests.waiting import until
from tieline._tables.last_good import write_last_good
from tieline.table import slices

README = (ROOT / "client" / "README.md").read_text("utf-8")
STREAM = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
    b'data: {"choices":[{"index":0,"delta":{"content":"sea"}}]}\n\n'
)


def exporting() -> tuple[TracerProvider, InMemorySpanExporter]:
    """A provider whose spans are kept in memory."""
    provider, exporter = TracerProvider(), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider, exporter


def by_name(exporter: InMemorySpanExporter) -> dict[str, list[ReadableSpan]]:
    """Spans that have ended."""
    spans: dict[str, list[ReadableSpan]] = {}
    for span in exporter.get_finished_spans():
        spans.setdefault(span.name, []).append(span)
    return spans


async def test_the_readmes_snippet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It runs as it is printed, against a stand-in, and prints what the README says but for the pool's name
    and the number of tokens."""
    (snippet,) = (snippet for snippet in SNIPPETS if "InMemorySpanExporter" in snippet)
    (printed,) = re.findall(r"```\n(POST /chat.*?)```", README, re.DOTALL)
    async with standins(tmp_path, "azure/swedencentral") as running:
        wanted, source = table(infos(running), (1_000_000,)), tmp_path / "routes.bin"
        write_last_good(source, wanted.generation, {ORIGIN: slices(wanted)[f"{WORKLOAD}/{ORIGIN}"]})
        names: dict[str, Any] = {"tieline": tieline, "source": source, "AsyncOpenAI": AsyncOpenAI}
        await eval(compiled(snippet), names)
    output = re.sub(r" \d+\n", " 16\n", capsys.readouterr().out)
    assert output == printed.replace("gpt-4o", "gpt")
    (request,) = by_name(names["exporter"])["chat chat-large"]
    (attempt,) = by_name(names["exporter"])["POST /chat/completions"]
    (question,) = by_name(names["exporter"])["a question"]
    assert (request.parent, attempt.parent) == (question.context, request.context)
    assert request.end_time is not None
    assert question.end_time is not None
    assert request.end_time <= question.end_time


@pytest.mark.parametrize("way", WAYS)
async def test_the_pool_hears_of_the_attempt(way: str, tmp_path: Path) -> None:
    """A request whose first attempt breaks has two children; each attempt sent its own ``traceparent``."""
    provider, exporter = exporting()

    def script(_connection: int, _request: int) -> bytes:
        return answer() if len(pool.heads) > 1 else CLOSED

    async with (
        connected(script) as pool,
        WAYS[way](table_file(tmp_path, pool.port), tracing=provider) as caller,
    ):
        assert (await caller.ask()).status_code == 200
    (request,) = by_name(exporter)["chat chat-large"]
    attempts = by_name(exporter)["POST /chat/completions"]
    assert [span.status.status_code for span in attempts] == [StatusCode.ERROR, StatusCode.UNSET]
    assert request.attributes is not None
    assert request.attributes["tieline.pool"] == POOL
    assert (request.attributes["server.port"], request.attributes["tieline.retries"]) == (pool.port, 1)
    for span, head in zip(attempts, pool.heads, strict=True):
        context = span.get_span_context()
        assert context is not None
        assert f"traceparent: 00-{context.trace_id:032x}-{context.span_id:016x}-".encode() in head


@pytest.mark.parametrize("way", WAYS)
async def test_a_stream_of_the_sdk_that_breaks(way: str, tmp_path: Path) -> None:
    """Its spans end with the break, as errors, and not before the caller has met it."""
    provider, exporter = exporting()
    async with (
        connected(always(STREAM)) as pool,
        WAYS[way](table_file(tmp_path, pool.port), tracing=provider) as caller,
    ):
        texts = await read_by_sdk(caller.client, exporter)
    assert texts == ["sea"]
    for name in ("chat chat-large", "POST /chat/completions"):
        (span,) = by_name(exporter)[name]
        assert span.attributes is not None
        assert (span.attributes["error.type"], span.status.status_code) == ("cut", StatusCode.ERROR)


async def read_by_sdk(client: Any, exporter: InMemorySpanExporter) -> list[str]:
    """The texts of a stream until it breaks; no span has ended while it goes on."""
    arguments: dict[str, Any] = {"model": "chat-large", "messages": [], "stream": True}
    settings: dict[str, Any] = {"api_key": "x", "base_url": client.base_url, "max_retries": 0}
    texts: list[str] = []

    def take(part: Any) -> None:
        assert exporter.get_finished_spans() == ()
        texts.append(part.choices[0].delta.content)

    def synchronously() -> None:
        with OpenAI(http_client=client.http_client(), **settings) as llm:
            for part in llm.chat.completions.create(**arguments):
                take(part)

    async def asynchronously() -> None:
        async with AsyncOpenAI(http_client=client.http_client(), **settings) as llm:
            async for part in await llm.chat.completions.create(**arguments):
                take(part)

    is_sync = isinstance(client, tieline.Client)
    with pytest.raises((APIConnectionError, httpx2.RemoteProtocolError)):
        await (asyncio.to_thread(synchronously) if is_sync else asynchronously())
    await until(lambda: len(exporter.get_finished_spans()) == 2, what="both spans end")
    return texts
