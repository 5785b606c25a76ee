"""PURE. Which pool holds what: responses, files, threads and the like live where they were made.

A request that names one goes back to the pool that answered with it, and never anywhere else. Only what this
process has seen is known, the latest 10,000 ids; another process's are found by chance or not at all.
"""

from collections import OrderedDict
from collections.abc import Iterable

IDS_MAX = 10_000


class Holders:
    """Ids by pool. Not thread-safe: its user has a lock."""

    def __init__(self) -> None:
        self._pools: OrderedDict[str, str] = OrderedDict()

    def learn(self, ids: Iterable[str], pool: str) -> None:
        """The pool has these."""
        for name in ids:
            self._pools[name] = pool
            self._pools.move_to_end(name)
        while len(self._pools) > IDS_MAX:
            self._pools.popitem(last=False)

    def pool_of(self, ids: Iterable[str]) -> str | None:
        """The pool that holds the first of these that is known."""
        for name in ids:
            pool = self._pools.get(name)
            if pool is not None:
                self._pools.move_to_end(name)
                return pool
        return None
