"""Which answers to a request for capacity count, and why the others do not."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from controller.core.offers.shortages import is_lost
from controller.core.policy.compiled import CompiledPolicy
from controller.core.policy.policy import Policy
from controller.core.snapshot import LoggedAnswer
from tieline.events import OF_AN_OFFER, Capacity, Command, in_scope, pool_of
from tieline.offers import OfferAnswer, OfferedCapacity, OfferRequest
from tieline.registration import SENDERS

ANSWERING_KINDS = SENDERS[Capacity]


class Reply(NamedTuple):
    """An answer by whoever gave it, a source or an operator (``by``), at ``at_ms`` by the brokers' clock.
    Without ``offered`` it is a refusal."""

    offer: str
    provider: str
    offered: tuple[OfferedCapacity, ...]
    by: str
    at_ms: int

    @property
    def order(self) -> tuple[int, float, str, str]:
        """Earlier answers come first; of answers at one moment, cheaper ones."""
        prices = [item.price_per_million_units or 0.0 for item in self.offered]
        return self.at_ms, max(prices, default=0.0), self.provider, self.by


class IgnoredReply(NamedTuple):
    """An answer that does not count, and why."""

    reply: Reply
    why: str


def lawful_candidates(compiled: CompiledPolicy, request: OfferRequest) -> frozenset[str]:
    """The pools on which capacity can be given: in the request's geographies, lawful for its load, and not
    lost with what is to be survived."""
    lawful = {
        pool for route in compiled.routes if route.workload in request.workloads for pool in route.lawful
    }
    pools = compiled.policy.pools
    return frozenset(
        pools[index].id
        for index in lawful
        if pools[index].geography in request.geographies and not is_lost(pools[index], request.lost)
    )


def replies(
    policy: Policy, answers: Iterable[LoggedAnswer], commands: Iterable[Command]
) -> tuple[list[Reply], list[IgnoredReply]]:
    """(Answers of those who may answer for their provider, in order; all others)."""
    entitled = [reply_of_order(order) for order in commands if order.verb in OF_AN_OFFER]
    others = []
    for logged in answers:
        answer = logged.answer
        reply = Reply(answer.offer, answer.provider, answer.offered, by=answer.source, at_ms=logged.append_ms)
        if fault := source_fault(policy, answer):
            others.append(IgnoredReply(reply, fault))
        else:
            entitled.append(reply)
    return sorted(entitled, key=lambda reply: reply.order), others


def reply_of_order(order: Command) -> Reply:
    """What an operator's order answers; it was checked and signed as all orders are."""
    offered = (order.offered,) if order.offered is not None else ()
    provider = pool_of(order.scope)[0] if "/" in order.scope else order.scope
    return Reply(order.offer, provider, offered, by=order.actor, at_ms=order.issued_ms)


def source_fault(policy: Policy, answer: OfferAnswer) -> str:
    """Why this source may not answer for this provider; empty if it may."""
    source = next((source for source in policy.sources if source.id == answer.source), None)
    if source is None:
        return f"the policy names no source {answer.source}"
    if source.kind not in ANSWERING_KINDS:
        return f"{source.id} is of the kind {source.kind}: only {' and '.join(ANSWERING_KINDS)} may answer"
    places = [item.pool for item in answer.offered] or [answer.provider]
    if source.scope != "*" and (outside := [place for place in places if not in_scope(place, source.scope)]):
        return f"{source.id} may speak of {source.scope} only, not of {outside[0]}"
    return ""


def reply_fault(compiled: CompiledPolicy, request: OfferRequest, reply: Reply, now_ms: int) -> str:
    """Why the answer does not count for this request; empty if it does."""
    if not request.is_open:
        return f"the request {request.id} has ended: {request.state}"
    own = next((item for item in request.providers if item.provider == reply.provider), None)
    if own is None:
        return f"{reply.provider} is not asked" + (
            f", as {request.providers[0].provider} has the first refusal" if request.state == "holder" else ""
        )
    if not reply.offered:
        return f"{reply.provider} has accepted already" if own.answer == "accepted" else ""
    return next(_offered_faults(compiled, request, reply, now_ms), "")


def _offered_faults(
    compiled: CompiledPolicy, request: OfferRequest, reply: Reply, now_ms: int
) -> Iterator[str]:
    pools, rules = lawful_candidates(compiled, request), compiled.policy.offers
    price_max = rules.price_max_per_million_units if rules is not None else None
    for item in reply.offered:
        price = item.price_per_million_units
        if not item.pool.startswith(f"{reply.provider}/"):
            yield f"{item.pool} is no pool of {reply.provider}"
        elif item.pool not in pools:
            places = ", ".join(request.geographies)
            yield f"{item.pool} may not serve what is short in {places}; {_those(pools, reply.provider)}"
        elif (item.until_ms or request.until_ms) <= max(now_ms, item.from_ms or request.from_ms):
            yield f"what is given on {item.pool} ends before it begins, or is over"
        elif price_max is not None and price is not None and price > price_max:
            yield f"{price:g} per million units is more than the policy pays, which is {price_max:g}"


def _those(pools: frozenset[str], provider: str) -> str:
    own = sorted(pool for pool in pools if pool.startswith(f"{provider}/"))
    return f"those that may: {', '.join(own)}" if own else f"{provider} has none that may"
