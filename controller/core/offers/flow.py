"""Requests for capacity from one decision to the next: who is asked, until when, and what came of it.

A request is the event that tells it (``OfferRequest``), so what is remembered and what is published are one.
Every rule here is asked again in each decision and gives the same request if nothing happened.
"""

import math
from collections.abc import Iterable, Sequence
from operator import is_
from typing import NamedTuple

from msgspec.structs import replace

from controller.core.model.dispatch_plan import Plan
from controller.core.model.memory import Memory, ShortMemory
from controller.core.offers.answers import IgnoredReply, Reply, lawful_candidates, replies, reply_fault
from controller.core.offers.shortages import Shortage, shortages
from controller.core.policy.compiled import CompiledPolicy
from controller.core.policy.offer_rules import OfferRules
from controller.core.policy.thresholds import Thresholds
from controller.core.snapshot import LoggedAnswer
from tieline.events import Command, pool_of
from tieline.offers import AcceptedCapacity, AnswerKind, AskedProvider, OfferRequest, OfferState

OFFERS_MAX = 50
KEPT_MS = 7 * 86_400_000  # a request that has ended and of which nothing counts any more
SETTLING_MS = 60_000  # beside the ramp: until a plan has been made that counts new capacity
DIGITS = 3  # of the amount that is asked for, rounded up
NAME_MAX = 40
BY_STATEMENT = "statement"


class OfferInputs(NamedTuple):
    """What a decision knows of shortages and answers. ``plan`` is None while none is fresh: nothing then says
    that anything is short, nor that it no longer is. ``declined``: pools on which the holder of the first
    refusal gives no burst, by index."""

    plan: Plan | None
    demand: Sequence[float]
    answers: tuple[LoggedAnswer, ...]
    commands: tuple[Command, ...]
    declined: frozenset[int]


class Offers(NamedTuple):
    """All requests, the oldest first; what is short; and the answers that do not count. ``due_ms``: when any
    of this changes without an event, None if nothing does."""

    requests: tuple[OfferRequest, ...]
    short: tuple[ShortMemory, ...]
    ignored: tuple[IgnoredReply, ...]
    due_ms: int | None


NO_OFFERS = Offers((), (), (), due_ms=None)


def next_offers(compiled: CompiledPolicy, before: Memory, inputs: OfferInputs, now_ms: int) -> Offers:
    """The requests after this decision; the same tuples as ``before`` while nothing is new.

    ``compiled`` is the policy as it is written: no order and no exception makes a pool lawful here.
    """
    rules = compiled.policy.offers
    if rules is None and not before.offers and not before.short:
        return NO_OFFERS
    if rules is None:
        closed = tuple(_ended(item, "withdrawn", now_ms) if item.is_open else item for item in before.offers)
        return Offers(_kept(closed, KEPT_MS, now_ms), (), (), due_ms=None)
    entitled, ignored = replies(compiled.policy, inputs.answers, inputs.commands)
    flow = _Flow(compiled, rules, inputs, now_ms=now_ms)
    requests = []
    for request in before.offers:
        own = [reply for reply in entitled if reply.offer == request.id]
        advanced, faults = flow.advanced(request, own)
        requests.append(advanced)
        ignored += faults
    lacking = () if inputs.plan is None else shortages(compiled, inputs.plan, inputs.demand, rules)
    lacking = tuple(item for item in lacking if flow.uncovered_units(item, requests) >= rules.units_min)
    short = before.short if inputs.plan is None else _remembered(before.short, lacking, requests, now_ms)
    requests = [flow.withdrawn(request, short) for request in requests]
    requests += flow.opened(lacking, short, requests)
    return Offers(
        _same(_kept(tuple(requests), max(KEPT_MS, rules.again_after_ms), now_ms), before.offers),
        before.short if short == before.short else short,
        tuple(ignored),
        due_ms=flow.due_ms(requests, short),
    )


