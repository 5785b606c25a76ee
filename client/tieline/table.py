"""The route table: what it contains, how it is encoded, and what must be true of every table.

For each (workload, origin) the table has a *route*: integer weights in parts per million over pools, and the
share to shed; together they are exactly one million. Pools are listed once and referred to by index, so a
dense table of 400 pools x 20 workloads x 8 origins takes about 1 MB.

Clients do not fetch the whole table but a *manifest*, which names the generation and the checksum of each
slice, and the *slices* they need: a slice is one route with just its pools. An unchanged route has the same
bytes in every generation.

``check()`` runs before a table leaves the controller, and each slice is checked again where it arrives. So a
partial, empty or damaged table is never used (tests/unit/client/test_table.py).
"""

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import Annotated, Literal, TypeAlias, TypeVar

import msgspec
from msgspec import Meta, Struct

from tieline.errors import UNDECODABLE
from tieline.event_fields import Name, PoolId, ProviderId

MILLION = 1_000_000
SCHEMA = 1
TABLE_MAX_BYTES = 8 * 1024 * 1024
_T = TypeVar("_T")

Share = Annotated[int, Meta(ge=0, le=MILLION, description="parts per million")]
Criticality: TypeAlias = Literal["critical_plus", "critical", "sheddable_plus", "sheddable"]
CRITICALITIES: tuple[Criticality, ...] = ("critical_plus", "critical", "sheddable_plus", "sheddable")
Adapter: TypeAlias = Literal["openai", "azure", "azure_classic", "vertex", "oci", "anthropic"]
# The feature of a model that is offered by Anthropic's Messages API as well, or by that alone.
MESSAGES = "messages"
# The feature of a model that is offered by Gemini's own API as well, or by that alone.
GEMINI = "gemini"


class TableError(ValueError):
    """A table, slice or manifest must not be used; the message says what is wrong and where."""


class Generation(Struct, frozen=True, array_like=True):
    """Which table this is. ``lineage``: one history of Kafka; ``epoch``: one leadership within it; ``seq``:
    one publication within that."""

    lineage: str
    epoch: int
    seq: int

    def newer_than(self, other: "Generation | None") -> bool:
        """Whether this comes after ``other``. Generations of two lineages can't be compared: False."""
        if other is None:
            return True
        return self.lineage == other.lineage and (self.epoch, self.seq) > (other.epoch, other.seq)

    def __str__(self) -> str:
        return f"{self.lineage}:{self.epoch}:{self.seq}"


class ModelOffer(Struct, frozen=True, omit_defaults=True):
    """A logical model that a pool serves, and the provider's own ``name`` for it. ``features``: by the
    policy's names for them, such as ``tools``; ``Needs`` asks for them. ``first_token_timeout_ms``,
    ``idle_timeout_ms``: instead of those of ``ClientSettings``, and ``whole_answer_timeout_ms`` for an answer
    that is no stream; 0 leaves them as they are."""

    model: Name
    name: str
    context_tokens: int = 0  # 0: not limited
    features: tuple[str, ...] = ()
    first_token_timeout_ms: Annotated[int, Meta(ge=0)] = 0
    whole_answer_timeout_ms: Annotated[int, Meta(ge=0)] = 0
    idle_timeout_ms: Annotated[int, Meta(ge=0)] = 0


class PoolInfo(Struct, frozen=True, omit_defaults=True):
    """What a client must know to send a request to a pool: its base ``url``, its models, and by ``adapter``
    the form of its requests (see the README). ``geography``: the legal region it lies in. ``credential``: the
    name of a secret, never the secret."""

    pool: PoolId
    geography: str
    url: str
    adapter: Adapter = "openai"
    credential: str = ""
    models: tuple[ModelOffer, ...] = ()

    @property
    def provider(self) -> str:
        """The provider that runs the pool: the first part of its id."""
        return self.pool.split("/", 1)[0]


class Split(Struct, frozen=True, array_like=True):
    """How the requests of one route are divided: ``weights[i]`` parts per million go to the pool with index
    ``pools[i]``, and ``shed`` parts are turned away; all together one million."""

    pools: tuple[int, ...]
    weights: tuple[Share, ...]
    shed: Share = 0


