"""PURE. A table under an emergency overlay: the excluded pools are gone from it, so that nothing behind it
can send there, and what they carried is on the others.

Where most of a provider is excluded the table's own weights for its loss apply; else the rest is scaled up.
"""

from itertools import pairwise

from msgspec.structs import replace

from tieline._health.ejection import Out
from tieline._routing.compile import Held, split_in_force
from tieline.events import ResultClass, in_scope
from tieline.table import MILLION, Slice, Split

ALL_EXCLUDED = "every pool is excluded by an emergency overlay"
_EXCLUDED = Out(ResultClass.CONNECT, 0, 0)  # stands for "out", whatever the reason


def overlaid(held: Held, exclude: tuple[str, ...]) -> Held:
    """The same generation without the pools in ``exclude`` (providers, provider/region, pools)."""
    if not exclude:
        return held
    return replace(held, parts={origin: _without(part, exclude) for origin, part in held.parts.items()})


def _without(part: Slice, exclude: tuple[str, ...]) -> Slice:
    gone = {info.pool for info in part.pools if any(in_scope(info.pool, scope) for scope in exclude)}
    if not gone:
        return part
    split, _ = split_in_force(part, lambda pool, _model: _EXCLUDED if pool in gone else None)
    kept = [index for index, info in enumerate(part.pools) if info.pool not in gone]
    place = {index: number for number, index in enumerate(kept)}
    scaled = _scaled(split, place)
    said = part.route.shed_reason if scaled.shed < MILLION or split.shed == MILLION else ALL_EXCLUDED
    route = replace(
        part.route,
        split=scaled,
        shed_reason=said,
        on_loss={provider: _scaled(lost, place) for provider, lost in part.route.on_loss.items()},
        last_resort=tuple(place[index] for index in part.route.last_resort if index in place),
    )
    return replace(part, pools=tuple(part.pools[index] for index in kept), route=route)


def _scaled(split: Split, place: dict[int, int]) -> Split:
    """The split over the pools that are left, scaled up to what it gave all; without any, all is shed."""
    rows = [
        (place[index], weight)
        for index, weight in zip(split.pools, split.weights, strict=True)
        if index in place
    ]
    left, total = sum(weight for _, weight in rows), MILLION - split.shed
    if not left:
        return Split((), (), MILLION)
    # Ends of the stretches that the weights take on a line, each rounded by itself: so they sum up exactly.
    ends, reached = [0], 0
    for _, weight in rows:
        reached += weight
        ends.append(reached * total // left)
    weights = tuple(end - begin for begin, end in pairwise(ends))
    return Split(tuple(index for index, _ in rows), weights, split.shed)
