"""Metrics of model servers become capacity, and silence never makes it smaller."""

from typing import Any

import pytest

from controller.collect.capacity.model_servers import ModelServers, ServedPool
from controller.collect.capacity.server_metrics import SERVERS, ServerMetrics
from controller.collect.collector import Findings, UnreadableError
from tests.unit.controller.collect.capacity.stamps import FIVE, SIX, degraded, limits, stamp, stated

A, B, C = "http://10.0.0.1:8000/metrics", "http://10.0.0.2:8000/metrics", "http://10.0.1.1:8000/metrics"

# As vLLM 0.11 writes it, shortened.
VLLM = """# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{{engine="0",model_name="gpt-oss"}} {running}.0
# HELP vllm:num_requests_waiting Number of requests waiting to be processed.
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{{engine="0",model_name="gpt-oss"}} {waiting}.0
# HELP vllm:kv_cache_usage_perc KV-cache usage. 1 means 100 percent usage.
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{{engine="0",model_name="gpt-oss"}} {cache}
# TYPE vllm:prompt_tokens_total counter
vllm:prompt_tokens_total{{engine="0",model_name="gpt-oss"}} {prompt}.0
vllm:prompt_tokens_created{{engine="0",model_name="gpt-oss"}} 1.79e+09
# TYPE vllm:generation_tokens_total counter
vllm:generation_tokens_total{{engine="0",model_name="gpt-oss"}} {tokens}.0
# TYPE vllm:request_success_total counter
vllm:request_success_total{{engine="0",finished_reason="stop",model_name="gpt-oss"}} 7.0
vllm:request_success_total{{engine="0",finished_reason="length",model_name="gpt-oss"}} 1.0
# TYPE vllm:time_to_first_token_seconds histogram
vllm:time_to_first_token_seconds_bucket{{engine="0",le="0.5",model_name="gpt-oss"}} {fast}.0
vllm:time_to_first_token_seconds_bucket{{engine="0",le="5.0",model_name="gpt-oss"}} {fast}.0
vllm:time_to_first_token_seconds_bucket{{engine="0",le="+Inf",model_name="gpt-oss"}} {all}.0
vllm:time_to_first_token_seconds_count{{engine="0",model_name="gpt-oss"}} {all}.0
"""


def vllm(**more: Any) -> bytes:
    """What a replica of vLLM says."""
    fields = {"running": 4, "waiting": 0, "cache": 0.3, "prompt": 0, "tokens": 0, "fast": 0, "all": 0}
    return VLLM.format(**{**fields, **more}).encode()


def servers(**more: Any) -> ModelServers:
    """Two pools, the first with two replicas."""
    pools = (
        ServedPool(pool=FIVE, replicas=(A, B), units_per_s_per_replica=1_000.0, concurrency_per_replica=64),
        ServedPool(pool=SIX, replicas=(C,), units_per_s_per_replica=1_000.0),
    )
    return ModelServers(name="fleet", pools=pools, **more)


def rounds(settings: ModelServers, *bodies: tuple[bytes, ...], every_s: float = 10.0) -> Findings:
    """The findings of the last of several rounds."""
    findings = Findings(())
    for number, entry in enumerate(bodies):
        findings = settings.read(entry, stamp(number * every_s, findings.memory))
    return findings


def test_a_pool_has_what_its_replicas_have() -> None:
    """As many as the settings name, also those that are silent; and a pool of which all are silent is not
    stated."""
    for bodies in ((vllm(), vllm(), b""), (vllm(), b"", b""), (b"", vllm(), b"<html>\n")):
        findings = servers().read(bodies, stamp())
        assert limits(findings) == {FIVE: 2_000.0}
        assert stated(findings)[FIVE].concurrency == 128
    assert limits(servers().read((b"", b"", vllm()), stamp())) == {SIX: 1_000.0}


@pytest.mark.parametrize("bodies", [(b"", b"", b""), (b"", b"oops", b""), (b"<html>\n",) * 3])
def test_nothing_readable_states_nothing(bodies: tuple[bytes, ...]) -> None:
    """Above all no capacity of zero."""
    with pytest.raises(UnreadableError):
        servers().read(bodies, stamp())


def test_what_is_in_use_is_the_rate_of_tokens() -> None:
    """Prompt and generation, between two rounds; silent replicas count as the others."""
    before, after = vllm(prompt=1_000, tokens=500), vllm(prompt=4_000, tokens=2_500)
    findings = rounds(servers(), (before, before, b""), (after, b"", b""))
    assert stated(findings)[FIVE].in_use_units_per_s == 1_000.0
    assert limits(findings) == {FIVE: 2_000.0}
    requests = rounds(servers(load="requests"), (before,) * 3, (after,) * 3)
    assert stated(requests)[FIVE].in_use_units_per_s == 0.0