class _Flow:
    """The rules of one decision, with what they all ask of."""

    def __init__(self, compiled: CompiledPolicy, rules: OfferRules, inputs: OfferInputs, now_ms: int) -> None:
        self._compiled = compiled
        self._rules = rules
        self._inputs = inputs
        self._now_ms = now_ms
        self._holder = compiled.policy.first_refusal

    def advanced(
        self, request: OfferRequest, own: Iterable[Reply]
    ) -> tuple[OfferRequest, list[IgnoredReply]]:
        """The request after these answers and the deadlines that have passed, and the answers that do not
        count."""
        replies_of_it = tuple(own)
        after, ignored = self._advanced_once(request, replies_of_it)
        if len(after.providers) > len(request.providers):
            # The others have just been asked: what they said before counts from now on.
            after, ignored = self._advanced_once(after, replies_of_it)
        return after, ignored

    def _advanced_once(
        self, request: OfferRequest, own: Iterable[Reply]
    ) -> tuple[OfferRequest, list[IgnoredReply]]:
        ignored: list[IgnoredReply] = []
        for reply in own:
            if _is_taken(request, reply):
                continue
            if fault := reply_fault(self._compiled, request, reply, self._now_ms):
                ignored.append(IgnoredReply(reply, fault))
            else:
                request = self._settled(_answered(request, reply))
        if not request.is_open:
            return request, ignored
        return self._settled(self._silenced(self._refused_by_statement(request))), ignored

    def _settled(self, request: OfferRequest) -> OfferRequest:
        """Ended once enough is accepted or nobody is left to answer; the others asked once the holder has."""
        if not request.is_open:
            return request
        if request.accepted_units_per_s >= request.units_per_s:
            return _ended(request, "accepted", self._now_ms)
        if any(not item.answer for item in request.providers):
            return request
        if request.state == "holder" and (others := self._others(request)):
            return replace(request, state="others", providers=(*request.providers, *others))
        return _ended(request, "partly_accepted" if request.accepted else "unmet", self._now_ms)

    def _refused_by_statement(self, request: OfferRequest) -> OfferRequest:
        """The holder has refused, too, where it states that it gives no burst on any pool in question."""
        pools = {
            self._compiled.pool_index[pool]
            for pool in lawful_candidates(self._compiled, request)
            if pool_of(pool)[0] == self._holder
        }
        if not pools or not pools <= self._inputs.declined:
            return request
        providers = tuple(
            _with_answer(item, "declined", self._now_ms, BY_STATEMENT)
            if item.provider == self._holder and not item.answer
            else item
            for item in request.providers
        )
        return replace(request, providers=providers) if providers != request.providers else request

    def _silenced(self, request: OfferRequest) -> OfferRequest:
        """With those noted as silent whose deadline has passed."""
        if all(item.answer or self._now_ms < item.deadline_ms for item in request.providers):
            return request
        providers = tuple(
            item
            if item.answer or self._now_ms < item.deadline_ms
            else _with_answer(item, "silent", item.deadline_ms, "")
            for item in request.providers
        )
        return replace(request, providers=providers)

    def _others(self, request: OfferRequest) -> tuple[AskedProvider, ...]:
        """Everybody else who has a lawful pool for what is short."""
        within_ms = self._rules.others_answer_within_ms
        done = {item.provider for item in request.providers}
        names = [name for name in self._providers(request) if name not in done]
        return tuple(AskedProvider(name, self._now_ms, self._now_ms + within_ms) for name in names)

    def _providers(self, request: OfferRequest) -> tuple[str, ...]:
        """Who can be asked: providers with a lawful pool, without those that are only observed, as nothing
        would be moved there."""
        observed = {item.id for item in self._compiled.policy.providers if item.mode == "observe"}
        names = {pool_of(pool)[0] for pool in lawful_candidates(self._compiled, request)}
        return tuple(name for name in self._compiled.providers if name in names - observed)

    def withdrawn(self, request: OfferRequest, short: Sequence[ShortMemory]) -> OfferRequest:
        """Ended if what it asks for has been there for long enough."""
        item = next((item for item in short if item.geographies == request.geographies), None)
        is_over = item is None or (
            item.relieved_ms and self._now_ms >= item.relieved_ms + self._rules.enough_for_ms
        )
        if not request.is_open or not is_over:
            return request
        return _ended(request, "partly_accepted" if request.accepted else "withdrawn", self._now_ms)

    def opened(
        self, lacking: Iterable[Shortage], short: Iterable[ShortMemory], requests: Sequence[OfferRequest]
    ) -> list[OfferRequest]:
        """Requests for what has been short for long enough, is not being asked for, and somebody can give."""
        since_ms = {item.geographies: item.since_ms for item in short}
        new: list[OfferRequest] = []
        for shortage in lacking:
            is_lasting = self._now_ms >= since_ms[shortage.geographies] + self._rules.short_for_ms
            if is_lasting and not self._must_wait(shortage, [*requests, *new]):
                request = self._opened(shortage, [*requests, *new])
                new += [request] if request.providers else []
        return new

    def _must_wait(self, shortage: Shortage, requests: Iterable[OfferRequest]) -> bool:
        """Whether a request for one of the geographies is open, or one for the same has just ended."""
        for request in requests:
            if request.is_open and not set(shortage.geographies).isdisjoint(request.geographies):
                return True
            is_recent = self._now_ms < request.closed_ms + self._rules.again_after_ms
            if not request.is_open and is_recent and request.geographies == shortage.geographies:
                return True
        return False

    def _opened(self, shortage: Shortage, requests: Sequence[OfferRequest]) -> OfferRequest:
        rules, now_ms = self._rules, self._now_ms
        from_ms = now_ms + rules.lead_ms
        request = OfferRequest(
            id=_new_id(shortage, {item.id for item in requests}, now_ms),
            geographies=shortage.geographies,
            workloads=shortage.workloads,
            cause=shortage.cause,
            units_per_s=_rounded_up(self.uncovered_units(shortage, requests)),
            from_ms=from_ms,
            until_ms=from_ms + rules.needed_for_ms,
            issued_ms=now_ms,
            state="holder",
            providers=(),
            lost=shortage.lost,
        )
        if self._holder in self._providers(request):
            deadline_ms = now_ms + rules.holder_answers_within_ms
            holder = AskedProvider(str(self._holder), now_ms, deadline_ms)
            return self._settled(self._refused_by_statement(replace(request, providers=(holder,))))
        return self._settled(request)

    def uncovered_units(self, shortage: Shortage, requests: Iterable[OfferRequest]) -> float:
        """What capacity has to be asked for: more than is short, as only the headroom of a pool is used, and
        without what was accepted and has yet to come into use."""
        thresholds = self._compiled.policy.thresholds
        pools = self._compiled.policy.pools
        settles_ms = ramp_ms(thresholds) + SETTLING_MS
        coming = sum(
            part.units_per_s
            for request in requests
            for part in request.accepted
            if self._now_ms < min(part.until_ms, max(part.from_ms, part.accepted_ms) + settles_ms)
            and part.pool in self._compiled.pool_index
            and pools[self._compiled.pool_index[part.pool]].geography in shortage.geographies
        )
        return shortage.units_per_s / self._compiled.policy.headroom - coming

    def due_ms(self, requests: Iterable[OfferRequest], short: Iterable[ShortMemory]) -> int | None:
        """When the next deadline passes, or a shortage or its end has lasted long enough."""
        times_ms = [item.since_ms + self._rules.short_for_ms for item in short if not item.relieved_ms]
        times_ms += [item.relieved_ms + self._rules.enough_for_ms for item in short if item.relieved_ms]
        for request in requests:
            times_ms.append(request.closed_ms + self._rules.again_after_ms)
            times_ms += [item.deadline_ms for item in request.providers if not item.answer]
        return min((at for at in times_ms if at > self._now_ms), default=None)


