"""PURE. Sessions onto pools, so that prompt caches stay warm: a Maglev table (D. Eisenbud et al., Maglev: A
Fast and Reliable Software Network Load Balancer, NSDI 2016), made exact.

Each pool walks its own permutation of the slots and takes a free one whenever its turn comes; turns are dealt
in proportion to the weights. A pool gets the whole slots of its share that way. What is left of all the
shares are parts of slots, and those divide the slots that stay free. So every pool has exactly its share, one
of a millionth included, and nearly every session needs one look into a list. The table depends on pools and
weights alone: every process maps a session alike.

A pool that is out leaves the table as it is. Its sessions hop to other slots, each along its own chain, until
they meet a pool that is in: nobody else's session moves, and all come back when the pool does. (Weighted
rendezvous hashing would do the same for 17 us a session at 40 pools.)
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b
from itertools import accumulate
from typing import TypeVar

from msgspec import Struct

SLOTS = 8_191  # prime, so that every skip walks all slots
HOPS_MAX = 24
COMPILED_MAX = 8  # sets of slots of some 70 kB each
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
        owner = self.owners[point % SLOTS]
        if isinstance(owner, str):
            return owner
        # The place within the slot must not depend on the slot: the point is mixed first (a multiplicative
        # hash).
        place = (point * _MIX % _WORD) * self.total // _WORD
        return self.names[bisect_right(self.edges, owner * self.total + place)]


class Affinity:
    """Slots of one set of (pool, weight); compiled at their first use, some 10 ms for 400 pools."""

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
            self._slots = _slots_of(tuple(sorted(self._weights)))
        return self._slots

    def follow(self, point: int, pools_in: Mapping[str | int, _T]) -> _T | None:
        """What ``pools_in`` has for the first of its pools along the chain that begins at ``point``; None
        when the chain meets none in 24 hops."""
        slots = self.compile()
        if not slots.owners:
            return None
        for _ in range(HOPS_MAX):
            value = pools_in.get(slots.owner(point))
            if value is not None:
                return value
            point = (point * 1_664_525 + 1_013_904_223) % _POINTS
        return None


@lru_cache(maxsize=COMPILED_MAX)
def _slots_of(weights: tuple[tuple[str, int], ...]) -> Slots:
    """``compile_slots``, which takes milliseconds, once for origins and clients of a process whose pools have
    the same weights."""
    return compile_slots(weights)


def compile_slots(weights: Sequence[tuple[str, int]]) -> Slots:
    """The table of these pools, whatever their order."""
    ordered = sorted(weights)
    if not ordered:
        return Slots([])
    if len(ordered) == 1:
        return Slots([ordered[0][0]] * SLOTS, ordered[0][1])
    total = sum(weight for _, weight in ordered)
    quotas = [weight * SLOTS // total for _, weight in ordered]
    turns = sorted(
        ((2 * turn + 1) / quota, index) for index, quota in enumerate(quotas) for turn in range(quota)
    )
    walks = [_walk(pool) for pool, _ in ordered]
    at = [offset for offset, _ in walks]
    owners: list[str | None] = [None] * SLOTS
    for _, index in turns:
        slot, skip = at[index], walks[index][1]
        while owners[slot] is not None:
            slot = (slot + skip) % SLOTS
        owners[slot] = ordered[index][0]
        at[index] = (slot + skip) % SLOTS
    return _divided(owners, total, [(pool, weight * SLOTS % total) for pool, weight in ordered])


def _divided(owners: Sequence[str | None], total: int, parts: Sequence[tuple[str, int]]) -> Slots:
    """The free slots, numbered, and the parts of slots that divide them."""
    owners_or_numbers: list[str | int] = []
    free = 0
    for pool in owners:
        owners_or_numbers.append(free if pool is None else pool)
        free += pool is None
    rows = [(pool, part) for pool, part in parts if part]
    return Slots(
        owners_or_numbers,
        total,
        names=tuple(pool for pool, _ in rows),
        edges=tuple(accumulate(part for _, part in rows)),
    )


def _walk(pool: str) -> tuple[int, int]:
    """(first slot, skip) of the pool's permutation."""
    digest = blake2b(pool.encode(), digest_size=16).digest()
    return int.from_bytes(digest[:8], "big") % SLOTS, int.from_bytes(digest[8:], "big") % (SLOTS - 1) + 1
