"""What one planner keeps between its decisions, so that a decision costs only what is new.

Most inputs of a decision are the same objects as in the decision before: the policy, and every row, pool
memory, finding or table that nothing has touched. Whether an input is new is therefore asked by identity
(``is``), which costs nothing, and never by comparing contents. Every value in question is frozen or is not
changed after it was handed on, so the same object stands for the same contents.

Nothing here is part of a decision. A planner with an empty ``Memo`` decides the same bytes, only slower;
tests/property/test_planner_property.py holds each stage to that.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import compress
from operator import is_, is_not
from typing import Any, TypeVar, TypeVarTuple

T = TypeVar("T")
Subject = TypeVar("Subject")
Inputs = TypeVarTuple("Inputs")


class Memo:
    """Kept values of all stages, in three shapes. Each value is held together with the inputs it answers.

    ``once`` keeps the last answer of a function, ``each`` its answer for every subject of a list, and
    ``last`` with ``keep`` a record of a stage's own, from which the stage works out by itself what it has to
    look at again. Values are found by the function or the record's class, so no stage can read another's.
    """

    def __init__(self) -> None:
        self._answers: dict[Callable[..., Any], tuple[tuple[object, ...], Any]] = {}
        self._lists: dict[Callable[..., Any], tuple[Sequence[Any], tuple[object, ...], list[Any]]] = {}
        self._records: dict[type, Any] = {}

    def once(self, make: Callable[[*Inputs], T], *inputs: *Inputs) -> T:
        """``make(*inputs)``; the answer of the last call while all inputs are the same objects."""
        last = self._answers.get(make)
        if last is not None and _are_same(last[0], inputs):
            answer: T = last[1]
            return answer
        answer = make(*inputs)
        self._answers[make] = (inputs, answer)
        return answer

    def each(
        self, make: Callable[[Subject, *Inputs], T], subjects: Sequence[Subject], *inputs: *Inputs
    ) -> Sequence[T]:
        """``make(subject, *inputs)`` of every subject, in their order. Not to be changed by the caller.

        A subject that the last call's list had in the same place keeps its answer while ``inputs`` are the
        same objects. If the list has another length, it keeps it in whatever place.
        """
        before, before_inputs, answers = self._lists.get(make, ((), (), []))
        if not _are_same(before_inputs, inputs):
            answers = [make(subject, *inputs) for subject in subjects]
        elif _are_same(before, subjects):
            return answers
        elif len(before) == len(subjects):
            pairs = zip(subjects, before, answers, strict=True)
            answers = [answer if new is old else make(new, *inputs) for new, old, answer in pairs]
        else:
            # The memo holds the subjects of last time, so no other object can have the id of one of them.
            by_id = dict(zip(map(id, before), answers, strict=True))
            answers = [
                by_id[id(subject)] if id(subject) in by_id else make(subject, *inputs) for subject in subjects
            ]
        self._lists[make] = (subjects, inputs, answers)
        return answers

    def last(self, kind: type[T]) -> T | None:
        """The record of this class that was kept last; None at first."""
        return self._records.get(kind)

    def keep(self, record: object) -> None:
        """Keeps the record in the place of the last one of its class."""
        self._records[type(record)] = record


def changed_keys(before: Mapping[str, T], now: Mapping[str, T]) -> set[str]:
    """Keys whose value changed identity, and keys that only one of the two mappings has."""
    if before is now:
        return set()
    if len(before) == len(now) and all(map(is_, before, now)):  # the usual case, and the quickest to compare
        return set(compress(now, map(is_not, before.values(), now.values())))
    changed = {key for key, value in now.items() if before.get(key) is not value}
    changed.update(before.keys() - now.keys())
    return changed


def _are_same(before: Sequence[object], now: Sequence[object]) -> bool:
    return len(before) == len(now) and all(map(is_, before, now))
