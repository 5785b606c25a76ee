"""The documented JSON of a table, read back into what the Python client works with."""

from typing import Any

import msgspec

from controller.web.plain import PlainPool, PlainRoute, PlainSplit, PlainTable, plain_table
from tieline._routing.slices import ClientTable
from tieline.table import (
    ClientSettings,
    Generation,
    Manifest,
    PoolInfo,
    Route,
    RouteTable,
    Slice,
    Split,
    TableError,
    encode_table,
)

Json = dict[str, Any]


def plain_of(table: ClientTable) -> Json:
    """The table as `tieline web` serves it."""
    manifest = Manifest(table.generation, 1_790_000_000_000, {"unused": ""})
    plain: Json = msgspec.to_builtins(plain_table(manifest, table.parts.values(), b""))
    return plain


def table_of(text: Any) -> ClientTable:
    """The table that this JSON describes. Raises ``TableError`` for one that must not be used."""
    try:
        plain = msgspec.convert(text, PlainTable)
        settings = msgspec.convert(plain.settings, ClientSettings)
        lineage, epoch, seq = plain.generation.rsplit(":", 2)
        generation = Generation(lineage, int(epoch), int(seq))
        parts = {route.origin: _slice(route, settings) for route in plain.routes}
    except (ValueError, msgspec.ValidationError) as error:
        raise TableError(f"not a route table: {error}") from None
    if not parts:
        raise TableError("an empty table")
    for part in parts.values():
        encode_table(RouteTable(generation, plain.made_ms, part.pools, (part.route,), settings=settings))
    return ClientTable(generation, parts)


def _slice(route: PlainRoute, settings: ClientSettings) -> Slice:
    splits = [PlainSplit(route.pools, route.shed_ppm), *route.on_loss.values()]
    pools = {row.pool: row for split in splits for row in split.pools}
    pools |= {row.pool: row for row in route.last_resort}
    places = {pool: place for place, pool in enumerate(pools)}
    own, *others = (_split(split, places) for split in splits)
    return Slice(
        tuple(map(_info, pools.values())),
        Route(
            route.workload,
            route.origin,
            msgspec.convert(route.criticality, Route.__annotations__["criticality"]),
            split=own,
            shed_reason=route.shed_reason,
            on_loss=dict(zip(route.on_loss, others, strict=True)),
            last_resort=tuple(places[row.pool] for row in route.last_resort),
        ),
        settings,
    )


def _split(split: PlainSplit, places: dict[str, int]) -> Split:
    pools = tuple(places[row.pool] for row in split.pools)
    return Split(pools, tuple(row.weight_ppm for row in split.pools), split.shed_ppm)


def _info(row: PlainPool) -> PoolInfo:
    fields = msgspec.to_builtins(row)
    del fields["weight_ppm"]
    return msgspec.convert(fields, PoolInfo)
