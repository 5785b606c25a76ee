"""PURE. What is left for a request when the split in force has no pool for it: first the table's weights for
the loss of a provider, then its last resort. What the table sheds stays shed: how much may be carried is the
planner's to say.
"""

from collections.abc import Callable, Collection, Iterable

from msgspec import Struct
from msgspec.structs import replace

from tieline._routing.compile import Candidate, OutOf, candidates, nothing_in, weighted
from tieline._routing.pick import Choice
from tieline._routing.route import Needs, Reason, Route, Shed, Target
from tieline.events import HEALTH_FAILURES
from tieline.table import PoolInfo, Slice, Split

_NOTHING = Shed(Reason.NO_POOL)


class Request(Struct, frozen=True):
    """What one asks for, and what is known of the pools here. ``aim`` makes a target of a pool."""

    part: Slice
    model: str
    needs: Needs | None
    out_of: OutOf
    aim: Callable[[Candidate], Target]
    phase: float

    def could_serve(self, pools: Iterable[tuple[PoolInfo, int]]) -> tuple[Candidate, ...]:
        """Those of the pools that offer what is asked for, in or out."""
        return candidates(pools, self.model, self.needs, self.out_of)


def beyond(request: Request, tried: Collection[str]) -> Route | None:
    """All that the split in force allows was tried: what the table would use without those providers."""
    on_loss = request.part.route.on_loss
    lost = sorted({pool.split("/", 1)[0] for pool in tried})
    return _untried(request, [on_loss[provider] for provider in lost if provider in on_loss], tried)


def _untried(request: Request, splits: Iterable[Split], tried: Collection[str]) -> Route | None:
    for split in splits:
        rows = request.could_serve(weighted(request.part, split))
        targets = [(request.aim(row), row.weight) for row in rows if row.out is None]
        found = Choice(targets, shed=_NOTHING, phase=request.phase).excluding(tried)
        if isinstance(found, Route):
            return found
    return None


def left(request: Request, choice: Choice, tried: Collection[str], now_ms: int) -> Shed:
    """Why ``choice`` has no pool for the request, with what may be tried all the same: of the table's splits,
    whatever was lost, the first that has a pool; then the last resort."""
    part, nothing = request.part, choice.shed
    if not choice.empty:
        nothing = nothing_in(part, request.model, request.needs, request.out_of, now_ms)
    if nothing.reason not in (Reason.NO_POOL, Reason.THROTTLED):
        return nothing
    other = _untried(request, (part.route.split, *part.route.on_loss.values()), tried)
    rows, not_tried = _last_resort(request, tried)
    last = (Route(request.aim(row), Reason.LAST_RESORT) for row in rows)
    carried = {info.pool for info, _ in weighted(part, part.route.split)}
    why = (f"{row.why_not} (last resort)" for row in not_tried if row.info.pool not in carried)
    return replace(
        nothing, why=(*nothing.why, *why), fallbacks=(*([other] if other is not None else []), *last)
    )


def _last_resort(request: Request, tried: Collection[str]) -> tuple[list[Candidate], list[Candidate]]:
    """Whom to try, in the table's order but those left here for their health last, as to try one beats a sure
    refusal; and whom not: who was tried, has said when it is back, or can't serve as it is configured."""
    part = request.part
    rows = request.could_serve((part.pools[index], 0) for index in part.route.last_resort)
    sure = [row for row in rows if row.out is not None and row.out.result not in HEALTH_FAILURES]
    other = [row for row in rows if row not in sure and row.info.pool not in tried]
    return sorted(other, key=lambda row: row.out is not None), [row for row in rows if row not in other]
