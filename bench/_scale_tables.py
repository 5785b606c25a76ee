"""The cases of `script/bench scale` about tables: how large they are, and what publishing one costs.

The tables are those that the planner decides first for a policy of this size. All figures are of one
publication in which every route has changed, the dearest there is: most change a few routes, and what is
equal in the publication before is neither encoded nor sent again.
"""

import time
import zlib
from collections.abc import Callable, Iterator
from typing import TypeVar

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec.structs import replace

from bench._frame import Case
from bench._plan_reflex import Installation
from bench._plan_world import NOW_MS, Size, policy_of
from controller.routes.projection import Projection, cut, sums_of
from controller.routes.record import RoutesRecord, encode_record
from tieline.keys import MANIFEST_FIELD
from tieline.signatures import sign_manifest
from tieline.table import Generation, RouteTable, encode_table

SIZES = (Size(400, 10, 8), Size(1_000, 20, 8), Size(4_000, 50, 8))
SAMPLES = 5
KIB = 1_024
_encoder = msgspec.msgpack.Encoder(order="deterministic")
T = TypeVar("T")


def words(size: Size) -> str:
    """The size as it stands in a report."""
    return f"{size.pools:,} pools x {size.workloads} workloads"


def settled(size: Size) -> RoutesRecord:
    """The publication of an installation of this size in which all is well."""
    installation = Installation(policy_of(size))
    snapshot = installation.snapshot
    assert snapshot.table is not None
    return RoutesRecord(
        snapshot.table.generation,
        NOW_MS,
        snapshot.table,
        memory=snapshot.memory,
        policy=_encoder.encode(installation.policy),
    )


def next_table(table: RouteTable) -> RouteTable:
    """The table after this one: in each route a millionth of the load moves to its last pool."""
    routes = []
    for route in table.routes:
        first, *middle, last = route.split.weights
        step = 1 if first else -1
        split = msgspec.structs.replace(route.split, weights=(first - step, *middle, last + step))
        routes.append(replace(route, split=split))
    after = Generation(table.generation.lineage, table.generation.epoch, table.generation.seq + 1)
    return replace(table, generation=after, routes=tuple(routes))


def table_cases(size: Size, record: RoutesRecord) -> Iterator[Case]:
    """Of one size: bytes in Kafka and in Redis, and milliseconds of a processor."""
    table = record.table
    assert table is not None
    body, before_packing = encode_record(record), _encoder.encode(record)
    parts = cut(table, None)
    projection = Projection(table, parts, sums_of(parts, None), urgent_seq=0)
    manifest = projection.changes_from(None)[MANIFEST_FIELD]
    name = words(size)
    sizes = {
        "table": len(encode_table(table)),
        "table, compressed": len(zlib.compress(_encoder.encode(table), 1)),
        "record (table, policy, memory)": len(before_packing),
        "record in Kafka": len(body),
        "all slices in Redis": sum(map(len, parts.values())),
        "manifest": len(manifest),
    }
    for what, size_bytes in sizes.items():
        yield Case(f"{what}, {name}", "KiB", [size_bytes / KIB])
    yield Case(f"slice of a client, {name}", "KiB", sorted(len(part) / KIB for part in parts.values()))
    private = Ed25519PrivateKey.generate()
    yield _timed(f"encode record, {name}", lambda: encode_record(record))
    yield _timed(f"cut into slices, {name}", lambda: sums_of(cut(table, None), None))
    yield _timed(f"sign manifest, {name}", lambda: sign_manifest(private, manifest, "tieline"))


def _timed(name: str, work: Callable[[], T]) -> Case:
    samples = []
    for _ in range(SAMPLES):
        began_s = time.process_time()
        work()
        samples.append((time.process_time() - began_s) * 1e3)
    return Case(name, "ms", samples)
