"""How much load could be served at best: the largest flow from routes through providers and pools to limits.

A route's load may go to each of its pools, no more of it to a provider than its largest share, no more to a
pool than it may carry, and no more to a quota group than that may carry. Of a pool's quota groups each must
lie within the next, as in all generated worlds. Routes join from the most critical on, so the flow of each
prefix is the most that load up to that rank can get from pools that all of it could use.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import NamedTuple

from lab.sim.contracts import RANKS, provider_of

NEAR_ZERO = 1e-6
UNLIMITED = float("inf")


class Claimant(NamedTuple):
    """Load that needs a place: ``units`` per second, of a route of this rank.

    ``pools`` may carry it, and ``share_left`` is what each provider may still carry of it, in units/s; a
    provider that is missing there may carry all.
    """

    rank: int
    units: float
    pools: tuple[str, ...]
    share_left: Mapping[str, float]


def most_served(
    claimants: Mapping[str, Claimant],
    rooms: Mapping[str, float],
    groups: Mapping[str, float],
    groups_of: Mapping[str, tuple[str, ...]],
) -> list[float]:
    """By rank: the most units/s that load of that rank and of all more critical ones can be served.

    ``rooms`` by pool and ``groups`` by quota group are units/s; ``groups_of`` names the groups of a pool, the
    innermost first.
    """
    network = Network()
    for pool, room in sorted(rooms.items()):
        network.add(f"pool {pool}", _way_out(groups_of.get(pool, ())), max(room, 0.0))
    within = {group: owners[n + 1 :] for owners in groups_of.values() for n, group in enumerate(owners)}
    for group, room in sorted(groups.items()):
        network.add(f"group {group}", _way_out(within.get(group, ())), max(room, 0.0))
    totals, total = [], 0.0
    for rank in range(len(RANKS)):
        for name, claimant in sorted(claimants.items()):
            if claimant.rank == rank:
                _join(network, name, claimant, rooms)
        total += network.augment("start", "end")
        totals.append(total)
    return totals


def _way_out(groups: tuple[str, ...]) -> str:
    """The node that comes after a pool, or a group, that lies within these groups."""
    return f"group {groups[0]}" if groups else "end"


def _join(network: Network, name: str, claimant: Claimant, rooms: Mapping[str, float]) -> None:
    network.add("start", name, claimant.units)
    for pool in claimant.pools:
        if pool in rooms:
            provider = provider_of(pool)
            share = f"{name} at {provider}"
            if provider in claimant.share_left:
                network.add(name, share, max(claimant.share_left[provider], 0.0))
                network.add(share, f"pool {pool}", UNLIMITED)
            else:
                network.add(name, f"pool {pool}", UNLIMITED)


class Network:
    """Capacities between named nodes; ``augment`` fills them by shortest paths (Edmonds and Karp)."""

    def __init__(self) -> None:
        self._left: dict[str, dict[str, float]] = {}

    def add(self, source: str, target: str, capacity: float) -> None:
        """States the capacity of an edge; a repeated edge keeps its first."""
        edges = self._left.setdefault(source, {})
        if target not in edges:
            edges[target] = capacity
            self._left.setdefault(target, {}).setdefault(source, 0.0)

    def augment(self, start: str, end: str) -> float:
        """Sends as much more from ``start`` to ``end`` as fits; returns how much that was."""
        total = 0.0
        while path := self._path(start, end):
            amount = min(self._left[a][b] for a, b in path)
            for a, b in path:
                self._left[a][b] -= amount
                self._left[b][a] += amount
            total += amount
        return total

    def _path(self, start: str, end: str) -> list[tuple[str, str]]:
        """The edges of a shortest way with room; empty if there is none."""
        before: dict[str, str] = {start: ""}
        queue = deque((start,))
        while queue and end not in before:
            node = queue.popleft()
            for target, left in self._left.get(node, {}).items():
                if left > NEAR_ZERO and target not in before:
                    before[target] = node
                    queue.append(target)
        path = []
        node = end
        while before.get(node):
            path.append((before[node], node))
            node = before[node]
        return path