def test_a_counter_that_fell_back_gives_no_rate() -> None:
    """A replica that was restarted; and neither does one that was not read for long."""
    before, after = vllm(tokens=5_000), vllm(tokens=10)
    assert stated(rounds(servers(), (before,) * 3, (after,) * 3))[FIVE].in_use_units_per_s is None
    late = rounds(servers(), (after,) * 3, (before,) * 3, every_s=601)
    assert stated(late)[FIVE].in_use_units_per_s is None


@pytest.mark.parametrize(
    ("waiting", "cache", "served", "expected"),
    [
        (0, 0.99, 14_000, 2_000.0),  # nothing waits
        (8, 0.5, 14_000, 2_000.0),  # few wait
        (9, 0.5, 14_000, 1_400.0),  # many wait: what it serves is what it can
        (1, 0.95, 14_000, 1_400.0),  # some wait for a full cache
        (9, 0.5, 1_000, 1_000.0),  # never below half of what is configured
        (9, 0.5, 90_000, 2_000.0),  # never above it
    ],
)
def test_a_full_pool_has_what_it_serves(waiting: int, cache: float, served: int, expected: float) -> None:
    """While requests wait; within bounds."""
    before = vllm(tokens=0)
    after = vllm(tokens=served // 2, waiting=waiting, cache=cache)
    assert limits(rounds(servers(), (before, before, b""), (after, after, b""))) == {FIVE: expected}


def test_a_full_pool_that_was_not_measured_keeps_its_limit() -> None:
    """The first round knows no rate."""
    full = vllm(waiting=50)
    assert limits(servers().read((full,) * 3, stamp()))[FIVE] == 2_000.0


def test_late_first_tokens_degrade() -> None:
    """By the histogram between two rounds, once enough requests came; a region with a silent pool is not
    taken back."""
    settings = servers(first_token_max_ms=2_000.0)
    before, slow = vllm(fast=100, all=100), vllm(fast=150, all=160)
    assert degraded(rounds(settings, (before,) * 3, (slow,) * 3)) == {
        "us-east-04": [FIVE],
        "eu-north-1": [SIX],
    }
    fine, few = vllm(fast=199, all=199), vllm(fast=100, all=109)
    assert degraded(rounds(settings, (before,) * 3, (fine,) * 3)) == {"us-east-04": [], "eu-north-1": []}
    assert degraded(rounds(settings, (before, b"", b""), (few, b"", b""))) == {"us-east-04": []}
    assert degraded(rounds(servers(), (before,) * 3, (slow,) * 3)) == {}


def test_a_bucket_that_holds_the_limit_does_not_degrade() -> None:
    """The quantile may lie below the limit, as the bucket reaches from 5 s on."""
    settings = servers(first_token_max_ms=6_000.0)
    assert degraded(rounds(settings, (vllm(),) * 3, (vllm(all=50),) * 3))["us-east-04"] == []


@pytest.mark.parametrize(
    ("server", "text"),
    [
        ("vllm", 'vllm:gpu_cache_usage_perc{model_name="m"} 0.96\nvllm:num_requests_waiting 1\n'),
        ("sglang", 'sglang:num_queue_reqs{tp_rank="0"} 1\nsglang:token_usage{tp_rank="0"} 0.96\n'),
        ("trtllm", "trtllm_num_requests_waiting 1\ntrtllm_kv_cache_utilization 0.96\n"),
        (
            "triton",
            'nv_trt_llm_request_metrics{model="m",request_type="waiting"} 1\n'
            'nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="fraction",model="m"} 0.96\n',
        ),
    ],
)
def test_every_server_of_the_protocol_has_its_names(server: Any, text: str) -> None:
    """Queue and cache, as the Gateway API Inference Extension maps them; older names count as well."""
    pool = ServedPool(pool=SIX, replicas=(C,), units_per_s_per_replica=1_000.0)
    metrics = SERVERS[server]
    names = ServerMetrics(
        waiting=metrics.waiting, kv_cache=metrics.kv_cache, running=metrics.running, tokens=("done_total",)
    )
    settings = ModelServers(name="fleet", pools=(pool,), metrics=names)
    before, after = (f"{text}done_total {count}\n".encode() for count in (0, 8_000))
    assert limits(rounds(settings, (before,), (after,))) == {SIX: 800.0}
    assert limits(ModelServers(name="fleet", pools=(pool,), server=server).read((before,), stamp()))


def test_values_that_make_no_sense_are_none() -> None:
    """A negative queue, a cache filled twice over."""
    odd = b"vllm:num_requests_waiting -5\nvllm:kv_cache_usage_perc 2.0\nvllm:num_requests_running 1\n"
    assert limits(servers().read((odd,) * 3, stamp()))[FIVE] == 2_000.0
