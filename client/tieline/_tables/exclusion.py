"""PURE. A table without the pools that an emergency overlay excludes, or that lie outside of ``pool_hosts``:
they are removed, and the others take their share.

The pools are removed from the table itself, so that no later step can send a request to one of them. Where
more than half of a provider's weight is excluded, the weights that the table has for the loss of that
provider apply. Otherwise the remaining weights are scaled up in proportion.
"""

from itertools import pairwise

from msgspec.structs import replace

from tieline._health.ejection import Out
from tieline._routing.slices import ClientTable, split_in_force
from tieline.events import ResultClass, in_scope
from tieline.table import MILLION, Slice, Split

ALL_EXCLUDED = "every pool is excluded by an emergency overlay, or lies outside of pool_hosts"
# ``split_in_force`` asks which pools are out. The reason that is given here decides nothing.
_EXCLUDED = Out(ResultClass.CONNECT, 0, 0)


def without_excluded(table: ClientTable, exclude: tuple[str, ...]) -> ClientTable:
    """The same generation without the pools in ``exclude`` (providers, provider/region, or whole pools)."""
    if not exclude:
        return table
    return replace(table, parts={origin: _without(part, exclude) for origin, part in table.parts.items()})


def _without(part: Slice, exclude: tuple[str, ...]) -> Slice:
    excluded = {info.pool for info in part.pools if any(in_scope(info.pool, scope) for scope in exclude)}
    if not excluded:
        return part
    split, _ = split_in_force(part, lambda pool, _model: _EXCLUDED if pool in excluded else None)
    remaining = [index for index, info in enumerate(part.pools) if info.pool not in excluded]
    new_index = {index: position for position, index in enumerate(remaining)}
    scaled = _scaled(split, new_index)
    all_excluded = scaled.shed == MILLION and split.shed < MILLION
    route = replace(
        part.route,
        split=scaled,
        shed_reason=ALL_EXCLUDED if all_excluded else part.route.shed_reason,
        on_loss={provider: _scaled(loss, new_index) for provider, loss in part.route.on_loss.items()},
        last_resort=tuple(new_index[index] for index in part.route.last_resort if index in new_index),
    )
    return replace(part, pools=tuple(part.pools[index] for index in remaining), route=route)


def _scaled(split: Split, new_index: dict[int, int]) -> Split:
    """The split over the remaining pools, which together keep the weight of all; if none is left all is shed.

    The weights are laid end to end on a line, and the end of each is rounded. So they are integers that add
    up exactly to what they must.
    """
    rows = [
        (new_index[index], weight)
        for index, weight in zip(split.pools, split.weights, strict=True)
        if index in new_index
    ]
    left, total = sum(weight for _, weight in rows), MILLION - split.shed
    if not left:
        return Split((), (), MILLION)
    ends, reached = [0], 0
    for _, weight in rows:
        reached += weight
        ends.append(reached * total // left)
    weights = tuple(end - begin for begin, end in pairwise(ends))
    return Split(tuple(index for index, _ in rows), weights, split.shed)
