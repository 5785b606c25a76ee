"""An exhaustive search of a model: all states that it can reach, and which promises some step breaks."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterator
from typing import TypeVar

STATES_MAX = 400_000
State = TypeVar("State", bound=Hashable)


def search(
    start: State, following: Callable[[State], Iterator[State]], faults: Callable[[State, State], set[str]]
) -> tuple[int, set[str]]:
    """All reachable states: how many, and which promises some step breaks."""
    seen, todo, broken = {start}, deque([start]), set[str]()
    while todo:
        state = todo.popleft()
        for new in following(state):
            broken |= faults(state, new)
            if new not in seen:
                seen.add(new)
                todo.append(new)
        assert len(seen) < STATES_MAX, "the search outgrew its bounds"
    return len(seen), broken
