"""Model servers by their own metrics: vLLM, SGLang, TensorRT-LLM, and all that speak the model server
protocol of the Gateway API Inference Extension. Pure.

A pool's capacity is its replicas, as many as the file names, times the units/s of one. It is lower only while
the servers themselves show that they are at their end: requests wait, and what they serve was measured.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar, NamedTuple

from msgspec import Meta, Struct

from controller.collect.capacity.capacity_collector import (
    POOLS_MAX,
    CapacityCollector,
    Positive,
    Slots,
    twice_named,
)
from controller.collect.capacity.exposition import TEXT_TYPES, Buckets, grown, quantile_bound
from controller.collect.capacity.server_metrics import (
    SERVERS,
    Load,
    Reading,
    ServerKind,
    ServerMetrics,
    reading_of,
)
from controller.collect.collector import Collected, Findings, Request, Stamp, UnreadableError
from controller.core.policy.check import Fault, Path
from controller.core.policy.policy import Endpoint
from tieline.event_fields import LatencyMs, PoolId
from tieline.events import Capacity, PoolCapacity, Statement, pool_of

REPLICAS_MAX = 1_000
WINDOW_MAX_MS = 600_000
FIRST_TOKENS_MIN = 20  # a quantile of fewer requests says little
FIRST_TOKEN_SHARE = 0.99


class ServedPool(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A pool and where its replicas have their metrics. ``units_per_s_per_replica``: what one can serve.
    ``concurrency_per_replica``: how many requests one runs at once (vLLM: ``--max-num-seqs``)."""

    pool: PoolId
    replicas: Annotated[tuple[Endpoint, ...], Meta(min_length=1, max_length=REPLICAS_MAX)]
    units_per_s_per_replica: Positive
    concurrency_per_replica: Slots | None = None


class ReplicaCounters(NamedTuple):
    """The counters of a replica in one round."""

    read_ms: int
    served: float | None
    first_token: Buckets


class ReplicaWindow(NamedTuple):
    """What a replica did between two rounds; None where it is not known."""

    units_per_s: float | None
    first_token: Buckets | None


class ModelServers(CapacityCollector, frozen=True, kw_only=True, tag="model_servers"):
    """Replicas of model servers. ``server``: whose names the metrics have; ``metrics`` gives other names.
    ``load``: what the policy's load unit counts.

    A pool is full while more than ``waiting_max_per_replica`` requests wait on average, or while any wait and
    the caches are filled to ``kv_cache_full_share`` on average. Its limit is then what it serves, at least
    ``full_floor_share`` of the configured one. ``first_token_max_ms``: while 99 % of the first tokens do not
    come within it, the pool is stated to be degraded; None: never.
    """

    partial: ClassVar[bool] = True
    sends: ClassVar[tuple[type[Collected], ...]] = (Capacity, Statement)

    interval_s: Annotated[float, Meta(ge=1, le=300)] = 15.0
    timeout_s: Annotated[float, Meta(gt=0, le=300)] = 5.0
    pools: Annotated[tuple[ServedPool, ...], Meta(min_length=1, max_length=POOLS_MAX)]
    server: ServerKind = "vllm"
    metrics: ServerMetrics | None = None
    load: Load = "tokens"
    waiting_max_per_replica: Annotated[float, Meta(gt=0, le=1e6)] = 8.0
    kv_cache_full_share: Annotated[float, Meta(gt=0, le=1)] = 0.95
    full_floor_share: Annotated[float, Meta(gt=0, le=1)] = 0.5
    first_token_max_ms: LatencyMs | None = None

    def urls(self) -> Iterator[tuple[Path, str]]:
        """See ``Collector``."""
        for place, entry in enumerate(self.pools):
            for number, url in enumerate(entry.replicas):
                yield ("pools", place, "replicas", number), url

    def requests(self) -> tuple[Request, ...]:
        """See ``Collector``."""
        return tuple(Request(url, TEXT_TYPES) for _, url in self.urls())

    def named_pools(self) -> Iterator[tuple[Path, PoolId]]:
        """See ``CapacityCollector``."""
        for place, entry in enumerate(self.pools):
            yield ("pools", place, "pool"), entry.pool

    def faults(self) -> Iterator[Fault]:
        """See ``Collector``."""
        yield from super().faults()
        yield from twice_named(self.named_pools())
        urls: set[str] = set()
        for path, url in self.urls():
            if url in urls:
                yield Fault(path, "the same replica is named twice")
            urls.add(url)
        if len(urls) > REPLICAS_MAX:
            yield Fault(("pools",), f"more than {REPLICAS_MAX} replicas: use several collectors")

    def read(self, bodies: tuple[bytes, ...], stamp: Stamp) -> Findings:
        """See ``Collector``."""
        return _Round(self, bodies, stamp).findings()


