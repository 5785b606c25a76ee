"""PURE. Where a request may go when the split in force has no pool for it: first by the table's weights for
the loss of a provider, then by its last resort. What the table sheds stays shed: how much may be carried is
the planner's decision. What it sheds only for the loss of a provider turns new requests away; one that was
sent before may still go to what the route's own split has.
"""

from collections.abc import Callable, Collection, Iterable

from msgspec import Struct
from msgspec.structs import replace

from tieline._routing.compile import nothing_in
from tieline._routing.pick import Choice
from tieline._routing.route import Needs, Reason, Route, Shed, Target
from tieline._routing.slices import Candidate, OutOf, candidates, split_in_force, weighted
from tieline.events import HEALTH_FAILURES
from tieline.table import PoolInfo, Slice, Split

_NO_POOL = Shed(Reason.NO_POOL)


class PoolQuery(Struct, frozen=True):
    """What a request asks of pools, and what is known of them here. ``target_of`` makes a target of a
    candidate."""

    part: Slice
    model: str
    needs: Needs | None
    out_of: OutOf
    target_of: Callable[[Candidate], Target]
    phase: float

    def candidates(self, pools: Iterable[tuple[PoolInfo, int]]) -> tuple[Candidate, ...]:
        """Those of the pools that offer what is asked for, in or out."""
        return candidates(pools, self.model, self.needs, out_of=self.out_of)

    def nothing_in(self, split: Split, now_ms: int) -> Shed:
        """Why the split has no pool for it, if none is left."""
        return nothing_in(
            self.part, split, model=self.model, needs=self.needs, out_of=self.out_of, now_ms=now_ms
        )


def after_losses(query: PoolQuery, tried: Collection[str]) -> Route | None:
    """All that the split in force allows was tried: by the table's split without the providers of what was
    tried."""
    on_loss = query.part.route.on_loss
    providers = sorted({pool.split("/", 1)[0] for pool in tried})
    return _untried(query, [on_loss[provider] for provider in providers if provider in on_loss], tried)


def with_fallbacks(query: PoolQuery, choice: Choice, tried: Collection[str], *, now_ms: int) -> Shed:
    """Why ``choice`` has no pool for the request, with the fallbacks: of the table's splits, whatever was
    lost, the first that has a pool; then the last resort."""
    part, shed = query.part, choice.shed
    if not choice.empty:
        shed = query.nothing_in(split_in_force(part, query.out_of)[0], now_ms)
    # A provider counts as lost with more than half of its weight, so that the split without it may shed all,
    # or have no pool for what this request needs, beside pools of the own split that serve.
    if shed.reason is Reason.NO_MODEL or (shed.reason is Reason.SHED and any(tried)):
        shed = query.nothing_in(part.route.split, now_ms)
    if shed.reason not in (Reason.NO_POOL, Reason.THROTTLED):
        return shed
    route = _untried(query, (part.route.split, *part.route.on_loss.values()), tried)
    to_try, to_skip = _last_resort(query, tried)
    by_split = [route] if route is not None else []
    by_last_resort = [Route(query.target_of(row), Reason.LAST_RESORT) for row in to_try]
    weighty = {info.pool for info, _ in weighted(part, part.route.split)}
    why = (f"{row.why_not} (last resort)" for row in to_skip if row.info.pool not in weighty)
    return replace(shed, why=(*shed.why, *why), fallbacks=(*by_split, *by_last_resort))


def _untried(query: PoolQuery, splits: Iterable[Split], tried: Collection[str]) -> Route | None:
    """By the first of the splits that has a pool not tried, by weight."""
    for split in splits:
        rows = query.candidates(weighted(query.part, split))
        targets = [(query.target_of(row), row.weight) for row in rows if row.out is None]
        route = Choice(targets, shed=_NO_POOL, phase=query.phase).excluding(tried)
        if isinstance(route, Route):
            return route
    return None


def _last_resort(query: PoolQuery, tried: Collection[str]) -> tuple[list[Candidate], list[Candidate]]:
    """Pools to try and pools to skip.

    To try, in the table's order: pools not tried yet, those left here for their health last, as to try one
    beats a sure refusal. To skip: pools that were tried, that have said when they are back, or can't serve as
    they are configured.
    """
    part = query.part
    rows = query.candidates((part.pools[index], 0) for index in part.route.last_resort)
    hopeless = [row for row in rows if row.out is not None and row.out.result not in HEALTH_FAILURES]
    to_try = [row for row in rows if row not in hopeless and row.info.pool not in tried]
    to_skip = [row for row in rows if row not in to_try]
    return sorted(to_try, key=lambda row: row.out is not None), to_skip
