"""The programme in HiGHS: rows and columns join when needed, and each solve goes on from the last basis.

This is column generation. A programme of 400 pools and 160 routes has 64,000 pairs of route and pool, few of
which carry anything. Only promising pairs are columns at first. After a solve the duals of the rows give the
reduced cost of every other pair: what one more unit there would cost in all. Pairs with a negative reduced
cost would improve the answer, so they join. Without one, the answer is the optimum over all pairs.
"""

from typing import NamedTuple

import highspy
import numpy as np

from controller.core.lp.entries import (
    Entries,
    Pairs,
    base_entries,
    base_rows,
    by_column,
    by_row,
    cheapest,
    flow_entries,
    joined,
    loss_entries,
)
from controller.core.lp.losses import LossBlock, Positions
from controller.core.lp.programme import Bools, Floats, Instance

JOIN_PER_ROUTE = 16
REDUCED_COST_TOLERANCE = 1e-6
PRICING_ROUNDS_MAX = 40
DUAL_SIMPLEX, PRIMAL_SIMPLEX = 1, 4  # values of HiGHS' option simplex_strategy
NO_COLUMNS = np.zeros(0, dtype=np.int32)


class NoAnswerError(RuntimeError):
    """The solver gave no optimum: it was late, failed, or refused the programme. The last plan stays."""


class _PlacedBlock(NamedTuple):
    """A loss in the programme: the numbers of its first row and first column."""

    block: LossBlock
    first_row: int
    first_column: int