class _Round:
    def __init__(self, servers: ModelServers, bodies: tuple[bytes, ...], stamp: Stamp) -> None:
        self._servers = servers
        self._stamp = stamp
        self._before = stamp.memory if isinstance(stamp.memory, dict) else {}
        self._unread = 0
        self._readings: dict[str, Reading] = {}
        metrics = servers.metrics or SERVERS[servers.server]
        why = "no replica has answered"
        for request, body in zip(servers.requests(), bodies, strict=True):
            if not body:
                continue
            try:
                self._readings[request.url] = reading_of(body, metrics, servers.load)
            except UnreadableError as error:
                self._unread += 1
                why = str(error)
        if not self._readings:
            raise UnreadableError(why)

    def findings(self) -> Findings:
        """A capacity for each region, and statements if the settings have a limit for first tokens."""
        pools: list[PoolCapacity] = []
        slow: dict[str, str] = {}
        silent_regions = set()
        for entry in self._servers.pools:
            readings = [self._readings[url] for url in entry.replicas if url in self._readings]
            if not readings:
                silent_regions.add("/".join(pool_of(entry.pool)))
                continue
            windows = [self._window(url) for url in entry.replicas if url in self._readings]
            pools.append(self._capacity(entry, readings, windows))
            if text := self._slowness(windows):
                slow[entry.pool] = text
        events: list[Collected] = list(self._servers.capacities(pools, self._stamp))
        if self._servers.first_token_max_ms is not None:
            # A pool that was not read may still be slow: nothing is retracted for its region.
            regions = {"/".join(pool_of(entry.pool)) for entry in self._servers.pools} - silent_regions
            events += self._servers.degradations(slow, regions, self._stamp)
        return Findings(tuple(events), unread=self._unread, memory=self._memory())

    def _memory(self) -> dict[str, ReplicaCounters]:
        """The counters by URL; of a replica that is silent now those that it had."""
        now = {
            url: ReplicaCounters(self._stamp.now_ms, reading.served, reading.first_token)
            for url, reading in self._readings.items()
        }
        return {**self._before, **now}

    def _window(self, url: str) -> ReplicaWindow:
        """What a replica did since it was last read."""
        before: ReplicaCounters | None = self._before.get(url)
        reading = self._readings[url]
        if before is None or not 0 < (elapsed_ms := self._stamp.now_ms - before.read_ms) <= WINDOW_MAX_MS:
            return ReplicaWindow(None, None)
        rate = None
        if reading.served is not None and before.served is not None and reading.served >= before.served:
            rate = (reading.served - before.served) / (elapsed_ms / 1_000)
        return ReplicaWindow(rate, grown(reading.first_token, before.first_token))

    def _capacity(
        self, entry: ServedPool, readings: list[Reading], windows: list[ReplicaWindow]
    ) -> PoolCapacity:
        """Replicas that are silent count as the others do."""
        replicas = len(entry.replicas)
        limit = replicas * entry.units_per_s_per_replica
        rates = [window.units_per_s for window in windows if window.units_per_s is not None]
        in_use = sum(rates) / len(rates) * replicas if rates else None
        if in_use is not None and self._is_full(readings):
            limit = min(limit, max(in_use, self._servers.full_floor_share * limit))
        concurrency = entry.concurrency_per_replica
        return PoolCapacity(
            pool=entry.pool,
            limit_units_per_s=limit,
            in_use_units_per_s=in_use,
            concurrency=None if concurrency is None else replicas * concurrency,
        )

    def _is_full(self, readings: list[Reading]) -> bool:
        """Requests wait, more than a few of them or because the caches are full."""
        queues = [reading.waiting for reading in readings if reading.waiting is not None]
        if not queues or not any(queues):
            return False
        shares = [reading.kv_cache_share for reading in readings if reading.kv_cache_share is not None]
        if shares and sum(shares) / len(shares) >= self._servers.kv_cache_full_share:
            return True
        return sum(queues) / len(queues) > self._servers.waiting_max_per_replica

    def _slowness(self, windows: list[ReplicaWindow]) -> str:
        """In words that first tokens come late; empty if they do not, or too few came to say so."""
        limit_ms = self._servers.first_token_max_ms
        counts: Mapping[float, float] = _summed([window.first_token for window in windows])
        bound_s = quantile_bound(dict(counts), FIRST_TOKEN_SHARE)
        if limit_ms is None or bound_s is None or max(counts.values()) < FIRST_TOKENS_MIN:
            return ""
        # The quantile lies above the bucket below. Only if that bound is beyond the limit it surely does.
        below_s = max((bound for bound in counts if bound < bound_s), default=0.0)
        if below_s * 1_000 < limit_ms:
            return ""
        return f"the servers' own metrics: 1 % of first tokens took more than {below_s:g} s"


def _summed(histograms: list[Buckets | None]) -> Buckets:
    """One histogram of several. Those with other buckets than the first are left out."""
    counts: Buckets = {}
    for histogram in histograms:
        if histogram and (not counts or histogram.keys() == counts.keys()):
            counts = {bound: counts.get(bound, 0.0) + count for bound, count in histogram.items()}
    return counts
