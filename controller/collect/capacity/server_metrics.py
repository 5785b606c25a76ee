"""The metrics of model servers: which name stands for running and waiting requests, and the like.

The names are those of the servers' own documentation, and of the model server protocol of the Gateway API
Inference Extension (proposal 003), whose TotalQueuedRequests, TotalRunningRequests and KVCacheUtilization are
``waiting``, ``running`` and ``kv_cache`` here. A server with other names has its own ``ServerMetrics`` in the
file. Pure.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Literal, NamedTuple, TypeAlias

from msgspec import Meta, Struct

from controller.collect.capacity.exposition import Buckets, Sample, buckets, samples, total
from controller.collect.collector import UnreadableError

_SELECTOR = r'^[A-Za-z_:][A-Za-z0-9_:]*(\{[A-Za-z_][A-Za-z0-9_]*="[^"\\{}]*"\})?\Z'
Selector = Annotated[
    str, Meta(pattern=_SELECTOR, description='a metric\'s name, with at most one label: name{label="value"}')
]
Selectors = Annotated[tuple[Selector, ...], Meta(max_length=8)]
Load: TypeAlias = Literal["tokens", "requests"]


class ServerMetrics(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which metrics a server has. Of ``running``, ``waiting`` and ``kv_cache`` the first that is there
    counts, so that older and newer names can stand together. All of ``tokens`` are added up, and so are all
    of ``requests`` (counters of what was served). ``first_token``: a histogram in seconds."""

    running: Selectors = ()
    waiting: Selectors = ()
    kv_cache: Selectors = ()
    tokens: Selectors = ()
    requests: Selectors = ()
    first_token: Annotated[str, Meta(pattern=r"^([A-Za-z_:][A-Za-z0-9_:]*)?\Z")] = ""


ServerKind: TypeAlias = Literal["vllm", "sglang", "trtllm", "triton"]
SERVERS: dict[ServerKind, ServerMetrics] = {
    "vllm": ServerMetrics(
        running=("vllm:num_requests_running",),
        waiting=("vllm:num_requests_waiting",),
        kv_cache=("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"),
        tokens=("vllm:prompt_tokens_total", "vllm:generation_tokens_total"),
        requests=("vllm:request_success_total",),
        first_token="vllm:time_to_first_token_seconds",
    ),
    "sglang": ServerMetrics(
        running=("sglang:num_running_reqs",),
        waiting=("sglang:num_queue_reqs",),
        kv_cache=("sglang:token_usage",),
        tokens=("sglang:prompt_tokens_total", "sglang:generation_tokens_total"),
        requests=("sglang:num_requests_total",),
        first_token="sglang:time_to_first_token_seconds",
    ),
    "trtllm": ServerMetrics(
        running=("trtllm_num_requests_running",),
        waiting=("trtllm_num_requests_waiting",),
        kv_cache=("trtllm_kv_cache_utilization",),
        tokens=("trtllm_prompt_tokens_total", "trtllm_generation_tokens_total"),
        requests=("trtllm_request_success_total",),
        first_token="trtllm_time_to_first_token_seconds",
    ),
    "triton": ServerMetrics(
        running=('nv_trt_llm_request_metrics{request_type="scheduled"}',),
        waiting=('nv_trt_llm_request_metrics{request_type="waiting"}',),
        kv_cache=('nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="fraction"}',),
        requests=("nv_inference_request_success",),
    ),
}


class Reading(NamedTuple):
    """What one replica says. ``waiting``, ``kv_cache_share`` and ``served`` (a counter): None if it does not
    say. ``first_token``: cumulative counts by seconds."""

    running: float | None
    waiting: float | None
    kv_cache_share: float | None
    served: float | None
    first_token: Buckets


def reading_of(body: bytes, metrics: ServerMetrics, load: Load) -> Reading:
    """What the metrics of a replica say. Raises ``UnreadableError`` if they say nothing about its load."""
    entries = samples(body, _names(metrics))
    served = [_first(entries, (selector,)) for selector in getattr(metrics, load)]
    amounts = [amount for amount in served if amount is not None]
    reading = Reading(
        running=_first(entries, metrics.running),
        waiting=_first(entries, metrics.waiting),
        kv_cache_share=_largest(entries, metrics.kv_cache),
        served=sum(amounts) if amounts and len(amounts) == len(served) else None,
        first_token=buckets(entries, metrics.first_token) if metrics.first_token else {},
    )
    if reading.running is None and reading.waiting is None and reading.kv_cache_share is None:
        raise UnreadableError("the body says nothing about running or waiting requests")
    return reading


def _names(metrics: ServerMetrics) -> Iterator[str]:
    for selectors in (metrics.running, metrics.waiting, metrics.kv_cache, metrics.tokens, metrics.requests):
        yield from (_split(selector)[0] for selector in selectors)
    if metrics.first_token:
        yield f"{metrics.first_token}_bucket"


def _first(entries: list[Sample], selectors: Selectors) -> float | None:
    """The sum over all engines of a replica, by the first of the names that is there. Gauges and counters of
    load are never negative: a negative one is none."""
    for selector in selectors:
        name, labels = _split(selector)
        value = total(entries, name, labels)
        if value is not None:
            return value if value >= 0 else None
    return None


def _largest(entries: list[Sample], selectors: Selectors) -> float | None:
    """The fullest engine's share, 0 to 1; None for what is no share."""
    for selector in selectors:
        name, labels = _split(selector)
        shares = [
            entry.value
            for entry in entries
            if entry.name == name and all(entry.labels.get(key) == value for key, value in labels.items())
        ]
        if shares:
            return max(shares) if 0 <= max(shares) <= 1 else None
    return None


def _split(selector: str) -> tuple[str, Mapping[str, str]]:
    """The name of a selector and its labels."""
    name, _, label = selector.rstrip("}").partition("{")
    key, _, value = label.partition("=")
    return name, {key: value.strip('"')} if key else {}
