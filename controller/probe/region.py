"""The probes of one region: rounds at an interval that keeps the budget, and their reports."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import structlog

from controller.probe.pool_probes import PoolProbes, SentProbe
from controller.probe.sending import Sender
from controller.probe.spending import BUDGET_PER_POOL, Cycle, Ledger
from controller.probe.turns import Ask
from tieline.cancelling import end_all
from tieline.events import ResultClass
from tieline.producer import Producer

SECOND_OPINION_WITHIN_MS = 1_000
_NO_SECOND_OPINION = frozenset({ResultClass.OK, ResultClass.THROTTLED, ResultClass.TIMEOUT})
_log = structlog.get_logger("tieline.probe")


@dataclass(frozen=True, slots=True)
class Pace:
    """How often a pool is probed, and how long a first token may take.

    ``interval_ms``: between two tiny probes; ``long_every_ms``: between two long ones, 0 for none. Both grow
    where the probes would cost more than ``budget_per_pool``, in the policy's money per hour.
    """

    interval_ms: int = 2_000
    timeout_ms: int = 3_000
    long_every_ms: int = 60_000
    budget_per_pool: float = BUDGET_PER_POOL


class RegionProbes:
    """Probes the ``pools`` of one ``provider/region``. ``interval_ms``: that of the present round."""

    def __init__(
        self,
        region: str,
        pools: Sequence[PoolProbes],
        pace: Pace,
        *,
        sender: Sender,
        producer: Producer,
        ledger: Ledger,
    ) -> None:
        self.region = region
        self.interval_ms = pace.interval_ms
        self.ledger = ledger
        ledger.budget_per_hour = pace.budget_per_pool * len(pools)
        self._pools = pools
        self._pace = pace
        self._sender = sender
        self._producer = producer
        self._tasks: set[asyncio.Task[None]] = set()
        self._round = 0
        self._pending = 0  # regular probes of this round that have not ended
        self._news = asyncio.Event()
        self._is_unreported = False  # a probe has ended since the last report
        self._is_spent = False  # the budget has no room for a probe

    async def run(self, delay_s: float) -> None:
        """Rounds at fixed instants, until cancelled."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(delay_s)
        due_s = loop.time()
        try:
            while True:
                self._keep_budget()
                self._begin_round()
                due_s = max(due_s + self.interval_ms / 1_000, loop.time())
                await self._report_until(due_s)
        finally:
            await end_all(self._tasks)

    def _keep_budget(self) -> None:
        wanted_ms, before_ms = self._pace.interval_ms, self.interval_ms
        cycle = cycle_of(self._pools, self._pace, before_ms)
        self.interval_ms = cycle.stretched_ms(wanted_ms, self.ledger.budget_per_hour)
        for pool in self._pools:
            pool.turns.long_every_ms = round(self._pace.long_every_ms * self.interval_ms / wanted_ms)
        if (self.interval_ms > wanted_ms) != (before_ms > wanted_ms):
            _log.info(
                "the budget makes probes rarer"
                if self.interval_ms > wanted_ms
                else "probes are as often as asked",
                region=self.region,
                interval_ms=self.interval_ms,
                budget_per_hour=self.ledger.budget_per_hour,
            )

    def _begin_round(self) -> None:
        self._round += 1
        self._pending = 0
        now_ms = self._sender.monotonic_ms()
        for pool in self._pools:
            pool.watch.begin_round()
            room = pool.room
            if room and self._set_aside(pool, ask := pool.turns.regular()):
                self._pending += 1
                self._begin(self._regular(pool, ask))
                room -= 1
            if room and not pool.is_extra_under_way:
                extra = pool.turns.extra(now_ms)
                if extra is not None and self._set_aside(pool, extra):
                    pool.is_extra_under_way = True
                    self._begin(self._extra(pool, extra))

    def _begin(self, probing: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(probing)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _set_aside(self, pool: PoolProbes, ask: Ask) -> bool:
        """Whether the budget has room for this probe. What it may cost counts as spent from now on."""
        cost, now_ms = pool.cost(ask), self._sender.monotonic_ms()
        has_room = self.ledger.may_spend(cost, now_ms)
        if has_room:
            self.ledger.spend(cost, now_ms)
        if has_room == self._is_spent:
            self._is_spent = not has_room
            _log.warning(
                "the budget has room again" if has_room else "no probe sent: an hour's budget is spent",
                region=self.region,
                budget_per_hour=self.ledger.budget_per_hour,
            )
        return has_room

    async def _regular(self, pool: PoolProbes, ask: Ask) -> None:
        number = self._round
        pool.regular_under_way += 1
        try:
            await self._probe(pool, ask, is_extra=False)
        finally:
            pool.regular_under_way -= 1
            if number == self._round:
                self._pending -= 1
            if not self._pending:
                self._news.set()

    async def _extra(self, pool: PoolProbes, ask: Ask) -> None:
        try:
            if not pool.is_awaiting_secret:
                await self._probe(pool, ask, is_extra=True)
        finally:
            pool.is_extra_under_way = False

    async def _probe(self, pool: PoolProbes, ask: Ask, *, is_extra: bool) -> None:
        """Sends a probe whose cost is set aside. A part of a pool that fails alone must not be taken for the
        whole pool. So a regular probe that fails at once has second opinions and counts together with them,
        and an extra one counts together with the regular one that is under way."""
        probe = await self._sender.send(pool, ask)
        probes = [probe] if probe is not None else []
        try:
            if probe is not None and not is_extra and _needs_second_opinion(probe):
                for other in pool.turns.second_opinions(ask):
                    if not self._set_aside(pool, other):
                        break
                    opinion = await self._sender.send(pool, other)
                    probes += [opinion] if opinion is not None else []
                    if opinion is None or opinion.result is ResultClass.OK:
                        break
        finally:
            if is_extra and pool.regular_under_way:
                pool.waiting.extend(probes)
            else:
                news = [self._note(pool, ended) for ended in (*probes, *pool.take_waiting())]
                if any(news):
                    self._news.set()

    def _note(self, pool: PoolProbes, probe: SentProbe) -> bool:
        """Counts a probe; says whether it is news."""
        expected = pool.cost(probe.ask)
        ended = pool.end(probe)
        self.ledger.spend(ended.cost - expected, probe.ended_ms)
        self._is_unreported = True
        if ended.is_news:
            _log.info(
                "probe result changed",
                pool=pool.pool,
                model=probe.ask.model,
                kind=str(probe.ask.kind),
                result=str(probe.result),
            )
        return ended.is_news

    async def _report_until(self, due_s: float) -> None:
        """Reports when the regular probes of the round have ended, at once when one ends in another class
        than before, and at the end of the round."""
        loop = asyncio.get_running_loop()
        reports = 0
        while (left_s := due_s - loop.time()) > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(left_s):
                    await self._news.wait()
            if self._news.is_set():
                self._report()
                reports += 1
        if self._is_unreported or not reports:
            self._report()

    def _report(self) -> None:
        now_ms = self._sender.monotonic_ms()
        self._news.clear()
        self._is_unreported = False
        repeats_ms = self.interval_ms + self._pace.timeout_ms
        self._producer.observe(
            *(pool.watch.observation(now_ms, repeats_ms=repeats_ms) for pool in self._pools)
        )
        self._producer.flush(interval_ms=self.interval_ms, region=self.region)


def _needs_second_opinion(probe: SentProbe) -> bool:
    """Not where the pool serves or says nothing, nor where the failure itself took its time: a pool that
    hangs must be reported without waiting again."""
    return probe.result not in _NO_SECOND_OPINION and probe.took_ms <= SECOND_OPINION_WITHIN_MS


def cycle_of(pools: Sequence[PoolProbes], pace: Pace, interval_ms: int) -> Cycle:
    """The probes of these pools that repeat, at the prices and token counts known so far."""
    rounds = max(1, round(pace.long_every_ms / pace.interval_ms))
    long_cost = sum(pool.long_cost() for pool in pools) if pace.long_every_ms else 0.0
    return Cycle(rounds, sum(pool.round_cost(interval_ms) for pool in pools), long_cost)
