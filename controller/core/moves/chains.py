"""Room that other load makes: short chains of moves that end in free room or in less critical load.

A table is a flow. Each unit of a route passes the largest share of its provider, its pool's limit and the
limits of the pool's quota groups. Load without a place takes the place of other load at whatever limit is
full on its way. That load takes the place of other load elsewhere, and so on, until some of it finds free
room. Such a chain is an augmenting path of the flow (Ford and Fulkerson 1956). Two things follow from that:

- Every limit on the way is asked before anything moves, so nothing is turned out in vain.
- If the search ends without a chain, no other assignment of the same load has room either. This needs that of
  two full quota groups of a pool one lies within the other, as a model's quota within its subscription's.
  Where they only overlap, load makes way that is in both of them; what needs two loads to leave at once is
  left to the linear programme.

The search is breadth first, so it finds chains with few moves, and with it few units that move. Where no
chain ends in free room, one may end in load that is less critical than the claimant's, the least critical
first. That load has no place then. Load that is more critical than the claimant's takes part only if it moves
to healthy pools, as it must not lose anything by it.

Tested in tests/unit/controller/core/moves/test_chains.py, and in tests/property/test_reflex_property.py
against the optimum of the linear programme.
"""

from collections import deque
from collections.abc import Iterator
from heapq import heappush
from itertools import pairwise

from controller.core.capacity.usable import UNBOUNDED
from controller.core.model.reasons import Reason
from controller.core.moves.chain_search import FREE_ROOM, Nodes, Search
from controller.core.moves.draft import (
    GAINS,
    GAINS_LAST,
    GAINS_LATE,
    OUT,
    ROOM_MIN_PARTS,
    Draft,
    DraftLimits,
)
from controller.core.moves.unplaced import NOWHERE, Move, UnplacedLoad
from controller.core.policy.compiled import CRITICAL_RANK, LOWEST_RANK
from controller.core.policy.shares import parts_left, provider_parts
from tieline.table import MILLION

EDGES_MAX = 4_000_000  # looked at for all load of one draft: about half a second


