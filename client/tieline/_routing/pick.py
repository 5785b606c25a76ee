"""PURE. One compiled choice: weights over targets, ready to be picked from.

Weights are laid end to end on a line; a point walks along it by the golden ratio (a Weyl sequence on
integers, the step coprime to the line's length). After as many picks as the line is long, every target was
picked exactly as often as its weight says, a weight of one millionth included, and on the way each target's
picks are spread evenly. Finding the target is one bisection in C: 9 comparisons at 400 pools.

A choice never changes once compiled, but for the point; ejections and table swaps compile a new one. Threads
that pick at the same moment may get the same step: that costs evenness, never correctness.
"""

from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence
from itertools import accumulate
from math import gcd
from zlib import crc32

from tieline._health.ejection import LEVELS
from tieline._routing.affinity import SLOTS, Affinity
from tieline._routing.route import Reason, Route, Shed, Target
from tieline.table import MILLION

_GOLDEN = 0.6180339887498949


class Choice:
    """Targets with weights, and the share to shed.

    ``phase`` in [0, 1): where the walk starts; processes that start together should not pick in step.
    ``affinity`` may know more pools than ``targets``: those are out. ``kept_back``: shares of what is meant
    for a pool that are not sent there; other pools get them. ``hits``: picks by result; ``session_picks``:
    those that needed no step of the walk.
    """

    __slots__ = (
        "_affinity",
        "_at",
        "_by_pool",
        "_edges",
        "_kept_back",
        "_kept_back_phase",
        "_other_routes",
        "_results",
        "_retry_phase",
        "_routes",
        "_shed",
        "_sheds",
        "_slots",
        "_span",
        "_step",
        "hits",
        "session_picks",
    )

    def __init__(
        self,
        targets: Sequence[tuple[Target, int]],
        *,
        shed: Shed,
        shed_ppm: int = 0,
        reason: Reason = Reason.WEIGHTED,
        phase: float = 0.0,
        affinity: Affinity | None = None,
        kept_back: Mapping[str, float] | None = None,
    ) -> None:
        self._kept_back, self._kept_back_phase = kept_back or {}, phase
        self._routes = [
            (Route(target, reason), self._weight_sent(target.pool, weight) if kept_back else weight)
            for target, weight in targets
            if weight > 0
        ]
        self._shed = shed
        self._results: list[Route | Shed] = [route for route, _ in self._routes]
        weights = [weight for _, weight in self._routes]
        if not self._routes:
            self._results, weights = [shed], [1]
        elif shed_ppm:
            self._results.append(shed)
            weights = _with_shed(weights, shed_ppm)
        self._edges = list(accumulate(weights))
        self._span = self._edges[-1]
        self._step = _coprime_step(self._span)
        self._at = int(phase * self._span) % self._span
        self._retry_phase = phase
        self._other_routes = self._without(())  # for what has no reason to pass over any pool
        self._affinity = affinity or Affinity([(r.target.pool, weight) for r, weight in self._routes])
        self._sheds = shed_ppm > 0 or not self._routes
        self._slots: list[str | int] | None = None
        self._by_pool: dict[str | int, Route] = {}  # by what a slot says; no number is a pool
        self.hits = [0] * len(self._results)
        self.session_picks = 0

    @property
    def empty(self) -> bool:
        """Whether no target is left."""
        return not self._routes

    @property
    def shed(self) -> Shed:
        """Why there is no target, if none is left."""
        return self._shed

    @property
    def weights(self) -> dict[str, int]:
        """The pools that are picked, with the weights by which they are."""
        return {route.target.pool: weight for route, weight in self._routes}

    @property
    def shed_ppm(self) -> int:
        """The share of the picks that is shed; all of them where no target is left."""
        if not self._sheds:
            return 0
        ends = [0, *self._edges]
        return (ends[-1] - ends[-2]) * MILLION // self._span

    @property
    def phase(self) -> float:
        """Where the walk stands, so that the next choice goes on from there."""
        return self._at / self._span

    def next(self) -> Route | Shed:
        """The next result by weight."""
        at = self._at + self._step
        if at >= self._span:
            at -= self._span
        self._at = at
        index = bisect_right(self._edges, at)
        self.hits[index] += 1
        return self._results[index]

    def take_counts(self) -> tuple[int, int]:
        """(picks since the last call, those of them that were shed)."""
        hits, self.hits = self.hits, [0] * len(self._results)
        picks, self.session_picks = sum(hits) + self.session_picks, 0
        return picks, hits[-1] if isinstance(self._results[-1], Shed) else 0

    def for_session(self, session: str) -> Route | Shed:
        """The session's own target while that is in. What the table sheds is shed whoever asks: the walk
        decides that, so that no session is shed for good."""
        if self._sheds:
            result = self.next()
            if type(result) is Shed:
                return result
        else:
            self.session_picks += 1
        slots = self._slots
        if slots is None:
            slots = self._compile_sessions()
        point = crc32(session.encode("utf-8", "surrogatepass"))
        route = self._by_pool.get(slots[point % SLOTS]) or self._hop(point)
        return self._spared(route) if self._kept_back else route

    def excluding(self, exclude: Collection[str]) -> Route | Shed:
        """A target by weight that is not among ``exclude``; not counted as a pick. No share is shed here: the
        request was let in before."""
        return self._by_weight(exclude)

    def _compile_sessions(self) -> list[str | int]:
        """At the first session after a swap or an ejection; slots last as long as the weights do."""
        self._by_pool = {route.target.pool: Route(route.target, Reason.AFFINITY) for route, _ in self._routes}
        self._slots = self._affinity.compile().owners
        return self._slots

    def _spared(self, route: Route | Shed) -> Route | Shed:
        """A session's request goes elsewhere for once when its pool is sent less than it is meant to get."""
        share = self._kept_back.get(route.pool, 0.0) if isinstance(route, Route) else 0.0
        if not share:
            return route
        self._kept_back_phase = (self._kept_back_phase + _GOLDEN) % 1.0
        return route if self._kept_back_phase >= share else self._by_weight(())

    def _hop(self, point: int) -> Route | Shed:
        return self._affinity.follow(point, self._by_pool) or self._by_weight(())

    def _by_weight(self, exclude: Collection[str]) -> Route | Shed:
        routes, edges = self._without(exclude) if exclude else self._other_routes
        if not routes:
            shed = self._shed
            return Shed(Reason.NO_POOL, shed.text, retry_after_ms=shed.retry_after_ms, why=shed.why)
        self._retry_phase = (self._retry_phase + _GOLDEN) % 1.0  # a walk of its own: retries are rare
        return routes[bisect_right(edges, int(self._retry_phase * edges[-1]))]

    def _without(self, exclude: Collection[str]) -> tuple[list[Route], list[int]]:
        """Routes and the edges of their weights, without these pools."""
        rows = [(route.target, weight) for route, weight in self._routes if route.target.pool not in exclude]
        routes = [Route(target, Reason.FAILOVER) for target, _ in rows]
        return routes, list(accumulate(weight for _, weight in rows))

    def _weight_sent(self, pool: str, weight: int) -> int:
        """What is left of the weight, in sixteenths so that it stays a whole number; at least one."""
        return max(1, round(weight * LEVELS * (1 - self._kept_back.get(pool, 0.0))))


def _with_shed(weights: Sequence[int], shed_ppm: int) -> list[int]:
    """Weights and, last, the part to shed, in whole numbers: pools that are out leave the shed share as it
    is."""
    parts = [weight * (MILLION - shed_ppm) for weight in weights] + [sum(weights) * shed_ppm]
    common = gcd(*parts)
    return [part // common for part in parts]


def _coprime_step(span: int) -> int:
    """A step near the golden ratio of the line that meets every point of it before any twice."""
    step = max(1, int(span * _GOLDEN))
    while gcd(step, span) != 1:
        step += 1
    return step
