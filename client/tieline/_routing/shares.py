"""PURE. How the requests of one origin and model are to be divided now, by somebody who sends them in this
process's place: the compiled choice, written out. ``tieline.proxying`` hands it on."""

from collections.abc import Collection

from msgspec import Struct

from tieline._routing.pick import Choice
from tieline._routing.route import Reason, Shed
from tieline._routing.slices import OutOf, candidates, weighted
from tieline.table import MILLION, ModelOffer, PoolInfo, Slice

# Of the others' weight: what a pool gets that may be tried again, until one of its requests ends.
TRIAL_DIVISOR = 100
_UNWEIGHTED = 1


class Share(Struct, frozen=True):
    """A pool with its weight, which means something only beside the other shares' weights, and what the pool
    offers of the model; None for requests that name no model."""

    info: PoolInfo
    weight: int
    offer: ModelOffer | None = None


class Shares(Struct, frozen=True):
    """``shed_ppm`` parts per million of the requests are turned away with the words of ``shed``. The others
    go to ``pools`` by weight. Those that these can't serve may go to ``fallbacks``: other pools that the
    route allows, by any of its splits, or as its last resort. A pool that is out is in
    neither."""

    pools: tuple[Share, ...]
    fallbacks: tuple[Share, ...] = ()
    shed_ppm: int = 0
    shed: Shed | None = None


def shares_of(part: Slice, choice: Choice, model: str, *, out_of: OutOf, due: Collection[str]) -> Shares:
    """The shares of a compiled choice. ``due``: pools that are out and may be tried again now: each gets a
    hundredth of what the others get; together they get a hundredth of what would all be shed."""
    infos = {info.pool: info for info in part.pools}
    listed = candidates(((info, 1) for info in part.pools), model, None, out_of=out_of)
    offers = {row.info.pool: row.offer for row in listed}
    rows = choice.weights
    trial = max(1, sum(rows.values()) // TRIAL_DIVISOR)
    rows |= {pool: trial for pool in sorted(due) if pool in offers and pool not in rows}
    pools = tuple(Share(infos[pool], weight, offers[pool]) for pool, weight in rows.items())
    others = tuple(
        Share(infos[pool], weight, offers[pool])
        for pool, weight in _fallback_weights(part).items()
        if pool in offers and pool not in rows and out_of(pool, model) is None
    )
    if not choice.empty:
        return Shares(pools, others, shed_ppm=choice.shed_ppm, shed=choice.shed)
    if not (pools or others):
        return Shares((), shed_ppm=MILLION, shed=choice.shed)
    # What is shed only for the loss of a provider is shed as well, and no fallback gets round it.
    if choice.shed.reason is Reason.SHED:
        tried_ppm = MILLION // TRIAL_DIVISOR if pools else 0
        return Shares(pools, others if pools else (), shed_ppm=MILLION - tried_ppm, shed=choice.shed)
    return Shares(pools or others, others if pools else ())


def _fallback_weights(part: Slice) -> dict[str, int]:
    """Pools that the route allows besides those of the split in force: by their largest weight in any of its
    splits; those that are only a last resort have the smallest."""
    weights: dict[str, int] = {}
    for split in (part.route.split, *part.route.on_loss.values()):
        for info, weight in weighted(part, split):
            weights[info.pool] = max(weight, weights.get(info.pool, 0))
    for index in part.route.last_resort:
        weights.setdefault(part.pools[index].pool, _UNWEIGHTED)
    return weights
