"""How long to wait before trying again, for every loop of this project that tries again."""

import random
from collections.abc import Callable


class Backoff:
    """Waits in seconds doubling from ``first_s`` to ``longest_s``, each shortened by up to half at random.

    The random part keeps many processes that failed at the same moment from coming back at the same moment.
    ``chance`` gives numbers from 0 to 1; tests pass their own.
    """

    def __init__(
        self, first_s: float, longest_s: float, *, chance: Callable[[], float] = random.random
    ) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._chance = chance
        self._wait_s = first_s

    def next_s(self, *, at_least_s: float = 0.0) -> float:
        """The next wait in seconds; the one after it may be twice as long.

        ``at_least_s``: what the other side asked for, for instance by Retry-After; the wait is not shorter.
        """
        wait_s = self._wait_s
        self._wait_s = min(2 * wait_s, self._longest_s)
        return max(at_least_s, wait_s * (0.5 + 0.5 * self._chance()))

    def reset(self) -> None:
        """Something succeeded: the next wait is the first one again."""
        self._wait_s = self._first_s
