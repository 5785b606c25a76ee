"""PURE. Sessions onto pools, so that prompt caches stay warm: a Maglev table (Eisenbud et al., NSDI 2016).

Each pool walks its own permutation of the slots and takes a free one whenever its turn comes; turns are
dealt in proportion to the weights. A pool gets the whole slots of its share that way; what is left of all the
shares are parts of slots, and they divide the slots that stay free. So every pool has exactly its share, one
of a millionth included, and nearly every session is found by one look into a list.
The table depends on pools and weights alone: every process maps a session alike.

A pool that is out leaves the table as it is. Its sessions hop to other slots, each along its own chain,
until they meet a pool that is in: nobody else's session moves, and all come back when the pool does.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from itertools import accumulate
from typing import TypeVar

from msgspec import Struct

SLOTS = 8_191  # prime, so that every skip walks all slots
HOPS_MAX = 24
_POINTS = 2**61 - 1  # prime: the chain does not fall into a short circle of slots
_MIX = 0x9E3779B97F4A7C15
_WORD = 2**64
_T = TypeVar("_T")


class Slots(Struct, frozen=True):
    """``owners``: slot -> pool, or the number of a slot that is divided. Those lie end to end on a line, each
    ``total`` long; ``edges[i]`` is where the part of ``names[i]`` ends on it."""

    owners: list[str | int]
    total: int = 1
    names: tuple[str, ...] = ()
    edges: tuple[int, ...] = ()

    def owner(self, point: int) -> str:
        """The pool at this point."""
        found = self.owners[point % SLOTS]
        if isinstance(found, str):
            return found
        place = (point * _MIX % _WORD) * self.total // _WORD
        return self.names[bisect_right(self.edges, found * self.total + place)]


class Affinity:
    """Slots of one set of (pool, weight); compiled at its first use, some 10 ms for 400 pools."""

    __slots__ = ("_slots", "_weights")

    def __init__(self, weights: Sequence[tuple[str, int]]) -> None:
        self._weights = tuple((pool, weight) for pool, weight in weights if weight > 0)
        self._slots: Slots | None = None

    @property
    def weights(self) -> tuple[tuple[str, int], ...]:
        """What the slots were or will be compiled from."""
        return self._weights

    def compile(self) -> Slots:
        """The slots; no owners when there are no pools."""
        if self._slots is None:
            self._slots = compile_slots(self._weights)
        return self._slots

    def follow(self, point: int, inside: Mapping[str | int, _T]) -> _T | None:
        """What ``inside`` holds for the first pool that is in along the chain that begins at ``point``."""
        slots = self.compile()
        if not slots.owners:
            return None
        for _ in range(HOPS_MAX):
            found = inside.get(slots.owner(point))
            if found is not None:
                return found
            point = (point * 1_664_525 + 1_013_904_223) % _POINTS
        return None


def compile_slots(weights: Sequence[tuple[str, int]]) -> Slots:
    """The table of these pools, whatever their order."""
    ordered = sorted(weights)
    if not ordered:
        return Slots([])
    total = sum(weight for _, weight in ordered)
    whole = [weight * SLOTS // total for _, weight in ordered]
    turns = sorted(
        ((2 * turn + 1) / quota, index) for index, quota in enumerate(whole) for turn in range(quota)
    )
    walks = [_walk(pool) for pool, _ in ordered]
    at = [offset for offset, _ in walks]
    taken: list[str | None] = [None] * SLOTS
    for _, index in turns:
        slot, skip = at[index], walks[index][1]
        while taken[slot] is not None:
            slot = (slot + skip) % SLOTS
        taken[slot] = ordered[index][0]
        at[index] = (slot + skip) % SLOTS
    return _divided(taken, total, [(pool, weight * SLOTS % total) for pool, weight in ordered])


def _divided(taken: Sequence[str | None], total: int, parts: Sequence[tuple[str, int]]) -> Slots:
    """The free slots, numbered, and the parts of slots that divide them."""
    owners: list[str | int] = []
    free = 0
    for pool in taken:
        owners.append(free if pool is None else pool)
        free += pool is None
    left = [(pool, part) for pool, part in parts if part]
    return Slots(owners, total, tuple(pool for pool, _ in left), tuple(accumulate(part for _, part in left)))


def _walk(pool: str) -> tuple[int, int]:
    digest = blake2b(pool.encode(), digest_size=16).digest()
    return int.from_bytes(digest[:8], "big") % SLOTS, int.from_bytes(digest[8:], "big") % (SLOTS - 1) + 1