class Chains:
    """Finds and makes chains of moves on one draft, while no other load leaves it.

    ``moves`` takes what other routes moved, ``unplaced`` what gave up its place. ``with_unknown``: critical
    load may go to pools of unknown health.
    """

    def __init__(
        self,
        draft: Draft,
        limits: DraftLimits,
        *,
        moves: list[Move],
        unplaced: list[UnplacedLoad],
        with_unknown: bool = False,
    ) -> None:
        compiled = draft.compiled
        routes = len(compiled.pools) + len(compiled.group_sets)
        self._draft = draft
        self._limits = limits
        self._moves = moves
        self._unplaced = unplaced
        self._with_unknown = with_unknown
        self._nodes = Nodes(
            len(compiled.pools),
            routes,
            shares=routes + len(compiled.routes),
            providers=len(compiled.providers),
        )
        self._barren: dict[int, dict[int, float]] = {}  # by goal: nodes without a chain, by the least units
        self._set_number = {groups: number for number, groups in enumerate(compiled.group_sets)}
        self._receivers: dict[tuple[int, tuple[int, ...]], list[int]] = {}
        self._edges = 0

    def into_room(self, route: int, parts: int) -> int:
        """Places parts of the route where other load moves on into free room. Returns the parts left."""
        return self._claim(route, parts, FREE_ROOM)

    def in_place_of_others(self, route: int, parts: int) -> int:
        """Places parts of the route where less critical load gives up its place. Returns the parts left."""
        for rank in range(LOWEST_RANK, self._rank(route), -1):
            parts = self._claim(route, parts, rank)
        return parts

    def _claim(self, claimant: int, parts: int, goal: int) -> int:
        """Makes chains to the goal while there are any. Returns the parts left."""
        while parts > 0 and (placed := self._sweep(claimant, parts, goal)):
            parts -= placed
        return parts

    def _sweep(self, claimant: int, parts: int, goal: int) -> int:
        """One search over all nodes, which makes each chain as it is found. Returns the parts placed.

        While load only joins the draft, a node from which no chain leads to the goal stays so (``_barren``).
        """
        start, left = self._nodes.routes + claimant, parts
        barren, least = self._barren.setdefault(goal, {}), self._least(claimant)
        if barren.get(start, UNBOUNDED) <= least:
            return 0
        search = Search(
            claimant,
            goal,
            least,
            came_from={start: start},
            queue=deque([start]),
            unmet=list(reversed(self._draft.compiled.by_rank)),
            free={},
            filled=[],
        )
        while search.queue and left > 0 and self._edges < EDGES_MAX:
            node = search.queue.popleft()
            if goal == FREE_ROOM and self._is_plain_route(node):
                left -= self._through_route(node, left, search)
            else:
                left -= self._through(node, left, search)
        if left == parts:
            barren.update(dict.fromkeys(search.came_from, least))
        return parts - left

    def _through(self, node: int, parts: int, search: Search) -> int:
        """Meets what follows the node, and makes the chains that end there. Returns the parts placed."""
        way, is_closed, left = list[int](), False, parts
        for following in self._following(node, search):
            if self._is_passed(following, search):
                continue
            if not self._ends(following, search):
                self._meet(following, node, search)
                continue
            way = way or _way_to(node, search.came_from)
            is_closed = is_closed or not self._is_open(way, search.least)
            if not is_closed:
                left -= self._make([*way, following], left, search)
                if left <= 0:
                    break
        return parts - left

    def _through_route(self, node: int, parts: int, search: Search) -> int:
        """The same as ``_through`` for a route without largest shares, in a search for free room.

        Of many receivers most have free room, and few chains can use it, as the way to a route is soon
        closed. So the receivers that had room are kept, and only those of them that were given load since
        are looked at again.
        """
        receivers, left = self._receivers_of(node - self._nodes.routes, search), parts
        self._edges += len(receivers)
        way = _way_to(node, search.came_from)
        free = search.free_of(receivers)
        full = self._not_free(free.to_look_at(search.filled), search)
        free.remove(full)
        if self._is_open(way, search.least):
            began, rest = len(search.filled), iter(list(free))
            for pool in rest:
                if self._not_free([pool], search):
                    full.append(pool)  # a chain of this very node has filled it
                    continue
                left -= self._make([*way, pool], left, search)
                if left <= 0:
                    return parts
                if not self._is_open(way, search.least):
                    break
            newly_filled = set(search.filled[began:])
            full += self._not_free([pool for pool in rest if pool in newly_filled], search)
            free.remove(full)
        for pool in free.in_order([pool for pool in full if not self._is_passed(pool, search)]):
            self._meet(pool, node, search)
        return parts - left

    def _not_free(self, pools: list[int], search: Search) -> list[int]:
        """Those of the pools in which no chain may end: ``_is_passed`` or not ``_ends``, of many at once."""
        came_from, barren, least = search.came_from, self._barren[search.goal], search.least
        usable, load, groups_of = self._limits.usable, self._draft.load, self._draft.compiled.groups_of
        return [
            pool
            for pool in pools
            if pool in came_from
            or groups_of[pool]
            or usable[pool] - load[pool] <= least
            or barren.get(pool, UNBOUNDED) <= least
        ]

    def _is_plain_route(self, node: int) -> bool:
        route = node - self._nodes.routes
        is_route = self._nodes.routes <= node < self._nodes.shares
        return is_route and not self._draft.compiled.routes[route].share_max

    def _is_passed(self, node: int, search: Search) -> bool:
        """Whether the search met the node before, or an earlier one found that no chain leads on from it."""
        if node in search.came_from:
            return True
        return self._barren[search.goal].get(node, UNBOUNDED) <= search.least

    def _meet(self, node: int, before: int, search: Search) -> None:
        search.came_from[node] = before
        search.queue.append(node)
        route = node - self._nodes.routes
        is_route = self._nodes.routes <= node < self._nodes.shares
        if is_route and route in search.unmet and not self._draft.compiled.routes[route].share_max:
            search.unmet.remove(route)

    def _ends(self, node: int, search: Search) -> bool:
        """Whether a chain may end here: in free room, or with load that gives up its place."""
        nodes = self._nodes
        if search.goal != FREE_ROOM:
            return node >= nodes.routes and self._rank(nodes.route_of(node)) == search.goal
        if node < nodes.groups:
            return not self._draft.compiled.groups_of[node] and self._pool_room(node) > search.least
        return node < nodes.routes and min(map(self._group_room, self._groups_at(node))) > search.least

    def _following(self, node: int, search: Search) -> Iterator[int]:
        """The nodes that a unit at this node can go on to, with what it pushes out."""
        if node < self._nodes.groups:
            return self._from_pool(node, search)
        if node < self._nodes.routes:
            return self._from_groups(node, search)
        if node < self._nodes.shares:
            return self._from_route(node - self._nodes.routes, search)
        return self._from_share(node, search)

    def _from_route(self, route: int, search: Search) -> Iterator[int]:
        """The route's pools in order of merit, each behind its provider's largest share if there is one."""
        receivers, share_max = self._receivers_of(route, search), self._draft.compiled.routes[route].share_max
        self._edges += len(receivers)
        if not share_max:
            yield from receivers
            return
        for pool in receivers:
            owner = self._draft.compiled.provider_of[pool]
            if owner not in share_max:
                yield pool
            elif self._share_room(share := self._nodes.share(route, owner)) > search.least:
                yield share

    def _from_share(self, node: int, search: Search) -> Iterator[int]:
        """All pools of the provider, as its share stays what it is. The route may leave the provider, too."""
        route, provider = self._nodes.route_of(node), self._nodes.provider_of(node)
        for pool in self._receivers_of(route, search):
            if self._draft.compiled.provider_of[pool] == provider:
                yield pool
        yield self._nodes.routes + route

    def _from_pool(self, pool: int, search: Search) -> Iterator[int]:
        """What is full of the pool's quota groups if the pool itself has room, or all of them if none is;
        then the load on it, least critical first."""
        draft, compiled, nodes = self._draft, self._draft.compiled, self._nodes
        if (groups := compiled.groups_of[pool]) and self._pool_room(pool) > search.least:
            full = tuple(group for group in groups if self._group_room(group) <= search.least)
            yield nodes.groups + self._set_number[full or groups]
        if self._limits.usable[pool] >= UNBOUNDED:
            return  # a mode lets it keep what it carries
        owner, least, weights, demand = (
            compiled.provider_of[pool],
            search.least * MILLION,
            draft.weights,
            draft.demand,
        )
        self._edges += len(search.unmet)
        routes = tuple(search.unmet)
        if search.goal == FREE_ROOM:  # no chain ends in a route, so nothing moves while these are met
            routes = tuple([route for route in routes if pool in weights[route]])
        for route in routes:
            if (parts := weights[route].get(pool, 0)) and parts * demand[route] > least:
                is_shared = owner in compiled.routes[route].share_max
                yield nodes.share(route, owner) if is_shared else nodes.routes + route

    def _from_groups(self, node: int, search: Search) -> Iterator[int]:
        """The pools whose load leaves room in each of these quota groups at once."""
        wanted = self._groups_at(node)
        for pool, groups in enumerate(self._draft.compiled.groups_of):
            relieves = all(group in groups for group in wanted)
            if relieves and self._limits.grade[pool] != OUT and self._draft.load[pool] > search.least:
                yield pool

    def _receivers_of(self, route: int, search: Search) -> list[int]:
        """The pools that may gain load of the route, in order of merit: one object for routes that have the
        same tiers."""
        tiers, grades = self._draft.compiled.routes[route].tiers, self._grades_of(route, search)
        key = (id(tiers), grades)
        if key not in self._receivers:
            grade, usable = self._limits.grade, self._limits.usable
            ranked = dict.fromkeys(pool for _, pools in tiers for pool in pools if usable[pool] > 0)
            self._receivers[key] = [pool for wanted in grades for pool in ranked if grade[pool] == wanted]
        return self._receivers[key]

    def _grades_of(self, route: int, search: Search) -> tuple[int, ...]:
        if self._rank(route) < self._rank(search.claimant):
            return (GAINS,)
        if self._with_unknown and self._rank(route) <= CRITICAL_RANK:
            return (GAINS, GAINS_LATE, GAINS_LAST)
        return (GAINS, GAINS_LATE)

    def _make(self, chain: list[int], parts: int, search: Search) -> int:
        """Makes the moves of a chain. Returns how many of the claimant's ``parts`` have a place now."""
        draft, nodes, mover = self._draft, self._nodes, search.claimant
        units = self._narrowest(chain, search.goal)
        if units <= search.least:
            return 0  # a chain of this search before it has used the same room
        moving = placed = min(parts, int(units / draft.demand[mover] * MILLION))
        left_pool, last_pool = NOWHERE, _last_pool(chain, nodes) if search.goal == FREE_ROOM else NOWHERE
        for before, node in pairwise(chain):
            if node < nodes.groups and before >= nodes.routes:
                if node == last_pool and left_pool != NOWHERE:
                    grades = self._grades_of(mover, search)
                    before_it = dict(draft.weights[mover])
                    moving = draft.place(mover, moving, self._limits, grades, barred=left_pool)
                    weights = draft.weights[mover].items()
                    search.filled.extend(pool for pool, part in weights if part != before_it.get(pool))
                if moving:
                    draft.give(mover, node, moving)
                    search.filled.append(node)
            elif before < nodes.groups and node >= nodes.routes:
                units = moving * draft.demand[mover] / MILLION
                mover, left_pool = nodes.route_of(node), before
                moving = min(draft.weights[mover][before], -int(-units * MILLION // draft.demand[mover]))
                draft.take(mover, before, moving)
                self._moves.append(Move(mover, before, moving, reason=Reason.MADE_WAY))
        if search.goal != FREE_ROOM:
            homeless = UnplacedLoad(self._rank(mover), mover, NOWHERE, parts=moving, may_return=False)
            heappush(self._unplaced, homeless)
        return placed

    def _is_open(self, way: list[int], least: float) -> bool:
        """Whether each step of the way still lets more than ``least`` through, quota groups aside.

        Chains of the same search may have used it up. Most ends of a search lie behind such a step.
        """
        return all(self._step_units(before, node) > least for before, node in pairwise(way))

    def _step_units(self, before: int, node: int) -> float:
        """The units/s that can go from one node of a chain to the next, quota groups aside."""
        nodes, draft = self._nodes, self._draft
        if before < nodes.groups <= node < nodes.routes:
            return self._pool_room(before)
        if before < nodes.groups:
            mover = nodes.route_of(node)
            return draft.weights[mover].get(before, 0) * draft.demand[mover] / MILLION
        if nodes.routes <= before < nodes.shares <= node:
            return self._share_room(node)
        return UNBOUNDED

    def _narrowest(self, chain: list[int], goal: int) -> float:
        """The units/s that can move along the chain.

        Each quota group bounds it by what the moves together bring into the group.
        """
        nodes, groups_of = self._nodes, self._draft.compiled.groups_of
        units = min(self._step_units(before, node) for before, node in pairwise(chain))
        gains: dict[int, int] = {}
        for before, node in pairwise(chain):
            if node < nodes.groups and before >= nodes.routes:
                for group in groups_of[node]:
                    gains[group] = gains.get(group, 0) + 1
            elif before < nodes.groups and node >= nodes.routes:
                for group in groups_of[before]:
                    gains[group] = gains.get(group, 0) - 1
        if goal == FREE_ROOM and chain[-1] < nodes.groups:
            units = min(units, self._pool_room(chain[-1]))
        return min([units, *(self._group_room(group) / times for group, times in gains.items() if times > 0)])

    def _rank(self, route: int) -> int:
        return self._draft.compiled.routes[route].rank

    def _least(self, claimant: int) -> float:
        """The units/s below which room or load is left out, so that no crumbs are moved."""
        return ROOM_MIN_PARTS * self._draft.demand[claimant] / MILLION

    def _pool_room(self, pool: int) -> float:
        return self._limits.usable[pool] - self._draft.load[pool]

    def _groups_at(self, node: int) -> tuple[int, ...]:
        """The quota groups of a node that stands for a set of them."""
        return self._draft.compiled.group_sets[node - self._nodes.groups]

    def _group_room(self, group: int) -> float:
        return self._limits.group_usable[group] - self._draft.group_load[group]

    def _share_room(self, node: int) -> float:
        """The units/s of the route that the provider may still gain."""
        route, provider, draft = self._nodes.route_of(node), self._nodes.provider_of(node), self._draft
        carried = provider_parts(draft.weights[route].items(), draft.compiled.provider_of, provider)
        most = draft.compiled.routes[route].share_max[provider]
        return parts_left(most, carried) * draft.demand[route] / MILLION


def _way_to(node: int, came_from: dict[int, int]) -> list[int]:
    """The nodes from the start of a search to this one."""
    way = [node]
    while (before := came_from[way[-1]]) != way[-1]:
        way.append(before)
    return way[::-1]


def _last_pool(chain: list[int], nodes: Nodes) -> int:
    return next(node for node in reversed(chain) if node < nodes.groups)