class Route(Struct, frozen=True, omit_defaults=True):
    """One (workload, origin). ``split`` applies; ``shed_reason`` says why it sheds, if it does.
    ``on_loss[provider]`` applies instead while a client has lost most of that provider.

    ``last_resort``: pools, in order, that a client may try for a request that has nowhere else to go.
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
    """What the table tells every client, from the policy's section ``clients``; durations in milliseconds.

    ``report_interval_ms``: between two reports. ``attempts_max``: of one request, all together.
    ``first_token_timeout_ms``, ``idle_timeout_ms``: how long to wait for the first output of a stream, and
    between two pieces of it. ``stale_after_ms``: how long the source may be silent before the client's state
    is ``stale``. ``load_unit``: what is counted as load. ``empty_answers``: whether an answer without any
    content is served or tried again.
    """

    report_interval_ms: int = 1_000
    attempts_max: int = 3
    first_token_timeout_ms: int = 10_000
    idle_timeout_ms: int = 10_000
    stale_after_ms: int = 10_000
    load_unit: str = "tokens"
    empty_answers: Literal["serve", "retry"] = "serve"


class Pulse:
    """Whether a leader still confirms the table, by the heartbeat that it writes beside it once a second.

    Instants are milliseconds of any steady clock, so that no clock of another machine matters.
    """

    def __init__(self) -> None:
        self._heartbeat: bytes | None = None
        self._since_ms = 0

    def note(self, heartbeat: bytes | None, now_ms: int) -> int:
        """The heartbeat as it was just read, None where none is written. Returns for how many milliseconds
        it has been the same; 0 when it is new, or when there is none."""
        if heartbeat is None or heartbeat != self._heartbeat:
            self._heartbeat, self._since_ms = heartbeat, now_ms
        return now_ms - self._since_ms


class RouteTable(Struct, frozen=True):
    """One whole publication, made at ``made_ms`` (Unix): each pool once, and routes that refer to pools by
    index. ``schema``: the version of this format; a reader of another version refuses the table."""

    generation: Generation
    made_ms: int
    pools: tuple[PoolInfo, ...]
    routes: tuple[Route, ...]
    settings: ClientSettings = ClientSettings()
    schema: int = SCHEMA


class Slice(Struct, frozen=True):
    """One route with just its pools, whose indices are counted anew. It has no generation, so that an
    unchanged route keeps its bytes."""

    pools: tuple[PoolInfo, ...]
    route: Route
    settings: ClientSettings = ClientSettings()
    schema: int = SCHEMA


class Manifest(Struct, frozen=True):
    """Which slices a generation consists of: ``slices[route name]`` is the checksum of the slice's bytes.

    ``urgent_seq``: the seq of the last publication of this epoch that contained a forced move or a command. A
    client whose table is older than that fetches at once; the others spread over 200 ms. ``parents``:
    lineages that this one follows, by an operator's word: any table of theirs is older.
    """

    generation: Generation
    made_ms: int
    slices: dict[str, str]
    urgent_seq: int = 0
    schema: int = SCHEMA
    parents: tuple[str, ...] = ()


class SignedManifest(Struct, frozen=True, omit_defaults=True):
    """The bytes of a manifest, with the controllers' signature of them (``signatures``), empty where they
    don't sign."""

    manifest: bytes
    signature: str = ""


class Bundle(Struct, frozen=True, omit_defaults=True):
    """A manifest and some of its slices as they travel over HTTP. They stay encoded within the bundle, so
    that the checksums apply to them. ``overlay``: the signed emergency overlay, if there is one.
    ``signature``: the controllers' of the manifest, which is then the whole one; empty where they don't
    sign."""

    manifest: bytes
    slices: dict[str, bytes]
    overlay: bytes = b""
    signature: str = ""


def checksum(data: bytes) -> str:
    """128 bits of BLAKE2b of ``data`` in hex. It detects damage; it does not prove who made the data."""
    return blake2b(data, digest_size=16).hexdigest()


_encoder = msgspec.msgpack.Encoder(order="deterministic")
_table_decoder = msgspec.msgpack.Decoder(RouteTable)
_slice_decoder = msgspec.msgpack.Decoder(Slice)
_manifest_decoder = msgspec.msgpack.Decoder(Manifest)
_bundle_decoder = msgspec.msgpack.Decoder(Bundle)


def encode_table(table: RouteTable) -> bytes:
    """Check the table and return it as bytes. Raises ``TableError``, also for more than 8 MiB."""
    check(table)
    data = _encoder.encode(table)
    if len(data) > TABLE_MAX_BYTES:
        raise TableError(f"the table takes {len(data)} bytes, the limit is {TABLE_MAX_BYTES}")
    return data


def decode_table(data: bytes) -> RouteTable:
    """The table that the bytes encode, checked. Raises ``TableError``."""
    try:
        table = _table_decoder.decode(data)
    except UNDECODABLE as error:
        raise TableError(f"not a route table: {error}") from None
    check(table)
    return table


def slices(table: RouteTable) -> dict[str, bytes]:
    """Route name -> the bytes of its slice, which has only the pools that the route refers to."""
    return {route.name: _encoder.encode(_slice(table, route)) for route in table.routes}


def manifest(table: RouteTable, parts: dict[str, bytes], *, urgent_seq: int) -> bytes:
    """The encoded manifest of ``parts``, which are ``slices(table)``; ``urgent_seq`` as in ``Manifest``."""
    sums = {name: checksum(data) for name, data in parts.items()}
    return encode_manifest(Manifest(table.generation, table.made_ms, sums, urgent_seq=urgent_seq))


