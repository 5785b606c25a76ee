"""A Prometheus, or what answers as one (Thanos, Mimir, VictoriaMetrics, Google's managed service): queries
whose results are figures of pools. Pure.

Each query gives one figure. A series belongs to the pool to which the file maps the value of a label. A pool
without a limit in this round is not stated: a missing series may be a scrape that failed.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Literal, NamedTuple, TypeAlias
from urllib.parse import quote, urlencode

from msgspec import Meta, Struct

from controller.collect.capacity.capacity_collector import (
    POOLS_MAX,
    CapacityCollector,
    Positive,
    figure_of,
)
from controller.collect.collector import JSON_TYPES, Findings, Request, Stamp, UnreadableError
from controller.collect.feeds.parts import document, text
from controller.core.policy.check import Fault, Path
from controller.core.policy.policy import Endpoint
from tieline.event_fields import PoolId
from tieline.events import PoolCapacity

SERIES_MAX = 20_000
Figure: TypeAlias = Literal["limit", "committed", "in_use", "requests", "concurrency"]
Preset: TypeAlias = Literal[
    "deployment_replicas", "statefulset_replicas", "inference_pool_replicas", "vllm_in_use", "sglang_in_use"
]


class PresetQuery(NamedTuple):
    """A query with the figure that it gives, and the label by which pools are told apart."""

    query: str
    figure: Figure
    label: str


# No preset counts series, because a scrape that failed would make the sum smaller.
PRESETS: Mapping[Preset, PresetQuery] = {
    "deployment_replicas": PresetQuery(
        "sum by (deployment) (kube_deployment_status_replicas_ready)", "limit", "deployment"
    ),
    "statefulset_replicas": PresetQuery(
        "sum by (statefulset) (kube_statefulset_status_replicas_ready)", "limit", "statefulset"
    ),
    "inference_pool_replicas": PresetQuery("max by (name) (inference_pool_ready_pods)", "limit", "name"),
    "vllm_in_use": PresetQuery(
        "sum by (model_name) (rate(vllm:prompt_tokens_total[1m]) + rate(vllm:generation_tokens_total[1m]))",
        "in_use",
        "model_name",
    ),
    "sglang_in_use": PresetQuery(
        "sum by (model_name)"
        " (rate(sglang:prompt_tokens_total[1m]) + rate(sglang:generation_tokens_total[1m]))",
        "in_use",
        "model_name",
    ),
}


class Query(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One query: a ``preset``, or a ``query`` with its ``figure`` and ``label``, which take precedence over
    those of a preset. ``pools``: values of the label -> pools. ``times``: by what each value is multiplied,
    such as the units/s of one replica."""

    preset: Preset | Literal[""] = ""
    query: Annotated[str, Meta(max_length=5_000)] = ""
    figure: Figure | Literal[""] = ""
    label: Annotated[str, Meta(pattern=r"^([a-zA-Z_][a-zA-Z0-9_]*)?\Z")] = ""
    pools: Annotated[dict[str, PoolId], Meta(min_length=1, max_length=POOLS_MAX)]
    times: Positive = 1.0

    def whole(self) -> PresetQuery:
        """The query with what its preset says."""
        preset = PRESETS[self.preset] if self.preset else PresetQuery("", "limit", "")
        return PresetQuery(
            self.query or preset.query, self.figure or preset.figure, self.label or preset.label
        )


