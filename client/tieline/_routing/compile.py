"""PURE. From a slice of the table to what may be picked now: the split in force, and who is out."""

from collections.abc import Callable, Iterable, Iterator
from math import prod

from msgspec import Struct

from tieline._health.ejection import Out
from tieline._routing.affinity import Affinity
from tieline._routing.pick import Choice
from tieline._routing.route import Needs, Outcome, Reason, Shed, Target
from tieline.events import ResultClass
from tieline.table import MILLION, Generation, ModelOffer, PoolInfo, Slice, Split

MODELS_NAMED_MAX = 20
OutOf = Callable[[str, str], Out | None]  # (pool, model) -> why this process keeps away from it, if it does
KeptBack = Callable[[str], float]  # pool -> the share of its requests that are not sent there
Report = Callable[[Target, Outcome], None]


class Held(Struct, frozen=True):
    """The table as one client holds it: a slice an origin, all of one generation. ``overlay``: the signed
    one that was saved with it in a file."""

    generation: Generation
    parts: dict[str, Slice]
    urgent: bool = False
    overlay: bytes = b""


class Candidate(Struct, frozen=True):
    """A pool that the split gives weight and that serves the model with what is needed."""

    info: PoolInfo
    name: str
    weight: int
    out: Out | None

    @property
    def why_not(self) -> str:
        """The pool and why it is out, in words; one that is not was passed over."""
        return f"{self.info.pool}: {self.out.result if self.out is not None else 'passed over'}"


def offer_for(info: PoolInfo, model: str, needs: Needs | None) -> ModelOffer | None:
    """The pool's offer of the logical model that meets the needs; without a model named, any offer does."""
    for offer in info.models:
        if model and offer.model != model:
            continue
        if needs is None:
            return offer
        long_enough = offer.context_tokens == 0 or offer.context_tokens >= needs.context_tokens
        if long_enough and needs.features.issubset(offer.features):
            return offer
    return None


def normalise(part: Slice, needs: Needs | None) -> Needs | None:
    """Needs that select alike become equal, so that compiled choices stay few: the context is rounded up to
    the next limit that any pool offers."""
    if needs is None or (needs.context_tokens <= 0 and not needs.features):
        return None
    limits = sorted({offer.context_tokens for info in part.pools for offer in info.models})
    context = next((limit for limit in limits if limit >= needs.context_tokens), needs.context_tokens)
    beyond = limits[-1] + 1 if limits else 0
    return Needs(min(context, beyond), needs.features)


def weighted(part: Slice, split: Split) -> Iterator[tuple[PoolInfo, int]]:
    """The pools that a split gives weight, in its order."""
    for index, weight in zip(split.pools, split.weights, strict=True):
        if weight > 0:
            yield part.pools[index], weight


def lost_providers(part: Slice, out_of: OutOf) -> tuple[str, ...]:
    """Providers of which more than half of the weight is ejected here. A throttled pool is not lost."""
    total: dict[str, int] = {}
    gone: dict[str, int] = {}
    for info, weight in weighted(part, part.route.split):
        total[info.provider] = total.get(info.provider, 0) + weight
        out = out_of(info.pool, "")
        if out is not None and out.result is not ResultClass.THROTTLED:
            gone[info.provider] = gone.get(info.provider, 0) + weight
    return tuple(sorted(name for name, weight in gone.items() if 2 * weight > total[name]))


def split_in_force(part: Slice, out_of: OutOf) -> tuple[Split, Reason]:
    """The route's own split, or the table's ``on_loss`` split of a lost provider: of several, the one that
    keeps most weight on pools that are in."""
    route = part.route
    splits = [route.on_loss[name] for name in lost_providers(part, out_of) if name in route.on_loss]
    if not splits:
        return route.split, Reason.WEIGHTED

    def inside(split: Split) -> int:
        return sum(weight for info, weight in weighted(part, split) if out_of(info.pool, "") is None)

    return max(splits, key=inside), Reason.PROVIDER_LOST


def candidates(
    pools: Iterable[tuple[PoolInfo, int]], model: str, needs: Needs | None, out_of: OutOf
) -> tuple[Candidate, ...]:
    """Those of the pools (with weights) that could serve the request, in or out."""
    found = []
    for info, weight in pools:
        offer = offer_for(info, model, needs)
        if offer is not None or not model:
            name = offer.name if offer is not None and model else ""
            found.append(Candidate(info, name, weight, out_of(info.pool, model)))
    return tuple(found)


