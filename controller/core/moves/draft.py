"""The table while it is worked on: weights, shed and load, changed only in ways that conserve both.

The weights and the shed parts of a route sum to one million whenever nobody holds parts of it, so no rounding
is left for the end. Load and room are in units/s. A draft knows nothing of health: ``DraftLimits`` says what
each pool may carry, how much of that is paid for and which pools may gain, and the draft keeps within it.
"""

from collections.abc import Sequence
from typing import NamedTuple

from controller.core.moves.room_order import Room, RoomOrder
from controller.core.policy.compiled import CompiledPolicy, Tier
from controller.core.policy.shares import parts_left, provider_parts
from tieline.table import MILLION

SWEEPS_MAX = 4  # rounds of dealing parts out to the pools of one tier
RECEIVERS_MAX = 16  # pools that a forced move gives something at once
ROOM_MAX_FACTOR = 1_000_000  # x a route's demand: more room than this counts as this much
ROOM_MIN_PARTS = 500  # of a million: less room than this counts as none, so that no crumbs are spread

# Grades: what a pool may be used for. A larger one allows less.
GAINS = 0  # may gain load
GAINS_LATE = 1  # gains only what no pool of the grade before takes
GAINS_LAST = 2  # gains critical load only, after all others
KEEPS = 3  # keeps what it carries, gains nothing
OUT = 4  # carries nothing


class DraftLimits(NamedTuple):
    """What the draft must keep within: units/s and grades by pool index, ``group_usable`` by group index."""

    usable: list[float]
    committed: list[float]
    grade: list[int]
    group_usable: list[float]


