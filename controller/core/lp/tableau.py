"""The programme in HiGHS: rows and columns added as they are needed, each solve going on from the last basis.

Columns are only made for pairs of route and pool that may matter (``wanted``); after a solve the row prices
tell which of the others would improve it, and those join. Optimal when none would.
"""

import highspy
import numpy as np
from numpy.typing import NDArray

from controller.core.lp.programme import Block, Bools, Floats, Ints, World

Places = NDArray[np.signedinteger]
Entries = tuple[Ints, Ints, Floats]

CANDIDATES = 24  # per route, to begin with
JOIN_PER_ROUTE = 16
PRICE_TOLERANCE = 1e-6
PRICINGS_MAX = 40
FREE = -1


class NoAnswerError(RuntimeError):
    """The solver gave no optimum (late, failed, NotSet): the last plan stays."""


class Tableau:
    """One programme. ``route``, ``pool`` and ``column`` are its pair columns; the first ``kept_count`` of
    them carry what is held already, at no price for moving."""

    def __init__(self, world: World, limit_s: float, candidates: int) -> None:
        self.world = world
        self.blocks: list[tuple[Block, int, int]] = []
        self.pricings = 0
        self.objective = 0.0
        routes, pools = world.cost.shape
        self._shed = np.arange(routes)
        self._burst = routes + np.arange(pools)
        self._share_rows = {
            key: routes + pools + len(world.group_room) + i for i, key in enumerate(world.share)
        }
        self.rows = routes + pools + len(world.group_room) + len(world.share)
        self.columns = routes + pools
        self.made: Bools = np.zeros(world.cost.shape, dtype=np.bool_)
        self.route = self.pool = np.zeros(0, dtype=np.int32)
        self.column = np.zeros(0, dtype=np.int32)
        self._highs = _solver(limit_s)
        self._base()
        held = np.nonzero((world.held > 0) & np.isfinite(world.cost))
        self.kept_count = len(held[0])
        self._add_pairs(held[0], held[1], world.held[held], world.cost[held])
        self._join(_cheapest(world, candidates))

    def _base(self) -> None:
        world = self.world
        routes, pools = world.cost.shape
        most = [world.committed, world.group_room, np.array(list(world.share.values()))]
        upper = np.concatenate([world.rest, *most])
        lower = np.concatenate([world.rest, np.full(len(upper) - routes, -np.inf)])
        none = np.zeros(0, dtype=np.int32)
        self._check(
            self._highs.addRows(len(upper), lower, upper, 0, np.zeros(len(upper), np.int32), none, [])
        )
        start = np.arange(routes + pools, dtype=np.int32)
        sign = np.concatenate([np.ones(routes), np.full(pools, -1.0)])
        cost = np.concatenate([world.shed_cost, world.burst_cost])
        most_each = np.concatenate([world.rest, world.burst])
        zero = np.zeros(len(start))
        self._check(self._highs.addCols(len(start), cost, zero, most_each, len(start), start, start, sign))

    def add_block(self, block: Block, penalty: Floats) -> None:
        """One more loss that must be survived; ``penalty`` by its classes where it can't be."""
        classes, flows, first = len(block.classes), len(block.flows), self.columns
        count = classes + flows
        none = np.zeros(0, dtype=np.int32)
        cost = np.concatenate([penalty, np.zeros(flows)])
        zero, most = np.zeros(count), np.full(count, np.inf)
        self._check(self._highs.addCols(count, cost, zero, most, 0, np.zeros(count, np.int32), none, []))
        own = self._block_entries(block, first)
        pairs = _pair_entries(self.world, block, self.route, self.pool, self.column)
        row, column = np.concatenate([own[0], pairs[0]]), np.concatenate([own[1], pairs[1]])
        value = np.concatenate([own[2], pairs[2]])
        order = np.lexsort((column, row))
        start = np.searchsorted(row[order], np.arange(len(block.lower))).astype(np.int32)
        self._check(
            self._highs.addRows(
                len(block.lower),
                block.lower,
                block.upper,
                len(row),
                start,
                column[order].astype(np.int32),
                value[order],
            )
        )
        self.blocks.append((block, self.rows, first))
        self.rows += len(block.lower)
        self.columns += count

    def _block_entries(self, block: Block, first: int) -> Entries:
        """What can't be carried relieves its class; a flow serves its class and fills its kind and limits."""
        classes = len(block.classes)
        to = first + classes + np.arange(len(block.flows))
        rows: list[Places] = [np.arange(classes), block.flows[:, 0], block.kind_row[block.flows[:, 1]]]
        columns: list[Places] = [first + np.arange(classes), to, to]
        grouped = block.flow_group >= 0
        rows.append(block.group_row[block.flow_group[grouped]])
        columns.append(to[grouped])
        for (place, provider), number in block.share_row.items():
            own = block.flows[:, 0] == block.class_row[self.world.klass[place]]
            mine = own & (block.flow_provider == provider)
            rows.append(np.full(int(mine.sum()), number))
            columns.append(to[mine])
        row = np.concatenate(rows).astype(np.int32)
        return row, np.concatenate(columns).astype(np.int32), np.ones(len(row))

    def solve(self) -> None:
        """To the optimum over all pairs, at most ``PRICINGS_MAX`` times. Raises ``NoAnswerError``."""
        self._highs.setOptionValue("simplex_strategy", 1)  # new losses leave the prices feasible
        for _ in range(PRICINGS_MAX):
            self._highs.run()
            status = self._highs.getModelStatus()
            if status != highspy.HighsModelStatus.kOptimal:
                raise NoAnswerError(f"the solver ended with {self._highs.modelStatusToString(status)}")
            solution = self._highs.getSolution()
            self.value: Floats = np.array(solution.col_value)
            self.price: Floats = np.array(solution.row_dual)
            self.objective = float(self._highs.getInfo().objective_function_value)
            self.pricings += 1
            better = self._improving()
            if not better.any():
                return
            self._join(better)
            self._highs.setOptionValue("simplex_strategy", 4)  # what was optimal is still feasible
        raise NoAnswerError("the solver did not come to an end")

    def reduced(self) -> Floats:
        """By route and pool: what one more unit there would cost at the present row prices."""
        world, price = self.world, self.price
        routes, pools = world.cost.shape
        by_pool = price[routes : routes + pools].copy()
        by_group = np.append(price[routes + pools : routes + pools + len(world.group_room)], 0.0)
        by_pool += by_group[world.group]
        cost = world.cost + world.moved - price[:routes, None] - by_pool[None, :]
        for (place, provider), row in self._share_rows.items():
            cost[place, world.provider == provider] -= price[row]
        critical = np.nonzero(world.klass >= 0)[0]
        for block, first, _ in self.blocks:
            local = np.append(price[first : first + len(block.lower)], 0.0)
            by_class = np.append(local[block.class_row], 0.0)
            kinds = np.append(block.kind_row, FREE)[block.kind]
            remaining = local[kinds] + local[block.group_row[world.group]]
            remaining = np.where(block.kind >= 0, remaining, 0.0)
            lost = by_class[world.klass[critical]][:, None]
            cost[critical] -= np.where(block.lost[None, :], -lost, remaining[None, :])
            for (place, provider), row in block.share_row.items():
                cost[place, (world.provider == provider) & ~block.lost & (block.kind >= 0)] -= local[row]
        return cost

    def _improving(self) -> Bools:
        cost = np.where(self.made, np.inf, self.reduced())
        best = np.argsort(cost, axis=1, kind="stable")[:, :JOIN_PER_ROUTE]
        chosen = np.zeros(cost.shape, dtype=np.bool_)
        np.put_along_axis(chosen, best, True, axis=1)
        return chosen & (cost < -PRICE_TOLERANCE)

    def _join(self, chosen: Bools) -> None:
        """Makes columns of these pairs, beyond what is held: each unit on them has moved."""
        route, pool = np.nonzero(chosen & ~self.made)
        self.made |= chosen
        most = np.full(len(route), np.inf)
        self._add_pairs(route, pool, most, self.world.cost[route, pool] + self.world.moved)

    def _add_pairs(self, route: Places, pool: Places, most: Floats, cost: Floats) -> None:
        if not len(route):
            return
        world = self.world
        routes, pools = world.cost.shape
        column = self.columns + np.arange(len(route))
        local = column - self.columns
        entries: list[tuple[Places, Places, Floats]] = [
            (route, local, np.ones(len(route))),
            (routes + pool, local, np.ones(len(route))),
        ]
        grouped = world.group[pool] >= 0
        entries.append(
            (routes + pools + world.group[pool[grouped]], local[grouped], np.ones(int(grouped.sum())))
        )
        for (place, provider), number in self._share_rows.items():
            mine = (route == place) & (world.provider[pool] == provider)
            entries.append((np.full(int(mine.sum()), number), local[mine], np.ones(int(mine.sum()))))
        for block, first, _ in self.blocks:
            local_row, of, sign = _pair_entries(world, block, route, pool, local)
            entries.append((local_row + first, of, sign))
        row = np.concatenate([entry[0] for entry in entries])
        col = np.concatenate([entry[1] for entry in entries])
        value = np.concatenate([entry[2] for entry in entries])
        order = np.lexsort((row, col))
        start = np.searchsorted(col[order], np.arange(len(route))).astype(np.int32)
        self._check(
            self._highs.addCols(
                len(route),
                cost,
                np.zeros(len(route)),
                most,
                len(row),
                start,
                row[order].astype(np.int32),
                value[order],
            )
        )
        self.route = np.concatenate([self.route, route]).astype(np.int32)
        self.pool = np.concatenate([self.pool, pool]).astype(np.int32)
        self.column = np.concatenate([self.column, column]).astype(np.int32)
        self.columns += len(route)

    def flows(self) -> Floats:
        """By route and pool, what the optimum places there; never negative."""
        found = np.zeros(self.world.cost.shape)
        np.add.at(found, (self.route, self.pool), self.value[self.column])
        return np.maximum(found, 0.0)

    def shed(self) -> Floats:
        """By route."""
        return np.maximum(self.value[self._shed], 0.0)

    def short(self, block: Block) -> Floats:
        """By class of the block: critical load without room after that loss."""
        first = next(first for held, _, first in self.blocks if held is block)
        return np.maximum(self.value[first : first + len(block.classes)], 0.0)

    def worth(self) -> tuple[Floats, Floats]:
        """What one unit more of each pool's usable capacity, and of each quota group, would save."""
        world = self.world
        routes, pools = world.cost.shape
        of_pool = np.maximum(-self.price[routes : routes + pools] - world.burst_cost, 0.0)
        of_group = -self.price[routes + pools : routes + pools + len(world.group_room)]
        return of_pool, np.maximum(of_group, 0.0)

    @staticmethod
    def _check(status: object) -> None:
        if status == highspy.HighsStatus.kError:
            raise NoAnswerError("the solver refuses the programme")


