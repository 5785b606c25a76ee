"""PURE. What of the table is in force now: which split, which pools of it could serve a request, and whether
a pool may be left."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from urllib.parse import urlsplit

from msgspec import Struct

from tieline._health.ejection import Out, PoolHealth
from tieline._health.verdicts import Address
from tieline._routing.route import Needs, Reason
from tieline.events import ResultClass
from tieline.model_paths import model_path
from tieline.table import GEMINI, MESSAGES, Generation, ModelOffer, PoolInfo, Slice, Split

PARTIAL_SHARE_MAX = 0.5
_MESSAGES_PATHS = frozenset({"/messages", "/messages/count_tokens"})
OutOf = Callable[[str, str], Out | None]  # (pool, model) -> why this process keeps away from it, if it does
_RETURNING = Out(ResultClass.SERVER_ERROR, 0, 0)


class ClientTable(Struct, frozen=True):
    """The table as one client has it: a slice for each origin, all of one generation. ``urgent``: it contains
    a forced move or an order. ``overlay``: the signed emergency overlay that was saved with it in a file, b""
    for none."""

    generation: Generation
    parts: dict[str, Slice]
    urgent: bool = False
    overlay: bytes = b""

    def addresses(self) -> dict[str, Address]:
        """Where each pool is, and by which secret."""
        infos = (info for part in self.parts.values() for info in part.pools)
        return {info.pool: (info.url, info.adapter, info.credential) for info in infos}

    def carried(self) -> set[str]:
        """Pools that a route gives weight when nothing is lost."""
        return {info.pool for part in self.parts.values() for info, _ in weighted(part, part.route.split)}


class Candidate(Struct, frozen=True):
    """A pool that could serve a request, by its ``offer`` of the model and under its own ``name`` for it, if
    the request names a model; ``out``: why it does not now."""

    info: PoolInfo
    name: str
    weight: int
    out: Out | None
    offer: ModelOffer | None = None

    @property
    def why_not(self) -> str:
        """The pool and why it is out, in words. One that is not out was passed over, for instance as tried
        before."""
        return f"{self.info.pool}: {self.out.result if self.out is not None else 'passed over'}"


def needs_of(path: str, needs: Needs | None) -> Needs | None:
    """The needs with what the path of a request asks for: Anthropic's Messages API and Gemini's own are
    offered only by models with that feature."""
    if path.partition("?")[0] in _MESSAGES_PATHS:
        feature = MESSAGES
    elif model_path(path) is not None:
        feature = GEMINI
    else:
        return needs
    needs = needs or Needs()
    return Needs(needs.context_tokens, needs.features | {feature})


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
    """Needs that select the same pools become equal, so that compiled choices stay few: the context is
    rounded up to the next limit that any pool offers."""
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


def candidates(
    pools: Iterable[tuple[PoolInfo, int]], model: str, needs: Needs | None, *, out_of: OutOf
) -> tuple[Candidate, ...]:
    """Those of the pools (with weights) that could serve the request, in or out."""
    rows = []
    for info, weight in pools:
        offer = offer_for(info, model, needs)
        if offer is not None or not model:
            rows.append(_candidate(info, offer if model else None, weight, out=out_of(info.pool, model)))
    return tuple(rows)


def sharing_state(part: Slice, pool: str, model: str, *, out_of: OutOf) -> tuple[Candidate, ...]:
    """The pool by its name, whatever its weight, and after it those that see the same state and offer the
    model: the same host by the same credential. None when the slice doesn't list the pool."""
    holder = next((info for info in part.pools if info.pool == pool), None)
    if holder is None:
        return ()
    account = _account(holder)
    infos = [holder, *(info for info in part.pools if info is not holder and _account(info) == account)]
    return tuple(
        _candidate(info, offer, 0, out=out_of(info.pool, model))
        for info in infos
        if (offer := offer_for(info, model, None) if model else None) is not None
        or not model
        or info is holder
    )


def _account(info: PoolInfo) -> tuple[str, str, str]:
    """Whose state a pool sees."""
    return urlsplit(info.url).netloc.lower(), info.credential, info.adapter


def _candidate(info: PoolInfo, offer: ModelOffer | None, weight: int, *, out: Out | None) -> Candidate:
    return Candidate(info, offer.name if offer is not None else "", weight, out=out, offer=offer)


def awaits_trial(part: Slice, model: str, awaits: Callable[[str, str], bool]) -> bool:
    """Whether a request for the model may be the one that finds out about a pool: then none may go past
    that."""
    return any(
        awaits(info.pool, model) and (not model or offer_for(info, model, None) is not None)
        for info, _ in weighted(part, part.route.split)
    )


