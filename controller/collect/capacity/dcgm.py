"""NVIDIA's DCGM exporter: which GPUs of a pool's nodes have a fault. Pure.

A pool's capacity is its replicas, as many as its GPUs can run, without those that need a GPU which names a
fatal error itself. A node that can't be read, and a GPU that is missing in a scrape, count as the file says
that they are there.
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import Annotated, ClassVar, NamedTuple

from msgspec import Meta, Struct

from controller.collect.capacity.capacity_collector import (
    POOLS_MAX,
    CapacityCollector,
    Positive,
    Slots,
    twice_named,
)
from controller.collect.capacity.exposition import TEXT_TYPES, Sample, samples
from controller.collect.collector import Findings, Request, Stamp, UnreadableError
from controller.core.policy.check import Fault, Path
from controller.core.policy.policy import Endpoint
from tieline.event_fields import PoolId
from tieline.events import PoolCapacity

NODES_MAX = 1_000
LAST_XID = "DCGM_FI_DEV_XID_ERRORS"
ROW_REMAP_FAILURE = "DCGM_FI_DEV_ROW_REMAP_FAILURE"
UTILIZATION = "DCGM_FI_DEV_GPU_UTIL"
TEMPERATURE = "DCGM_FI_DEV_GPU_TEMP"
NAMES = (LAST_XID, ROW_REMAP_FAILURE, UTILIZATION, TEMPERATURE)
# Errors after which NVIDIA's catalogue of XIDs asks for a reset of the GPU or a new one: memory that can't be
# corrected or remapped, the GPU off the bus, NVLink, and the GPU's own processor.
FATAL_XIDS = (48, 62, 64, 74, 79, 95, 119, 120, 140)


class GpuPool(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A pool and the exporters of its nodes. ``gpus_per_node``: GPUs of each node that serve the pool.
    ``gpus_per_replica``: how many one replica needs, all of them on one node."""

    pool: PoolId
    nodes: Annotated[tuple[Endpoint, ...], Meta(min_length=1, max_length=NODES_MAX)]
    gpus_per_node: Annotated[int, Meta(ge=1, le=1_024)] = 8
    gpus_per_replica: Annotated[int, Meta(ge=1, le=1_024)] = 1
    units_per_s_per_replica: Positive
    concurrency_per_replica: Slots | None = None


class NodeReading(NamedTuple):
    """What a node's exporter says: how many GPUs, and which of them have a fault."""

    gpus: int
    faulty: frozenset[str]


class Dcgm(CapacityCollector, frozen=True, kw_only=True, tag="dcgm"):
    """Exporters of DCGM, one for each node. ``fatal_xids``: the XID errors that take a GPU out."""

    partial: ClassVar[bool] = True

    interval_s: Annotated[float, Meta(ge=1, le=300)] = 30.0
    timeout_s: Annotated[float, Meta(gt=0, le=300)] = 5.0
    pools: Annotated[tuple[GpuPool, ...], Meta(min_length=1, max_length=POOLS_MAX)]
    fatal_xids: Annotated[tuple[Annotated[int, Meta(ge=1, le=10_000)], ...], Meta(max_length=200)] = (
        FATAL_XIDS
    )

    def urls(self) -> Iterator[tuple[Path, str]]:
        """See ``Collector``."""
        for place, entry in enumerate(self.pools):
            for number, url in enumerate(entry.nodes):
                yield ("pools", place, "nodes", number), url

    def requests(self) -> tuple[Request, ...]:
        """See ``Collector``."""
        return tuple(Request(url, TEXT_TYPES) for url in dict.fromkeys(url for _, url in self.urls()))

    def named_pools(self) -> Iterator[tuple[Path, PoolId]]:
        """See ``CapacityCollector``."""
        for place, entry in enumerate(self.pools):
            yield ("pools", place, "pool"), entry.pool

    def faults(self) -> Iterator[Fault]:
        """See ``Collector``."""
        yield from super().faults()
        yield from twice_named(self.named_pools())
        for place, entry in enumerate(self.pools):
            path = ("pools", place)
            if entry.gpus_per_replica > entry.gpus_per_node:
                yield Fault((*path, "gpus_per_replica"), "a replica needs more GPUs than a node has")
            if len(set(entry.nodes)) < len(entry.nodes):
                yield Fault((*path, "nodes"), "a node is named twice")
        if len(self.requests()) > NODES_MAX:
            yield Fault(("pools",), f"more than {NODES_MAX} nodes: use several collectors")

    def read(self, bodies: tuple[bytes, ...], stamp: Stamp) -> Findings:
        """See ``Collector``."""
        readings: dict[str, NodeReading] = {}
        unread, why = 0, "no node has answered"
        for request, body in zip(self.requests(), bodies, strict=True):
            if not body:
                continue
            try:
                readings[request.url] = self._reading(body)
            except UnreadableError as error:
                unread += 1
                why = str(error)
        if not readings:
            raise UnreadableError(why)
        pools = [
            _capacity(entry, readings)
            for entry in self.pools
            if any(node in readings for node in entry.nodes)
        ]
        return Findings(self.capacities(pools, stamp), unread=unread)

    def _reading(self, body: bytes) -> NodeReading:
        gpus: dict[str, list[Sample]] = defaultdict(list)
        for sample in samples(body, NAMES):
            if name := sample.labels.get("UUID") or sample.labels.get("gpu"):
                gpus[name].append(sample)
        if not gpus:
            raise UnreadableError("the body names no GPU")
        faulty = frozenset(name for name, entries in gpus.items() if any(map(self._is_fault, entries)))
        return NodeReading(len(gpus), faulty)

    def _is_fault(self, sample: Sample) -> bool:
        if sample.name == LAST_XID:
            return sample.value in self.fatal_xids
        return sample.name == ROW_REMAP_FAILURE and sample.value > 0


def _capacity(entry: GpuPool, readings: dict[str, NodeReading]) -> PoolCapacity:
    """The replicas that the GPUs without a fault can run. A node that is silent has none with a fault."""
    replicas = 0
    for node in entry.nodes:
        reading = readings.get(node)
        faulty = min(len(reading.faulty), entry.gpus_per_node) if reading else 0
        replicas += (entry.gpus_per_node - faulty) // entry.gpus_per_replica
    concurrency = entry.concurrency_per_replica
    return PoolCapacity(
        pool=entry.pool,
        limit_units_per_s=replicas * entry.units_per_s_per_replica,
        concurrency=None if concurrency is None else replicas * concurrency,
    )