def ramp_ms(thresholds: Thresholds) -> int:
    """How long new capacity takes to come into use."""
    return len(thresholds.ramp_steps) * thresholds.ramp_step_min_ms


def accepted_parts(requests: Iterable[OfferRequest]) -> tuple[AcceptedCapacity, ...]:
    """Everything that was accepted, in the order in which it was asked for."""
    return tuple(part for request in requests for part in request.accepted)


def _is_taken(request: OfferRequest, reply: Reply) -> bool:
    """Whether this answer is part of the request already."""
    own = next((item for item in request.providers if item.provider == reply.provider), None)
    if own is None:
        return False
    if not reply.offered:
        return own.answer == "declined" or (own.answer == "accepted" and reply.at_ms < own.answered_ms)
    accepted = {part.pool for part in request.accepted}
    return all(item.pool in accepted for item in reply.offered)


def _answered(request: OfferRequest, reply: Reply) -> OfferRequest:
    """With this answer. A pool on which capacity was accepted keeps what was said first."""
    accepted = {part.pool for part in request.accepted}
    parts = tuple(
        AcceptedCapacity(
            pool=item.pool,
            units_per_s=item.units_per_s,
            from_ms=item.from_ms or request.from_ms,
            until_ms=item.until_ms or request.until_ms,
            by=reply.by,
            accepted_ms=reply.at_ms,
            price_per_million_units=item.price_per_million_units,
        )
        for item in reply.offered
        if item.pool not in accepted
    )
    kind: AnswerKind = "accepted" if reply.offered else "declined"
    providers = tuple(
        _with_answer(item, kind, reply.at_ms, reply.by) if item.provider == reply.provider else item
        for item in request.providers
    )
    return replace(request, providers=providers, accepted=(*request.accepted, *parts))


