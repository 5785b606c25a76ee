"""PURE. What to ask of one pool next: which model, tiny or long, as a stream or whole.

- *Regular*: a tiny probe in every round, most of them streams, each model in turn.
- *Extra*: beside it, a long probe now and then, and what failed when it was asked last.

A part of a pool may fail alone: one model, streams, long answers. So the regular probes leave out what failed
last as long as something else succeeds, and the extra ones ask it again every few seconds. Then the reports
show in each window that a part fails while another succeeds, for as long as it does. What that means for the
pool is in ``controller.core.evidence.finding``.
"""

from collections.abc import Sequence
from typing import NamedTuple

from controller.probe.request import ProbeKind
from tieline.events import ResultClass

WHOLE_EVERY = 5  # of the tiny probes of a model, so many are followed by one as a whole answer
# What failed is asked again after so long. Shorter than good evidence must last until a degraded pool clears
# (``clear_after_ms`` of the policy), or the pool would be degraded and healthy in turn.
REPEAT_MS = 6_000
_TINY = (ProbeKind.TINY_STREAM, ProbeKind.TINY_WHOLE)
_LONG = (ProbeKind.LONG_STREAM, ProbeKind.LONG_WHOLE)
_SAYS_NOTHING = frozenset({ResultClass.THROTTLED})  # about whether this model is served in this way


class Ask(NamedTuple):
    """One probe to send: the name of a model, and the kind."""

    model: str
    kind: ProbeKind


class Turns:
    """The turns of one pool's ``models``. Instants are milliseconds of one monotonic clock.

    ``long_every_ms``: between two long probes, and 0 for none; whoever probes more slowly raises it.
    """

    def __init__(self, models: Sequence[str], *, long_every_ms: int) -> None:
        self._models = tuple(models)
        self.long_every_ms = long_every_ms
        self._long_due_ms: int | None = None
        self._regular = 0
        self._long = 0
        self._failing: dict[Ask, int] = {}  # -> when it was asked last
        self._succeeding: dict[Ask, None] = {}

    @property
    def failing(self) -> tuple[Ask, ...]:
        """What failed when it was asked last."""
        return tuple(self._failing)

    def regular(self) -> Ask:
        """The tiny probe of this round."""
        every = [Ask(model, kind) for model in self._models for kind in _TINY]
        may_leave_out = any(ask not in self._failing for ask in every)
        while (ask := self._next_tiny()) in self._failing and may_leave_out:
            pass
        return ask

    def second_opinions(self, ask: Ask) -> tuple[Ask, ...]:
        """What to ask at once after ``ask`` failed, until one succeeds: the same model in the other way,
        another model in the same way, and the same again; first of them what did not fail last."""
        kind = _TINY[ask.kind is ProbeKind.TINY_STREAM]
        index = self._models.index(ask.model)
        others = (Ask(ask.model, kind), Ask(self._models[(index + 1) % len(self._models)], ask.kind))
        opinions = sorted(dict.fromkeys((*others, ask)), key=lambda other: other in self._failing)
        return tuple(opinions)

    def extra(self, now_ms: int) -> Ask | None:
        """What to ask beside the regular probe now, if anything."""
        # Where nothing tiny succeeds, what failed is asked by the regular probes.
        if any(not ask.kind.is_long for ask in self._succeeding):
            due = [ask for ask, asked_ms in self._failing.items() if now_ms - asked_ms >= REPEAT_MS]
            if due:
                return min(due, key=lambda ask: self._failing[ask])
        if not self.long_every_ms:
            return None
        if self._long_due_ms is None:
            self._long_due_ms = now_ms
        if now_ms < self._long_due_ms:
            return None
        self._long_due_ms = now_ms + self.long_every_ms
        self._long += 1
        turn, model = divmod(self._long - 1, len(self._models))
        return Ask(self._models[model], _LONG[turn % len(_LONG)])

    def note(self, ask: Ask, result: ResultClass, asked_ms: int) -> None:
        """A probe that went out at ``asked_ms`` has ended so."""
        if result in _SAYS_NOTHING:
            return
        if result is ResultClass.OK:
            self._failing.pop(ask, None)
            self._succeeding[ask] = None
        else:
            self._failing[ask] = asked_ms
            self._succeeding.pop(ask, None)

    def _next_tiny(self) -> Ask:
        turn, model = divmod(self._regular, len(self._models))
        self._regular += 1
        return Ask(self._models[model], _TINY[turn % WHOLE_EVERY == WHOLE_EVERY - 1])
