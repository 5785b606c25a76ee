"""PURE. From a slice of the table to what may be picked now, or to the words for why nothing may."""

from collections.abc import Callable, Mapping
from math import prod

from tieline._routing.affinity import Affinity
from tieline._routing.pick import Choice
from tieline._routing.route import Needs, Outcome, Reason, Shed, Target
from tieline._routing.slices import (
    Candidate,
    OutOf,
    candidates,
    split_in_force,
    split_while_returning,
    weighted,
)
from tieline.events import ResultClass
from tieline.table import MILLION, Generation, Slice, Split

MODELS_NAMED_MAX = 20
Report = Callable[[Target, Outcome], None]


def compile_choice(
    part: Slice,
    model: str,
    needs: Needs | None,
    *,
    generation: Generation,
    out_of: OutOf,
    returning: Mapping[str, float],
    turned_away: Mapping[str, float],
    slow: Mapping[str, float],
    report: Report,
    phase: float,
    affinity: Affinity | None,
    now_ms: int,
) -> tuple[Choice, Affinity]:
    """What may be picked now for (model, needs), and the affinity that it uses: ``affinity`` again if its
    weights still hold, as compiling one takes some 10 ms.

    A pool that is sent less than its weight leaves the rest to the others: because it is coming back
    (``returning``: the share of its weight that it gets), answers far more slowly than usual (``slow``: the
    same), or turns requests away (``turned_away``: the share that it is not sent). If all of them turn
    requests away, what every one of them would is shed.
    """
    split, reason = split_in_force(part, out_of)
    if reason is Reason.WEIGHTED and (mixed := split_while_returning(part, split, out_of, returning)):
        split, returning = mixed, {}
    rows = candidates(weighted(part, split), model, needs, out_of=out_of)
    pools = {row.info.pool for row in rows if row.out is None}
    kept_back = {
        pool: 1.0 - returning.get(pool, 1.0) * slow.get(pool, 1.0) * (1.0 - turned_away.get(pool, 0.0))
        for pool in (returning.keys() | slow.keys() | turned_away.keys()) & pools
    }
    origin, stamp = part.route.origin, str(generation)
    targets = [
        (target_of(row, model, origin, generation=stamp, report=report), row.weight)
        for row in rows
        if row.out is None
    ]
    all_turn_away = bool(pools) and pools <= turned_away.keys()
    lost_ppm = round(MILLION * prod(turned_away[pool] for pool in pools)) if all_turn_away else 0
    shed_ppm = split.shed if split.shed < MILLION else 0
    shed = _shed(part, split, rows, model=model, some_in=bool(targets), now_ms=now_ms)
    if lost_ppm and not shed_ppm:
        shed = Shed(Reason.THROTTLED, f"every pool of {part.route.name} turns most requests away")
    weights = tuple((row.info.pool, row.weight) for row in rows)
    if affinity is None or affinity.weights != weights:
        affinity = Affinity(weights)
    choice = Choice(
        targets,
        shed=shed,
        shed_ppm=shed_ppm + (MILLION - shed_ppm) * lost_ppm // MILLION,
        kept_back=kept_back,
        reason=reason,
        phase=phase,
        affinity=affinity,
    )
    return choice, affinity


def target_of(row: Candidate, model: str, origin: str, *, generation: str, report: Report) -> Target:
    """The candidate as a target of requests for ``model``."""
    info = row.info
    return Target(
        pool=info.pool,
        url=info.url,
        adapter=info.adapter,
        credential=info.credential,
        model=model,
        name=row.name,
        origin=origin,
        generation=generation,
        report=report,
        offer=row.offer,
    )


def nothing_in(
    part: Slice, split: Split, *, model: str, needs: Needs | None, out_of: OutOf, now_ms: int
) -> Shed:
    """Why no pool of the split is left, pool by pool; those that are not out were passed over."""
    rows = candidates(weighted(part, split), model, needs, out_of=out_of)
    return _shed(part, split, rows, model=model, some_in=False, now_ms=now_ms)


def _shed(
    part: Slice, split: Split, rows: tuple[Candidate, ...], *, model: str, some_in: bool, now_ms: int
) -> Shed:
    """What a request is told that gets no pool: with ``some_in`` because the table sheds its share, else
    because no pool can take it."""
    route = part.route
    if some_in or split.shed == MILLION:
        return Shed(Reason.SHED, route.shed_reason or f"the table sheds part of {route.name}")
    if not rows:
        return Shed(Reason.NO_MODEL, _without_model(part, model))
    why = tuple(row.why_not for row in rows)
    back_ms = [row.out.until_ms for row in rows if row.out and row.out.result is ResultClass.THROTTLED]
    if back_ms:
        text = f"every pool of {route.name} is at its limit or out"
        return Shed(Reason.THROTTLED, text, retry_after_ms=max(0, min(back_ms) - now_ms), why=why)
    passed_over = " or was passed over" if any(row.out is None for row in rows) else ""
    return Shed(Reason.NO_POOL, f"every pool of {route.name} is out{passed_over}", why=why)


def _without_model(part: Slice, model: str) -> str:
    """What no pool serves; for a model that the route does not have, also which ones it has instead."""
    served = sorted({offer.model for info in part.pools for offer in info.models})
    if not model or model in served:
        return f"no pool of {part.route.name} serves {model or 'this'} with what is needed"
    return f"no pool of {part.route.name} serves {model}; it has {', '.join(served[:MODELS_NAMED_MAX])}"