def _with_answer(item: AskedProvider, answer: AnswerKind, at_ms: int, by: str) -> AskedProvider:
    return replace(item, answer=answer, answered_ms=at_ms, by=by)


def _ended(request: OfferRequest, state: OfferState, now_ms: int) -> OfferRequest:
    return replace(request, state=state, closed_ms=now_ms)


def _remembered(
    before: Iterable[ShortMemory],
    lacking: Iterable[Shortage],
    requests: Iterable[OfferRequest],
    now_ms: int,
) -> tuple[ShortMemory, ...]:
    """Since when what is short. What no longer is stays known while it is asked for, so that one good moment
    withdraws no request."""
    earlier = {item.geographies: item for item in before}
    now_short = {item.geographies for item in lacking}
    wanted = {request.geographies for request in requests if request.is_open}
    after = []
    for geographies in sorted(now_short | (earlier.keys() & wanted)):
        item = earlier.get(geographies) or ShortMemory(geographies, now_ms)
        if geographies in now_short:
            after.append(replace(item, relieved_ms=0) if item.relieved_ms else item)
        else:
            after.append(item if item.relieved_ms else replace(item, relieved_ms=now_ms))
    return tuple(after)


def _kept(requests: tuple[OfferRequest, ...], kept_ms: int, now_ms: int) -> tuple[OfferRequest, ...]:
    """Without those that are over for long, and with at most ``OFFERS_MAX``: the oldest that are over go."""
    over = [request for request in requests if _is_over(request, now_ms)]
    gone = {request.id for request in over if now_ms >= request.closed_ms + kept_ms}
    more = len(requests) - len(gone) - OFFERS_MAX
    gone |= {request.id for request in [item for item in over if item.id not in gone][: max(more, 0)]}
    return tuple(request for request in requests if request.id not in gone) if gone else requests


def _is_over(request: OfferRequest, now_ms: int) -> bool:
    return not request.is_open and all(part.until_ms <= now_ms for part in request.accepted)


def _same(after: tuple[OfferRequest, ...], before: tuple[OfferRequest, ...]) -> tuple[OfferRequest, ...]:
    is_same = len(after) == len(before) and all(map(is_, after, before))
    return before if is_same else after


def _new_id(shortage: Shortage, used: set[str], now_ms: int) -> str:
    """``eu-6925f2a1``: the geographies, and the second in which it is asked for, in hex digits."""
    stem = f"{'+'.join(shortage.geographies)[:NAME_MAX]}-{now_ms // 1_000:x}"
    names = (stem, *(f"{stem}.{number}" for number in range(2, OFFERS_MAX + 2)))
    return next(name for name in names if name not in used)


def _rounded_up(units: float) -> float:
    """With ``DIGITS`` digits that count, so that a request reads as a person would write it."""
    step = 10.0 ** (math.floor(math.log10(units)) - DIGITS + 1) if units > 0 else 1.0
    return round(math.ceil(round(units / step, 6)) * step, 6)
