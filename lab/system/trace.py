"""Which orders of the steps of leading a run has reached: append, projection, claim, kill, stop, go on.

An order is a window of ``WINDOW`` steps in a row, each with the process that did it. Processes are numbered
as they appear in the window, so that it does not matter which of two controllers came first.
"""

from __future__ import annotations

from collections import deque
from itertools import islice

WINDOW = 5


class Trace:
    """``orders``: the distinct windows."""

    def __init__(self) -> None:
        self.orders: set[tuple[tuple[str, int], ...]] = set()
        self._steps: deque[tuple[str, str]] = deque(maxlen=WINDOW)

    def note(self, step: str, process: str) -> None:
        """A process did a step."""
        if step == "project" and (step, process) in islice(self._steps, max(len(self._steps) - 1, 0), None):
            return
        self._steps.append((step, process))
        if len(self._steps) < WINDOW:
            return
        numbers: dict[str, int] = {}
        self.orders.add(tuple((name, numbers.setdefault(who, len(numbers))) for name, who in self._steps))