class Tableau:
    """One programme and its last optimum.

    Load that a route has on a pool already and load that moves there are two columns of one pair: the first
    is bounded by what is there and costs no move. ``rows``, ``columns`` and ``pricing_rounds`` say how large
    the programme became. ``objective`` is the cost of the last optimum, in points x scaled units/s. Pairs
    that would improve it by no more than ``gain_min`` points per unit stay out.

    Every method that calls HiGHS raises ``NoAnswerError`` if it fails.
    """

    def __init__(
        self,
        instance: Instance,
        limit_s: float,
        candidates: int,
        gain_min: float = REDUCED_COST_TOLERANCE,
    ) -> None:
        self.instance = instance
        self._gain_min = gain_min
        self.pricing_rounds = 0
        self.objective = 0.0
        self._blocks: list[_PlacedBlock] = []
        routes = len(instance.cost)
        self._base = base_rows(instance)
        self.rows = self._base.total
        self.columns = routes + len(instance.burst_of)  # shed load by route, burst by pool
        self._is_column: Bools = np.zeros(instance.cost.shape, dtype=np.bool_)
        self._pairs = Pairs(NO_COLUMNS, NO_COLUMNS, NO_COLUMNS)
        self._highs = _solver(limit_s)
        self._add_base()
        there = np.nonzero((instance.in_place > 0) & np.isfinite(instance.cost))
        self._add_pairs(there[0], there[1], instance.in_place[there], instance.cost[there])
        self._join(cheapest(instance, candidates))

    def _add_base(self) -> None:
        """The rows without losses, and the columns for shed load and burst."""
        instance = self.instance
        routes = len(instance.cost)
        shares = np.array(list(instance.share_room.values()))
        upper = np.concatenate([instance.to_place, instance.committed_room, instance.group_room, shares])
        lower = np.concatenate([instance.to_place, np.full(len(upper) - routes, -np.inf)])
        starts = np.zeros(len(upper), np.int32)
        _check(self._highs.addRows(len(upper), lower, upper, 0, starts, NO_COLUMNS, []))
        # Each column stands in one row: shed load serves its route (1), burst widens committed room (-1).
        row = np.concatenate([np.arange(routes, dtype=np.int32), routes + instance.burst_of])
        column = np.arange(len(row), dtype=np.int32)
        sign = np.concatenate([np.ones(routes), np.full(len(instance.burst_of), -1.0)])
        cost = np.concatenate([instance.shed_cost, instance.burst_cost])
        most = np.concatenate([instance.to_place, instance.burst_room])
        _check(self._highs.addCols(len(row), cost, np.zeros(len(row)), most, len(row), column, row, sign))

    def add_block(self, block: LossBlock, penalty: Floats) -> None:
        """One more loss to survive; ``penalty`` is what a unit without room costs, by struck class."""
        count = len(block.struck) + len(block.flows) + len(block.links)
        cost = np.concatenate([penalty, np.zeros(count - len(block.struck))])
        zeros, unbounded = np.zeros(count), np.full(count, np.inf)
        starts = np.zeros(count, np.int32)
        _check(self._highs.addCols(count, cost, zeros, unbounded, 0, starts, NO_COLUMNS, []))
        own = flow_entries(self.instance, block, self.columns)
        entries = joined([own, loss_entries(self.instance, block, self._pairs)])
        start, column, value = by_row(entries, len(block.lower))
        _check(
            self._highs.addRows(len(block.lower), block.lower, block.upper, len(value), start, column, value)
        )
        self._blocks.append(_PlacedBlock(block, self.rows, self.columns))
        self.rows += len(block.lower)
        self.columns += count

    def solve(self) -> None:
        """Solves to the optimum over all pairs.

        New losses leave the duals feasible, so the dual simplex goes on from the last basis; new columns
        leave the answer itself feasible, so the primal simplex does. Raises ``NoAnswerError`` if HiGHS finds
        no optimum, or if pairs still improve it after ``PRICING_ROUNDS_MAX`` rounds.
        """
        self._highs.setOptionValue("simplex_strategy", DUAL_SIMPLEX)
        for _ in range(PRICING_ROUNDS_MAX):
            self._run()
            improving = self._improving()
            if not improving.any():
                return
            self._join(improving)
            self._highs.setOptionValue("simplex_strategy", PRIMAL_SIMPLEX)
        raise NoAnswerError(f"the solver found no optimum in {PRICING_ROUNDS_MAX} rounds of new columns")

    def _run(self) -> None:
        status = self._status_of_a_run()
        if status not in (highspy.HighsModelStatus.kOptimal, highspy.HighsModelStatus.kTimeLimit):
            # Rarely the simplex gets lost between two bases ("Unknown"). From the start and with presolve it
            # takes another way to an optimum, and the same way in every process.
            self._highs.clearSolver()
            self._highs.setOptionValue("presolve", "on")
            status = self._status_of_a_run()
            self._highs.setOptionValue("presolve", "off")
        if status != highspy.HighsModelStatus.kOptimal:
            raise NoAnswerError(f"the solver ended with {self._highs.modelStatusToString(status)}")
        solution = self._highs.getSolution()
        self._value: Floats = np.array(solution.col_value)
        self._dual: Floats = np.array(solution.row_dual)
        self.objective = float(self._highs.getInfo().objective_function_value)
        self.pricing_rounds += 1

    def _status_of_a_run(self) -> highspy.HighsModelStatus:
        self._highs.run()
        status: highspy.HighsModelStatus = self._highs.getModelStatus()
        return status

    def _reduced_costs(self) -> Floats:
        """[R, P] what one more unit of the route on the pool would cost at the duals of the last optimum."""
        instance, dual, base = self.instance, self._dual, self._base
        of_pool = dual[base.first_pool : base.first_group].copy()
        of_group = np.append(dual[base.first_group : base.first_group + len(instance.group_room)], 0.0)
        of_pool += of_group[instance.groups_of].sum(axis=1)
        cost = instance.cost + instance.move_cost - dual[: base.first_pool, None] - of_pool[None, :]
        for (place, provider), row in base.share_row.items():
            cost[place, instance.provider_of == provider] -= dual[row]
        for placed in self._blocks:
            self._subtract_block(cost, placed.block, dual[placed.first_row :])
        return cost

    def _subtract_block(self, cost: Floats, block: LossBlock, dual: Floats) -> None:
        """Takes the duals of a loss, numbered from its first row, off the reduced costs of critical routes.

        The index -1 (no kind, no group, no row) reads the zero that is appended.
        """
        instance = self.instance
        critical = np.nonzero(instance.class_of >= 0)[0]
        of_row = np.append(dual[: len(block.lower)], 0.0)
        of_class = np.append(of_row[block.class_row], 0.0)
        kind_row = np.append(block.kind_row, -1)[block.kind_of]
        remaining = of_row[kind_row] + of_row[block.group_row[instance.groups_of]].sum(axis=1)
        remaining = np.where(block.kind_of >= 0, remaining, 0.0)
        lost = of_class[instance.class_of[critical]][:, None]
        cost[critical] -= np.where(block.lost[None, :], -lost, remaining[None, :])
        for (place, provider), row in block.share_row.items():
            bound = (instance.provider_of == provider) & ~block.lost & (block.kind_of >= 0)
            cost[place, bound] -= of_row[row]

    def _improving(self) -> Bools:
        """[R, P] pairs that are no columns yet and would lower the cost, the best of each route."""
        cost = np.where(self._is_column, np.inf, self._reduced_costs())
        best = np.argsort(cost, axis=1, kind="stable")[:, :JOIN_PER_ROUTE]
        chosen = np.zeros(cost.shape, dtype=np.bool_)
        np.put_along_axis(chosen, best, True, axis=1)
        return chosen & (cost < -self._gain_min)

    def _join(self, chosen: Bools) -> None:
        """Makes columns of these pairs for load that moves there, which costs a move for each unit."""
        route, pool = np.nonzero(chosen & ~self._is_column)
        self._is_column |= chosen
        cost = self.instance.cost[route, pool] + self.instance.move_cost
        self._add_pairs(route, pool, np.full(len(route), np.inf), cost)

    def _add_pairs(self, route: Positions, pool: Positions, most: Floats, cost: Floats) -> None:
        """New pair columns, each with its upper bound and cost."""
        if not len(route):
            return
        count = len(route)
        pairs = Pairs(route, pool, np.arange(count))
        parts = [base_entries(self.instance, self._base, pairs)]
        for placed in self._blocks:
            row, column, value = loss_entries(self.instance, placed.block, pairs)
            parts.append(Entries(row + placed.first_row, column, value))
        start, row_numbers, value = by_column(joined(parts), count)
        zeros = np.zeros(count)
        _check(self._highs.addCols(count, cost, zeros, most, len(value), start, row_numbers, value))
        new = Pairs(route, pool, self.columns + pairs.column)
        self._pairs = Pairs(
            *(np.concatenate(arrays).astype(np.int32) for arrays in zip(self._pairs, new, strict=True))
        )
        self.columns += count

    def flows(self) -> Floats:
        """[R, P] the load that the optimum places, in scaled units/s; never negative."""
        total = np.zeros(self.instance.cost.shape)
        np.add.at(total, (self._pairs.route, self._pairs.pool), self._value[self._pairs.column])
        return np.maximum(total, 0.0)

    def shed(self) -> Floats:
        """[R] the load that is shed, in scaled units/s."""
        return np.maximum(self._value[: len(self.instance.routes)], 0.0)

    def short(self, block: LossBlock) -> Floats:
        """By struck class of a block in the programme, the load without room after that loss, scaled."""
        first = next(placed.first_column for placed in self._blocks if placed.block is block)
        return np.maximum(self._value[first : first + len(block.struck)], 0.0)

    def shadow_prices(self) -> tuple[Floats, Floats]:
        """([P], [G]) the points that one more unit/s of each pool's or quota group's limit would save."""
        instance, base = self.instance, self._base
        of_pool = -self._dual[base.first_pool : base.first_group][instance.burst_of] - instance.burst_cost
        of_group = -self._dual[base.first_group : base.first_group + len(instance.group_room)]
        return np.maximum(of_pool, 0.0), np.maximum(of_group, 0.0)


def _check(status: object) -> None:
    if status == highspy.HighsStatus.kError:
        raise NoAnswerError("the solver refuses the programme")


class _QuietHighs(highspy.Highs):  # type: ignore[misc]
    """HiGHS that prints nothing.

    Its constructor enables callbacks, and that prints a banner before anybody can turn the output off. No
    callback is used here, so the call turns the output off instead.
    """

    def enableCallbacks(self) -> None:  # noqa: N802
        self.setOptionValue("output_flag", False)


def _solver(limit_s: float) -> highspy.Highs:
    """HiGHS with one thread and one seed, so that the same programme gives the same bytes in any process."""
    highs = _QuietHighs()
    options = {
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
