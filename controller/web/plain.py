"""The table as documented JSON, so that a gateway in any language can use it (docs/http-table.md). Pure.

Each route names its pools in full, with weight and address together, so that nothing need be looked up.
"""

import base64
from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import asdict

from tieline.event_fields import ProviderId
from tieline.table import Manifest, PoolInfo, Slice, Split


class PlainPool(Struct, frozen=True):
    """A pool with its weight in a split, in parts per million. ``credential`` is the name of a secret."""

    pool: str
    weight_ppm: int
    url: str
    adapter: str
    credential: str
    geography: str
    models: tuple[dict[str, Any], ...]


class PlainSplit(Struct, frozen=True):
    """Weights and ``shed_ppm`` sum to one million."""

    pools: tuple[PlainPool, ...]
    shed_ppm: int


class PlainRoute(Struct, frozen=True):
    """One (workload, origin). ``on_loss[provider]`` applies when that provider is lost. ``last_resort``: the
    pools to try, in order, when nothing else is left; they have no weight."""

    workload: str
    origin: str
    criticality: str
    pools: tuple[PlainPool, ...]
    shed_ppm: int
    shed_reason: str
    on_loss: dict[ProviderId, PlainSplit]
    last_resort: tuple[PlainPool, ...]


class PlainTable(Struct, frozen=True):
    """What ``GET /v1/table/WORKLOAD`` answers. ``overlay_base64``: the signed emergency overlay, if any.
    ``parents``: lineages that this one follows, by an operator's word; any table of theirs is older."""

    generation: str
    made_ms: int
    settings: dict[str, Any]
    routes: tuple[PlainRoute, ...]
    overlay_base64: str = ""
    parents: tuple[str, ...] = ()

    def encoded(self) -> bytes:
        """As JSON, every field written out."""
        return msgspec.json.encode(self)


def plain_table(manifest: Manifest, slices: Iterable[Slice], overlay: bytes) -> PlainTable:
    """These routes of one generation. ``slices`` must not be empty."""
    parts = tuple(slices)
    return PlainTable(
        str(manifest.generation),
        manifest.made_ms,
        asdict(parts[0].settings),
        routes=tuple(_route(part) for part in parts),
        overlay_base64=base64.b64encode(overlay).decode(),
        parents=manifest.parents,
    )


def _route(part: Slice) -> PlainRoute:
    route, split = part.route, _split(part.pools, part.route.split)
    on_loss = {provider: _split(part.pools, lost) for provider, lost in route.on_loss.items()}
    return PlainRoute(
        route.workload,
        route.origin,
        route.criticality,
        pools=split.pools,
        shed_ppm=split.shed_ppm,
        shed_reason=route.shed_reason,
        on_loss=on_loss,
        last_resort=tuple(_pool(part.pools[index], 0) for index in route.last_resort),
    )


def _split(infos: tuple[PoolInfo, ...], split: Split) -> PlainSplit:
    pools = tuple(
        _pool(infos[index], weight) for index, weight in zip(split.pools, split.weights, strict=True)
    )
    return PlainSplit(pools, split.shed)


def _pool(info: PoolInfo, weight: int) -> PlainPool:
    return PlainPool(
        info.pool,
        weight,
        info.url,
        adapter=info.adapter,
        credential=info.credential,
        geography=info.geography,
        models=tuple(map(asdict, info.models)),
    )
