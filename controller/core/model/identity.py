"""What is another object than last time: the first question of all that keeps what nothing touches."""

from collections.abc import Mapping
from itertools import compress
from operator import is_, is_not
from typing import TypeVar

T = TypeVar("T")


def differing(before: Mapping[str, T], now: Mapping[str, T]) -> set[str]:
    """The keys whose value is not the very same object, or that only one of the two has."""
    if before is now:
        return set()
    if len(before) == len(now) and all(map(is_, before, now)):  # the usual case, and the quickest to compare
        return set(compress(now, map(is_not, before.values(), now.values())))
    found = {key for key, value in now.items() if before.get(key) is not value}
    found.update(before.keys() - now.keys())
    return found
