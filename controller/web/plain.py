"""PURE. The table as documented JSON, so that a gateway in any language can use it (docs/http-table.md).

Each route names its pools in full, with weight and address together: no index, no second look-up.
"""

import base64
from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import asdict

from tieline.events import ProviderId
from tieline.table import Manifest, PoolInfo, Slice, Split


class PlainPool(Struct, frozen=True):
    """A pool with its weight in a split, in parts per million. ``credential`` names a secret and is none."""

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
    """One (workload, origin). ``on_loss[provider]`` applies when that provider is lost; ``last_resort`` is
    tried, in order, when nothing else is left, and has no weight."""

    workload: str
    origin: str
    criticality: str
    pools: tuple[PlainPool, ...]
    shed_ppm: int
    shed_reason: str
    on_loss: dict[ProviderId, PlainSplit]
    last_resort: tuple[PlainPool, ...]


class PlainTable(Struct, frozen=True):
    """What ``GET /v1/table/WORKLOAD`` answers. ``overlay_base64``: the signed emergency overlay, if any."""

    generation: str
    made_ms: int
    settings: dict[str, Any]
    routes: tuple[PlainRoute, ...]
    overlay_base64: str = ""

    def encoded(self) -> bytes:
        """As JSON, every field written out."""
        return msgspec.json.encode(self)


def plain_table(manifest: Manifest, slices: Iterable[Slice], overlay: bytes) -> PlainTable:
    """These routes of one generation."""
    parts = tuple(slices)
    return PlainTable(
        str(manifest.generation),
        manifest.made_ms,
        asdict(parts[0].settings),
        tuple(_route(part) for part in parts),
        base64.b64encode(overlay).decode(),
    )


def _route(part: Slice) -> PlainRoute:
    route, split = part.route, _split(part.pools, part.route.split)
    on_loss = {provider: _split(part.pools, lost) for provider, lost in route.on_loss.items()}
    return PlainRoute(
        route.workload,
        route.origin,
        route.criticality,
        split.pools,
        split.shed_ppm,
        route.shed_reason,
        on_loss,
        tuple(_pool(part.pools[index], 0) for index in route.last_resort),
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
        info.adapter,
        info.credential,
        info.geography,
        tuple(map(asdict, info.models)),
    )
