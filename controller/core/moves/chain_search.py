"""One search for chains: the numbers of the nodes that it goes over, and what it has met (chains.py)."""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

FREE_ROOM = -1  # a goal of a search; the others are ranks


class Nodes(NamedTuple):
    """The numbers of the nodes of the flow: pools from 0, sets of quota groups from ``groups``, routes from
    ``routes``, and the shares of routes at providers from ``shares``."""

    groups: int
    routes: int
    shares: int
    providers: int

    def share(self, route: int, provider: int) -> int:
        """The node of what a provider may carry of a route."""
        return self.shares + route * self.providers + provider

    def route_of(self, node: int) -> int:
        """The route of a route's node or of a share's."""
        return node - self.routes if node < self.shares else (node - self.shares) // self.providers

    def provider_of(self, node: int) -> int:
        """The provider of a share's node."""
        return (node - self.shares) % self.providers


class FreeReceivers:
    """The pools of one list of receivers that had free room when the search last looked at them.

    While no load leaves the list's pools, only those that were given load can have become full.
    """

    def __init__(self, receivers: Iterable[int]) -> None:
        self._place = {pool: place for place, pool in enumerate(receivers)}
        self._free = dict(self._place)
        self._filled: int | None = None  # how many pools had been given load at the last look

    def __iter__(self) -> Iterator[int]:
        """The pools in the order of the list."""
        return iter(self._free)

    def to_look_at(self, filled: list[int]) -> list[int]:
        """The pools that may have become full since the last look, in the order of the list.

        ``filled``: the pools that were given load since the search began. At the first look it is every pool.
        """
        since, self._filled = self._filled, len(filled)
        if since is None:
            return list(self._free)
        return self.in_order({pool for pool in filled[since:] if pool in self._free})

    def remove(self, pools: Iterable[int]) -> None:
        """These pools are not free, and are never looked at again."""
        for pool in pools:
            self._free.pop(pool, None)

    def in_order(self, pools: Iterable[int]) -> list[int]:
        """Some pools of the list in its order."""
        return sorted(pools, key=self._place.__getitem__)


class Search(NamedTuple):
    """What one search looks for. ``least``: units/s; smaller room or load is left out.

    ``came_from``: each node that was met, with the one before it. ``queue``: those of them that are still to
    be followed. ``unmet``: the routes of which a node may still be met, the least critical first. ``free``:
    by the id of a list of receivers, which of them had room. ``filled``: the pools that were given load since
    the search began, in order.
    """

    claimant: int
    goal: int
    least: float
    came_from: dict[int, int]
    queue: deque[int]
    unmet: list[int]
    free: dict[int, FreeReceivers]
    filled: list[int]

    def free_of(self, receivers: list[int]) -> FreeReceivers:
        """Those of a list of receivers; the list must live as long as the search."""
        key = id(receivers)
        if key not in self.free:
            self.free[key] = FreeReceivers(receivers)
        return self.free[key]
