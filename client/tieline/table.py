"""The route table: what it is, how it travels, and what must hold of every one that does.

A table holds, for each (workload, origin), integer weights in 1e-6 over pools and the share to shed; weights
and shed sum to exactly one million. Pools are named once and referred to by index, so a dense table of
400 pools x 20 workloads x 8 origins stays near 1 MB. Clients fetch slices: one route with just its pools,
and a manifest that names the generation and each slice's checksum. ``check()`` runs before a table leaves
and after it arrives.
"""

from collections.abc import Iterator
from hashlib import blake2b
from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta, Struct

from tieline.events import Name, PoolId, ProviderId

MILLION = 1_000_000
SCHEMA = 1
TABLE_MAX_BYTES = 8 * 1024 * 1024

Share = Annotated[int, Meta(ge=0, le=MILLION, description="parts per million")]
Criticality: TypeAlias = Literal["critical_plus", "critical", "sheddable_plus", "sheddable"]
CRITICALITIES: tuple[Criticality, ...] = ("critical_plus", "critical", "sheddable_plus", "sheddable")
Adapter: TypeAlias = Literal["openai", "azure", "azure_classic", "vertex", "oci"]


class TableError(ValueError):
    """A table, slice or manifest that must not be used; the message says what and where."""


class Generation(Struct, frozen=True, array_like=True):
    """``(lineage, epoch, seq)``: one history of Kafka, one leadership in it, one publication in that."""

    lineage: str
    epoch: int
    seq: int

    def newer_than(self, other: "Generation | None") -> bool:
        """Whether this follows ``other``; across lineages nothing follows anything."""
        if other is None:
            return True
        return self.lineage == other.lineage and (self.epoch, self.seq) > (other.epoch, other.seq)

    def __str__(self) -> str:
        return f"{self.lineage}:{self.epoch}:{self.seq}"


class ModelOffer(Struct, frozen=True, omit_defaults=True):
    """A logical model that a pool serves, under the provider's own ``name`` for it. ``features``: by the
    policy's words, such as ``tools``; ``Needs`` asks for them."""

    model: Name
    name: str
    context_tokens: int = 0  # 0: not limited
    features: tuple[str, ...] = ()


class PoolInfo(Struct, frozen=True, omit_defaults=True):
    """What a client must know to send a request to a pool: the base ``url``, the shape (``adapter``, see the
    README) and the models. ``geography``: the legal region it lies in. ``credential`` names one, and never is
    one."""

    pool: PoolId
    geography: str
    url: str
    adapter: Adapter = "openai"
    credential: str = ""
    models: tuple[ModelOffer, ...] = ()

    @property
    def provider(self) -> str:
        """Who runs the pool: the first part of its id."""
        return self.pool.split("/", 1)[0]


class Split(Struct, frozen=True, array_like=True):
    """How one route's requests divide: ``weights[i]`` parts per million to pool index ``pools[i]``, ``shed``
    parts to nobody; all together one million."""

    pools: tuple[int, ...]
    weights: tuple[Share, ...]
    shed: Share = 0


class Route(Struct, frozen=True, omit_defaults=True):
    """One (workload, origin). ``split`` is in force, ``shed_reason`` says why it sheds, if it does.
    ``on_loss[provider]`` applies when a client has lost most of that provider.

    ``last_resort``: pools, in order, that a client may try a request on when it has nothing left for it.
    """

    workload: Name
    origin: Name
    criticality: Criticality
    split: Split
    shed_reason: str = ""
    on_loss: dict[ProviderId, Split] = {}
    last_resort: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """``workload/origin``."""
        return f"{self.workload}/{self.origin}"


class ClientSettings(Struct, frozen=True, omit_defaults=True):
    """What the table tells every client, by the policy's ``clients``; durations in milliseconds.

    ``report_interval_ms``: between two reports. ``attempts_max``: of one request, in all.
    ``first_token_timeout_ms``, ``idle_timeout_ms``: how long a stream is waited for, at its beginning and
    between two pieces. ``stale_after_ms``: without a word from the source, until ``status`` says so.
    ``load_unit``: what is counted as load.
    """

    report_interval_ms: int = 1_000
    attempts_max: int = 3
    first_token_timeout_ms: int = 10_000
    idle_timeout_ms: int = 10_000
    stale_after_ms: int = 10_000
    load_unit: str = "tokens"