def only(part: Slice, pool: str, model: str) -> Candidate | None:
    """The pool by its name, whatever its weight; None when the slice doesn't list it."""
    for info in part.pools:
        if info.pool == pool:
            offer = offer_for(info, model, None)
            return Candidate(info, offer.name if offer is not None and model else "", 0, None)
    return None


def survives(part: Slice, model: str, out_of: OutOf) -> bool:
    """Whether anything is left for the model. A throttled pool lives."""
    split, _ = split_in_force(part, out_of)
    return any(
        row.out is None or row.out.result is ResultClass.THROTTLED
        for row in candidates(weighted(part, split), model, None, out_of)
    )


def nothing_in(part: Slice, model: str, needs: Needs | None, out_of: OutOf, now_ms: int) -> Shed:
    """Of each pool of the split in force why it is out; those that are not were passed over."""
    split, _ = split_in_force(part, out_of)
    rows = candidates(weighted(part, split), model, needs, out_of)
    return _shed(part, split, rows, model, False, now_ms)


def out_share(part: Slice, out_of: OutOf) -> float:
    """The part of the route's weight that is ejected here."""
    rows = [(weight, out_of(info.pool, "")) for info, weight in weighted(part, part.route.split)]
    gone = sum(weight for weight, out in rows if out is not None and out.result is not ResultClass.THROTTLED)
    return gone / max(1, sum(weight for weight, _ in rows))


def compile_choice(
    part: Slice,
    model: str,
    needs: Needs | None,
    *,
    generation: Generation,
    out_of: OutOf,
    kept_back: KeptBack,
    report: Report,
    phase: float,
    affinity: Affinity | None,
    now_ms: int,
) -> tuple[Choice, Affinity]:
    """What may be picked now for (model, needs). ``affinity`` is used again if its weights still hold.

    A pool that is sent less than its weight because it turns most away leaves the rest to the others; what
    all of them keep back is shed.
    """
    split, reason = split_in_force(part, out_of)
    rows = candidates(weighted(part, split), model, needs, out_of)
    origin, stamp = part.route.origin, str(generation)
    back = {row.info.pool: kept_back(row.info.pool) for row in rows if row.out is None}
    targets = [(target(row, model, origin, stamp, report), row.weight) for row in rows if row.out is None]
    turned_away = round(MILLION * prod(back.values())) if back else 0
    shed_ppm = split.shed if split.shed < MILLION else 0
    shed = _shed(part, split, rows, model, bool(targets), now_ms)
    if turned_away and not shed_ppm:
        shed = Shed(Reason.THROTTLED, f"every pool of {part.route.name} turns most requests away")
    weights = tuple((row.info.pool, row.weight) for row in rows)
    if affinity is None or affinity.weights != weights:
        affinity = Affinity(weights)
    choice = Choice(
        targets,
        shed=shed,
        shed_ppm=shed_ppm + (MILLION - shed_ppm) * turned_away // MILLION,
        back={pool: share for pool, share in back.items() if share},
        reason=reason,
        phase=phase,
        affinity=affinity,
    )
    return choice, affinity


def target(row: Candidate, model: str, origin: str, generation: str, report: Report) -> Target:
    """The candidate as a target of requests for ``model``."""
    info = row.info
    return Target(
        info.pool, info.url, info.adapter, info.credential, model, row.name, origin, generation, report
    )


def _without_model(part: Slice, model: str) -> str:
    """What is asked for in vain; of a model that the route knows nothing of, which ones it has instead."""
    served = sorted({offer.model for info in part.pools for offer in info.models})
    if not model or model in served:
        return f"no pool of {part.route.name} serves {model or 'this'} with what is needed"
    return f"no pool of {part.route.name} serves {model}; it has {', '.join(served[:MODELS_NAMED_MAX])}"


def _shed(
    part: Slice, split: Split, rows: tuple[Candidate, ...], model: str, some_in: bool, now_ms: int
) -> Shed:
    route = part.route
    if some_in or split.shed == MILLION:
        text = route.shed_reason or f"the table sheds part of {route.name}"
        return Shed(Reason.SHED, text)
    if not rows:
        return Shed(Reason.NO_MODEL, _without_model(part, model))
    why = tuple(row.why_not for row in rows)
    back = [row.out.until_ms for row in rows if row.out and row.out.result is ResultClass.THROTTLED]
    if back:
        text = f"every pool of {route.name} is at its limit or out"
        return Shed(Reason.THROTTLED, text, max(0, min(back) - now_ms), why)
    passed_over = " or was passed over" if any(row.out is None for row in rows) else ""
    return Shed(Reason.NO_POOL, f"every pool of {route.name} is out{passed_over}", None, why)