def encode_manifest(manifest: Manifest) -> bytes:
    """A manifest as bytes."""
    return _encoder.encode(manifest)


def decode_manifest(data: bytes) -> Manifest:
    """The manifest that the bytes encode. Raises ``TableError``, also for another schema or no slices."""
    manifest = _decoded(_manifest_decoder, data, "a manifest")
    _check_schema("manifest", manifest.schema)
    if not manifest.slices:
        raise TableError("an empty manifest")
    return manifest


def decode_bundle(data: bytes) -> Bundle:
    """The bundle that the bytes encode; its parts are not decoded yet. Raises ``TableError``."""
    return _decoded(_bundle_decoder, data, "a bundle of manifest and slices")


def encode_bundle(bundle: Bundle) -> bytes:
    """A bundle as bytes."""
    return _encoder.encode(bundle)


def decode_slice(data: bytes, expected_checksum: str) -> Slice:
    """The slice that the bytes encode, checked. ``expected_checksum``: what the manifest says. Raises
    ``TableError``."""
    if checksum(data) != expected_checksum:
        raise TableError("the checksum of the slice is not the one in the manifest")
    part = _decoded(_slice_decoder, data, "a slice")
    _check_schema("slice", part.schema)
    _check_route(part.route, [info.provider for info in part.pools])
    return part


def _decoded(decoder: msgspec.msgpack.Decoder[_T], data: bytes, kind: str) -> _T:
    try:
        return decoder.decode(data)
    except UNDECODABLE as error:
        raise TableError(f"not {kind}: {error}") from None


def _check_schema(kind: str, schema: int) -> None:
    if schema != SCHEMA:
        raise TableError(f"{kind} of schema {schema}; this library reads schema {SCHEMA}")


def check(table: RouteTable) -> None:
    """Raise ``TableError`` unless the table has routes and pools, every split sums to one million, and every
    index refers to a pool."""
    _check_schema("table", table.schema)
    if not table.routes or not table.pools:
        raise TableError("an empty table")
    if len({info.pool for info in table.pools}) != len(table.pools):
        raise TableError("a pool is listed twice")
    if len({route.name for route in table.routes}) != len(table.routes):
        raise TableError("a route is listed twice")
    providers = [info.provider for info in table.pools]
    for route in table.routes:
        _check_route(route, providers)


def _check_route(route: Route, providers: Sequence[str]) -> None:
    """``providers``: of each pool that the table lists."""
    pools = len(providers)
    _check_split(route.split, pools, route.name)
    if route.split.shed == MILLION and not route.shed_reason:
        raise TableError(f"{route.name}: everything is shed, and shed_reason is empty")
    for provider, split in route.on_loss.items():
        _check_split(split, pools, f"{route.name} on loss of {provider}")
        if any(providers[index] == provider and weight for index, weight in _pairs(split)):
            raise TableError(f"{route.name} on loss of {provider}: a pool of {provider} still has weight")
    _check_indices(route.last_resort, pools, f"{route.name} last resort", "a pool is named twice")


def _check_split(split: Split, pools: int, place: str) -> None:
    if len(split.pools) != len(split.weights):
        raise TableError(f"{place}: {len(split.pools)} pools but {len(split.weights)} weights")
    _check_indices(split.pools, pools, place, "a pool has two weights")
    if (total := sum(split.weights) + split.shed) != MILLION:
        raise TableError(f"{place}: weights and shed sum to {total}, not {MILLION}")


def _check_indices(indices: tuple[int, ...], pools: int, place: str, twice: str) -> None:
    """``pools``: how many the table lists. ``twice``: the error for an index that occurs twice."""
    if len(set(indices)) != len(indices):
        raise TableError(f"{place}: {twice}")
    if indices and not (min(indices) >= 0 and max(indices) < pools):
        raise TableError(f"{place}: refers to a pool that the table does not list")


def _pairs(split: Split) -> Iterator[tuple[int, int]]:
    return zip(split.pools, split.weights, strict=True)


def _slice(table: RouteTable, route: Route) -> Slice:
    splits = (route.split, *route.on_loss.values())
    used = sorted({*route.last_resort, *(index for split in splits for index in split.pools)})
    new_index = {index: position for position, index in enumerate(used)}

    def renumber(split: Split) -> Split:
        return Split(tuple(new_index[index] for index in split.pools), split.weights, split.shed)

    renumbered = Route(
        route.workload,
        route.origin,
        route.criticality,
        split=renumber(route.split),
        shed_reason=route.shed_reason,
        on_loss={provider: renumber(split) for provider, split in route.on_loss.items()},
        last_resort=tuple(new_index[index] for index in route.last_resort),
    )
    return Slice(tuple(table.pools[index] for index in used), renumbered, table.settings)
