"""A drill beside a running demo: capacity is asked for, refused, given by another provider, and counts.

The policy names a growth for which the plan has no room, so the shortage is there from the start. The
stand-ins speak for their providers: their source may state capacity, and so it may answer.
"""

from __future__ import annotations

from collections.abc import Callable

from controller.core.model.memory import PoolMemory
from controller.core.offers.answers import lawful_candidates
from controller.core.offers.words import asked_words, request_words
from controller.core.policy.compiled import compile_policy
from controller.core.policy.offer_rules import OfferRules
from controller.process import clock
from lab.demo.fleet import NAMESPACE
from lab.demo.plan import STANDIN_SOURCE
from lab.demo.run import Run
from lab.demo.scenario import POOLS_HEALTHY, Phase, all_healthy, calm_start
from tieline.events import pool_of
from tieline.offers import OfferAnswer, OfferedCapacity, OfferRequest
from tieline.producer import Producer

OFFER_RULES = OfferRules(
    growth=1.5,
    short_for_ms=1_000,
    enough_for_ms=120_000,
    again_after_ms=600_000,
    holder_answers_within_ms=60_000,
    others_answer_within_ms=60_000,
    needed_for_ms=3_600_000,
)
STEP_WITHIN_S = 60.0
STARTS_AFTER_MS = 4_000
MORE_SHARE_MIN = 0.5  # of the pool's own limit: so much more is surely new, and climbs the ramp
SLACK = 1.02


def offer_phases() -> tuple[Phase, ...]:
    """No fault: capacity is asked for because of the growth that the policy names."""
    return (calm_start(3),)


class AskForCapacity:
    """Waits for a request, answers it for its providers, and checks from when what was given counts."""

    async def __call__(self, run: Run) -> None:
        """Adds to the run's notes and failures."""
        await run.wait(lambda: all_healthy(run.picture, clock.now_ms()), STEP_WITHIN_S, POOLS_HEALTHY)
        holder = str(run.picture.policy.first_refusal)
        first = await self._until(run, self._is_first, "a request to the holder of the first refusal")
        run.say("offers", f"{holder} is asked for {request_words(first, 'tokens')}")
        async with Producer(
            run.fleet.stack.kafka_bootstrap, source=STANDIN_SOURCE, prefix=NAMESPACE
        ) as producer:
            await producer.send(_answer(first, holder, 1))
            passed_on = await self._until(
                run, lambda request: request.id == first.id and request.state == "others", "the others asked"
            )
            words = "; ".join(asked_words(item, clock.now_ms()) for item in passed_on.providers)
            run.say("offers", words)
            pool = self._pool(run, passed_on, holder)
            more = max(passed_on.units_per_s, MORE_SHARE_MIN * self._limit(run, pool))
            await self._state_capacity(run, pool, 1.0)  # so that no regular statement comes near the start
            from_ms = clock.now_ms() + STARTS_AFTER_MS
            capacity = OfferedCapacity(pool, more, from_ms=from_ms)
            await producer.send(_answer(passed_on, pool_of(pool)[0], 2, capacity))
        await self._until(
            run, lambda request: request.id == first.id and request.state == "accepted", "the acceptance"
        )
        run.say("offers", f"{pool} gives {more:,.0f} tokens/s more, in {STARTS_AFTER_MS / 1_000:g} s")
        await self._counts(run, pool, more, from_ms)

    async def _counts(self, run: Run, pool: str, more: float, from_ms: int) -> None:
        """It climbs the ramp from its start; then the provider states it, and it does not count twice."""
        await run.wait(lambda: _memory(run, pool).lump_since_ms > 0, STEP_WITHIN_S, f"the ramp of {pool}")
        began_ms = _memory(run, pool).lump_since_ms
        if began_ms < from_ms:
            run.failures.append(f"capacity of {pool} counted {from_ms - began_ms} ms before its start")
        limit = self._limit(run, pool)
        await self._state_capacity(run, pool, (limit + more) / limit)
        await run.wait(
            lambda: _has_risen(_memory(run, pool), (limit + more) / SLACK),
            STEP_WITHIN_S,
            f"all of the new capacity of {pool}",
        )
        reached = _memory(run, pool).limit_units_per_s
        if reached > (limit + more) * SLACK:
            run.failures.append(f"capacity of {pool} counted twice: {reached:,.0f} of {limit + more:,.0f}")
        late_s = (began_ms - from_ms) / 1_000
        run.notes.append(f"{pool}: {more:,.0f} tokens/s more counted, once, {late_s:.1f} s after their start")

    async def _until(self, run: Run, wanted: Callable[[OfferRequest], bool], what: str) -> OfferRequest:
        await run.wait(lambda: any(map(wanted, _requests(run))), STEP_WITHIN_S, what)
        return next(filter(wanted, _requests(run)))

    def _is_first(self, request: OfferRequest) -> bool:
        return request.state == "holder"

    def _pool(self, run: Run, request: OfferRequest, holder: str) -> str:
        """A pool of another provider that was asked."""
        names = {item.provider for item in request.providers} - {holder}
        pools = lawful_candidates(compile_policy(run.picture.policy), request)
        return min(pool for pool in pools if pool_of(pool)[0] in names)

    def _limit(self, run: Run, pool: str) -> float:
        return next(item.limit_units_per_s for item in run.picture.policy.pools if item.id == pool)

    async def _state_capacity(self, run: Run, pool: str, factor: float) -> None:
        await run.fleet.standins["/".join(pool_of(pool))].capacity(factor=factor)


def _requests(run: Run) -> tuple[OfferRequest, ...]:
    record = run.picture.record
    return record.memory.offers if record is not None and record.memory is not None else ()


def _memory(run: Run, pool: str) -> PoolMemory:
    record = run.picture.record
    memory = record.memory if record is not None else None
    return memory.pools.get(pool, PoolMemory()) if memory is not None else PoolMemory()


def _has_risen(memory: PoolMemory, limit: float) -> bool:
    """Whether so much is known of the pool, and none of it is on its ramp any more."""
    return memory.limit_units_per_s >= limit and not memory.lump_since_ms


def _answer(request: OfferRequest, provider: str, sequence: int, *offered: OfferedCapacity) -> OfferAnswer:
    return OfferAnswer(
        STANDIN_SOURCE, provider, request.id, incarnation="drill", sequence=sequence,
        issued_ms=clock.now_ms(), offered=offered,
    )  # fmt: skip
