"""What a client says about itself: its state, and how old its knowledge of the table is."""

import logging
from collections.abc import Callable
from enum import StrEnum
from typing import Any

from msgspec import Struct

_log = logging.getLogger("tieline")


class State(StrEnum):
    """The state of a client. States follow one another like this::

        off -> initializing or last_good -> live <-> stale -> off

    ``initializing``: started, without a table. ``last_good``: started, with the table from the last good
    file; the source has not answered yet. ``live``: within the stale limit (10 s) the source answered, and a
    controller confirmed its table. ``stale``: they did not, and requests go on with the table in force.
    ``off``: not started, or closed.
    """

    INITIALIZING = "initializing"
    LIVE = "live"
    STALE = "stale"
    LAST_GOOD = "last_good"
    OFF = "off"


class Status(Struct, frozen=True):
    """Where a client stands.

    - ``since_ms``: how long the state has lasted.
    - ``generation``: the table in force, ``lineage:epoch:seq``; empty without one.
    - ``age_ms``: time since the source last answered, None if it never did.
    - ``error``: what is wrong with the source; empty when nothing is.
    - ``credential_error``: which credentials' functions give no token, and why; empty while all do.
    - ``pool_error``: which pools of the table lie outside of ``pool_hosts`` and get no requests; empty while
      none does.
    - ``reports_dropped``: how many reports were given up.
    - ``overlay``: the id of the emergency overlay in force, or empty; ``overlay_error``: why one is refused.
    """

    state: State
    since_ms: int
    generation: str = ""
    age_ms: int | None = None
    error: str = ""
    reports_dropped: int = 0
    overlay: str = ""
    overlay_error: str = ""
    credential_error: str = ""
    pool_error: str = ""


class Applied(Struct, frozen=True):
    """A generation has just come into force in this process. ``urgent``: it contains a forced move or a
    command. ``at_ms``: Unix time; ``at_monotonic_ms``: the same instant by ``time.monotonic``."""

    generation: str
    urgent: bool
    at_ms: int
    at_monotonic_ms: float


class StateTracker:
    """Derives the client's ``State`` from when its source answered. Reads no clock; times are monotonic
    milliseconds."""

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
        """The source answered with a table that may be used."""
        self.heard_ms = now_ms
        self.error = ""

    def state(self, now_ms: int, *, has_table: bool, stale_after_ms: int) -> tuple[State, int]:
        """The state now, and for how many milliseconds it has lasted."""
        if self._off:
            state = State.OFF
        elif self.heard_ms is None:
            state = State.LAST_GOOD if has_table else State.INITIALIZING
        else:
            state = State.LIVE if now_ms - self.heard_ms < stale_after_ms else State.STALE
        self._enter(state, now_ms)
        return state, now_ms - self._since_ms

    def _enter(self, state: State, now_ms: int) -> None:
        if state is not self._state:
            self._state, self._since_ms = state, now_ms


def notify(listeners: list[Callable[[Any], None]], value: object) -> None:
    """Call all listeners. One that raises is logged, and the others are still called."""
    for listener in listeners:
        try:
            listener(value)
        except Exception:  # noqa: BLE001  it is the application's own function
            _log.exception("a listener of the client raised an error")
