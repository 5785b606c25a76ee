"""Compiled choices of one router, and how often each was picked. Not thread-safe: the router has a lock, but
``plain`` is read without it."""

from typing import NamedTuple

from msgspec import Struct

from tieline._routing.affinity import Affinity
from tieline._routing.pick import Choice
from tieline._routing.route import Needs

CHOICES_MAX = 512


class ChoiceKey(NamedTuple):
    """What a choice is compiled for. ``needs`` are normalised."""

    origin: str
    model: str
    needs: Needs | None


class PickCount(Struct):
    """Requests of one origin: offered, and of those shed."""

    offered: int = 0
    shed: int = 0


class Choices:
    """``plain``: model -> the choice of the client's own origin without needs, which picks read without a
    lock. It is changed in place, never replaced.

    A choice lasts until the table is swapped or a pool goes out or comes back. What outlives it: its
    affinity, as compiling one costs far more; the phase of its walk, so that the next choice goes on from
    there; and its counts.
    """

    def __init__(self, origin: str) -> None:
        self.plain: dict[str, Choice] = {}
        self._origin = origin
        self._choices: dict[ChoiceKey, Choice] = {}
        self._affinities: dict[ChoiceKey, Affinity] = {}
        self._phases: dict[ChoiceKey, float] = {}
        self._counts: dict[
            str, PickCount
        ] = {}  # by origin, of picks outside of choices and of choices that are gone

    def get(self, key: ChoiceKey) -> Choice | None:
        """The compiled choice."""
        return self._choices.get(key)

    def put(self, key: ChoiceKey, choice: Choice, affinity: Affinity) -> None:
        """Keep a choice that was just compiled. Callers may ask for any needs, so beyond a limit all are
        compiled anew."""
        if len(self._choices) >= CHOICES_MAX:
            self.forget()
        self._choices[key] = choice
        self._affinities[key] = affinity

    def affinity(self, key: ChoiceKey) -> Affinity | None:
        """The affinity that the last choice for this used."""
        return self._affinities.get(key)

    def phase(self, key: ChoiceKey, otherwise: float) -> float:
        """Where the walk of the last choice for this stood."""
        return self._phases.get(key, otherwise)

    def drop(self, key: ChoiceKey) -> None:
        """One must be compiled anew."""
        choice = self._choices.pop(key, None)
        if key.origin == self._origin:
            self.plain.pop(key.model, None)
        if choice is not None:
            self._take_counts(key.origin, choice)
            self._phases[key] = choice.phase

    def forget(self) -> None:
        """All must be compiled anew."""
        self.plain.clear()
        for key in list(self._choices):
            self.drop(key)

    def count(self, origin: str) -> PickCount:
        """What was counted for this origin besides its choices' own picks."""
        count = self._counts.get(origin)
        if count is None:
            count = self._counts[origin] = PickCount()
        return count

    def take_counts(self) -> dict[str, tuple[int, int]]:
        """Origin -> (requests offered, shed) since the last call."""
        for key, choice in self._choices.items():
            self._take_counts(key.origin, choice)
        counts = {origin: (count.offered, count.shed) for origin, count in sorted(self._counts.items())}
        self._counts.clear()
        return counts

    def after_fork(self) -> None:
        """In a child process: what was counted is the parent's."""
        self.plain.clear()
        self._choices.clear()
        self._counts.clear()

    def _take_counts(self, origin: str, choice: Choice) -> None:
        picks, sheds = choice.take_counts()
        if picks:
            count = self.count(origin)
            count.offered += picks
            count.shed += sheds