class RouteTable(Struct, frozen=True):
    """One whole publication, made at ``made_ms`` (Unix): pools once each, routes that refer to them by index.
    ``schema``: of all this; a reader of another refuses it."""

    generation: Generation
    made_ms: int
    pools: tuple[PoolInfo, ...]
    routes: tuple[Route, ...]
    settings: ClientSettings = ClientSettings()
    schema: int = SCHEMA


class Slice(Struct, frozen=True):
    """One route and its pools, renumbered. Without a generation: an unchanged route keeps its bytes."""

    pools: tuple[PoolInfo, ...]
    route: Route
    settings: ClientSettings = ClientSettings()
    schema: int = SCHEMA


class Manifest(Struct, frozen=True):
    """Which slices a generation consists of: ``slices[route name]`` is the checksum of the slice's bytes.

    ``urgent_seq`` is the seq of the last publication of this epoch that contained a forced move or a
    command: a client that holds an older one fetches at once, others spread over 200 ms.
    """

    generation: Generation
    made_ms: int
    slices: dict[str, str]
    urgent_seq: int = 0
    schema: int = SCHEMA


class Bundle(Struct, frozen=True, omit_defaults=True):
    """A manifest and some of its slices as they travel over HTTP: bytes in bytes, so that checksums hold.
    ``overlay``: the signed emergency overlay, if there is one."""

    manifest: bytes
    slices: dict[str, bytes]
    overlay: bytes = b""


def checksum(data: bytes) -> str:
    """128 bits of BLAKE2b of ``data`` in hex: guards against damage, not against malice."""
    return blake2b(data, digest_size=16).hexdigest()


_encoder = msgspec.msgpack.Encoder(order="deterministic")
_table_decoder = msgspec.msgpack.Decoder(RouteTable)
_slice_decoder = msgspec.msgpack.Decoder(Slice)
_manifest_decoder = msgspec.msgpack.Decoder(Manifest)
_bundle_decoder = msgspec.msgpack.Decoder(Bundle)


def encode_table(table: RouteTable) -> bytes:
    """The checked table as bytes; refuses one over 8 MiB and says its size."""
    check(table)
    data = _encoder.encode(table)
    if len(data) > TABLE_MAX_BYTES:
        raise TableError(f"the table takes {len(data)} bytes, the limit is {TABLE_MAX_BYTES}")
    return data


def decode_table(data: bytes) -> RouteTable:
    """Bytes as a checked table, else ``TableError``."""
    try:
        table = _table_decoder.decode(data)
    except msgspec.MsgspecError as error:
        raise TableError(f"not a route table: {error}") from None
    check(table)
    return table


def slices(table: RouteTable) -> dict[str, bytes]:
    """Route name -> the bytes of its slice, each with only the pools that it refers to."""
    return {route.name: _encoder.encode(_slice(table, route)) for route in table.routes}


def manifest(table: RouteTable, parts: dict[str, bytes], *, urgent_seq: int) -> bytes:
    """The manifest of ``parts``, made by ``slices(table)``, as bytes; ``urgent_seq`` as in ``Manifest``."""
    sums = {name: checksum(data) for name, data in parts.items()}
    return encode_manifest(Manifest(table.generation, table.made_ms, sums, urgent_seq))


def encode_manifest(held: Manifest) -> bytes:
    """A manifest as bytes."""
    return _encoder.encode(held)


def decode_manifest(data: bytes) -> Manifest:
    """Bytes as a manifest of a known schema with at least one slice, else ``TableError``."""
    try:
        held = _manifest_decoder.decode(data)
    except msgspec.MsgspecError as error:
        raise TableError(f"not a manifest: {error}") from None
    if held.schema != SCHEMA:
        raise TableError(f"manifest of schema {held.schema}, this library reads {SCHEMA}")
    if not held.slices:
        raise TableError("an empty manifest")
    return held