class Prometheus(CapacityCollector, frozen=True, kw_only=True, tag="prometheus"):
    """Queries to a Prometheus. ``url``: its address without ``/api/v1``."""

    url: Endpoint
    interval_s: Annotated[float, Meta(ge=1, le=3_600)] = 30.0
    queries: Annotated[tuple[Query, ...], Meta(min_length=1, max_length=100)]

    def urls(self) -> Iterator[tuple[Path, str]]:
        """See ``Collector``."""
        yield ("url",), self.url

    def requests(self) -> tuple[Request, ...]:
        """An instant query each."""
        base = self.url.rstrip("/") + "/api/v1/query?"
        return tuple(
            Request(base + urlencode({"query": entry.whole().query}, quote_via=quote), JSON_TYPES)
            for entry in self.queries
        )

    def named_pools(self) -> Iterator[tuple[Path, PoolId]]:
        """See ``CapacityCollector``."""
        for place, entry in enumerate(self.queries):
            for value, pool in entry.pools.items():
                yield ("queries", place, "pools", value), pool

    def faults(self) -> Iterator[Fault]:
        """See ``Collector``."""
        yield from super().faults()
        with_limit = set()
        figures = set()
        for place, entry in enumerate(self.queries):
            path = ("queries", place)
            whole = entry.whole()
            if not whole.query or not whole.label:
                yield Fault(path, "give a preset, or query and label")
            with_limit |= set(entry.pools.values()) if whole.figure == "limit" else set()
            for value, pool in entry.pools.items():
                if (pool, whole.figure) in figures:
                    yield Fault((*path, "pools", value), f"the {whole.figure} of {pool} is asked for twice")
                figures.add((pool, whole.figure))
        for pool_path, pool in self.named_pools():
            if pool not in with_limit:
                yield Fault(
                    pool_path, f"no query gives the limit of {pool}, and without it nothing is stated"
                )

    def read(self, bodies: tuple[bytes, ...], stamp: Stamp) -> Findings:
        """See ``Collector``."""
        figures: dict[str, dict[Figure, float]] = {}
        unread = 0
        unmatched = set()
        for entry, body in zip(self.queries, bodies, strict=True):
            whole = entry.whole()
            values = _values(body, whole.label)
            for value, pool in entry.pools.items():
                number = values.get(value)
                amount = None if number is None else figure_of(number * entry.times)
                if amount is None:
                    unread += 1
                else:
                    figures.setdefault(pool, {})[whole.figure] = amount
            unmatched |= {f"{whole.label}={value}" for value in values.keys() - entry.pools.keys()}
        pools = [_pool_capacity(pool, own) for pool, own in figures.items() if "limit" in own]
        if not pools:
            raise UnreadableError("no query gives the limit of any pool")
        return Findings(self.capacities(pools, stamp), frozenset(unmatched), unread)


def _pool_capacity(pool: str, figures: dict[Figure, float]) -> PoolCapacity:
    concurrency = figures.get("concurrency")
    return PoolCapacity(
        pool=pool,
        limit_units_per_s=figures["limit"],
        committed_units_per_s=figures.get("committed"),
        in_use_units_per_s=figures.get("in_use"),
        requests_per_s=figures.get("requests"),
        concurrency=None if concurrency is None else int(concurrency),
    )


def _values(body: bytes, label: str) -> dict[str, float | None]:
    """The values of an instant vector by a label; None for one that is no figure, or stands twice.

    See Prometheus' documentation of its HTTP API. Raises ``UnreadableError``, also for an answer with
    warnings: it may be partial, and a partial sum would be too small.
    """
    answer = document(body)
    if not isinstance(answer, Mapping) or answer.get("status") != "success":
        why = text(answer, "error") if isinstance(answer, Mapping) else ""
        raise UnreadableError(f"the query has failed: {why[:200] or 'no status success'}")
    if answer.get("warnings"):
        raise UnreadableError("the answer has warnings, so it may be partial")
    data = answer.get("data")
    if not isinstance(data, Mapping) or data.get("resultType") != "vector":
        raise UnreadableError("the query gives no instant vector")
    series = data.get("result")
    if not isinstance(series, list) or len(series) > SERIES_MAX:
        raise UnreadableError(f"the answer has no list of at most {SERIES_MAX} series")
    values: dict[str, float | None] = {}
    for entry in series:
        metric = entry.get("metric") if isinstance(entry, Mapping) else None
        name = text(metric, label) if isinstance(metric, Mapping) else ""
        if name:
            values[name] = None if name in values else _sample(entry.get("value"))
    return values


def _sample(value: object) -> float | None:
    """The number of ``[time, "number"]``."""
    return figure_of(value[1]) if isinstance(value, list) and len(value) == 2 else None
