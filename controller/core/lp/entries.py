"""The coefficients of the matrix: in which rows each column stands, and with which sign.

A pair column ``x[r,p]`` is load of one route on one pool. It stands with 1 in the rows of its route, its
pool, the pool's quota groups and the provider's share limit, and in the rows of each loss that concerns it.
"""

from typing import NamedTuple

import numpy as np

from controller.core.lp.losses import LossBlock, Positions
from controller.core.lp.programme import Bools, Floats, Instance, Ints


class Entries(NamedTuple):
    """Non-zero coefficients: ``value[i]`` stands in row ``row[i]`` of column ``column[i]``."""

    row: Positions
    column: Positions
    value: Floats


class Pairs(NamedTuple):
    """Pair columns: place of the route, number of the pool, and number of the column."""

    route: Positions
    pool: Positions
    column: Positions


class BaseRows(NamedTuple):
    """Row numbers of the programme without losses: one row for each route, pool, quota group, share limit."""

    first_pool: int
    first_group: int
    share_row: dict[tuple[int, int], int]  # (route's place, provider) to the row of its share limit
    total: int


def base_rows(instance: Instance) -> BaseRows:
    """The order of the rows, by which duals are read as well."""
    routes, pools = instance.cost.shape
    first_group = routes + pools
    first_share = first_group + len(instance.group_room)
    share_row = {key: first_share + i for i, key in enumerate(instance.share_room)}
    return BaseRows(routes, first_group, share_row, total=first_share + len(share_row))


def joined(parts: list[Entries]) -> Entries:
    """All entries of several parts, in order."""
    return Entries(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def _ones(row: Positions, column: Positions) -> Entries:
    return Entries(row, column, np.ones(len(column)))


def base_entries(instance: Instance, rows: BaseRows, pairs: Pairs) -> Entries:
    """Where pair columns stand in the programme without losses."""
    parts = [_ones(pairs.route, pairs.column), _ones(rows.first_pool + pairs.pool, pairs.column)]
    for group in instance.groups_of[pairs.pool].T:
        grouped = group >= 0
        parts.append(_ones(rows.first_group + group[grouped], pairs.column[grouped]))
    for (place, provider), row in rows.share_row.items():
        bound = (pairs.route == place) & (instance.provider_of[pairs.pool] == provider)
        parts.append(_ones(np.full(int(bound.sum()), row), pairs.column[bound]))
    return joined(parts)


def loss_entries(instance: Instance, block: LossBlock, pairs: Pairs) -> Entries:
    """Where pair columns stand in the rows of a loss, numbered within the block.

    Critical load on a lost pool adds to what its class must place elsewhere (-1 on the left side). Critical
    load on another pool takes room there. Load that is not critical makes way and does not count.
    """
    class_of = instance.class_of[pairs.route]
    critical = class_of >= 0
    lost = critical & block.lost[pairs.pool]
    stays = critical & ~block.lost[pairs.pool] & (block.kind_of[pairs.pool] >= 0)
    parts = [
        Entries(block.class_row[class_of[lost]], pairs.column[lost], np.full(int(lost.sum()), -1.0)),
        _ones(block.kind_row[block.kind_of[pairs.pool[stays]]], pairs.column[stays]),
    ]
    for group in instance.groups_of[pairs.pool].T:
        grouped = stays & (group >= 0)
        parts.append(_ones(block.group_row[group[grouped]], pairs.column[grouped]))
    for (place, provider), row in block.share_row.items():
        bound = stays & (pairs.route == place) & (instance.provider_of[pairs.pool] == provider)
        parts.append(_ones(np.full(int(bound.sum()), row), pairs.column[bound]))
    return joined(parts)


def flow_entries(instance: Instance, block: LossBlock, first_column: int) -> Entries:
    """The block's own columns: for each struck class what finds no room, then what each flow takes over, then
    what each link brings into its hub.

    All of them serve the class, or come out of the hub. A flow also takes room of its kind, quota groups and
    share limit.
    """
    short = first_column + np.arange(len(block.struck))
    flow = first_column + len(block.struck) + np.arange(len(block.flows))
    class_row, kind = block.flows[:, 0], block.flows[:, 1]
    parts = [
        _ones(np.arange(len(block.struck)), short),
        _ones(class_row, flow),
        _ones(block.kind_row[kind], flow),
    ]
    if len(block.links):
        link = first_column + len(block.struck) + len(block.flows) + np.arange(len(block.links))
        parts.append(_ones(block.links[:, 0], link))
        parts.append(Entries(block.links[:, 1], link, np.full(len(link), -1.0)))
    for group in block.flow_groups.T:
        grouped = group >= 0
        parts.append(_ones(block.group_row[group[grouped]], flow[grouped]))
    for (place, provider), row in block.share_row.items():
        own = class_row == block.class_row[instance.class_of[place]]
        bound = own & (block.flow_provider == provider)
        parts.append(_ones(np.full(int(bound.sum()), row), flow[bound]))
    return joined(parts)


def cheapest(instance: Instance, count: int) -> Bools:
    """[R, P] for each route the ``count`` cheapest pools, and all pools that it uses already."""
    total = instance.cost + np.where(instance.committed_room > 0, 0.0, instance.least_burst_cost())[None, :]
    best = np.argsort(total, axis=1, kind="stable")[:, :count]
    chosen = instance.in_place > 0
    np.put_along_axis(chosen, best, True, axis=1)
    return chosen & np.isfinite(instance.cost)


def by_row(entries: Entries, rows: int) -> tuple[Ints, Ints, Floats]:
    """(first entry of each row, column numbers, values): the entries as HiGHS takes new rows."""
    order = np.lexsort((entries.column, entries.row))
    start = np.searchsorted(entries.row[order], np.arange(rows)).astype(np.int32)
    return start, entries.column[order].astype(np.int32), entries.value[order]


def by_column(entries: Entries, columns: int) -> tuple[Ints, Ints, Floats]:
    """(first entry of each column, row numbers, values): the entries as HiGHS takes new columns."""
    order = np.lexsort((entries.row, entries.column))
    start = np.searchsorted(entries.column[order], np.arange(columns)).astype(np.int32)
    return start, entries.row[order].astype(np.int32), entries.value[order]