def decode_bundle(data: bytes) -> Bundle:
    """Bytes as a bundle, whose parts are not looked at, else ``TableError``."""
    try:
        return _bundle_decoder.decode(data)
    except msgspec.MsgspecError as error:
        raise TableError(f"not a bundle of manifest and slices: {error}") from None


def encode_bundle(bundle: Bundle) -> bytes:
    """A bundle as bytes."""
    return _encoder.encode(bundle)


def decode_slice(data: bytes, expected_checksum: str) -> Slice:
    """Bytes as a checked slice whose checksum is the manifest's, else ``TableError``."""
    if checksum(data) != expected_checksum:
        raise TableError("the slice's checksum is not the manifest's")
    try:
        part = _slice_decoder.decode(data)
    except msgspec.MsgspecError as error:
        raise TableError(f"not a slice: {error}") from None
    if part.schema != SCHEMA:
        raise TableError(f"slice of schema {part.schema}, this library reads {SCHEMA}")
    _check_route(part.route, part.pools)
    return part


def check(table: RouteTable) -> None:
    """What must hold of every table, else ``TableError``: no empty table, whole shares, pools that exist."""
    if table.schema != SCHEMA:
        raise TableError(f"table of schema {table.schema}, this library reads {SCHEMA}")
    if not table.routes or not table.pools:
        raise TableError("an empty table")
    if len({info.pool for info in table.pools}) != len(table.pools):
        raise TableError("a pool is listed twice")
    if len({route.name for route in table.routes}) != len(table.routes):
        raise TableError("a route is listed twice")
    for route in table.routes:
        _check_route(route, table.pools)


def _check_route(route: Route, pools: tuple[PoolInfo, ...]) -> None:
    _check_split(route.split, pools, route.name)
    if route.split.shed == MILLION and not route.shed_reason:
        raise TableError(f"{route.name}: everything is shed and no reason given")
    for provider, split in route.on_loss.items():
        _check_split(split, pools, f"{route.name} on loss of {provider}")
        if any(pools[index].provider == provider and weight for index, weight in _pairs(split)):
            raise TableError(f"{route.name} on loss of {provider}: still has weight on it")
    _check_pools(route.last_resort, pools, f"{route.name} last resort", "a pool is named twice")


def _check_split(split: Split, pools: tuple[PoolInfo, ...], place: str) -> None:
    if len(split.pools) != len(split.weights):
        raise TableError(f"{place}: {len(split.pools)} pools and {len(split.weights)} weights")
    _check_pools(split.pools, pools, place, "a pool has two weights")
    if (total := sum(split.weights) + split.shed) != MILLION:
        raise TableError(f"{place}: weights and shed sum to {total}, not {MILLION}")


def _check_pools(indices: tuple[int, ...], pools: tuple[PoolInfo, ...], place: str, twice: str) -> None:
    if len(set(indices)) != len(indices):
        raise TableError(f"{place}: {twice}")
    if any(not 0 <= index < len(pools) for index in indices):
        raise TableError(f"{place}: refers to a pool that the table does not list")


def _pairs(split: Split) -> Iterator[tuple[int, int]]:
    return zip(split.pools, split.weights, strict=True)


def _slice(table: RouteTable, route: Route) -> Slice:
    splits = (route.split, *route.on_loss.values())
    used = sorted({*route.last_resort, *(index for split in splits for index in split.pools)})
    number = {index: place for place, index in enumerate(used)}

    def renumber(split: Split) -> Split:
        return Split(tuple(number[index] for index in split.pools), split.weights, split.shed)

    renumbered = Route(
        route.workload,
        route.origin,
        route.criticality,
        renumber(route.split),
        route.shed_reason,
        {provider: renumber(split) for provider, split in route.on_loss.items()},
        tuple(number[index] for index in route.last_resort),
    )
    return Slice(tuple(table.pools[index] for index in used), renumbered, table.settings)
