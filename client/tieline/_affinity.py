"""PURE. Sessions onto pools, so that prompt caches stay warm: a Maglev table (Eisenbud et al., NSDI 2016).

Each pool walks its own permutation of the slots and takes a free one whenever its turn comes; turns are
dealt in proportion to the weights, so a pool holds exactly its share of the slots (to one slot: 1 / 8,191).
The table depends on pools and weights alone: every process maps a session alike.

A pool that is out leaves the table as it is. Its sessions hop to other slots, each along its own chain,
until they meet a pool that is in: nobody else's session moves, and all come back when the pool does.
"""

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import TypeVar

SLOTS = 8_191  # prime, so that every skip walks all slots
HOPS_MAX = 24
_POINTS = 2**61 - 1  # prime: the chain does not fall into a short circle of slots
_T = TypeVar("_T")


class Affinity:
    """Slots of one set of (pool, weight); compiled at its first use, some 10 ms for 400 pools."""

    __slots__ = ("_slots", "_weights")

    def __init__(self, weights: Sequence[tuple[str, int]]) -> None:
        self._weights = tuple((pool, weight) for pool, weight in weights if weight > 0)
        self._slots: list[str] | None = None

    @property
    def weights(self) -> tuple[tuple[str, int], ...]:
        """What the slots were or will be compiled from."""
        return self._weights

    def compile(self) -> list[str]:
        """Slot -> pool; empty when there are no pools."""
        if self._slots is None:
            self._slots = compile_slots(self._weights)
        return self._slots

    def follow(self, point: int, inside: Mapping[str, _T]) -> _T | None:
        """What ``inside`` holds for the first pool that is in along the chain that begins at ``point``."""
        slots = self.compile()
        if not slots:
            return None
        for _ in range(HOPS_MAX):
            found = inside.get(slots[point % SLOTS])
            if found is not None:
                return found
            point = (point * 1_664_525 + 1_013_904_223) % _POINTS
        return None


def compile_slots(weights: Sequence[tuple[str, int]]) -> list[str]:
    """The Maglev table of these pools, whatever their order."""
    ordered = sorted(weights)
    if not ordered:
        return []
    quotas = _quotas([weight for _, weight in ordered])
    turns = sorted(
        ((2 * turn + 1) / quota, index) for index, quota in enumerate(quotas) for turn in range(quota)
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
    return [pool for pool in taken if pool is not None]


def _quotas(weights: Sequence[int]) -> list[int]:
    """Largest remainder: whole slots that sum to ``SLOTS``."""
    total = sum(weights)
    quotas = [weight * SLOTS // total for weight in weights]
    by_remainder = sorted(range(len(weights)), key=lambda i: (-(weights[i] * SLOTS % total), i))
    for index in by_remainder[: SLOTS - sum(quotas)]:
        quotas[index] += 1
    return quotas


def _walk(pool: str) -> tuple[int, int]:
    digest = blake2b(pool.encode(), digest_size=16).digest()
    return int.from_bytes(digest[:8], "big") % SLOTS, int.from_bytes(digest[8:], "big") % (SLOTS - 1) + 1