class Draft:
    """Weights of every route by pool index, in parts per million, and the load that follows from them.

    ``touched``: routes whose weights were changed. ``few_receivers``: of many equally good pools only those
    with the most room gain something, so that a forced move touches few pools and takes little time.
    ``lawful``: every weight is known to lie on a pool that is lawful for its route.
    """

    def __init__(
        self, compiled: CompiledPolicy, demand: list[float], weights: list[dict[int, int]], shed: list[int]
    ) -> None:
        self.compiled = compiled
        self.demand = demand
        self.weights = weights
        self.shed = shed
        self.touched: set[int] = set()
        self.few_receivers = False
        self.lawful = False
        self._orders: dict[tuple[int, int, bool, int], tuple[Tier, DraftLimits, RoomOrder]] = {}
        self._graded: tuple[list[int], frozenset[int]] | None = None  # the last grades, and which there are
        self.load = [0.0] * len(compiled.pools)
        self.group_load = [0.0] * len(compiled.groups)
        load, group_load, groups_of = self.load, self.group_load, compiled.groups_of
        for route, shares in enumerate(weights):  # the hottest loop of a decision
            if units := demand[route] / MILLION:
                for pool, weight in shares.items():
                    load[pool] += weight * units
                    for group in groups_of[pool]:
                        group_load[group] += weight * units

    def copy(self) -> "Draft":
        """An independent draft of the same table. Routes are shared until one of the drafts changes them."""
        twin = object.__new__(Draft)
        twin.compiled, twin.demand = self.compiled, self.demand
        twin.weights, twin.shed = list(self.weights), list(self.shed)
        twin.touched = set()
        twin.few_receivers, twin.lawful = self.few_receivers, self.lawful
        twin._orders = {}
        twin._graded = self._graded
        twin.load, twin.group_load = list(self.load), list(self.group_load)
        return twin

    def own(self, route: int) -> dict[int, int]:
        """The route's weights, to be changed by the caller: copied at the first change."""
        if route not in self.touched:
            self.touched.add(route)
            self.weights[route] = dict(self.weights[route])
        return self.weights[route]

    def take(self, route: int, pool: int, parts: int) -> None:
        """Parts per million leave the pool. The caller must give them away or shed them."""
        weights = self.own(route)
        if left := weights[pool] - parts:
            weights[pool] = left
        else:
            del weights[pool]
        self._orders.clear()
        self._count(pool, -parts * self.demand[route] / MILLION)

    def take_all(self, route: int, pools: Sequence[int]) -> None:
        """All parts of the route leave these pools. The caller must give them away or shed them."""
        if not pools:
            return
        weights, demand = self.own(route), self.demand[route]
        for pool in pools:
            units = weights.pop(pool) * demand / MILLION
            self.load[pool] -= units
            for group in self.compiled.groups_of[pool]:
                self.group_load[group] -= units
        self._orders.clear()

    def give(self, route: int, pool: int, parts: int) -> None:
        """Parts per million, taken before, come to the pool."""
        weights = self.weights[route] if route in self.touched else self.own(route)
        weights[pool] = weights.get(pool, 0) + parts
        units = parts * self.demand[route] / MILLION
        self.load[pool] += units
        for group in self.compiled.groups_of[pool]:
            self.group_load[group] += units

    def set(self, route: int, weights: dict[int, int], shed: int) -> None:
        """Replaces the whole route: weights and shed must sum to one million."""
        for pool, parts in list(self.weights[route].items()):
            self.take(route, pool, parts)
        for pool, parts in weights.items():
            self.give(route, pool, parts)
        self.shed[route] = shed

    def shed_parts(self, route: int, parts: int) -> None:
        """Parts per million, taken before, are shed; if negative, so many are shed no longer."""
        self.own(route)
        self.shed[route] += parts

    def room(self, pool: int, cap: float, limits: DraftLimits) -> float:
        """Units/s that the pool can still take under ``cap`` and the limits of its quota groups."""
        left = cap - self.load[pool]
        for group in self.compiled.groups_of[pool]:
            left = min(left, limits.group_usable[group] - self.group_load[group])
        return left

    def place(
        self,
        route: int,
        parts: int,
        limits: DraftLimits,
        grades: tuple[int, ...] = (GAINS, GAINS_LATE),
        barred: int = -1,
    ) -> int:
        """Gives parts away in order of merit to pools with room, grade by grade. Returns the parts left over.

        ``barred`` is a pool that gets nothing.
        """
        for grade in grades:
            if not self._any_of(grade, limits):
                continue
            for tier in self.compiled.routes[route].tiers:
                if parts <= 0:
                    return 0
                parts = self._place_in_tier(route, parts, tier, limits, grade, barred=barred)
        return parts

    def _any_of(self, grade: int, limits: DraftLimits) -> bool:
        """Whether any pool has this grade."""
        if self._graded is None or self._graded[0] is not limits.grade:
            self._graded = limits.grade, frozenset(limits.grade)
        return grade in self._graded[1]

    def _place_in_tier(
        self, route: int, parts: int, tier: Tier, limits: DraftLimits, grade: int, *, barred: int
    ) -> int:
        """Gives parts to the pools of one tier and grade. Returns the parts left over."""
        caps = limits.usable if tier.burst else limits.committed
        rooms = self._largest_rooms(route, tier, limits, grade, barred)
        if rooms is not None:
            if (total := sum(room for room, _ in rooms)) <= 0:
                return parts
            parts = self._deal(route, parts, rooms, total, caps, limits)
            if parts <= 0:
                return 0
        load = self.load if self.demand[route] > 0 else [0.0] * len(self.load)
        receivers = {-number for _, number in rooms or ()}  # they had room, and may be full now
        graded = limits.grade
        ready = [
            pool
            for pool in tier.pools
            if graded[pool] == grade and (caps[pool] > load[pool] or pool in receivers) and pool != barred
        ]
        if not ready:
            return parts
        return self._share(route, parts, ready, caps, limits, first_sweep=0 if rooms is None else 1)

    def _largest_rooms(
        self, route: int, tier: Tier, limits: DraftLimits, grade: int, barred: int
    ) -> list[Room] | None:
        """The rooms of the few pools that a forced move gives something at first; None if all get something,
        as there are no more."""
        demand = self.demand[route]
        if not self.few_receivers or demand <= 0 or len(tier.pools) <= RECEIVERS_MAX:
            return None
        caps = limits.usable if tier.burst else limits.committed
        key = (id(tier.pools), id(limits), tier.burst, grade)
        if key not in self._orders:
            load, graded = self.load, limits.grade
            pools = [pool for pool in tier.pools if graded[pool] == grade and caps[pool] > load[pool]]
            order = RoomOrder(pools, self._units_left(pools, caps, limits))
            self._orders[key] = (tier, limits, order)  # with the objects whose ids are the key
        _, _, order = self._orders[key]
        return order.largest(
            RECEIVERS_MAX,
            lambda pool: self.room(pool, caps[pool], limits),
            lambda units: _room_in_parts(units, demand),
            barred,
        )

    def _share(
        self,
        route: int,
        parts: int,
        ready: list[int],
        caps: list[float],
        limits: DraftLimits,
        *,
        first_sweep: int,
    ) -> int:
        """Gives parts to pools of one tier in proportion to their room. Returns the parts left over."""
        # Pools of a quota group, or of a provider with a largest share, take each other's room: so the room
        # is asked again at each gift, and what is left over then goes round again.
        if self.demand[route] <= 0 and not self.compiled.routes[route].share_max:
            return self._spread(route, parts, ready, caps)
        for sweep in range(first_sweep, SWEEPS_MAX + len(ready) // RECEIVERS_MAX):
            if parts <= 0:
                break
            if sweep and self.compiled.routes[route].share_max:
                free = [self.room_parts(route, pool, caps[pool], limits) for pool in ready]
            else:
                free = self._free_parts(route, ready, caps, limits)
            if sweep:
                free = [min(room, MILLION) for room in free]
            rooms = [(room, -pool) for room, pool in zip(free, ready, strict=True)]
            if self.few_receivers and len(rooms) > RECEIVERS_MAX:
                rooms = sorted(rooms, reverse=True)[:RECEIVERS_MAX]
            total = sum(room for room, _ in rooms)
            if total <= 0:
                break
            parts = self._deal(route, parts, rooms, total, caps, limits)
        return parts

    def _deal(
        self,
        route: int,
        parts: int,
        rooms: list[Room],
        total: int,
        caps: list[float],
        limits: DraftLimits,
    ) -> int:
        """One round: to each (room, -pool) in proportion to its room. Returns the parts left over."""
        offer, share_max = min(parts, total), self.compiled.routes[route].share_max
        load, demand, groups_of = self.load, self.demand[route], self.compiled.groups_of
        weights: dict[int, int] | None = None
        for room, number in rooms:
            pool = -number
            gift = -(-offer * room // total)
            if gift > parts:
                gift = parts
            if gift <= 0:
                continue
            if share_max or groups_of[pool]:
                gift = min(gift, self.room_parts(route, pool, caps[pool], limits))
                if gift > 0:
                    self.give(route, pool, gift)
            else:  # the same as ``give``, in the hottest loop of a first table
                weights = self.own(route) if weights is None else weights
                weights[pool] = weights.get(pool, 0) + gift
                load[pool] += gift * demand / MILLION
            parts -= gift
        return parts

    def _free_parts(
        self, route: int, pools: Sequence[int], caps: Sequence[float] | dict[int, float], limits: DraftLimits
    ) -> list[int]:
        """Each pool's own room in parts per million of the demand, which may be more than a million."""
        if (demand := self.demand[route]) <= 0:
            return [MILLION] * len(pools)
        return [_room_in_parts(left, demand) for left in self._units_left(pools, caps, limits)]

    def _units_left(
        self, pools: Sequence[int], caps: Sequence[float] | dict[int, float], limits: DraftLimits
    ) -> list[float]:
        """``room`` of many pools at once, as this is the hottest loop of a forced move."""
        load, groups_of = self.load, self.compiled.groups_of
        rooms = []
        for pool in pools:
            left = caps[pool] - load[pool]
            for group in groups_of[pool]:
                left = min(left, limits.group_usable[group] - self.group_load[group])
            rooms.append(left)
        return rooms

    def _spread(self, route: int, parts: int, ready: list[int], caps: list[float]) -> int:
        """Where there is no demand: gives parts in proportion to capacity."""
        for pool, share in zip(ready, whole([caps[pool] for pool in ready], parts), strict=True):
            if share:
                self.give(route, pool, share)
        return 0

    def room_parts(self, route: int, pool: int, cap: float, limits: DraftLimits) -> int:
        """How many parts of the route the pool can still take under ``cap`` and its provider's share."""
        room = min(self._free_parts(route, [pool], {pool: cap}, limits)[0], MILLION)
        if share_max := self.compiled.routes[route].share_max:
            owner = self.compiled.provider_of[pool]
            if owner in share_max:
                carried = provider_parts(self.weights[route].items(), self.compiled.provider_of, owner)
                room = min(room, parts_left(share_max[owner], carried))
        return room if room > ROOM_MIN_PARTS else 0

    def _count(self, pool: int, units: float) -> None:
        self.load[pool] += units
        for group in self.compiled.groups_of[pool]:
            self.group_load[group] += units


def _room_in_parts(left: float, demand: float) -> int:
    """Room in units/s as parts per million of a demand; 0 if it is too little to count."""
    if left >= demand * ROOM_MAX_FACTOR:
        return ROOM_MAX_FACTOR * MILLION
    parts = int(left * MILLION / demand)
    return parts if parts > ROOM_MIN_PARTS else 0


def whole(amounts: list[float], total: int) -> list[int]:
    """``total`` divided into whole numbers in proportion to ``amounts``, by the largest remainder."""
    size = sum(amounts)
    exact = [amount / size * total for amount in amounts]
    shares = [int(part) for part in exact]
    order = sorted(range(len(amounts)), key=lambda i: (shares[i] - exact[i], i))
    for i in order[: total - sum(shares)]:
        shares[i] += 1
    return shares