def _solver(limit_s: float) -> highspy.Highs:
    """One thread and one seed: the same programme gives the same bytes in every process."""
    highs = highspy.Highs()
    options = {
        "output_flag": False,
        "threads": 1,
        "parallel": "off",
        "random_seed": 1,
        "solver": "simplex",
        "presolve": "off",
        "time_limit": limit_s,
    }
    for name, value in options.items():
        highs.setOptionValue(name, value)
    return highs


def _cheapest(world: World, count: int) -> Bools:
    """Per route the pools that are nearest and healthiest, and all that it uses already."""
    total = world.cost + np.where(world.committed > 0, 0.0, world.burst_cost)[None, :]
    best = np.argsort(total, axis=1, kind="stable")[:, :count]
    chosen = world.held > 0
    np.put_along_axis(chosen, best, True, axis=1)
    return chosen & np.isfinite(world.cost)


def _pair_entries(world: World, block: Block, route: Places, pool: Places, column: Places) -> Entries:
    """What pair columns mean for a loss: load on lost pools needs a place, other load holds its own."""
    klass = world.klass[route]
    critical = klass >= 0
    lost = critical & block.lost[pool]
    stays = critical & ~block.lost[pool] & (block.kind[pool] >= 0)
    rows: list[Places] = [block.class_row[klass[lost]], block.kind_row[block.kind[pool[stays]]]]
    columns: list[Places] = [column[lost], column[stays]]
    grouped = stays & (world.group[pool] >= 0)
    rows.append(block.group_row[world.group[pool[grouped]]])
    columns.append(column[grouped])
    for (place, provider), row in block.share_row.items():
        mine = stays & (route == place) & (world.provider[pool] == provider)
        rows.append(np.full(int(mine.sum()), row))
        columns.append(column[mine])
    value = np.concatenate([np.full(int(lost.sum()), -1.0), np.ones(sum(len(r) for r in rows[1:]))])
    return np.concatenate(rows).astype(np.int32), np.concatenate(columns).astype(np.int32), value