def lost_providers(part: Slice, out_of: OutOf) -> tuple[str, ...]:
    """Providers of which more than half of the weight is out here. A throttled pool is full, not lost."""
    rows = list(weighted(part, part.route.split))
    gone: dict[str, int] = {}
    for info, weight in rows:
        if _is_gone(out_of(info.pool, "")):
            gone[info.provider] = gone.get(info.provider, 0) + weight
    if not gone:
        return ()
    total = dict.fromkeys(gone, 0)
    for info, weight in rows:
        if (provider := info.provider) in total:
            total[provider] += weight
    return tuple(sorted(name for name, weight in gone.items() if 2 * weight > total[name]))


def split_in_force(part: Slice, out_of: OutOf) -> tuple[Split, Reason]:
    """The route's own split, or the table's ``on_loss`` split of a lost provider: of several, the one that
    keeps most weight on pools that are in."""
    route = part.route
    lost = lost_providers(part, out_of) if route.on_loss else ()
    splits = [route.on_loss[name] for name in lost if name in route.on_loss]
    if not splits:
        return route.split, Reason.WEIGHTED

    def weight_in(split: Split) -> int:
        return sum(weight for info, weight in weighted(part, split) if out_of(info.pool, "") is None)

    return max(splits, key=weight_in), Reason.PROVIDER_LOST


def split_while_returning(
    part: Slice, split: Split, out_of: OutOf, returning: Mapping[str, float]
) -> Split | None:
    """The split between the route's own, ``split``, and the table's for the loss of a provider, while the
    pools of that provider get their share back by steps (``returning``). None when that makes no difference.

    What the returning pools don't get yet stays where the table has put it for their loss; by the route's own
    split alone it would all fall on the pools that are left there.
    """

    if not returning or not part.route.on_loss:
        return None

    def out_or_returning(pool: str, model: str) -> Out | None:
        return out_of(pool, model) or (_RETURNING if pool in returning else None)

    lost = set(lost_providers(part, out_or_returning)) & part.route.on_loss.keys()
    if not lost:
        return None
    other, _ = split_in_force(part, out_or_returning)
    rows = [(info.pool, weight) for info, weight in weighted(part, split) if info.provider in lost]
    back = sum(weight * returning.get(pool, 1.0) for pool, weight in rows if out_of(pool, "") is None)
    part_back = back / sum(weight for _, weight in rows)
    weights: dict[int, float] = {}
    for source, factor in ((split, part_back), (other, 1.0 - part_back)):
        for index, weight in zip(source.pools, source.weights, strict=True):
            weights[index] = weights.get(index, 0.0) + weight * factor
    shed = round(split.shed * part_back + other.shed * (1.0 - part_back))
    return Split(tuple(weights), tuple(map(round, weights.values())), shed)


def may_leave(table: ClientTable, pool: str, health: PoolHealth, *, out_of: OutOf) -> bool:
    """Whether the others can bear it: never the last pool of a model, and for partial failure never more than
    half of a route's weight."""
    leaving = Out(ResultClass.SERVER_ERROR, 0, 0)

    def out_then(other: str, model: str) -> Out | None:
        return leaving if other == pool else out_of(other, model)

    for part in table.parts.values():
        info = next((info for info in part.pools if info.pool == pool), None)
        if info is None:
            continue
        if health.partial and _gone_share(part, out_then) > PARTIAL_SHARE_MAX:
            return False
        models = [offer.model for offer in info.models] or [""]
        if not all(_survives(part, model, out_then) for model in models):
            return False
    return True


def _gone_share(part: Slice, out_of: OutOf) -> float:
    """The part of the route's weight that is out here."""
    rows = [(weight, out_of(info.pool, "")) for info, weight in weighted(part, part.route.split)]
    gone = sum(weight for weight, out in rows if _is_gone(out))
    return gone / max(1, sum(weight for weight, _ in rows))


def _survives(part: Slice, model: str, out_of: OutOf) -> bool:
    """Whether any pool of the split in force is left for the model."""
    split, _ = split_in_force(part, out_of)
    rows = candidates(weighted(part, split), model, None, out_of=out_of)
    return any(not _is_gone(row.out) for row in rows)


def _is_gone(out: Out | None) -> bool:
    """Whether the pool serves nothing here. A throttled pool still serves: it is only full for the moment."""
    return out is not None and out.result is not ResultClass.THROTTLED
