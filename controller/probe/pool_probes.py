"""PURE. All that a prober knows of one pool: whose turn it is, what came of it, and what it costs."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from controller.probe.request import OTHER_LIMIT, ProbeEnd, ProbeKind, ProbeTarget
from controller.probe.spending import cost_of
from controller.probe.turns import REPEAT_MS, Ask, Turns
from controller.probe.watch import Watch
from tieline.events import ResultClass

IN_FLIGHT_MAX = 2
# Of an answer that does not name its tokens: what was refused, or did not arrive, is not billed.
_MAY_COST = frozenset({ResultClass.OK, ResultClass.TIMEOUT, ResultClass.CUT})


class SentProbe(NamedTuple):
    """A probe that has ended. ``number``: as its ``Watch`` gave it."""

    ask: Ask
    number: int
    end: ProbeEnd
    asked_ms: int
    ended_ms: int

    @property
    def result(self) -> ResultClass:
        return self.end.result

    @property
    def took_ms(self) -> int:
        return self.ended_ms - self.asked_ms


class EndedProbe(NamedTuple):
    """``cost``: in money, that of its tokens where the answer names them. ``is_news``: it ended in another
    class than the last one of its model and kind."""

    cost: float
    is_news: bool


class PoolProbes:
    """One pool, with a target for each of its models. Instants are milliseconds of one monotonic clock.

    ``counts_tokens``: whether the policy's unit of load is a token; else a probe is one unit.
    ``is_awaiting_secret``: a secret is being fetched, so that no probe can be sent. ``is_extra_under_way``:
    of the probes beside the regular ones there is one at a time.
    """

    def __init__(self, targets: Sequence[ProbeTarget], *, long_every_ms: int, counts_tokens: bool) -> None:
        self.pool = targets[0].pool
        self.watch = Watch(self.pool)
        self.turns = Turns([target.model for target in targets], long_every_ms=long_every_ms)
        self.is_awaiting_secret = False
        self.is_extra_under_way = False
        self.regular_under_way = 0
        self.waiting: list[SentProbe] = []  # extra ones that ended while a regular one was under way
        self._results: dict[Ask, ResultClass] = {}  # of the last probes
        self._targets = {target.model: target for target in targets}
        self._counts_tokens = counts_tokens
        self._units: dict[Ask, float] = {}  # of the last probe whose answer named its tokens

    @property
    def room(self) -> int:
        """How many probes may be sent now."""
        return 0 if self.is_awaiting_secret else IN_FLIGHT_MAX - self.watch.in_flight

    def target(self, ask: Ask) -> ProbeTarget:
        """Where this probe goes."""
        return self._targets[ask.model]

    def limit_otherwise(self, ask: Ask) -> None:
        """The model does not take ``max_tokens``: name the limit as reasoning models do from now on."""
        self._targets[ask.model] = replace(self._targets[ask.model], limit_field=OTHER_LIMIT)

    def units(self, ask: Ask) -> float:
        """The units that this probe is expected to take."""
        if not self._counts_tokens:
            return 1.0
        target = self._targets[ask.model]
        more = target.tokens_max(ask.kind) - ask.kind.tokens_max
        return self._units.get(ask, float(ask.kind.tokens_expected + more))

    def cost(self, ask: Ask, units: float | None = None) -> float:
        """The money that this probe is expected to cost, or costs with so many units."""
        price = self._targets[ask.model].price_per_million_units
        return cost_of(self.units(ask) if units is None else units, price)

    def take_waiting(self) -> list[SentProbe]:
        """The extra probes that waited, which no longer do."""
        waiting, self.waiting = self.waiting, []
        return waiting

    def end(self, probe: SentProbe) -> EndedProbe:
        """Counts a probe that has ended."""
        ask, usage = probe.ask, probe.end.usage
        units = self.units(ask)
        if usage is not None and self._counts_tokens:
            units = self._units[ask] = float(sum(usage))
        elif probe.result not in _MAY_COST:
            units = 0.0
        self.watch.end(probe.number, probe.end, probe.ended_ms, units=units)
        self.turns.note(ask, probe.result, probe.asked_ms)
        before, self._results[ask] = self._results.get(ask, ResultClass.OK), probe.result
        return EndedProbe(self.cost(ask, units), is_news=before is not probe.result)

    def round_cost(self, interval_ms: int) -> float:
        """The money that a round costs, without the long probes. What failed is asked again every
        ``REPEAT_MS``."""
        tiny = self._dearest(ProbeKind.TINY_STREAM, ProbeKind.TINY_WHOLE)
        failing = self.turns.failing
        if not failing:
            return tiny
        share = min(1.0, len(failing) * interval_ms / REPEAT_MS)
        return tiny + share * (tiny + max(self.cost(ask) for ask in failing))

    def long_cost(self) -> float:
        """The money that one long probe costs."""
        return self._dearest(ProbeKind.LONG_STREAM, ProbeKind.LONG_WHOLE)

    def _dearest(self, *kinds: ProbeKind) -> float:
        return max(self.cost(Ask(model, kind)) for model in self._targets for kind in kinds)
