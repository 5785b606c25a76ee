"""The one model of feedback: what clients send by a table, and what becomes of it at the pools.

Clients send each request where the table in force says. A pool serves up to what it really can and answers
429 beyond that. What failed or was throttled tries once more on the route's other pools, in proportion to
their weights. A client that meets mostly failures at a pool leaves it for some seconds and says so. Load is
units/s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from lab.sim.splits import shares_of
from tieline.table import MILLION, RouteTable

LEAVES_AT = 0.5  # of a client's requests at a pool
LEFT_FOR_S = 5

Sent: TypeAlias = dict[tuple[str, str], dict[str, float]]
"""Units/s by (route, client) and there by pool."""


@dataclass
class PoolNature:
    """How one pool is now: ``serves`` units/s in truth, ``errors`` of a result class, whether it hangs.

    ``throttles``: the share of all that is sent there that is answered with 429 although there is room.
    """

    serves: float
    errors: float = 0.0
    result: str = "server_error"
    hangs: bool = False
    hung_s: int = 0
    first_token_ms: float = 200.0
    throttles: float = 0.0


@dataclass
class Traffic:
    """One client's second at one pool, in units: what it sent there, what was served, throttled, failed."""

    sent: float = 0.0
    served: float = 0.0
    throttled: float = 0.0
    failed: float = 0.0

    def add(self, sent: float, nature: PoolNature, room_share: float) -> float:
        """Sends units there, of which ``room_share`` are let in. Returns those that need another pool."""
        admitted = sent * room_share
        failed = admitted if nature.hangs else admitted * nature.errors
        self.sent += sent
        self.throttled += sent - admitted
        self.failed += failed
        self.served += admitted - failed
        return sent - admitted + failed


@dataclass
class Outcome:
    """One second: ``traffic`` by (client, pool), and by route the units wanted, shed and served."""

    traffic: dict[tuple[str, str], Traffic] = field(default_factory=dict)
    wanted: dict[str, float] = field(default_factory=dict)
    shed: dict[str, float] = field(default_factory=dict)
    served: dict[str, float] = field(default_factory=dict)


@dataclass
class Clients:
    """The clients, by their part of all load, and which pools each has left until when (``left``)."""

    shares: dict[str, float]
    left: dict[tuple[str, str], int] = field(default_factory=dict)

    def serve(
        self,
        tables: Mapping[str, RouteTable],
        demand: Mapping[str, float],
        natures: Mapping[str, PoolNature],
        groups: Mapping[str, tuple[float, frozenset[str]]],
        second: int,
    ) -> Outcome:
        """What becomes of one second of demand. ``tables``: by client, the one that it has in force.
        ``groups``: what each group really serves, and its pools."""
        outcome = Outcome()
        first: Sent = {}
        for client, table in tables.items():
            self._send(client, table, demand, outcome=outcome, first=first, second=second)
        rooms = _room_shares(_by_pool(first), natures, groups, {})
        again: Sent = {}
        for (route, client), sent in first.items():
            for pool, units in sent.items():
                rest = _traffic(outcome, client, pool).add(units, natures[pool], rooms[pool])
                outcome.served[route] = outcome.served.get(route, 0.0) + units - rest
                if rest > 0:
                    _take_elsewhere(sent, again.setdefault((route, client), {}), pool, rest)
        carried = {pool: units * rooms[pool] for pool, units in _by_pool(first).items()}
        rooms = _room_shares(_by_pool(again), natures, groups, carried)
        for (route, client), sent in again.items():
            for pool, units in sent.items():
                rest = _traffic(outcome, client, pool).add(units, natures[pool], rooms[pool])
                outcome.served[route] += units - rest
        self._leave(outcome, second)
        return outcome

    def _send(
        self,
        client: str,
        table: RouteTable,
        demand: Mapping[str, float],
        *,
        outcome: Outcome,
        first: Sent,
        second: int,
    ) -> None:
        """The first attempts of one client."""
        part = self.shares[client]
        for route in table.routes:
            if (units := demand.get(route.name, 0.0) * part) <= 0:
                continue
            shed = route.split.shed / MILLION
            outcome.wanted[route.name] = outcome.wanted.get(route.name, 0.0) + units
            outcome.shed[route.name] = outcome.shed.get(route.name, 0.0) + units * shed
            shares = shares_of(table, route.split)
            used = {p: w for p, w in shares.items() if self.left.get((client, p), -1) < second} or shares
            total, rest = sum(used.values()), units * (1 - shed)
            first[route.name, client] = {pool: rest * weight / total for pool, weight in used.items()}

    def _leave(self, outcome: Outcome, second: int) -> None:
        for (client, pool), traffic in outcome.traffic.items():
            if traffic.sent > 0 and traffic.failed / traffic.sent >= LEAVES_AT:
                self.left[client, pool] = second + LEFT_FOR_S


def _traffic(outcome: Outcome, client: str, pool: str) -> Traffic:
    return outcome.traffic.setdefault((client, pool), Traffic())


def _by_pool(sent: Sent) -> dict[str, float]:
    sums: dict[str, float] = {}
    for pools in sent.values():
        for pool, units in pools.items():
            sums[pool] = sums.get(pool, 0.0) + units
    return sums


def _room_shares(
    sent: Mapping[str, float],
    natures: Mapping[str, PoolNature],
    groups: Mapping[str, tuple[float, frozenset[str]]],
    carried: Mapping[str, float],
) -> dict[str, float]:
    """By pool: the share of what is sent there now that is let in beside what it carries already."""
    shares = {}
    for pool, units in sent.items():
        room = max(natures[pool].serves - carried.get(pool, 0.0), 0.0)
        for most, members in groups.values():
            if pool in members:
                everybody = _sum_of(sent, members)
                left = max(most - _sum_of(carried, members), 0.0)
                room = min(room, left * units / everybody if everybody else left)
        shares[pool] = min(1 - natures[pool].throttles, room / units) if units > 0 else 1.0
    return shares


def _sum_of(units: Mapping[str, float], members: frozenset[str]) -> float:
    """The sum for these pools, in the order of ``units``: in that of a set it would be rounded otherwise in
    another process."""
    return sum(amount for pool, amount in units.items() if pool in members)


def _take_elsewhere(sent: dict[str, float], again: dict[str, float], pool: str, units: float) -> None:
    """Second attempts go to the other pools in proportion to what the client sends there for the route."""
    total = sum(amount for other, amount in sent.items() if other != pool)
    if total <= 0:
        return
    for other, amount in sent.items():
        if other != pool:
            again[other] = again.get(other, 0.0) + units * amount / total
