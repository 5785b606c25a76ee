"""What a client says of itself: where its table comes from and how old its knowledge is."""

import logging
from collections.abc import Callable
from enum import StrEnum
from typing import Any

from msgspec import Struct

_log = logging.getLogger("tieline")


class State(StrEnum):
    """``live``: the source was heard within the stale limit. ``stale``: it was not. ``last_good``: running
    on the file. ``initializing``: no table yet. ``off``: not started, or closed."""

    INITIALIZING = "initializing"
    LIVE = "live"
    STALE = "stale"
    LAST_GOOD = "last_good"
    OFF = "off"


class Status(Struct, frozen=True):
    """``since_ms``: how long the state has lasted. ``generation``: the one in force, ``lineage:epoch:seq``,
    empty without a table. ``age_ms``: since the source was last heard, None if never. ``error``: what is
    wrong with the source, empty when nothing is. ``reports_dropped``: how many were given up. ``overlay``:
    the emergency overlay that is honoured; ``overlay_error``: why one is not."""

    state: State
    since_ms: int
    generation: str = ""
    age_ms: int | None = None
    error: str = ""
    reports_dropped: int = 0
    overlay: str = ""
    overlay_error: str = ""


class Applied(Struct, frozen=True):
    """A generation has just come into force here. ``urgent``: it contains a forced move or a command.
    ``at_ms``: Unix epoch; ``at_monotonic_ms``: the same instant by ``time.monotonic``."""

    generation: str
    urgent: bool
    at_ms: int
    at_monotonic_ms: float


class Contact:
    """PURE. Follows the source; monotonic milliseconds."""

    def __init__(self, now_ms: int) -> None:
        self.error = ""
        self.heard_ms: int | None = None
        self._off = True
        self._state = State.OFF
        self._since_ms = now_ms

    def started(self, now_ms: int) -> None:
        """The client has begun to follow its source."""
        self._off = False
        self._enter(State.INITIALIZING, now_ms)

    def stopped(self, now_ms: int) -> None:
        """The client is closed."""
        self._off = True
        self._enter(State.OFF, now_ms)

    def heard(self, now_ms: int) -> None:
        """A manifest that may be held was read."""
        self.heard_ms = now_ms
        self.error = ""

    def state(self, now_ms: int, *, holds_table: bool, stale_after_ms: int) -> tuple[State, int]:
        """The state now and for how long it has lasted."""
        if self._off:
            state = State.OFF
        elif self.heard_ms is None:
            state = State.LAST_GOOD if holds_table else State.INITIALIZING
        else:
            state = State.LIVE if now_ms - self.heard_ms < stale_after_ms else State.STALE
        self._enter(state, now_ms)
        return state, now_ms - self._since_ms

    def _enter(self, state: State, now_ms: int) -> None:
        if state is not self._state:
            self._state, self._since_ms = state, now_ms


def call_all(listeners: list[Callable[[Any], None]], value: object) -> None:
    """Tell all listeners; one that fails is said so, and the others hear it too."""
    for listener in listeners:
        try:
            listener(value)
        except Exception:  # noqa: BLE001  the application's own function
            _log.exception("a listener failed")
