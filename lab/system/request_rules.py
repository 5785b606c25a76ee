"""What must hold of the requests of one client, by their attempts and their ends. PURE.

- *Requests reach lawful pools only.* Each attempt is looked at, whatever table is in force.
- *What a pool holds is asked of that pool.* A request that refers to an answer goes where the answer lies.
- *Retries stay within their budget.* An attempt that leaves a pool which still succeeds costs a token: there
  are 3 in a second, and one for ten requests, over 10 s. What leaves a pool without success is free.
- *No request is lost beside a pool that serves.* It is judged only if no more pools of its route than it has
  attempts to spare were ever ill, and the table gave it one that never was; nor if ill pools took all of the
  caller's time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from typing import Any

from lab.sim.contracts import Contracts
from lab.system.pools import Result, holder_of
from lab.system.requests import Ending

LAWFUL_REQUESTS = "requests reach lawful pools only"
HELD_REQUESTS = "what a pool holds is asked of that pool"
BUDGET = "retries stay within their budget"
NONE_LOST = "no request is lost beside a pool that serves"
REQUEST_RULES = (LAWFUL_REQUESTS, HELD_REQUESTS, BUDGET, NONE_LOST)

ATTEMPTS_MAX = 3
WINDOW_S = 10.0
SLACK_S = 1.0  # the budget is counted by whole seconds
TOKENS_PER_S, TOKENS_SHARE = 3.0, 0.1
BUDGET_SPENT = 20  # tokens in a window: with more a request may end for want of one
SUCCESS_LATELY_S = 10.0
STRAIGHT_FAILURES = 5
OK = 200
BY_THE_TABLE = ("shed", "no_table", "no_route")

SplitOf = Callable[[str, str], Mapping[str, int]]
"""(generation, route name) -> parts by pool."""


@dataclass
class _Pool:
    """What this client has seen of a pool."""

    succeeded_s: float | None = None
    failures: int = 0  # since the last success

    def still_succeeds(self, now_s: float) -> bool:
        """Whether to leave it costs a token."""
        lately = self.succeeded_s is not None and now_s - self.succeeded_s < SUCCESS_LATELY_S
        return lately and self.failures < STRAIGHT_FAILURES


@dataclass
class _Course:
    """One request on its way. ``costs``: whether the next attempt costs a token."""

    route: str
    holder: int | None
    costs: bool = False
    attempts: list[str] = field(default_factory=list)


class RequestWatch:
    """Watches one client of one workload.

    ``breaches``: the first of each rule, as (second, rule, story). ``ill``: pools that were ever ill.
    ``numbers``: of the pools' endpoints, as ``holder_of`` names them. ``clock_s``: virtual seconds.
    """

    def __init__(
        self,
        client: str,
        workload: str,
        contracts: Contracts,
        *,
        split_of: SplitOf,
        ill: Container[str],
        cut_off: Container[str],
        numbers: Mapping[str, int],
        clock_s: Callable[[], float],
    ) -> None:
        self.breaches: list[tuple[int, str, str]] = []
        self.ends: dict[str, int] = {}  # how many requests ended so
        self.client, self._workload, self._contracts = client, workload, contracts
        self._split_of, self._ill, self._cut_off, self._numbers = split_of, ill, cut_off, numbers
        self._clock_s = clock_s
        self._under_way: dict[str, _Course] = {}
        self._pools: dict[str, _Pool] = {}
        self._begun_s: deque[float] = deque()
        self._retried_s: deque[float] = deque()

    def begins(self, request: str, origin: str, body: Mapping[str, Any]) -> None:
        """See ``RequestLog``."""
        self._under_way[request] = _Course(f"{self._workload}/{origin}", holder_of(body))
        self._begun_s.append(self._clock_s())

    def leaves(self, request: str, pool: str) -> None:
        """See ``AttemptLog``."""
        course = self._under_way[request]
        course.attempts.append(pool)
        if pool not in self._contracts.routes[course.route].lawful:
            self._break(LAWFUL_REQUESTS, f"{request} of {course.route} was sent to {pool}")
        if course.holder is not None and course.holder != self._numbers[pool]:
            self._break(HELD_REQUESTS, f"{request} was sent to {pool}, and endpoint {course.holder} holds it")
        if course.costs:
            self._retried_s.append(self._clock_s())
            self._check_budget()

    def ended(self, request: str, pool: str, result: Result) -> None:
        """See ``AttemptLog``."""
        now_s, memory = self._clock_s(), self._pools.setdefault(pool, _Pool())
        if result == "ok":
            memory.succeeded_s, memory.failures = now_s, 0
        elif result != "throttled":
            memory.failures += 1
        course = self._under_way[request]
        course.costs = result == "failed" and memory.still_succeeds(now_s)

    def finished(self, ending: Ending) -> None:
        """The whole request has ended."""
        course = self._under_way.pop(ending.request)
        name = "served" if ending.status == OK else ending.reason or str(ending.status)
        self.ends[name] = self.ends.get(name, 0) + 1
        if ending.status == OK or ending.reason in BY_THE_TABLE or self.client in self._cut_off:
            return
        if ending.gave_up == "retry_budget" and self._tokens_spent() > BUDGET_SPENT:
            return
        if ending.gave_up == "deadline" and course.attempts and self._ill_alone(course.attempts):
            return  # ill pools may take all of the time that the caller gives
        if (witness := self._witness(course, ending)) is not None:
            tried = ", ".join(course.attempts) or "nothing"
            lasted_s = ending.ended_s - ending.began_s
            why = f"{ending.status} {ending.reason} {ending.gave_up} after {lasted_s:.1f} s: {ending.story}"
            self._break(
                NONE_LOST, f"{ending.request} of {course.route} tried {tried}; {witness} serves; {why}"
            )

    def _ill_alone(self, pools: list[str]) -> bool:
        return all(pool in self._ill for pool in pools)

    def _witness(self, course: _Course, ending: Ending) -> str | None:
        """A pool that should have served the request; None where none must have."""
        first, last = (self._split_of(generation, course.route) for generation in ending.generations)
        well = sorted(pool for pool in first.keys() & last.keys() if pool not in self._ill)
        if course.holder is not None:
            well = [pool for pool in well if self._numbers[pool] == course.holder]
        ill = {pool for pool in (*first, *last) if pool in self._ill}
        return well[0] if well and len(ill) < ATTEMPTS_MAX else None

    def _tokens_spent(self) -> int:
        since_s = self._clock_s() - WINDOW_S
        return sum(at_s >= since_s for at_s in self._retried_s)

    def _check_budget(self) -> None:
        now_s = self._clock_s()
        for times, window_s in ((self._begun_s, WINDOW_S + SLACK_S), (self._retried_s, WINDOW_S)):
            while times and times[0] < now_s - window_s:
                times.popleft()
        # Of a client that counts by whole seconds, a window may be a second shorter than it should be.
        most = (TOKENS_PER_S * WINDOW_S + TOKENS_SHARE * len(self._begun_s)) * (1 + SLACK_S / WINDOW_S)
        if len(self._retried_s) > most:
            story = f"{self.client} left pools that succeed {len(self._retried_s)} times in {WINDOW_S:.0f} s"
            self._break(BUDGET, f"{story}; {most:.0f} are allowed")

    def _break(self, rule: str, story: str) -> None:
        """Notes the first breach of each rule."""
        if rule not in {broken for _, broken, _ in self.breaches}:
            self.breaches.append((int(self._clock_s()), rule, story))
