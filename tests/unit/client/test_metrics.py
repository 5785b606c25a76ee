"""Metrics of a client, read by the real libraries; and ``explain``: which pool is out, why, until when, for
whom."""

from typing import Any

import pytest
from openai import AsyncOpenAI
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client import CollectorRegistry, generate_latest

import tieline
import tieline.metrics
from tests.unit.client.made_tables import MODEL, Time, part, router, target
from tieline._routing.route import Outcome
from tieline.events import ResultClass
from tieline.testing import FakePools

A, B = "azure/swedencentral/gpt-4o", "gcp/europe-west4/gemini"
MESSAGES: Any = [{"role": "user", "content": "Where?"}]


async def use(client: tieline.AsyncClient, pools: FakePools) -> None:
    """Three streams; the first pool is refused by its provider from the second on."""
    assert await client.ready()
    http = client.http_client()
    async with AsyncOpenAI(api_key="x", base_url=client.base_url, http_client=http, max_retries=0) as llm:
        for number in range(3):
            if number == 1:
                pools.fault(A, status=401)
            chunks = await llm.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)
            assert [chunk async for chunk in chunks]


async def test_prometheus_reads_a_client() -> None:
    """Attempts by result, latencies, weights, and what is out and why, as the real library prints them."""
    registry, pools = CollectorRegistry(), FakePools({A: 1}, model=MODEL, on_loss={"azure": {B: 1}})
    async with tieline.AsyncClient(pools, workload="chat", origin="eu") as client:
        tieline.metrics.prometheus(client, registry)
        await use(client, pools)
        text = generate_latest(registry).decode()
    for line in (
        f'tieline_client_attempts_total{{pool="{A}",result="ok"}} 1.0',
        f'tieline_client_attempts_total{{pool="{A}",result="auth"}} 1.0',
        f'tieline_client_attempts_total{{pool="{B}",result="ok"}} 2.0',
        f'tieline_client_first_token_seconds_count{{pool="{B}"}} 2.0',
        f'tieline_client_first_token_seconds_bucket{{le="+Inf",pool="{B}"}} 2.0',
        f'tieline_client_pool_out{{pool="{A}",result="auth"}} 1.0',
        f'tieline_client_weight{{origin="eu",pool="{A}"}} 0.0',
        f'tieline_client_weight{{origin="eu",pool="{B}"}} 1.0',
        'tieline_client_state{state="live"} 1.0',
        'tieline_client_state{state="stale"} 0.0',
        'tieline_client_generation{generation="fake:1:1"} 1.0',
        "tieline_client_reports_dropped_total 0.0",
        "tieline_client_overlay 0.0",
    ):
        assert line in text.splitlines(), text


async def test_sums_of_pools_of_long_ago_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pools come and go for years, and each is a dozen series: those of the one used first go first."""
    monkeypatch.setattr("tieline._reports.totals.POOLS_KEPT_MAX", 1)
    registry, pools = CollectorRegistry(), FakePools({A: 1}, model=MODEL, on_loss={"azure": {B: 1}})
    async with tieline.AsyncClient(pools, workload="chat", origin="eu") as client:
        tieline.metrics.prometheus(client, registry)
        await use(client, pools)
        text = generate_latest(registry).decode()
    assert f'tieline_client_attempts_total{{pool="{B}",result="ok"}} 2.0' in text
    assert f'tieline_client_attempts_total{{pool="{A}"' not in text


async def test_opentelemetry_reads_a_client() -> None:
    """The same by OpenTelemetry's own SDK."""
    reader, pools = InMemoryMetricReader(), FakePools({A: 1}, model=MODEL, on_loss={"azure": {B: 1}})
    provider = MeterProvider([reader])
    async with tieline.AsyncClient(pools, workload="chat", origin="eu") as client:
        tieline.metrics.opentelemetry(client, provider)
        await use(client, pools)
        found = points(reader)
    provider.shutdown()
    assert found["tieline_client_attempts", A, "auth"] == 1
    assert found["tieline_client_attempts", B, "ok"] == 2
    assert found["tieline_client_pool_out", A, "auth"] == 1
    assert found["tieline_client_first_token_seconds", B, None] == 2


def points(reader: InMemoryMetricReader) -> dict[tuple[str, Any, Any], float]:
    """(name, pool, result) -> value, or count of a histogram."""
    data = reader.get_metrics_data()
    assert data is not None
    found: dict[tuple[str, Any, Any], float] = {}
    for metric in (
        one for resource in data.resource_metrics for scope in resource.scope_metrics for one in scope.metrics
    ):
        for point in metric.data.data_points:
            labels = point.attributes or {}
            value: Any = getattr(point, "count", None) or getattr(point, "value", 0.0)
            found[metric.name, labels.get("pool"), labels.get("result")] = float(value)
    return found


def test_a_pool_that_is_out_is_explained() -> None:
    """Why, since when, for how long still; also when another split is in force that does not name it; and a
    fault of one model for that model alone."""
    time = Time()
    routing = router(part({A: 600_000, B: 400_000}, on_loss={"azure": {B: 1_000_000}}), time)
    for _ in range(5):
        routing.report(target(A), Outcome(ResultClass.SERVER_ERROR))
    routing.report(target(B), Outcome(ResultClass.NOT_FOUND))
    time.pass_ms(400)
    rows = {row["pool"]: row for row in routing.explain()}
    assert {name: rows[A][name] for name in ("out", "out_since_ms", "out_for_ms", "weight_ppm")} == {
        "out": "server_error",
        "out_since_ms": 400,
        "out_for_ms": 600,
        "weight_ppm": 0,
    }
    assert (rows[B]["out"], rows[B]["weight_ppm"], rows[B]["split"]) == (None, 1_000_000, "provider_lost")
    assert rows[B]["models_out"] == {MODEL: {"out": "not_found", "out_since_ms": 400, "out_for_ms": 600}}
